"""What came of a run: one page to read, the same as Markdown, and one summary for machines."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ..card.student import tell_training
from ..provenance import find_commit, find_versions
from ..records import atomic_write, read_json, read_rows, write_json
from .confidence import NO_SCORES, draw_confidence, summarize_confidence, tabulate_confidence
from .corpus import tabulate_domains, tabulate_ends, tabulate_rejected, tabulate_shares
from .drawing import draw_loss, draw_spans
from .page import render
from .tables import Cell, Table, format_cell, format_duration, format_markdown

COMMANDS = ("fetch", "sample", "annotate", "filter", "convert", "train", "assemble", "evaluate", "package")
SHOWN = 20
"""How many dev scores and passages the page shows."""

# Zhou et al. (2023), UniversalNER: string F1 on the full test sets.
PAPER_SETS = ("movie", "restaurant", "ai", "literature", "music", "politics", "science")
PAPER_SCORES = {
    "ChatGPT": dict(zip((*PAPER_SETS, "mean"), (5.3, 32.8, 52.4, 39.8, 66.6, 68.5, 67.0, 47.5), strict=True)),
    "UniNER-7B": dict(zip((*PAPER_SETS, "mean"), (42.4, 31.7, 53.5, 59.4, 65.0, 60.8, 61.1, 53.4), strict=True)),
}

SCORES = ("span_f1", "ents_f1", "string_f1", "sentences", "questions")
CORPUS_FACTS = ("train_conversations", "dev_conversations", "train_questions")


@dataclass(frozen=True)
class Run:
    """Everything the earlier stages wrote about a run.

    stages (dict): command to its seconds, memory and facts.
    corpus (dict): what the filter kept and rejected.
    log (list): the lines of the training log.
    manifest (dict): the student's manifest.
    dev (dict): scores on the dev part.
    zero_shot (dict): scores on the benchmark samples.
    passages (list): the first dev passages with gold and predicted spans.
    missing (list): the optional inputs that are not there, or are of another student.
    """

    stages: dict[str, dict[str, Any]]
    corpus: dict[str, Any]
    log: list[dict[str, Any]]
    manifest: dict[str, Any]
    dev: dict[str, Any]
    zero_shot: dict[str, Any]
    passages: list[dict[str, Any]]
    missing: list[str] = field(default_factory=list)


def read_run(
    *, stages: Path, corpus: Path, log: Path, manifest: Path, dev: Path, zero_shot: Path, predictions: Path
) -> Run:
    """Read what the stages wrote. The reports of corpus, student and dev are required, the rest is optional.

    stages (Path): the folder of the stages' own reports.
    corpus (Path): the filter's report.
    log (Path): the training log; left out where it is not of this student's training.
    manifest (Path): the student's manifest.
    dev (Path): the scores on the dev part.
    zero_shot (Path): the scores on the benchmark samples.
    predictions (Path): the dev passages with gold and predicted spans.
    RETURNS (Run): their contents.
    RAISES (UniversalNERError): a required file is missing, or a file is damaged.
    """
    by_command = {command: stages / f"{command}.json" for command in COMMANDS}
    student, steps = read_json(manifest), _optional_rows(log)
    of_it = not steps or _last_tokens(steps) == student.get("training", {}).get("tokens")
    missing = [str(path) for path in (*by_command.values(), log, zero_shot, predictions) if not path.is_file()]
    return Run(
        stages={command: read_json(path) for command, path in by_command.items() if path.is_file()},
        corpus=read_json(corpus),
        log=steps if of_it else [],
        manifest=student,
        dev=read_json(dev),
        zero_shot=read_json(zero_shot) if zero_shot.is_file() else {},
        passages=_optional_rows(predictions, limit=SHOWN),
        missing=missing if of_it else [*missing, str(log)],
    )


def write_reports(run: Run, *, html: Path, markdown: Path, summary: Path) -> None:
    """Write the page, its Markdown form and the summary.

    run (Run): what the stages wrote.
    html (Path): the page, with everything it needs in it.
    markdown (Path): the tables of stages, corpus and scores.
    summary (Path): the numbers, as JSON.
    """
    for path, text in ((html, render_html(run)), (markdown, render_markdown(run))):
        with atomic_write(path) as file:
            file.write(text)
    write_json(summary, summarize(run))


def summarize(run: Run) -> dict[str, Any]:
    """The run in numbers. RETURNS (dict): what metrics/summary.json holds."""
    zero_shot = run.zero_shot
    return {
        "stages": {command: facts["seconds"] for command, facts in run.stages.items()},
        "total_seconds": _total_seconds(run),
        "peak_rss_mb": {command: facts["peak_rss_mb"] for command, facts in run.stages.items()},
        "corpus": count_corpus(run),
        "dev": _pick(run.dev, SCORES),
        "zero_shot": {
            "sets": {name: _pick(scores, SCORES) for name, scores in zero_shot.get("sets", {}).items()},
            "mean": _pick(zero_shot["mean"], SCORES) if zero_shot.get("mean") else None,
        },
        "confidence": summarize_confidence(run.dev, run.zero_shot),
        "student": {**_pick(run.manifest, ("base", "method", "template")), **tell_training(run.manifest)},
        "versions": find_versions(),
        "git_commit": find_commit(),
    }


def count_corpus(run: Run) -> dict[str, int | None]:
    """The corpus in numbers; what a stage did not report is None."""
    passages = run.stages.get("sample", {}).get("kept", run.corpus["replies"])
    counts = _pick(run.corpus, ("records", "mentions", "types"))
    rejected = sum(run.corpus["rejected"].values())
    return {"passages": passages, **counts, "rejected": rejected, **_pick(run.stages.get("convert", {}), CORPUS_FACTS)}


def tabulate_stages(run: Run) -> Table:
    """Every command with its time, its memory and what it counted."""
    rows: list[tuple[Cell, ...]] = []
    for command in COMMANDS:
        facts = run.stages.get(command)
        counts = "not reported" if facts is None else _list_facts(facts)
        rows.append((command, *((facts or {}).get(key) for key in ("seconds", "peak_rss_mb")), counts))
    peaks = [facts["peak_rss_mb"] for facts in run.stages.values()]
    rows.append(("total", _total_seconds(run), max(peaks, default=None), ""))
    note = "In the last line: the sum of the seconds, and the highest peak."
    return Table("Stages", ("command", "seconds", "peak MB", "counts"), rows, note)


def tabulate_corpus(run: Run) -> Table:
    """The corpus in numbers."""
    rows = [(key.replace("_", " "), count) for key, count in count_corpus(run).items()]
    return Table("Corpus", ("what", "count"), rows, "Rejected are the mentions and replies that the filter left out.")


def tabulate_student(manifest: Mapping[str, Any]) -> Table:
    """What the student's manifest says, one line a value; files by the start of their sha256."""
    shown = {key: value for key, value in manifest.items() if key != "files"}
    shown["training"] = tell_training(manifest)
    files = {f"sha256 of {name}": f"{sha[:16]}…" for name, sha in manifest.get("files", {}).items()}
    return Table("Student", ("what", "value"), [*_flatten(shown), *files.items()])


