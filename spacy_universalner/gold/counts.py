"""Counting what data sets hold, beside what the paper and its authors' released test files say they hold."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wasabi import table

from ..errors import UniversalNERError
from .datasets import SPLITS, DataSet
from .formats import SetAside
from .readers import Example, load
from .strings import normalise

LEFT_OUT = "left out: "
RELEASED: Mapping[str, dict[str, int]] = {
    "ai": {"sentences": 431, "questions": 5603, "mentions": 1624, "distinct": 1603},
    "literature": {"sentences": 416, "questions": 4576, "mentions": 2025, "distinct": 1980},
    "music": {"sentences": 465, "questions": 5580, "mentions": 3163, "distinct": 3122},
    "politics": {"sentences": 650, "questions": 5200, "mentions": 3943, "distinct": 3893},
    "science": {"sentences": 543, "questions": 8688, "mentions": 2568, "distinct": 2529},
    "restaurant": {"sentences": 1520, "questions": 12160, "mentions": 3150, "distinct": 3149},
}
"""What the released test files hold (universalner.md, section 5)."""


def count_set(dataset: DataSet, folder: Path) -> dict[str, Any]:
    """Count the sentences, mentions and questions of all splits of a set.

    dataset (DataSet): the set.
    folder (Path): the benchmark folder.
    RETURNS (dict): its name, its note and under "splits" what `count_split` gives for each split, with the paper's
        number of sentences and the difference; a split that cannot be read has the reason under "unread".
    """
    splits = {}
    for split in (split for split in SPLITS if dataset.files.get(split) or split in dataset.sentences):
        paper = dataset.sentences.get(split)
        try:
            counts = count_split(dataset, folder, split)
            splits[split] = {**counts, "paper": paper, "difference": paper and counts["sentences"] - paper}
        except UniversalNERError as err:
            splits[split] = {"unread": str(err), "paper": paper}
    return {"set": dataset.name, "splits": splits, "note": dataset.note}


def count_split(dataset: DataSet, folder: Path, split: str) -> dict[str, Any]:
    """Count what a split holds.

    RETURNS (dict): sentences; those with entities; mentions of types that are asked for, as annotated and as distinct
        strings of a question (those that the released scorer tells apart); mentions whose tag is left out; questions;
        what the reader set aside. Of a test split that was released also what the released file holds, and what is left
        of ours without what it lacks (see `as_released`).
    RAISES (UniversalNERError): as `readers.load`.
    """
    set_aside = SetAside()
    marked = {tag: words or f"{LEFT_OUT}{tag}" for tag, words in dataset.labels.items()}
    examples = [
        replace(example, types=dataset.types)
        for example in load(replace(dataset, labels=marked), folder, split=split, set_aside=set_aside)
    ]
    counts = {**count_examples(examples), "set_aside": dict(+set_aside)}
    if split != "test" or dataset.name not in RELEASED:
        return counts
    kept = count_examples(as_released(examples, dataset.name))
    return {**counts, "released": RELEASED[dataset.name], "as_released": {key: kept[key] for key in RELEASED["ai"]}}


def count_examples(examples: Sequence[Example]) -> dict[str, int]:
    """Counts of examples; what is not among their types is left out."""
    asked = [{span for span in e.spans if not span[2].startswith(LEFT_OUT)} for e in examples]
    strings = (
        {(normalise(e.text[a:b]), type_) for a, b, type_ in spans} for e, spans in zip(examples, asked, strict=True)
    )
    return {
        "sentences": len(examples),
        "with_entities": sum(map(bool, asked)),
        "mentions": sum(map(len, asked)),
        "distinct": sum(map(len, strings)),
        "left_out": sum(len(e.spans) for e in examples) - sum(map(len, asked)),
        "questions": sum(len(e.types) for e in examples),
    }


def as_released(examples: Sequence[Example], name: str) -> list[Example]:
    """Test sentences without what the released files lack.

    The last sentences of politics and restaurant are lost there, and in CrossNER's sets the mentions that end at the
    last token of a sentence.
    """
    kept = list(examples[:-1] if name in ("politics", "restaurant") else examples)
    if name == "restaurant":
        return kept
    return [replace(e, spans=frozenset(span for span in e.spans if span[1] < len(e.text))) for e in kept]


def format_counts(rows: Iterable[Mapping[str, Any]]) -> str:
    """A table of the counts of sets: a line for each split, as `count_set` gives them."""
    header = ("set", "split", "sentences", "paper", "difference", "mentions", "distinct", "left out", "questions")
    lines, rows = [], list(rows)
    for row in rows:
        for split, counts in row["splits"].items():
            cells = [counts.get(key, "–") for key in ("sentences", "paper", "difference", "mentions", "distinct")]
            cells += [counts.get(key, "–") for key in ("left_out", "questions")]
            lines.append((row["set"], split, *("–" if cell is None else cell for cell in cells)))
    notes = [line for row in rows for line in _explain(row)]
    shown = table(lines, header=header, divider=True, aligns=("l", "l", *"r" * (len(header) - 2)))
    return "\n".join([shown, *notes])


def _explain(row: Mapping[str, Any]) -> Iterator[str]:
    """What a table has no room for: the set's note, what its files have and cannot be used, why a split is not read."""
    if row["note"]:
        yield f"{row['set']}: {' '.join(row['note'].split())}"
    for split, counts in row["splits"].items():
        if "unread" in counts:
            yield f"{row['set']} {split} was not read: {counts['unread']}"
        if counts.get("set_aside"):
            told = ", ".join(f"{number} {what}" for what, number in counts["set_aside"].items())
            yield f"{row['set']} {split}, set aside: {told}"
