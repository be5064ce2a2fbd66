"""What a corpus holds and what the filter left out: the corpus page, and the tables it shares with a run's page."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..corpus.filtering import PAIR_REASONS, REASONS, REPLY_REASONS, RULES
from ..records import atomic_write
from .drawing import draw_histogram
from .page import render
from .tables import Cell, Table, format_cell, percent

SHOWN = 20
"""How many types the tables of head and tail show."""

# Zhou et al. (2023), UniversalNER, table 1: the types by rank, how many they are and their share of all mentions.
PAPER_RANGES = {"top 1%": (130, 74.0), "1\u201110%": (1172, 19.0), "10\u2011100%": (11718, 7.0)}


def write_corpus_page(report: Mapping[str, Any], path: Path, *, rules: Collection[str] = RULES) -> None:
    """Write the page of a corpus.

    report (Mapping): the filter's report, as its file holds it.
    path (Path): the page, with everything it needs in it.
    rules (Collection[str]): the filter's rules that applied.
    """
    with atomic_write(path) as file:
        file.write(render_corpus(report, rules=rules))


def render_corpus(report: Mapping[str, Any], *, rules: Collection[str] = RULES) -> str:
    """The page: no script, no style, font or picture from elsewhere. RETURNS (str): HTML."""
    lengths, entities = (_read_sizes(report[key]) for key in ("passage_tokens", "entities_per_passage"))
    return render(
        "corpus.html.jinja",
        headline=list_counts(report),
        outcome=tabulate_outcome(report),
        ranges=tabulate_ranges(report["type_counts"]),
        types=tabulate_ends(report["type_counts"]),
        histograms=[
            (
                draw_histogram(lengths, of="passages", per="words and punctuation marks"),
                f"Length of all passages that were labelled, {describe_sizes(lengths)}.",
            ),
            (
                draw_histogram(entities, of="passages", per="entities kept"),
                f"Entities of the passages kept, {describe_sizes(entities)}.",
            ),
        ],
        domains=tabulate_domains(report),
        reasons=tabulate_reasons(report, rules=rules),
        examples=[tabulate_examples(reason, report) for reason in REASONS if report["rejected"].get(reason)],
    )


def list_counts(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The three numbers to see first: (what, number, more)."""
    replies, records, mentions = (report[key] for key in ("replies", "records", "mentions"))
    each = format_cell(mentions / records if records else None)
    return [
        ("Passages kept", format_cell(records), f"of {format_cell(replies)} labelled"),
        ("Entities kept", format_cell(mentions), f"of {format_cell(report['pairs'])} listed, {each} a passage"),
        ("Entity types", format_cell(report["types"]), "as the teacher names them"),
    ]


def tabulate_outcome(report: Mapping[str, Any]) -> Table:
    """What became of the replies and of the pairs in them."""
    rows: list[tuple[Cell, ...]] = []
    for what, read, kept in (("replies", "replies", "records"), ("pairs", "pairs", "mentions")):
        total, left = report[read], report[kept]
        rows.append((what, total, left, percent(left, total), total - left, percent(total - left, total)))
    note = "Pairs are those of the replies that were read: of a reply dropped unread, none is counted."
    return Table("Outcome", ("what", "read", "kept", "% kept", "dropped", "% dropped"), rows, note)


def tabulate_shares(counts: Mapping[str, int]) -> Table:
    """How much of all mentions the frequent, middling and rare types hold, beside the paper."""
    total = sum(counts.values())
    rows = [
        (name, len(group), percent(sum(count for _, count in group), total), PAPER_RANGES[name][1])
        for name, group in split_ranks(counts).items()
    ]
    header = ("rank", "types", "% of mentions", "% in the paper")
    return Table("Head and tail", header, rows, "The first group holds at least one type.")


def tabulate_ranges(counts: Mapping[str, int], *, shown: int = 10) -> Table:
    """The paper's table 1 of this corpus: types by rank, with examples of each range."""
    total = sum(counts.values())
    rows = [
        (
            name,
            percent(sum(count for _, count in group), total),
            PAPER_RANGES[name][1],
            len(group),
            PAPER_RANGES[name][0],
            ", ".join(_spread([type_ for type_, _ in group], shown)),
        )
        for name, group in split_ranks(counts).items()
    ]
    header = ("rank", "% of mentions", "% in the paper", "types", "types in the paper", "examples")
    note = (
        "The paper's numbers are of Pile-NER-type (Zhou et al., table 1). Examples stand at even steps through their "
        "range; the first range holds at least one type."
    )
    return Table("Head and tail", header, rows, note)


