"""The benchmark on a page, and as Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from spacy_universalner.records import atomic_write
from spacy_universalner.report.drawing import draw_bars, draw_curves
from spacy_universalner.report.page import render
from spacy_universalner.report.tables import Cell, Table, format_cell, format_markdown

from .summary import DTYPES

ENGINES = {
    "questions_per_s": "the engine",
    "plain": "the engine, plain",
    "pipeline": "spaCy pipeline",
    "one_by_one": "generate, one by one",
    "batched_generate": "generate, batches",
    "vllm": "vLLM",
    "gliner": "GLiNER, small",
}
CURVES = {
    "labels": "labels asked of each document",
    "words": "words of a passage",
    "documents a call": "documents handed over at a time",
    "batch_tokens": "batch_tokens",
}
ENGINE_NOTE = (
    "vLLM has prefix caching on, prompts as ids and all cores bound; its start is not counted, nor is the time of "
    "making ids and of reading answers, which the engine's time holds. GLiNER answers all types at once: types times "
    "documents. Its weights are random: it is here for its speed alone."
)


@dataclass
class Section:
    """What stands under one heading.

    pictures (list): pictures with their captions.
    """

    title: str
    pictures: list[tuple[Markup, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def write_page(
    line: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Any]],
    setup: Mapping[str, Any],
    *,
    html: Path,
    markdown: Path,
) -> None:
    """Write the page and its Markdown form.

    line (Mapping): see `summary.summarize`.
    parts (Mapping): the numbers of each part, as they are in the file of results.
    setup (Mapping): what was measured on what.
    """
    sections = [section for section in make_sections(line, parts, setup) if section.pictures or section.tables]
    text = render(
        "speed.html.jinja",
        name="inference",
        headline=list_headline(line),
        missing=line["missing"],
        sections=sections,
    )
    missing = [f"- not measured: {what}: {why}" for what, why in line["missing"].items()]
    tables = [format_markdown(table) for section in sections for table in section.tables]
    plain = "\n\n".join(["# Benchmark: inference", *tables, *filter(None, ["\n".join(missing)])]) + "\n"
    for path, content in ((html, text), (markdown, plain)):
        with atomic_write(path) as file:
            file.write(content)


def list_headline(line: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The numbers that matter most."""
    times = [(name, line[f"ratio_{name}"]) for name in ("vllm", "one_by_one", "batched", "gliner")]
    said = {"vllm": "vLLM", "one_by_one": "generate, one by one", "batched": "batched generate", "gliner": "GLiNER"}
    return [
        ("Questions a second", format_cell(line["questions_per_s"]), f"{line['questions']} questions, {line['dtype']}"),
        *((f"Times {said[name]}", f"{ratio:.2f}", "questions a second, the same") for name, ratio in times if ratio),
        ("Share of the compute floor", _percent(line["floor_share"]), "of the peak of bfloat16 products"),
        ("Answers as generate's", _percent(line["identical_share"]), "in the same number format"),
        ("Memory", f"{format_cell(line['peak_rss_mb'])} MB", "of the engine's process, at most"),
    ]


def make_sections(
    line: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], setup: Mapping[str, Any]
) -> list[Section]:
    """The sections; those of parts that were not measured are empty."""
    known = {label.replace(", ", ",\n"): line[key] for key, label in ENGINES.items() if line[key] is not None}
    bars = {label: {"questions a second": rate} for label, rate in known.items()}
    curves = parts.get("curves", {})
    variants = {name: row for name, row in parts.get("variants", {}).items() if isinstance(row, Mapping)}
    return [
        Section(
            "Engines",
            [(draw_bars(bars, ylabel="questions a second"), "The same questions on the same machine.")] if bars else [],
            [tabulate_engines(line, parts), tabulate_runs(parts), tabulate_setup(line, parts, setup)],
        ),
        Section("Variants", tables=[tabulate_variants(variants)] if variants else []),
        *(make_curve(name, axis, parts) for name, axis in CURVES.items()),
        Section("Processes", tables=[tabulate_processes(curves)] if "processes" in curves else []),
    ]


