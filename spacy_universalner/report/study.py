"""A study on a page: its students side by side, and beside the paper's where the paper made the same comparison."""

from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from statistics import linear_regression, stdev
from typing import Any

from ..records import atomic_write
from .drawing import draw_bars, draw_curves
from .page import render
from .run import PAPER_SETS
from .tables import Cell, Table, format_cell, format_markdown

# Zhou et al. (2023), UniversalNER-7B, string F1 on the full test sets, by the names of our studies and their arms.
PAPER = {
    "negatives": {
        "title": "table 4",
        "none": (19.1, 19.1, 25.1, 39.5, 42.7, 48.9, 26.2, 31.5),
        "uniform": (42.5, 29.0, 42.5, 53.3, 57.4, 56.8, 52.6, 47.7),
        "frequency": (42.4, 31.7, 53.5, 59.4, 65.0, 60.8, 61.1, 53.4),
    },
    "supervised": {
        "title": "table 3",
        "distilled": (42.4, 31.7, 53.5, 59.4, 65.0, 60.8, 61.1, 53.4),
        "supervised": (54.2, 16.0, 62.3, 67.4, 69.0, 64.5, 66.9, 57.2),
        "mixed": (61.2, 35.2, 62.9, 64.9, 70.6, 66.9, 70.8, 61.8),
    },
}
COLUMNS = (*PAPER_SETS, "mean")


def write_study(study: str, arms: Mapping[str, Mapping[str, Any]], *, html: Path, markdown: Path) -> None:
    """Write the page of a study and its Markdown form.

    study (str): its name.
    arms (Mapping): the result of each student, by its name (see `ablation.run_study`), with its "share" of the data.
    html (Path): the page.
    markdown (Path): its tables.
    """
    growth = measure_growth(arms)
    tables = [tabulate_arms(arms), tabulate_sets(study, arms, "string_f1"), tabulate_sets(study, arms, "span_f1")]
    tables += [tabulate_seeds(arms)] if any(len(arm["runs"]) > 1 for arm in arms.values()) else []
    tables += [tabulate_growth(growth)] if growth else []
    page = render(
        "study.html.jinja",
        study=study,
        headline=list_headline(arms),
        growth=bool(growth),
        bars=draw_curves(growth, xlabel="conversations", ylabel="string F1") if growth else draw_study(study, arms),
        tables=tables,
    )
    for path, text in (
        (html, page),
        (markdown, "\n\n".join([f"# Study: {study}", *map(format_markdown, tables)]) + "\n"),
    ):
        with atomic_write(path) as file:
            file.write(text)


