"""What came of a run: one page to read, the same as Markdown, and one summary for machines."""

import io
import json
import platform
import re
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import PackageNotFoundError, version
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure
from spacy import displacy

from .records import atomic_write, read_json, read_rows, write_json

COMMANDS = ("fetch", "sample", "annotate", "filter", "convert", "train", "assemble", "evaluate", "package")
PACKAGES = ("spacy", "spacy-llm", "torch", "transformers", "peft", "weasel", "datasets", "spacy-universalner")
SHOWN = 20
"""How many types, dev scores and passages the page shows."""

# Zhou et al. (2023), UniversalNER: string F1 on the full test sets, and the share of mentions by rank of their type.
PAPER_SETS = ("movie", "restaurant", "ai", "literature", "music", "politics", "science")
PAPER_SCORES = {
    "ChatGPT": dict(zip((*PAPER_SETS, "mean"), (5.3, 32.8, 52.4, 39.8, 66.6, 68.5, 67.0, 47.5), strict=True)),
    "UniNER-7B": dict(zip((*PAPER_SETS, "mean"), (42.4, 31.7, 53.5, 59.4, 65.0, 60.8, 61.1, 53.4), strict=True)),
}
PAPER_SHARES = {"top 1%": 74.0, "1\u201110%": 19.0, "10\u2011100%": 7.0}

SCORES = ("span_f1", "string_f1", "sentences", "questions")
CORPUS_FACTS = ("train_conversations", "dev_conversations", "train_questions")
COLORS = ("#bfe1d9", "#ffd8b1", "#d5d0f0", "#f7c8d6", "#c7dcf5", "#e2e9b0", "#f3e2a0", "#dccfc4")
JOIN = "\uffff"
"""Ends a segment that displaCy would set apart from the next by a space of its own."""

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows under a header; a column without a text in it is set as numbers.

    title (str): what the rows are.
    header (tuple): the columns' names.
    rows (list): one tuple of cells a row; None is shown as a dash.
    note (str): what a reader must know to read the numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    note: str = ""

    @property
    def numeric(self) -> list[bool]:
        columns = ([row[i] for row in self.rows] for i in range(len(self.header)))
        return [bool(self.rows) and not any(isinstance(cell, str) for cell in column) for column in columns]


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
    missing (list): the optional inputs that are not there.
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
    log (Path): the training log.
    manifest (Path): the student's manifest.
    dev (Path): the scores on the dev part.
    zero_shot (Path): the scores on the benchmark samples.
    predictions (Path): the dev passages with gold and predicted spans.
    RETURNS (Run): their contents.
    RAISES (UniversalNERError): a required file is missing, or a file is damaged.
    """
    by_command = {command: stages / f"{command}.json" for command in COMMANDS}
    optional = [*by_command.values(), log, zero_shot, predictions]
    return Run(
        stages={command: read_json(path) for command, path in by_command.items() if path.is_file()},
        corpus=read_json(corpus),
        log=_optional_rows(log),
        manifest=read_json(manifest),
        dev=read_json(dev),
        zero_shot=read_json(zero_shot) if zero_shot.is_file() else {},
        passages=_optional_rows(predictions, limit=SHOWN),
        missing=[str(path) for path in optional if not path.is_file()],
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
        "student": {**_pick(run.manifest, ("base", "method", "template")), **run.manifest.get("training", {})},
        "versions": {"python": platform.python_version(), **{name: find_version(name) for name in PACKAGES}},
        "git_commit": find_commit(),
    }


def count_corpus(run: Run) -> dict[str, int | None]:
    """The corpus in numbers; what a stage did not report is None."""
    passages = run.stages.get("sample", {}).get("passages", run.corpus["replies"])
    counts = _pick(run.corpus, ("records", "mentions", "types"))
    rejected = sum(run.corpus["rejected"].values())
    return {"passages": passages, **counts, "rejected": rejected, **_pick(run.stages.get("convert", {}), CORPUS_FACTS)}


def find_version(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def find_commit() -> str | None:
    """The commit of the working directory, None without git or outside a repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


# tables


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


