"""The benchmark on a page: systems beside one another and the paper, by set, domain and type, and their mistakes."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from ..records import atomic_write
from .drawing import draw_groups, draw_heat, draw_points, draw_shares
from .examples import FindMistakes, Sample, sample_examples
from .page import render
from .tables import Cell, Estimate, Table, format_cell, format_duration, format_markdown

Row = Mapping[str, Any]

PAPER = {"chatgpt": "ChatGPT (paper)", "uniner": "UniNER-7B (paper)", "supervised": "supervised (paper)"}
ZERO_SHOT = ("chatgpt", "uniner")
# Zhou et al. (2023), figure 5a: how many of the 49 rows a domain has, and the means of ChatGPT and UniNER-7B.
FIGURE_5 = {
    "General": (16, 51.0, 53.2),
    "Biomed": (8, 38.1, 51.5),
    "Clinics": (7, 25.3, 28.2),
    "STEM": (7, 18.6, 29.3),
    "Programming": (1, 11.6, 27.7),
    "Social media": (5, 31.3, 41.6),
    "Law": (3, 16.3, 20.6),
    "Finance": (1, 52.8, 58.7),
    "Transportation": (1, 11.5, 23.2),
}
SETS = sum(sets for sets, _, _ in FIGURE_5.values())

PAPER_NOTE = (
    "The paper's numbers are of its Table 6 and Figure 9, over the full test splits: ChatGPT and UniNER-7B zero-shot, "
    "supervised a UniNER-7B trained on the sets' own train splits too."
)
MEANS_NOTE = (
    f"Plain means over sets, as in the paper; its own are over the same sets as each line's. {PAPER_NOTE} Its scorer "
    "compares strings, so string F1 is the number to set beside it; ents F1 is span F1 of what doc.ents hold. Lines "
    "over different sets can't be compared."
)
SCORES_NOTE = f"Span F1 with its 95% bootstrap interval, then string F1. {PAPER_NOTE}"
DOMAINS_NOTE = (
    "Means of the sets that were run, beside the paper's means of the same sets, and beside what its Figure 5 prints "
    "for all sets of the domain, which is 1.0 above the mean of its own numbers by set throughout."
)
TYPES_NOTE = "Span F1 of each type that was asked for; support is how many entities the gold has of it."
MISTAKES_NOTE = (
    "Boundary: the right type on other words that overlap. Type: the right words, another type. Missed: nothing there. "
    "Invented: nothing in the gold there, which its annotators may also have left out."
)
COMPARISONS_NOTE = (
    "The difference is the first system's score less the second's on the same sentences, with its 95% interval and the "
    "p value of a paired test. No correction is made for the number of comparisons."
)


def write_benchmark(
    results: Mapping[str, Any], predictions: Path, *, find_mistakes: FindMistakes, html: Path, markdown: Path
) -> None:
    """Write the page of a benchmark and its Markdown form.

    results (Mapping): the contents of metrics/benchmark.json.
    predictions (Path): the folder of the predictions, a folder of each system with a file of each set.
    find_mistakes (Callable): names what is wrong in a row of predictions (see `evaluation.mistakes`).
    html (Path): the page, with everything it needs in it.
    markdown (Path): its tables.
    RAISES (UniversalNERError): a file of predictions is damaged.
    """
    rows = list_measured(results)
    arms = name_arms(results, rows)
    files = [(predictions / row["system"] / f"{row['set']}.jsonl", row["title"], arms[_arm(row)]) for row in rows]
    sample = sample_examples(files, find_mistakes, seed=results.get("seed") or 0)
    for path, text in (
        (html, render_html(results, rows, arms, sample)),
        (markdown, render_markdown(results, rows, arms)),
    ):
        with atomic_write(path) as file:
            file.write(text)


def list_measured(results: Mapping[str, Any]) -> list[Row]:
    """The rows that were measured: those without a reason why not."""
    return [row for row in results.get("rows", ()) if not row.get("unread")]


def name_arms(results: Mapping[str, Any], rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """What to call each system under each protocol, in the order of the rows: by its title, if it ran under one."""
    keys = list(dict.fromkeys(map(_arm, rows)))
    known = {system: results.get("systems", {}).get(system, {}).get("title") or system for system, _ in keys}
    titles = list(known.values())
    short = {system: title if titles.count(title) == 1 else f"{title} [{system}]" for system, title in known.items()}
    often = {system for system, _ in keys if sum(other == system for other, _ in keys) > 1}
    return {(s, protocol): f"{short[s]}, {protocol}" if s in often else short[s] for s, protocol in keys}


def render_html(
    results: Mapping[str, Any], rows: Sequence[Row], arms: Mapping[tuple[str, str], str], sample: Sample
) -> str:
    """The page. Its one script is allowed by its hash, and nothing may be loaded. RETURNS (str): HTML."""
    script = render("benchmark.js.jinja").strip()
    return render(
        "benchmark.html.jinja",
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode("utf8")).digest()).decode(),
        headline=list_headline(rows, arms),
        warnings=list_warnings(results, rows),
        means=tabulate_means(rows, arms),
        runs=tabulate_runs(rows, arms),
        unread=tabulate_unread(results),
        scores=tabulate_scores(rows, arms),
        domain_bars=draw_domains(rows, arms),
        domains=tabulate_domains(rows, arms),
        heat=draw_sets(rows, arms),
        type_points=draw_types(rows, arms),
        types=tabulate_types(rows, arms),
        mistake_shares=draw_mistakes(rows, arms),
        mistakes=tabulate_mistakes(rows, arms),
        comparisons=tabulate_comparisons(results),
        sample=sample,
        seed=results.get("seed"),
    )


def render_markdown(results: Mapping[str, Any], rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> str:
    """The tables as Markdown; the page has the pictures and the examples."""
    tables = [
        *tabulate_means(rows, arms),
        tabulate_runs(rows, arms),
        tabulate_unread(results),
        tabulate_scores(rows, arms),
        tabulate_domains(rows, arms),
        tabulate_types(rows, arms),
        tabulate_mistakes(rows, arms),
        tabulate_comparisons(results),
    ]
    warnings = [f"**{warning}**" for warning in list_warnings(results, rows)]
    parts = ["# Benchmark", *warnings, *(format_markdown(table) for table in tables if table.rows)]
    return "\n\n".join(parts) + "\n"


def list_headline(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> list[tuple[str, str, str]]:
    """How much was measured, and the mean of each system."""
    sets = {row["set"] for row in rows}
    measured = ("Data sets", f"{len(sets)} of {SETS}", f"{_plural(len(arms), 'system')} measured")
    numbers = []
    for arm, title in arms.items():
        mine = _of(rows, arm)
        paper = _paper_mean(mine, "uniner")
        beside = f"; UniNER-7B {format_cell(paper)} over the same" if paper is not None else ""
        more = f"mean string F1 of {_plural(len(mine), 'set')}, {arm[1]}{beside}"
        numbers.append((title, format_cell(_mean(mine, "string_f1")), more))
    return [measured, *numbers]


def list_warnings(results: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """What a reader must know before comparing numbers with the paper's."""
    warnings = []
    if limit := results.get("limit"):
        warnings.append(
            f"A sample: at most {limit:,} sentences of each set, drawn with seed {results.get('seed')}, where the "
            "paper has full test splits. Small differences from its numbers may be chance: look at the intervals."
        )
    else:
        other = {row["title"] for row in rows if _sizes_differ(row)}
        if other:
            sets = ", ".join(sorted(other))
            warnings.append(f"Not as many sentences as the paper has, so perhaps not the same ones: {sets}.")
    if not rows:
        warnings.append("Nothing was measured.")
    return warnings