def tabulate_ends(counts: Mapping[str, int]) -> list[Table]:
    """The most and the least frequent types."""
    ranked, total = rank_counts(counts), sum(counts.values())
    tail = ranked[SHOWN:][-SHOWN:]
    return [tabulate_types("Head", ranked[:SHOWN], total), tabulate_types("Tail", tail, total)]


def tabulate_types(title: str, ranked: Sequence[tuple[str, int]], total: int) -> Table:
    """Types with their counts and shares."""
    rows = [(name, count, percent(count, total, digits=2)) for name, count in ranked]
    return Table(title, ("type", "mentions", "% of mentions"), rows)


def tabulate_rejected(corpus: Mapping[str, Any]) -> Table:
    """Why mentions and replies were left out, with examples."""
    total, examples = sum(corpus["rejected"].values()), corpus.get("examples", {})
    rows = [
        (reason, count, percent(count, total), "; ".join(map(_describe, examples.get(reason, [])[:3])))
        for reason, count in rank_counts(corpus["rejected"])
    ]
    return Table("Rejected by reason", ("reason", "count", "%", "examples: entity (type), passage"), rows)


def tabulate_reasons(report: Mapping[str, Any], *, rules: Collection[str] = RULES) -> Table:
    """Every reason to leave something out, also those that did not occur or did not apply."""
    rows: list[tuple[Cell, ...]] = []
    for what, total, reasons in (("reply", "replies", REPLY_REASONS), ("pair", "pairs", PAIR_REASONS)):
        for reason, meaning in reasons.items():
            off = "; this rule was off" if reason in RULES and reason not in rules else ""
            count = report["rejected"].get(reason, 0)
            rows.append((reason, what, count, percent(count, report[total], digits=2), f"{meaning}{off}"))
    note = "Shares are of all replies, and of the pairs in those that were read."
    return Table("Rejected by reason", ("reason", "drops a", "count", "%", "meaning"), rows, note)


def tabulate_examples(reason: str, report: Mapping[str, Any]) -> Table:
    """What was left out for one reason, with the place in the passage or the reply that shows it."""
    found = report.get("examples", {}).get(reason, [])
    title = f"{reason}: {len(found)} of {format_cell(report['rejected'][reason])}"
    if reason in REPLY_REASONS:
        return Table(
            title,
            ("passage", "reply; its passage where it is empty"),
            [(row["passage_id"], row["snippet"]) for row in found],
        )
    keys = ("passage_id", "entity", "type", "snippet")
    return Table(title, ("passage", "entity", "type", "in the passage"), [tuple(row[k] for k in keys) for row in found])


def tabulate_domains(corpus: Mapping[str, Any]) -> Table:
    """Passages by domain."""
    return Table("Domains", ("domain", "passages"), list(rank_counts(corpus.get("domains") or {})))


def split_ranks(counts: Mapping[str, int]) -> dict[str, list[tuple[str, int]]]:
    """Types with their counts in the paper's three ranges of rank, the first of which is not empty if there are any."""
    ranked = rank_counts(counts)
    first, second = (-(-len(ranked) // parts) for parts in (100, 10))
    return dict(zip(PAPER_RANGES, (ranked[:first], ranked[first:second], ranked[second:]), strict=True))


def rank_counts(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Names with their counts, the most frequent first, ties by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def describe_sizes(counts: Mapping[int, int]) -> str:
    """Mean, median and ends of what a histogram counts."""
    if not counts:
        return "none counted"
    total = sum(counts.values())
    mean = sum(size * count for size, count in counts.items()) / total
    return f"mean {mean:.1f}, median {_median(counts, total)}, from {min(counts)} to {max(counts):,}"


def _spread(items: Sequence[str], count: int) -> list[str]:
    """Some of many, at even steps."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _median(counts: Mapping[int, int], total: int) -> int:
    """The lower median of sizes that are counted, not listed."""
    seen = 0
    for size in sorted(counts):
        seen += counts[size]
        if 2 * seen >= total:
            break
    return size


def _read_sizes(counts: Mapping[str, int]) -> dict[int, int]:
    """Sizes are strings where JSON has held them."""
    return {int(size): count for size, count in counts.items()}


def _describe(example: Mapping[str, Any]) -> str:
    entity, type_ = example.get("entity"), example.get("type")
    what = f"{entity} ({type_})" if entity or type_ else "the whole reply"
    return f"{what}, {example.get('passage_id')}"
