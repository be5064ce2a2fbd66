"""Parts of a file that is published whole, as the `datasets` library spells them: `recipes.csv[80%:90%]`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
SLICE = re.compile(r"(?P<path>.*)\[(?P<first>\d+%?)?:(?P<last>\d+%?)?\]")


@dataclass(frozen=True)
class Slice:
    """From one edge to another: numbers ("500"), shares ("80%"), or None for the first or last edge."""

    first: str | None
    last: str | None

    def take(self, items: Sequence[T]) -> Sequence[T]:
        """This part of a sequence; a share ends before the item it falls into."""
        return items[_count(self.first, len(items)) : _count(self.last, len(items))]


def split_slice(file: str) -> tuple[str, Slice | None]:
    """A file's path, and the part of it that is meant; None for all of it."""
    match = SLICE.fullmatch(file)
    return (match["path"], Slice(match["first"], match["last"])) if match else (file, None)


def _count(edge: str | None, size: int) -> int | None:
    if edge is None:
        return None
    return size * int(edge[:-1]) // 100 if edge.endswith("%") else int(edge)
