"""Entities as BIO tags of words, and long rows of words as windows."""

from collections.abc import Iterable, Iterator, Sequence

Entity = tuple[int, int, str]
OUTSIDE = "O"


def tag_labels(types: Iterable[str]) -> list[str]:
    """The tags for some types: O, then B- and I- of each."""
    return [OUTSIDE, *(f"{prefix}-{name}" for name in dict.fromkeys(types) for prefix in "BI")]


def write_tags(length: int, entities: Iterable[Entity]) -> list[str]:
    """The tags of so many words. ENTITIES (first word, word after the last, type) do not overlap."""
    tags = [OUTSIDE] * length
    for start, end, name in entities:
        tags[start:end] = [f"B-{name}", *[f"I-{name}"] * (end - start - 1)]
    return tags


def read_tags(tags: Sequence[str]) -> Iterator[Entity]:
    """The entities of tags. One that begins with I-, or goes on as another type, begins there."""
    first, current = 0, ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, name = tag.partition("-")
        if current and (prefix != "I" or name != current):
            yield first, i, current
            current = ""
        if name and not current:
            first, current = i, name


def cut_words(sizes: Sequence[int], room: int, overlap: int) -> list[tuple[int, int]]:
    """Windows over words that together hold all of them, in order.

    sizes (Sequence): pieces of each word; one larger than the room is a window of its own, or the last of one.
    room (int): pieces of a window at most.
    overlap (int): words that a window shares with the next, fewer where that one would not get beyond.
    RETURNS (list): (first word, word after the last) of each window.
    """
    windows: list[tuple[int, int]] = []
    first, last = 0, 0
    while last < len(sizes):
        first = max(first + 1, last - overlap) if windows else 0
        while sum(sizes[first : last + 1]) > room and first < last:
            first += 1
        total = sum(sizes[first:last])
        while last < len(sizes) and (last == first or total + sizes[last] <= room):
            total += sizes[last]
            last += 1
        windows.append((first, last))
    return windows


def choose_windows(windows: Sequence[tuple[int, int]], length: int) -> list[int]:
    """For each of so many words, the window that holds most on its shorter side: there it is seen best."""
    best = [-1] * length
    depth = [-1] * length
    for number, (first, last) in enumerate(windows):
        for i in range(first, last):
            left = i - first if first else length
            right = last - 1 - i if last < length else length
            if min(left, right) > depth[i]:
                best[i], depth[i] = number, min(left, right)
    return best
