"""Answers that name nothing but what stands in the passage."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

from .align import edges, find_mentions

BODY = re.compile(r'(?:\\.|[^"\\])*', re.DOTALL)
HALF = "\ufffd"  # what tokenizers write for the bytes of a character that is not finished


class Copying:
    """What an answer about a passage may say: JSON lists of mentions that stand in it, at word edges.

    passage (str): the text.
    literals (Sequence[str]): what stands before, between and after the lists of an answer.
    ascii (bool): whether characters beyond ASCII are escaped in it.
    """

    def __init__(self, passage: str, literals: Sequence[str] = ("", ""), *, ascii: bool = False):
        self.passage = passage
        self.literals = literals
        self.ascii = ascii
        self._stands = lru_cache(maxsize=None)(self._find)

    def within(self, literals: Sequence[str]) -> "Copying":
        """The same for answers with other words around their lists."""
        if tuple(literals) == tuple(self.literals):
            return self
        return Copying(self.passage, literals, ascii=self.ascii)

    def allows(self, answer: str) -> bool:
        """Whether an answer may begin like this."""
        return self._read(answer)[0]

    def begun(self, answer: str) -> str | None:
        """What was said of a mention that is not finished, as it is spelled; None outside of one."""
        return self._read(answer)[1]

    def follows(self, begun: str, length: int) -> Iterator[str]:
        """What may follow the beginning of a mention, so many characters, for each place where it may have begun."""
        begun = begun.rstrip(HALF)
        start = self._text.find(begun)
        while start >= 0:
            if start in self._edges:
                yield self._text[start + len(begun) : start + len(begun) + length]
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

    def _read(self, answer: str) -> tuple[bool, str | None]:
        """Whether an answer may begin like this, and what it said of a mention that is not finished."""
        answer, at = answer.lstrip(), 0
        for literal in self.literals[:-1]:
            said = answer[at : at + len(literal)]
            if said != literal:
                return literal.startswith(said), None
            at, begun = self._read_list(answer, at + len(literal))
            if at < 0 or begun is not None:
                return at >= 0, begun
        return self.literals[-1].startswith(answer[at:]), None

    def _read_list(self, answer: str, at: int) -> tuple[int, str | None]:
        """Read a list from an offset on.

        RETURNS (tuple): the offset behind it or of the end of the answer, -1 if it may not go like this; and what was
            said of a mention that is not finished.
        """
        if not answer[at : at + 1] == "[":
            return (at if at == len(answer) else -1), None
        at += 1
        opening = '"'
        while not answer.startswith("]", at):
            said = answer[at : at + len(opening)]
            if said != opening:
                return (len(answer) if opening.startswith(said) else -1), None
            at += len(opening)
            end = BODY.match(answer, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if not answer.startswith('"', end):
                begun = answer[at:]
                return (len(answer) if any(True for _ in self.follows(begun, 0)) else -1), begun
            if not self._stands(answer[at:end]):
                return -1, None
            at, opening = end + 1, ', "'
        return at + 1, None


@lru_cache(maxsize=1 << 12)
def _spell(char: str, ascii: bool) -> str:
    """A character as JSON writes it within quotes."""
    return json.dumps(char, ensure_ascii=ascii)[1:-1]
