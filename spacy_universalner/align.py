"""Where mentions stand in a text. The one place that turns a surface form into offsets, and chooses among spans."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

# Thai, Lao, Burmese, Khmer, Japanese and Chinese are written without spaces: their words have no visible edges.
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def find_mentions(text: str, mention: str) -> list[tuple[int, int]]:
    """All places where a mention stands in a text, at word edges where its own edge is a word character.

    The text itself is searched, never a lower-cased copy, whose offsets can move ("İ" is two characters lower-cased).

    text (str): the passage.
    mention (str): the surface form; white space around it is ignored.
    RETURNS (list): (start, end) character offsets, in reading order, not overlapping one another.
    """
    mention = mention.strip()
    found: list[tuple[int, int]] = []
    start = text.find(mention) if mention else -1
    while start >= 0:
        end = start + len(mention)
        whole = not _in_word(text, start) and not _in_word(text, end)
        if whole:
            found.append((start, end))
        start = text.find(mention, end if whole else start + 1)
    return found


def edges(text: str) -> list[int]:
    """Offsets at which a mention may begin: those of visible characters, where a word is not cut."""
    return [i for i, char in enumerate(text) if not char.isspace() and not _in_word(text, i)]


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


def choose_flat(scores: Mapping[tuple[int, int, str], float | None]) -> list[tuple[int, int, str]]:
    """Spans that do not overlap: the highest score first, then the longest, the first in the text, and by type.

    scores (Mapping): by (start, end, type), in tokens or characters; None counts as 0.
    """
    chosen: list[tuple[int, int, str]] = []
    taken: set[int] = set()
    for span in sorted(scores, key=lambda span: (-(scores[span] or 0.0), span[0] - span[1], *span)):
        places = range(*span[:2])
        if taken.isdisjoint(places):
            chosen.append(span)
            taken.update(places)
    return chosen


def _in_word(text: str, offset: int) -> bool:
    return 0 < offset < len(text) and _is_word(text[offset - 1]) and _is_word(text[offset])


def _is_word(char: str) -> bool:
    """Letters, digits, the underscore, and the marks written on or after a letter (accents, Indic vowels)."""
    if char.isalnum() or char == "_":
        return not UNSPACED.match(char)
    return unicodedata.category(char).startswith("M")
