"""Passages that a system got wrong, drawn at random, for a page to show."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import nsmallest
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Protocol

from markupsafe import Markup

from ..records import read_rows
from .drawing import draw_spans

PER_SET = 24
SIZE = 1_200_000
LONGEST = 2_000


class Mistake(Protocol):
    """A mistake of a kind: the gold's entity and the predicted one, (start, end, type) each, or one of them None."""

    @property
    def kind(self) -> str: ...
    @property
    def gold(self) -> Sequence[Any] | None: ...
    @property
    def predicted(self) -> Sequence[Any] | None: ...


FindMistakes = Callable[[Mapping[str, Any]], Iterable[Mistake]]


@dataclass(frozen=True)
class Example:
    """A passage with what was said wrongly about it.

    set, system (str): the titles of its data set and of the system that was asked.
    id (str): the passage's.
    gold, predicted (Markup): the passage with either entities.
    mistakes (list): (kind, type, in words) of each mistake.
    incomplete (list): the types whose answer came to no end.
    """

    set: str
    system: str
    id: str
    gold: Markup
    predicted: Markup
    mistakes: list[tuple[str, str, str]]
    incomplete: list[str]

    @property
    def marks(self) -> list[list[str]]:
        """What it may be found by: each kind and type of its mistakes, once."""
        return [list(mark) for mark in sorted({(kind, type_) for kind, type_, _ in self.mistakes})]


@dataclass
class Sample:
    """Examples, and what they were drawn from.

    examples (list): by set and system, in the order of the results.
    wrong (int): how many passages had a mistake.
    long (int): how many of them are too long for a page, and were not drawn from.
    missing (list): the files of predictions that are not there.
    """

    examples: list[Example] = field(default_factory=list)
    wrong: int = 0
    long: int = 0
    missing: list[str] = field(default_factory=list)


def sample_examples(
    asked: Sequence[tuple[Path, str, str]],
    find_mistakes: FindMistakes,
    *,
    seed: int,
    per_set: int = PER_SET,
    size: int = SIZE,
    longest: int = LONGEST,
) -> Sample:
    """Draw passages with mistakes: as many of each set and system as there is room for.

    Which passages are drawn hangs on their ids alone, so systems that err on the same passage are shown on it.

    asked (Sequence): the file of predictions of a set and a system, and the titles of both.
    find_mistakes (Callable): names what is wrong in a row of predictions.
    seed (int): seed of the sample.
    per_set (int): passages of a set at most, shared among its systems.
    size (int): characters of HTML at most, of all passages.
    longest (int): characters of a passage at most.
    RETURNS (Sample): the passages, and what there was.
    RAISES (UniversalNERError): a file is damaged.
    """
    sample = Sample()
    titles = [title for _, title, _ in asked]
    drawn: list[list[tuple[int, Mapping[str, Any]]]] = []
    for i, (path, title, _) in enumerate(asked):
        quota = max(1, per_set // titles.count(title))
        rows = nsmallest(quota, _list_wrong(path, longest, sample), key=lambda row: _rank(seed, row["id"]))
        drawn.append([(i, row) for row in rows])
    found: list[tuple[int, Example]] = []
    for i, row in filter(None, chain.from_iterable(zip_longest(*drawn))):
        if size <= 0:
            break
        found.append((i, make_example(row, find_mistakes, title=asked[i][1], system=asked[i][2])))
        size -= len(found[-1][1].gold) + len(found[-1][1].predicted)
    sample.examples = [example for _, example in sorted(found, key=lambda pair: pair[0])]
    return sample


def make_example(row: Mapping[str, Any], find_mistakes: FindMistakes, *, title: str, system: str) -> Example:
    """A row of predictions as a passage to show."""
    return Example(
        set=title,
        system=system,
        id=row["id"],
        gold=draw_spans(row["text"], row["gold"]),
        predicted=draw_spans(row["text"], row["predicted"]),
        mistakes=[_describe(row["text"], mistake) for mistake in find_mistakes(row)],
        incomplete=list(row.get("incomplete", ())),
    )


def _list_wrong(path: Path, longest: int, sample: Sample) -> Iterator[Mapping[str, Any]]:
    """The rows of a file whose spans are not the gold's; counts them."""
    if not path.is_file():
        sample.missing.append(str(path))
        return
    for _, row in read_rows(path):
        gold, predicted = ({tuple(span) for span in row[key]} for key in ("gold", "predicted"))
        if gold == predicted:
            continue
        sample.wrong += 1
        if len(row["text"]) > longest:
            sample.long += 1
            continue
        yield row


def _rank(seed: int, id_: str) -> bytes:
    return sha256(f"{seed} {id_}".encode()).digest()


def _describe(text: str, mistake: Mistake) -> tuple[str, str, str]:
    """A mistake's kind, its type (the gold's where both sides have one), and what was said instead of what."""
    said, meant = (_quote(text, span) if span else "" for span in (mistake.predicted, mistake.gold))
    words = f"{said}, gold: {meant}" if said and meant else said or meant
    return mistake.kind, (mistake.gold or mistake.predicted or ("", "", ""))[2], words


def _quote(text: str, span: Sequence[Any]) -> str:
    start, end, type_ = span
    return f"“{text[start:end]}” {type_}"
