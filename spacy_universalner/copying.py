"""Answers that name nothing but what stands in the passage."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from .align import edges, find_mentions

BODY = re.compile(r'(?:\\.|[^"\\])*', re.DOTALL)
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]*")
HALF = "\ufffd"  # what tokenizers write for the bytes of a character that is not finished


@dataclass(frozen=True)
class Reading:
    """What was said so far.

    allowed (bool): whether an answer may begin like this.
    begun (str | None): what it said of a mention that is not finished, as it is spelled; None outside of one.
    rest (str): outside of one, what is still to come of the words that are always the same.
    """

    allowed: bool
    begun: str | None = None
    rest: str = ""


class Copying:
    """What an answer about a passage may say: JSON lists of mentions that stand in it, at word edges.

    passage (str): the text.
    literals (Sequence[str]): what stands before, between and after the lists of an answer.
    ascii (bool): whether characters beyond ASCII are escaped in it.
    """

    def __init__(self, passage: str, literals: Sequence[str] = ("", ""), *, ascii: bool = False):
        self.passage = passage.rstrip()  # a mention that ran into white space at the end could not be finished
        self.literals = literals
        self.ascii = ascii
        self._stands = lru_cache(maxsize=None)(self._find)

    def within(self, literals: Sequence[str]) -> "Copying":
        """The same for answers with other words around their lists."""
        if tuple(literals) == tuple(self.literals):
            return self
        return Copying(self.passage, literals, ascii=self.ascii)

    @property
    def is_list(self) -> bool:
        """Whether answers are one list and nothing else."""
        return not any(self.literals)

    def allows(self, answer: str) -> bool:
        """Whether an answer may begin like this."""
        return self._read(answer).allowed

    def begun(self, answer: str) -> str | None:
        """What was said of a mention that is not finished, as it is spelled; None outside of one."""
        return self._read(answer).begun

    def follows(self, answer: str, length: int) -> Iterator[str]:
        """What may follow an answer, so many characters.

        Within a mention what follows in the passage, for each place where it may have begun; outside of one what an
        answer that names more goes on with.
        """
        reading = self._read(answer)
        if reading.begun is None:
            yield reading.rest[:length]
        else:
            yield from (self._text[end : end + length] for end in self._reached(reading.begun))

    def _reached(self, begun: str) -> Iterator[int]:
        """How far the beginning of a mention may have come in what is spelled."""
        yield from self._found(begun)
        known = begun.rstrip(HALF)
        halves = len(begun) - len(known)
        for end in self._found(known) if halves else ():
            beyond = BEYOND_ASCII.match(self._text, end)[0]  # type: ignore[index]  # it matches nothing, too
            if halves < len(beyond.encode("utf8", "surrogatepass")):
                yield end

    def _found(self, begun: str) -> Iterator[int]:
        """Where these characters end in what is spelled, if a mention may begin with them."""
        start = self._text.find(begun)
        while start >= 0:
            if start in self._edges:
                yield start + len(begun)
            start = self._text.find(begun, start + 1)

    @cached_property
    def _spelled(self) -> list[str]:
        return [_spell(char, self.ascii) for char in self.passage]

    @cached_property
    def _text(self) -> str:
        return "".join(self._spelled)

    @cached_property
    def _edges(self) -> frozenset[int]:
        """Where mentions may begin in what is spelled."""
        starts, offset = [], 0
        for char in self._spelled:
            starts.append(offset)
            offset += len(char)
        return frozenset(starts[i] for i in edges(self.passage))

    def _find(self, body: str) -> bool:
        try:
            mention = json.loads(f'"{body}"', strict=False)
        except ValueError:
            return False
        return mention == mention.strip() and bool(find_mentions(self.passage, mention))

    def _read(self, answer: str) -> Reading:
        answer, at = answer.lstrip(), 0
        for literal in self.literals[:-1]:
            at, reading = self._read_list(answer, at, literal + "[")
            if reading is not None:
                return reading
        return _read_fixed(answer[at:], self.literals[-1])

    def _read_list(self, answer: str, at: int, opening: str) -> tuple[int, Reading | None]:
        """Read a list from an offset on.

        opening (str): what it begins with.
        RETURNS (tuple): the offset behind it, and None; or if the answer does not come there, how it is read.
        """
        if not answer.startswith(opening, at):
            return at, _read_fixed(answer[at:], opening)
        at, opening = at + len(opening), '"'
        while not answer.startswith("]", at):
            if not answer.startswith(opening, at):
                return at, _read_fixed(answer[at:], opening)
            at += len(opening)
            end = BODY.match(answer, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if not answer.startswith('"', end):
                begun = answer[at:]
                return at, Reading(any(True for _ in self._reached(begun)), begun)
            if not self._stands(answer[at:end]):
                return at, Reading(False)
            at, opening = end + 1, ', "'
        return at + 1, None


def _read_fixed(said: str, whole: str) -> Reading:
    """Read words that are always the same."""
    return Reading(whole.startswith(said), None, whole[len(said) :])


@lru_cache(maxsize=1 << 12)
def _spell(char: str, ascii: bool) -> str:
    """A character as JSON writes it within quotes."""
    return json.dumps(char, ensure_ascii=ascii)[1:-1]