def tabulate_means(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> list[Table]:
    """Means over sets, of all that each system was asked about and of those that all were asked about."""
    tables = [_tabulate_means("Means over sets", rows, arms, MEANS_NOTE)]
    asked = [{row["set"] for row in _of(rows, arm)} for arm in arms]
    common = set.intersection(*asked) if asked else set()
    if common and any(sets != common for sets in asked):
        title = f"Means over the {_plural(len(common), 'set')} that all were asked about"
        tables.append(_tabulate_means(title, [row for row in rows if row["set"] in common], arms))
    return tables


def tabulate_runs(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Table:
    """What each system was asked, and what that took."""
    lines: list[tuple[Cell, ...]] = []
    for arm, title in arms.items():
        mine = _of(rows, arm)
        seconds = _known(mine, "seconds")
        memory = _known(mine, "peak_rss_mb")
        lines.append(
            (
                title,
                arm[1],
                len(mine),
                *(sum(_known(mine, key)) for key in ("sentences", "questions")),
                format_duration(sum(seconds)) if seconds else None,
                float(max(memory)) if memory else None,
            )
        )
    return Table(
        "What was run", ("system", "protocol", "sets", "sentences", "questions", "time", "peak MB of the run"), lines
    )


def tabulate_unread(results: Mapping[str, Any]) -> Table:
    """What was left out, and why."""
    given = [(row["set"], row.get("system"), row["reason"]) for row in results.get("unread", ())]
    in_rows = [(row["set"], row.get("system"), row["unread"]) for row in results.get("rows", ()) if row.get("unread")]
    lines: list[tuple[Cell, ...]] = list(dict.fromkeys([*given, *in_rows]))
    return Table("What was not read, and why", ("set", "system", "reason"), lines)


def tabulate_scores(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Table:
    """One line a set: the scores of each system, and the paper's."""
    lines: list[tuple[Cell, ...]] = []
    for by_arm in _group_sets(rows).values():
        first = next(iter(by_arm.values()))
        scores = (_list_scores(by_arm.get(arm)) for arm in arms)
        counts = (first.get(key) for key in ("sentences", "sentences_paper"))
        paper = (_paper(first, key) for key in PAPER)
        lines.append((first["title"], first["domain"], *counts, *(cell for pair in scores for cell in pair), *paper))
    names = [f"{title}, {what}" for title in arms.values() for what in ("span F1", "string F1")]
    header = ("set", "domain", "sentences", "sentences (paper)", *names, *PAPER.values())
    return Table("Scores by set", header, lines, SCORES_NOTE)


def tabulate_domains(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Table:
    """Means by domain, the paper's over the same sets, and its Figure 5."""
    lines: list[tuple[Cell, ...]] = []
    for domain, found in _group_domains(rows).items():
        for arm, title in arms.items():
            if mine := _of(found, arm):
                ours = (_mean(mine, key) for key in ("span_f1", "string_f1"))
                paper = (_paper_mean(mine, key) for key in ZERO_SHOT)
                printed = FIGURE_5.get(domain, (None, None, None))
                lines.append((domain, title, _share(len(mine), printed[0]), *ours, *paper, *printed[1:]))
    names = [*(PAPER[key] for key in ZERO_SHOT), "ChatGPT, Figure 5", "UniNER-7B, Figure 5"]
    header = ("domain", "system", "sets run", "span F1", "string F1", *names)
    return Table("Means by domain", header, lines, DOMAINS_NOTE)


def tabulate_types(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Table:
    """One line for each set and type: its support, and the F1 of each system."""
    lines: list[tuple[Cell, ...]] = []
    for by_arm in _group_sets(rows).values():
        title = next(iter(by_arm.values()))["title"]
        types = {arm: row.get("per_type") or {} for arm, row in by_arm.items()}
        for name in dict.fromkeys(name for scores in types.values() for name in scores):
            found = [types.get(arm, {}).get(name) for arm in arms]
            support = max(scores["support"] for scores in found if scores)
            lines.append((title, name, support, *(_float(scores and scores["span_f1"]) for scores in found)))
    return Table("Types", ("set", "type", "support", *arms.values()), lines, TYPES_NOTE)


def tabulate_mistakes(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Table:
    """Mistakes by kind, of each set and system."""
    counted = [(row["title"], arms[_arm(row)], _mistakes(row)) for row in rows if row.get("mistakes")]
    kinds = list(dict.fromkeys(kind for *_, counts in counted for kind in counts))
    lines: list[tuple[Cell, ...]] = [
        (*names, *(counts.get(kind, 0) for kind in kinds), sum(counts.values())) for *names, counts in counted
    ]
    return Table("Mistakes by set and system", ("set", "system", *kinds, "all"), lines, MISTAKES_NOTE)


def tabulate_comparisons(results: Mapping[str, Any]) -> Table:
    """Systems two by two on the sentences of a set."""
    titles = {row["set"]: row["title"] for row in results.get("rows", ()) if row.get("title")}
    systems = {name: facts.get("title") or name for name, facts in results.get("systems", {}).items()}
    lines: list[tuple[Cell, ...]] = [
        (
            titles.get(found["set"], found["set"]),
            *(systems.get(found[side], found[side]) for side in ("a", "b")),
            found["metric"].replace("_f1", " F1"),
            Estimate(found["difference"], found["low"], found["high"]),
            "< 0.001" if found["p"] < 0.001 else f"{found['p']:.3f}",
        )
        for found in results.get("comparisons") or ()
    ]
    return Table("Paired differences", ("set", "first", "second", "score", "difference", "p"), lines, COMPARISONS_NOTE)


def draw_domains(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Markup:
    """Means of string F1 by domain as bars, the paper's over the same sets beside them."""
    groups: dict[str, dict[str, float]] = {}
    notes: dict[tuple[str, str], str] = {}
    for domain, found in _group_domains(rows).items():
        sets = [next(iter(by_arm.values())) for by_arm in _group_sets(found).values()]
        group = f"{domain}\n{_share(len(sets), FIGURE_5.get(domain, (None,))[0])}"
        ours = {title: (_of(found, arm), _mean(_of(found, arm), "string_f1")) for arm, title in arms.items()}
        groups[group] = {title: mean for title, (_, mean) in ours.items() if mean is not None}
        groups[group] |= {PAPER[k]: mean for k in ZERO_SHOT if (mean := _paper_mean(sets, k)) is not None}
        notes |= {(group, title): f" of {len(mine)}" for title, (mine, _) in ours.items() if len(mine) < len(sets)}
    paper = [PAPER[key] for key in ZERO_SHOT]
    return draw_groups(groups, xlabel="mean string F1 of the sets that were run", paper=paper, notes=notes)


def draw_sets(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Markup:
    """String F1 of each set and system as a map, the paper's at the right."""
    lines: dict[str, dict[str, float]] = {}
    for by_arm in _group_sets(rows).values():
        first = next(iter(by_arm.values()))
        found = {arms[arm]: row.get("string_f1") for arm, row in by_arm.items()}
        found |= {name: _paper(first, key) for key, name in PAPER.items()}
        lines[first["title"]] = {name: value for name, value in found.items() if value is not None}
    return draw_heat(lines, [*arms.values(), *PAPER.values()] if lines else [], of="String F1")


def draw_types(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Markup:
    """The F1 of each type over how many entities the gold has of it."""
    points = {
        title: [
            (scores["support"], scores["span_f1"])
            for row in _of(rows, arm)
            for scores in (row.get("per_type") or {}).values()
        ]
        for arm, title in arms.items()
    }
    return draw_points(points, xlabel="support of the type", ylabel="span F1")


def draw_mistakes(rows: Sequence[Row], arms: Mapping[tuple[str, str], str]) -> Markup:
    """The kinds of each system's mistakes, over all its sets."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        mine = counts.setdefault(arms[_arm(row)], {})
        for kind, count in _mistakes(row).items():
            mine[kind] = mine.get(kind, 0) + count
    return draw_shares(counts, of="mistakes")


def _tabulate_means(title: str, rows: Sequence[Row], arms: Mapping[tuple[str, str], str], note: str = "") -> Table:
    """The mean of each system, and once more over the paper's sets alone where it was asked about others too."""
    lines: list[tuple[Cell, ...]] = []
    for arm, name in arms.items():
        mine = _of(rows, arm)
        known = [row for row in mine if all(_paper(row, key) is not None for key in PAPER)]
        for label, part in ((name, mine), (f"{name}, the paper's sets", known if len(known) < len(mine) else [])):
            if part:
                ours = (_mean(part, key) for key in ("span_f1", "ents_f1", "string_f1", "partial_f1"))
                lines.append((label, arm[1], len(part), *ours, *(_paper_mean(part, key) for key in PAPER)))
    header = ("system", "protocol", "sets", "span F1", "ents F1", "string F1", "partial F1", *PAPER.values())
    return Table(title, header, lines, note)


def _arm(row: Row) -> tuple[str, str]:
    return row["system"], row["protocol"]


def _of(rows: Iterable[Row], arm: tuple[str, str]) -> list[Row]:
    return [row for row in rows if _arm(row) == arm]


def _group_sets(rows: Iterable[Row]) -> dict[str, dict[tuple[str, str], Row]]:
    """The rows of each set by system and protocol."""
    sets: dict[str, dict[tuple[str, str], Row]] = {}
    for row in rows:
        sets.setdefault(row["set"], {})[_arm(row)] = row
    return sets


def _group_domains(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each domain, the paper's domains first and in its order."""
    names = dict.fromkeys([*FIGURE_5, *(row["domain"] for row in rows)])
    groups = {name: [row for row in rows if row["domain"] == name] for name in names}
    return {name: found for name, found in groups.items() if found}


def _list_scores(row: Row | None) -> tuple[Cell, Cell]:
    """Span F1, with its interval if there is one, and string F1."""
    if row is None:
        return None, None
    span, interval = _float(row.get("span_f1")), row.get("span_interval")
    return (Estimate(span, *interval) if span is not None and interval else span), _float(row.get("string_f1"))


def _mistakes(row: Row) -> dict[str, int]:
    """The counts of a row's mistakes, among which "correct" is none."""
    return {kind: count for kind, count in (row.get("mistakes") or {}).items() if kind != "correct"}


def _paper(row: Row, key: str) -> float | None:
    return _float((row.get("paper") or {}).get(key))


def _paper_mean(rows: Sequence[Row], key: str) -> float | None:
    """The paper's mean over sets; None if it does not have them all."""
    found = [_paper(row, key) for row in rows]
    return fmean(found) if found and None not in found else None


def _mean(rows: Sequence[Row], key: str) -> float | None:
    found = _known(rows, key)
    return fmean(found) if found else None


def _known(rows: Iterable[Row], key: str) -> list[Any]:
    return [row[key] for row in rows if row.get(key) is not None]


def _sizes_differ(row: Row) -> bool:
    ours, paper = row.get("sentences"), row.get("sentences_paper")
    return None not in (ours, paper) and ours != paper


def _share(part: int, whole: int | None) -> str:
    return f"{part} of {whole}" if whole else _plural(part, "set")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