def list_headline(arms: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Each student's mean over the zero-shot sets, or its dev score where none were asked about."""
    return [(name, format_cell((arm["mean"] or arm["dev"])["string_f1"]), _describe(arm)) for name, arm in arms.items()]


def tabulate_arms(arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each student was trained on, and how it does on the dev passages."""
    keys = ("conversations", "questions", "negatives", "tokens", "steps", "seconds", "dev_loss")
    scores = ("span_precision", "span_recall", "span_f1", "string_f1")
    rows: list[tuple[Cell, ...]] = [
        (name, *(arm[key] for key in keys), *(arm["dev"][key] for key in scores), _unseen(arm))
        for name, arm in arms.items()
    ]
    said = [f"dev {key.replace('_', ' ')}" for key in scores]
    header = ("student", *(key.replace("_", " ") for key in keys), *said, "span f1 of types not learnt")
    note = "Each was trained on the tokens named, of conversations drawn in a random order. Of several seeds, the mean."
    return Table("Students", header, rows, note)


def tabulate_sets(study: str, arms: Mapping[str, Mapping[str, Any]], score: str) -> Table:
    """The F1 of each student on the zero-shot sets; beside the paper's, which are string F1, where it has them."""
    rows: list[tuple[Cell, ...]] = [
        (name, *(_f1(arm, column, score) for column in COLUMNS)) for name, arm in arms.items()
    ]
    paper = PAPER.get(study, {}) if score == "string_f1" else {}
    rows += [(f"{name} (paper)", *paper[name]) for name in arms if name in paper]
    note = f"The paper's are of its {paper['title']}, a model of 7B on the full test sets." if paper else ""
    asked = {arm["mean"]["sentences"] for arm in arms.values() if arm["mean"]}
    sizes = f"Ours are scores on {' or '.join(map(str, sorted(asked)))} sentences in all. " if asked else ""
    return Table(f"Zero-shot, {score.replace('_f1', ' F1')}", ("student", *COLUMNS), rows, f"{sizes}{note}".strip())


def tabulate_seeds(arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """The span F1 of each student's runs with other seeds, and its standard deviation."""
    parts = {"dev": "dev", "types not learnt": "unseen", "zero-shot mean": "mean"}
    rows: list[tuple[Cell, ...]] = []
    for name, arm in arms.items():
        for said, part in parts.items():
            scores = [run[part]["span_f1"] for run in arm["runs"] if run[part]]
            if len(scores) > 1:
                each = ", ".join(map(format_cell, scores))
                rows.append((name, said, each, arm[part]["span_f1"], round(stdev(scores), 2)))
    return Table("Seeds", ("student", "asked about", "span F1 of each", "mean", "standard deviation"), rows)


def measure_growth(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """What more data bring, where the students of a study learnt from growing shares of the same data.

    RETURNS (dict): (conversations, string F1) of each student, by what was asked; empty in studies of anything else.
    """
    shares = [arm["share"] for arm in arms.values()]
    if len(shares) < 3 or shares != sorted(set(shares)):
        return {}
    parts = {"dev": "dev", "types not learnt": "unseen", "mean of the zero-shot sets": "mean"}
    return {
        said: [(arm["conversations"], arm[part]["string_f1"]) for arm in arms.values()]
        for said, part in parts.items()
        if all(arm[part] for arm in arms.values())
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """F1 gained per doubling of the data: the slope of the line through the points (least squares)."""
    return linear_regression([log2(size) for size, _ in points], [f1 for _, f1 in points]).slope


def tabulate_growth(growth: Mapping[str, Sequence[tuple[float, float]]]) -> Table:
    """String F1 by what was asked and the number of conversations, with the gain per doubling."""
    sizes = [size for size, _ in next(iter(growth.values()))]
    rows: list[tuple[Cell, ...]] = [
        (said, *(f1 for _, f1 in points), round(slope(points), 2)) for said, points in growth.items()
    ]
    header = ("string F1 after conversations", *map(str, sizes), "per doubling")
    return Table("Learning curve", header, rows, "Per doubling: the slope of the line through all points.")


def draw_study(study: str, arms: Mapping[str, Mapping[str, Any]]) -> Any:
    """The means over the zero-shot sets as bars, ours and the paper's. RETURNS (Markup): inline SVG, or empty."""
    ours = {name: _f1(arm, "mean", "string_f1") for name, arm in arms.items()}
    groups = {"ours, 135M": {name: value for name, value in ours.items() if value is not None}}
    if paper := PAPER.get(study):
        groups["paper, 7B"] = {name: paper[name][-1] for name in arms if name in paper}
    return draw_bars(
        {name: group for name, group in groups.items() if group}, ylabel="mean string F1 of the seven sets"
    )


def _unseen(arm: Mapping[str, Any]) -> float | None:
    return arm["unseen"]["span_f1"] if arm["unseen"] else None


def _f1(arm: Mapping[str, Any], column: str, score: str) -> float | None:
    found = arm["mean"] if column == "mean" else arm["sets"].get(column)
    return found[score] if found else None


def _describe(arm: Mapping[str, Any]) -> str:
    what = "mean string F1 of the zero-shot sets" if arm["mean"] else "dev string F1"
    return f"{what}; {format_cell(arm['tokens'])} tokens"