def tabulate_shares(counts: Mapping[str, int]) -> Table:
    """How much of all mentions the frequent, middling and rare types hold, beside the paper."""
    ranked = [count for _, count in rank_types(counts)]
    first, second = (-(-len(ranked) // parts) for parts in (100, 10))
    groups = (ranked[:first], ranked[first:second], ranked[second:])
    rows = [
        (name, len(group), _percent(sum(group), sum(ranked)), paper)
        for (name, paper), group in zip(PAPER_SHARES.items(), groups, strict=True)
    ]
    header = ("rank", "types", "% of mentions", "% in the paper")
    return Table("Head and tail", header, rows, "The first group holds at least one type.")


def tabulate_types(title: str, ranked: Sequence[tuple[str, int]], total: int) -> Table:
    """Types with their counts and shares."""
    rows = [(name, count, _percent(count, total, digits=2)) for name, count in ranked]
    return Table(title, ("type", "mentions", "% of mentions"), rows)


def tabulate_rejected(corpus: Mapping[str, Any]) -> Table:
    """Why mentions and replies were left out, with examples."""
    total, examples = sum(corpus["rejected"].values()), corpus.get("examples", {})
    rows = [
        (reason, count, _percent(count, total), "; ".join(map(_describe, examples.get(reason, [])[:3])))
        for reason, count in rank_types(corpus["rejected"])
    ]
    return Table("Rejected by reason", ("reason", "count", "%", "examples: entity (type), passage"), rows)


def tabulate_domains(corpus: Mapping[str, Any]) -> Table:
    """Passages by domain."""
    return Table("Domains", ("domain", "passages"), list(rank_types(corpus.get("domains") or {})))


def tabulate_student(manifest: Mapping[str, Any]) -> Table:
    """What the student's manifest says, one line a value; files by the start of their sha256."""
    shown = {key: value for key, value in manifest.items() if key != "files"}
    files = {f"sha256 of {name}": f"{sha[:16]}…" for name, sha in manifest.get("files", {}).items()}
    return Table("Student", ("what", "value"), [*_flatten(shown), *files.items()])


def tabulate_dev(dev: Mapping[str, Any]) -> Table:
    """The scores on the dev part."""
    scores = [(key, _score(dev, key)) for key in ("span_precision", "span_recall", "span_f1", "string_f1")]
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


def rank_types(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Names with their counts, the most frequent first, ties by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


# page


def render_html(run: Run) -> str:
    """The page: no script, no style, font or picture from elsewhere. RETURNS (str): HTML."""
    loader = PackageLoader("spacy_universalner", "templates")
    env = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    env.filters["cell"] = format_cell
    ranked, total = rank_types(run.corpus["type_counts"]), sum(run.corpus["type_counts"].values())
    tail = ranked[SHOWN:][-SHOWN:]
    return env.get_template("report.html.jinja").render(
        headline=list_headline(run),
        missing=run.missing,
        stages=tabulate_stages(run),
        corpus=[tabulate_corpus(run), tabulate_shares(run.corpus["type_counts"]), tabulate_domains(run.corpus)],
        types=[tabulate_types("Head", ranked[:SHOWN], total), tabulate_types("Tail", tail, total)],
        rejected=tabulate_rejected(run.corpus),
        student=tabulate_student(run.manifest),
        loss=draw_loss(run.log),
        scores=[tabulate_dev(run.dev), tabulate_zero_shot(run.zero_shot)],
        per_type=tabulate_per_type(run.dev),
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


def draw_loss(log: Iterable[Mapping[str, Any]]) -> Markup:
    """The loss over the steps, training and dev. RETURNS (Markup): inline SVG, empty without a loss in the log."""
    train, dev = ([(row["step"], row[key]) for row in log if key in row] for key in ("loss", "dev_loss"))
    if not train and not dev:
        return Markup()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loss", "font.size": 11}):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot(xlabel="step", ylabel="loss")
        if train:
            axes.plot(*zip(*train, strict=True), color="#9db8d2", linewidth=0.8, label="training")
            axes.plot(*zip(*_smooth(train), strict=True), color="#1f5f99", linewidth=1.8, label="training, moving mean")
        if dev:
            axes.plot(*zip(*dev, strict=True), color="#b3470b", marker="o", markersize=5, linewidth=1.5, label="dev")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return _to_svg(figure, f"Loss over {len(train)} logged steps of training and {len(dev)} dev evaluations.")


def draw_spans(text: str, spans: Iterable[Sequence[Any]]) -> Markup:
    """A passage with its entities underlined and named, by displaCy; spans may overlap.

    displaCy escapes the text but not the labels, sets labels over one another where they are longer than their words,
    and puts a space after every token: labels are escaped here, the templates are ours (their classes are in the page's
    style sheet), and the tokens are the segments between the spans' edges.

    text (str): the passage.
    spans (Iterable): (start, end, type), character offsets.
    RETURNS (Markup): HTML.
    """
    spans = sorted({(start, end, escape(label)) for start, end, label in spans})
    edges = cut_segments(text, [edge for start, end, _ in spans for edge in (start, end)])
    tokens = [
        text[a:b] if any(start <= a < end for start, end, _ in spans) and text[a:b].strip() else text[a:b] + JOIN
        for a, b in pairwise(edges)
    ]
    index = {edge: i for i, edge in enumerate(edges)}
    marks = [{"start_token": index[start], "end_token": index[end], "label": label} for start, end, label in spans]
    colors = {label: COLORS[zlib.crc32(label.encode("utf8")) % len(COLORS)] for _, _, label in spans}
    options = {"colors": colors, "template": SPAN_TEMPLATE, **SPAN_OFFSETS}
    doc = {"text": text, "spans": marks, "tokens": tokens}
    rendered = displacy.render(doc, style="span", manual=True, jupyter=False, options=options)
    return Markup(rendered.replace(f"{JOIN} ", "").replace(JOIN, ""))


SPAN_OFFSETS = {"top_offset": 25, "top_offset_step": 19, "span_label_offset": 21}
SPAN_TEMPLATE = {
    "span": '<span class="mention" style="min-height:{total_height}px">{text}{span_slices}{span_starts}</span>',
    "slice": '<span class="bar" style="background:{bg};top:{top_offset}px"></span>',
    "start": '<span class="row"><span class="label" style="background:{bg};top:calc({top_offset}px - 24px)">'
    "{label}{kb_link}</span></span>",
}


def cut_segments(text: str, edges: Iterable[int], *, longest: int = 30) -> list[int]:
    """Where to cut a text so that every edge is a cut and lines may break where they should.

    text (str): the text.
    edges (Iterable): offsets that must be cuts; white space after one is a segment of its own.
    longest (int): a segment of more characters is cut after each white space.
    RETURNS (list): offsets, in order, from 0 to the end.
    """
    cuts = sorted({0, len(text), *edges})
    spaces = (
        match.end()
        for start, end in pairwise(cuts)
        for match in re.compile(r"\s+").finditer(text, start, end)
        if end - start > longest or match.start() == start
    )
    return sorted({*cuts, *spaces})


# Markdown


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
        parts.append("Missing: " + ", ".join(f"`{path}`" for path in run.missing))
    return "\n\n".join([*parts, *map(format_markdown, tables)]) + "\n"


def format_markdown(table: Table) -> str:
    """A table as Markdown, under its title and above its note."""
    rule = ["---:" if numeric else ":---" for numeric in table.numeric]
    rows = [table.header, rule, *([_escape_markdown(format_cell(cell)) for cell in row] for row in table.rows)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join(filter(None, (f"## {table.title}", lines, table.note and _escape_markdown(table.note))))


# cells


def format_cell(cell: Cell) -> str:
    """A cell as text: thousands set apart, one decimal (two where it would read 0.0), a dash for None."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:,.1f}" if cell == 0 or abs(cell) >= 0.1 else f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def format_duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def _optional_rows(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    return [row for _, row in islice(read_rows(path), limit)] if path.is_file() else []


def _pick(facts: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: facts.get(key) for key in keys}


def _total_seconds(run: Run) -> float:
    return round(float(sum(facts["seconds"] for facts in run.stages.values())), 2)


def _percent(part: int, total: int, digits: int = 1) -> float | None:
    return round(100 * part / total, digits) if total else None


def _score(scores: Mapping[str, Any], key: str) -> float | None:
    value = scores.get(key)
    return None if value is None else round(float(value), 1)


def _score_cells(scores: Mapping[str, Any] | None) -> tuple[Cell, ...]:
    scores = scores or {}
    counts = (scores.get(key) for key in ("sentences", "questions"))
    return (_score(scores, "string_f1"), _score(scores, "span_f1"), *counts)


def _name(key: str) -> str:
    return key.replace("_", " ").replace(" f1", " F1")


def _describe(example: Mapping[str, Any]) -> str:
    entity, type_ = example.get("entity"), example.get("type")
    what = f"{entity} ({type_})" if entity or type_ else "the whole reply"
    return f"{what}, {example.get('passage_id')}"


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


def _smooth(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """A moving mean over a twentieth of the points."""
    reach = len(points) // 40
    windows = (points[max(0, i - reach) : i + reach + 1] for i in range(len(points)))
    return [(step, sum(y for _, y in window) / len(window)) for (step, _), window in zip(points, windows, strict=True)]


def _to_svg(figure: Figure, label: str) -> Markup:
    """A figure as an SVG element, without the document around it and without metadata."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    return Markup(svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1))


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`|<\[])", r"\\\1", " ".join(text.split()))