def tabulate_dev(dev: Mapping[str, Any]) -> Table:
    """The scores on the dev part."""
    scores = [(key, _score(dev, key)) for key in ("span_precision", "span_recall", "span_f1", "ents_f1", "string_f1")]
    counts = [(key, dev.get(key)) for key in ("sentences", "questions", "lost")]
    header, row = zip(*scores, *counts, strict=True)
    note = "Dev passages were never trained on; the teacher labelled them."
    return Table("Dev", tuple(map(_name, header)), [row], note)


def tabulate_zero_shot(zero_shot: Mapping[str, Any]) -> Table:
    """The scores on the benchmark samples, beside the paper's."""
    ours = {**zero_shot.get("sets", {}), "mean": zero_shot.get("mean")}
    rows = [
        (name, *_score_cells(ours.get(name)), *(scores.get(name) for scores in PAPER_SCORES.values()))
        for name in (*PAPER_SETS, *(name for name in ours if name not in (*PAPER_SETS, "mean")), "mean")
    ]
    header = ("set", "string F1", "span F1", "sentences", "questions", *(f"{name} (paper)" for name in PAPER_SCORES))
    size = f" of at most {zero_shot['limit']} sentences" if zero_shot.get("limit") else ""
    note = (
        f"Ours are scores on samples{size} of the test sets, the paper's are string F1 on the full test sets: they "
        "stand here for orientation and do not compare strictly."
    )
    return Table("Zero-shot", header, rows, " ".join(filter(None, (note, zero_shot.get("note")))))


def tabulate_per_type(dev: Mapping[str, Any]) -> Table:
    """The dev scores of the types with the most gold mentions."""
    types = sorted(dev.get("per_type", {}).items(), key=lambda item: (-item[1]["support"], item[0]))
    rows = [
        (name, _score(scores, "span_f1"), _score(scores, "string_f1"), scores["support"], scores["predicted"])
        for name, scores in types[:SHOWN]
    ]
    header = ("type", "span F1", "string F1", "gold", "predicted")
    return Table(f"The {len(rows)} most frequent dev types", header, rows)


