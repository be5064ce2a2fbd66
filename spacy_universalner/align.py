"""Where mentions stand in a text. The one place that turns a surface form into offsets."""

import re
from collections.abc import Iterable


def find_mentions(text: str, mention: str) -> list[tuple[int, int]]:
    """All places where a mention stands in a text, at word edges where its own edge is a word character.

    The text itself is searched, never a lower-cased copy, whose offsets can move ("İ" is two characters lower-cased).

    text (str): the passage.
    mention (str): the surface form; white space around it is ignored.
    RETURNS (list): (start, end) character offsets, in reading order, not overlapping one another.
    """
    mention = mention.strip()
    if not mention:
        return []
    left = r"(?<!\w)" if re.match(r"\w", mention) else ""
    right = r"(?!\w)" if re.search(r"\w\Z", mention) else ""
    return [match.span() for match in re.finditer(left + re.escape(mention) + right, text)]


def place(text: str, mentions: Iterable[str]) -> tuple[list[tuple[int, int]], list[str]]:
    """Place every mention of an answer.

    RETURNS (tuple): the distinct (start, end) offsets in reading order, and the mentions that stand nowhere.
    """
    spans: set[tuple[int, int]] = set()
    lost: list[str] = []
    for mention in dict.fromkeys(mentions):
        found = find_mentions(text, mention)
        spans.update(found)
        if not found:
            lost.append(mention)
    return sorted(spans), lost
