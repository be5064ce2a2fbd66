"""Cutting long texts into passages."""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

from .errors import Errors, UniversalNERError

TOKEN = re.compile(r"\w+|[^\w\s]")
SENTENCE_END = re.compile(r"""[.!?…]["'”’»)\]}]*(?=\s)|[。！？]["'”’」』）)\]]*|\n""")
CHARS_PER_TOKEN = 6
JOINER = "\u200d"
JOINING = {JOINER, *map(chr, range(0x1F3FB, 0x1F400))}  # and skin tones
FLAGS = re.compile("[\U0001f1e6-\U0001f1ff]*")  # letters, two of which are a flag


def chunk(text: str, max_tokens: int, *, max_chars: int = 0, overlap: int = 0) -> list[tuple[int, int]]:
    """Cut a text into pieces that together hold everything visible in it, in order.

    A piece ends at the last sentence end that fits, else at white space, else between two characters. With an overlap,
    it begins at the earliest sentence start among the last tokens of the piece before, else at white space there: a
    name that a piece cuts through is whole in the next one. Less is repeated where the next sentence would not fit.

    text (str): the text.
    max_tokens (int): longest piece, in words and punctuation marks.
    max_chars (int): longest piece, in characters; 0 for 6 per token. Holds where one word is longer than a passage.
    overlap (int): tokens of a piece that the next one may repeat, at most; a quarter of max_tokens where it is more.
    RETURNS (list): (start, end) character offsets, with no white space at either end of a piece.
    RAISES (UniversalNERError): max_tokens is below 1, overlap is below 0.
    """
    if max_tokens < 1:
        raise UniversalNERError(Errors.U008.format(name="max_tokens", got=max_tokens))
    if overlap < 0:
        raise UniversalNERError(Errors.U190.format(got=overlap))
    tokens = _Tokens(text, max_tokens, max_chars or CHARS_PER_TOKEN * max_tokens, min(overlap, max_tokens // 4))
    spans, first, last = [], 0, 0
    while last < len(tokens):
        first = tokens.begin(first, last)
        last = tokens.cut(first, last)
        spans.append((tokens.starts[first], tokens.ends[last - 1]))
    return spans


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Cut a text behind every sentence end.

    RETURNS (list): (start, end) character offsets of what is visible, with no white space at either end of a piece.
    """
    edges = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    pieces = ((start, text[start:end]) for start, end in pairwise(edges))
    return [
        (start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()))
        for start, piece in pieces
        if piece.strip()
    ]


class _Tokens:
    """The words and punctuation marks of a text, as offsets, and where its sentences end.

    In arrays: a million of them take 16 MB, where tuples would take 130.

    text (str): the text.
    max_tokens, max_chars (int): longest piece.
    overlap (int): tokens that the next piece may repeat.
    """

    def __init__(self, text: str, max_tokens: int, max_chars: int, overlap: int):
        self.text = text
        self.max_tokens, self.max_chars = max_tokens, max_chars
        self.overlap, self.overlap_chars = overlap, max_chars * overlap // max_tokens
        self.starts, self.ends = array("q"), array("q")
        for start, end in self._find():
            self.starts.append(start)
            self.ends.append(end)
        self.stops = array("q", [0])
        for match in SENTENCE_END.finditer(text):
            stop = bisect_left(self.starts, match.end(), self.stops[-1])
            if stop > self.stops[-1]:
                self.stops.append(stop)

    def __len__(self) -> int:
        return len(self.starts)

    def begin(self, first: int, last: int) -> int:
        """The token at which the piece begins that follows the one from `first` to `last`."""
        if not self.overlap or not last:
            return last
        near = bisect_left(self.starts, self.ends[last - 1] - self.overlap_chars, first + 1, last)
        low = self._late_enough(max(near, last - self.overlap), last)
        stop = self._stop_after(low - 1)
        if stop < last:
            return stop
        spaced = (i for i in range(low, last) if self._is_spaced(i))
        return next(spaced, last if self._is_spaced(last) else self._apart(range(low, last), first, last))

    def cut(self, first: int, last: int) -> int:
        """The token before which the piece that begins at `first` ends, so that it holds the one at `last` too."""
        room = self._reach(first)
        if room == len(self):
            return room
        stop = self.stops[bisect_right(self.stops, room) - 1]
        if stop > last:
            return stop
        places = range(room, last, -1)
        return next((i for i in places if self._is_spaced(i)), None) or self._apart(places, first, room)

    def _find(self) -> Iterator[tuple[int, int]]:
        """Offsets of words and punctuation marks; a word too long for any piece comes in parts."""
        for match in TOKEN.finditer(self.text):
            start, end = match.span()
            size = end - start if end - start <= self.max_chars else self.overlap_chars or self.max_chars
            for part in range(start, end, size):
                yield part, min(part + size, end)

    def _reach(self, first: int) -> int:
        """The token before which a piece that begins at `first` ends at the latest."""
        return min(first + self.max_tokens, bisect_right(self.ends, self.starts[first] + self.max_chars, first))

    def _late_enough(self, low: int, last: int) -> int:
        """The first token from `low` on from where the sentence after `last` fits, or of one too long some more."""
        stop = self._stop_after(last)
        needed = stop if self._reach(last) >= stop else last + 1
        return next(i for i in range(low, last + 1) if self._reach(i) >= needed)

    def _stop_after(self, number: int) -> int:
        """The next token before which a sentence ends."""
        place = bisect_right(self.stops, number)
        return self.stops[place] if place < len(self.stops) else len(self)

    def _is_spaced(self, number: int) -> bool:
        return self.ends[number - 1] < self.starts[number]

    def _apart(self, numbers: Iterable[int], first: int, otherwise: int) -> int:
        """The first token that begins a character as a reader sees it, not an accent, a skin tone or half a flag."""
        return next((i for i in numbers if not self._is_joined(i, first)), otherwise)

    def _is_joined(self, number: int, first: int) -> bool:
        start = self.starts[number]
        char, before = self.text[start], self.text[self.starts[first] : start]
        if FLAGS.fullmatch(char):
            return len(FLAGS.match(before[::-1])[0]) % 2 == 1
        return char in JOINING or before.endswith(JOINER) or unicodedata.category(char).startswith("M")