def render_html(run: Run) -> str:
    """The page: no script, no style, font or picture from elsewhere. RETURNS (str): HTML."""
    return render(
        "report.html.jinja",
        headline=list_headline(run),
        missing=run.missing,
        stages=tabulate_stages(run),
        corpus=[tabulate_corpus(run), tabulate_shares(run.corpus["type_counts"]), tabulate_domains(run.corpus)],
        types=tabulate_ends(run.corpus["type_counts"]),
        rejected=tabulate_rejected(run.corpus),
        student=tabulate_student(run.manifest),
        loss=draw_loss(run.log),
        scores=[tabulate_dev(run.dev), tabulate_zero_shot(run.zero_shot)],
        per_type=tabulate_per_type(run.dev),
        confidence=tabulate_confidence(run.dev, run.zero_shot),
        confidence_figures=draw_confidence(run.dev, run.zero_shot),
        no_confidence=NO_SCORES,
        passages=[
            {"id": row["id"], **{key: draw_spans(row["text"], row[key]) for key in ("gold", "predicted")}}
            for row in run.passages
        ],
    )


def list_headline(run: Run) -> list[tuple[str, str, str]]:
    """The three numbers to see first: (what, number, more)."""
    span_f1, string_f1 = (format_cell(_score(run.dev, key)) for key in ("span_f1", "string_f1"))
    mean = format_cell(_score(run.zero_shot.get("mean") or {}, "string_f1"))
    return [
        ("Dev span F1", span_f1, f"string F1 {string_f1}"),
        ("Zero-shot mean string F1", mean, _describe_sets(run.zero_shot)),
        ("Total time", format_duration(_total_seconds(run)), f"{len(run.stages)} of {len(COMMANDS)} stages reported"),
    ]


def render_markdown(run: Run) -> str:
    """Stages, corpus and scores as Markdown tables."""
    tables = [
        tabulate_stages(run),
        tabulate_corpus(run),
        tabulate_shares(run.corpus["type_counts"]),
        tabulate_rejected(run.corpus),
        tabulate_student(run.manifest),
        tabulate_dev(run.dev),
        tabulate_zero_shot(run.zero_shot),
        tabulate_per_type(run.dev),
    ]
    parts = ["# Report", "\n".join(f"- {what}: {number} ({more})" for what, number, more in list_headline(run))]
    if run.missing:
        parts.append(
            "Not in it, since it was not there or is of another student: "
            + ", ".join(f"`{path}`" for path in run.missing)
        )
    parts += map(format_markdown, tables)
    confidence = tabulate_confidence(run.dev, run.zero_shot)
    parts += map(format_markdown, confidence) if confidence else [f"## Confidence\n\n{NO_SCORES}"]
    return "\n\n".join(parts) + "\n"


def _optional_rows(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    return [row for _, row in islice(read_rows(path), limit)] if path.is_file() else []


def _last_tokens(steps: Sequence[Mapping[str, Any]]) -> int | None:
    return next((row["tokens"] for row in reversed(steps) if "tokens" in row), None)


def _pick(facts: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: facts.get(key) for key in keys}


def _total_seconds(run: Run) -> float:
    return round(float(sum(facts["seconds"] for facts in run.stages.values())), 2)


def _score(scores: Mapping[str, Any], key: str) -> float | None:
    value = scores.get(key)
    return None if value is None else round(float(value), 1)


def _score_cells(scores: Mapping[str, Any] | None) -> tuple[Cell, ...]:
    scores = scores or {}
    counts = (scores.get(key) for key in ("sentences", "questions"))
    return (_score(scores, "string_f1"), _score(scores, "span_f1"), *counts)


def _name(key: str) -> str:
    return key.replace("_", " ").replace(" f1", " F1")


def _describe_sets(zero_shot: Mapping[str, Any]) -> str:
    if not zero_shot.get("sets"):
        return "not measured"
    return f"over {len(zero_shot['sets'])} sets, samples; the paper's UniNER-7B {PAPER_SCORES['UniNER-7B']['mean']}"


def _list_facts(facts: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in facts.items() if key not in ("stage", "seconds", "peak_rss_mb")}
    return ", ".join(f"{name} {value}" for name, value in _flatten(shown))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as (name, text) pairs."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        pairs.extend(_flatten(value, f"{name} ") if isinstance(value, Mapping) else [(name, _format_value(value))])
    return pairs


def _format_value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{value:,}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
