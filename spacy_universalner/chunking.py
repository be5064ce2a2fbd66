"""Cutting long texts into passages."""

import re
from bisect import bisect_left
from collections.abc import Iterator

from .errors import Errors, UniversalNERError

TOKEN = re.compile(r"\w+|[^\w\s]")
SENTENCE_END = re.compile(r"""[.!?…]["'”’»)\]}]*(?=\s)|[。！？]["'”’」』）)\]]*|\n""")
CHARS_PER_TOKEN = 6


def chunk(text: str, max_tokens: int, *, max_chars: int = 0) -> list[tuple[int, int]]:
    """Cut a text into pieces that together hold everything visible in it, in order.

    A piece ends at the last sentence end that fits, else at white space, else anywhere.

    text (str): the text.
    max_tokens (int): longest piece, in words and punctuation marks.
    max_chars (int): longest piece, in characters; 0 for 6 per token. Holds where one word is longer than a passage.
    RETURNS (list): (start, end) character offsets, with no white space at either end of a piece.
    RAISES (UniversalNERError): max_tokens is below 1.
    """
    if max_tokens < 1:
        raise UniversalNERError(Errors.U008.format(name="max_tokens", got=max_tokens))
    max_chars = max_chars or CHARS_PER_TOKEN * max_tokens
    tokens = list(_tokens(text, max_chars))
    starts = [start for start, _ in tokens]
    sentence_ends = {bisect_left(starts, match.end()) for match in SENTENCE_END.finditer(text)}
    spans, first = [], 0
    while first < len(tokens):
        room = bisect_left(tokens, starts[first] + max_chars + 1, first, key=lambda token: token[1])
        last = _cut(tokens, first, min(room, first + max_tokens), sentence_ends)
        spans.append((tokens[first][0], tokens[last - 1][1]))
        first = last
    return spans


def _tokens(text: str, max_chars: int) -> Iterator[tuple[int, int]]:
    """Offsets of words and punctuation marks; a word too long for any piece comes in parts."""
    for match in TOKEN.finditer(text):
        start, end = match.span()
        for part in range(start, end, max_chars):
            yield part, min(part + max_chars, end)


def _cut(tokens: list[tuple[int, int]], first: int, last: int, sentence_ends: set[int]) -> int:
    """The token before which the piece that begins at `first` ends; `last` is as far as it may go."""
    if last == len(tokens):
        return last
    for cut in range(last, first, -1):
        if cut in sentence_ends:
            return cut
    for cut in range(last, first, -1):
        if tokens[cut - 1][1] < tokens[cut][0]:
            return cut
    return last