def tabulate_engines(line: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> Table:
    """Each engine's rate, and ours over it."""
    ours = line["questions_per_s"]
    rates = {**{label: line[key] for key, label in ENGINES.items()}}
    rates |= {f"vLLM, {name}": line[f"vllm_{name}"] for name in DTYPES}
    rates["vLLM, stopping at a closed list"] = line["vllm_closing"]
    for name in DTYPES:
        found = parts.get("generate", {}).get(name, {})
        rates[f"generate, one by one, {name}"] = found.get("one_by_one")
        rates[f"generate, batches, {name}"] = found.get("batched_generate")
    rows: list[tuple[Cell, ...]] = [
        (name, _float(rate), f"{ours / rate:.2f}" if ours and rate else None) for name, rate in rates.items()
    ]
    return Table("Questions a second", ("engine", "questions a second", "the engine over it"), rows, ENGINE_NOTE)


def tabulate_runs(parts: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each part took."""
    rows: list[tuple[Cell, ...]] = [
        (name, part.get("measured"), part.get("minutes"), _percent(part.get("busy_before")))
        for name, part in parts.items()
    ]
    note = "Others at work on the machine make all numbers smaller, and not all alike: measure on an idle one."
    return Table("Parts", ("part", "measured", "minutes", "machine in use before"), rows, note)


def tabulate_setup(line: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], setup: Mapping[str, Any]) -> Table:
    """What was measured on what."""
    rows: list[tuple[Cell, ...]] = [
        ("processor", setup["machine"]["processor"]),
        ("cores", str(setup["machine"]["cores"])),
        ("questions", f"{setup['asked'][0]} about {setup['documents']} documents, {setup['data']}"),
        ("asked of generate", f"{setup['asked'][1]} one by one, {setup['asked'][2]} in batches of 32"),
        ("number format", line["dtype"]),
        *((f"GFLOP/s of products, {name}", format_cell(line[f"matmul_gflops_{name}"])) for name in DTYPES),
        ("share of the floor, bfloat16", _percent(line["floor_share"])),
        ("share of the floor, this format", _percent(line["floor_share_dtype"])),
        ("answers as generate's, one by one", _percent(line["identical_share"])),
        ("answers as generate's, in batches", _percent(line["identical_share_batched"])),
        ("those of them that came to their end", _percent(line["identical_share_ended"])),
        *((f"answers as vLLM's, {name}", _percent(line[f"identical_share_vllm_{name}"])) for name in DTYPES),
        *((f"vLLM, {name}, MB", format_cell(parts.get("vllm", {}).get(name, {}).get("rss_mb"))) for name in DTYPES),
        ("GLiNER, best of its settings", parts.get("gliner", {}).get("best")),
        ("a document alone, ms", format_cell(line["latency_ms"])),
    ]
    note = (
        "The floor: each passage, question and answer token once through the matrices and the attention, at the speed "
        "of one large product. Embeddings are looked up, and the head is counted where a token is read from it."
    )
    return Table("Setup and checks", ("what", "found"), rows, note)


def tabulate_variants(variants: Mapping[str, Mapping[str, Any]]) -> Table:
    """Settings of the engine side by side."""
    keys = ("questions_per_s", "span_f1", "string_f1", "incomplete", "peak_rss_mb")
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            row.get("dtype"),
            *(row.get(key) for key in keys),
            _percent(row.get("identical_share")),
        )
        for name, row in variants.items()
    ]
    header = ("variant", "format", "questions a second", "span F1", "string F1", "cut off", "peak MB", "as generate")
    sizes = {row["sentences"] for row in variants.values() if row.get("sentences")}
    asked = f"F1: mean of the seven zero-shot sets, {' or '.join(map(str, sorted(sizes)))} sentences in all. " * bool(
        sizes
    )
    note = f"{asked}As generate: answers that are those of `generate` in the same number format."
    return Table("Variants of the engine", header, rows, note)


def make_curve(name: str, axis: str, parts: Mapping[str, Mapping[str, Any]]) -> Section:
    """Rates over one thing that varies, and the time of a document."""
    found = parts.get("curves", {}).get(name, {})
    points = {int(x): row for x, row in found.items() if "missing" not in row}
    if not points:
        return Section(axis.capitalize())
    questions = {"questions a second": [(x, row["questions_per_s"]) for x, row in points.items()]}
    times = {"the engine": [(x, 1000 / row["docs_per_s"]) for x, row in points.items()]}
    if name == "labels" and "curve" in parts.get("gliner", {}):
        times["GLiNER, small"] = [(x, 1000 / rate) for x, rate in parts["gliner"]["curve"]]
    rows: list[tuple[Cell, ...]] = [
        (x, row["questions_per_s"], row["docs_per_s"], 1000 / row["docs_per_s"], row["peak_rss_mb"])
        for x, row in points.items()
    ]
    header = (axis, "questions a second", "documents a second", "ms a document", "peak MB")
    pictures = [
        (draw_curves(times, xlabel=axis, ylabel="ms a document"), "Time for a document."),
        (draw_curves(questions, xlabel=axis, ylabel="questions a second"), "Questions a second."),
    ]
    return Section(axis.capitalize(), pictures, [Table(f"By {axis}", header, rows)])


def tabulate_processes(curves: Mapping[str, Any]) -> Table:
    """One process and more."""
    keys = ("docs_per_s", "docs_per_s_with_start", "peak_rss_mb", "child_peak_rss_mb")
    rows: list[tuple[Cell, ...]] = [(x, *(row.get(key) for key in keys)) for x, row in curves["processes"].items()]
    header = ("n_process", "documents a second", "with their start", "peak MB", "peak MB of the largest child")
    note = "The first batches are not counted in the first rate: each process loads the student when it is first asked."
    return Table("nlp.pipe with several processes", header, rows, note)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}%"


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
