"""An answer in the making: which token is said next, when it is whole, how sure the student is."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from .copying import HALF, Copying
from .encoding import Encoder
from .parsing import is_whole
from .registry import Answer
from .scoring import Said, score_begun, score_mentions

LIKELY = 64
MIN_SCORE = 0.05  # the best of the default student on its held-out passages (README, "How it is asked")


class Vocabulary:
    """What a tokenizer's tokens can do in an answer.

    encoder (Encoder): the tokenizer and the template.
    """

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        pieces = encoder.tokenizer.get_vocab().items()
        self.marks = frozenset(i for piece, i in pieces if any(mark in piece for mark in '"]}'))
        """Ids of the tokens that may end a mention, a list or an object."""
        self.closers = sorted(i for piece, i in pieces if piece.startswith('"'))
        """Ids of the tokens that end a mention and hold nothing of it."""

    @cached_property
    def _by_piece(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for i, piece in enumerate(self.encoder.pieces):
            found.setdefault(piece, []).append(i)
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.encoder.pieces))

    @cached_property
    def _signs(self) -> list[int]:
        """Ids of the tokens that are more than a part of a mention, and of those that are no whole characters."""
        return [i for i, piece in enumerate(self.encoder.pieces) if any(sign in piece for sign in '[]{}",:' + HALF)]

    def ends(self, ids: Sequence[int], text: str) -> bool:
        """Whether nothing more of an answer would be read, or it goes round in circles and will not end.

        text (str): what these ids say.
        """
        if ids[-1] == self.encoder.end:
            return True
        return ids[-1] in self.marks and (is_whole(text) or self.encoder.template.repeats(text))

    def candidates(self, copying: Copying, answer: str) -> list[int]:
        """Ids of the tokens that may come next, with some that may not."""
        found = set(self._signs)
        begun = copying.begun(answer)
        if begun is not None:
            for rest in copying.follows(begun, self._longest):
                for length in range(1, len(rest) + 1):
                    found.update(self._by_piece.get(rest[:length], ()))
        return sorted(found)


class Answering:
    """The answer to one question.

    vocabulary (Vocabulary): the student's tokens.
    types (Sequence[str]): the types asked for.
    limit (int): longest answer, in tokens.
    copying (Copying): what it may say.
    constrain (bool): hold it to that.
    min_score (float): it ends before a mention of which the student is less sure than this.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        types: Sequence[str],
        *,
        limit: int,
        copying: Copying,
        constrain: bool,
        min_score: float,
    ):
        self.vocabulary = vocabulary
        self.encoder = vocabulary.encoder
        self.types = types
        self.limit = limit
        self.copying = copying
        self.constrain = constrain
        self.min_score = min_score
        self.ids: list[int] = []
        self.text = ""
        self._said: list[Said] = []
        self._closed = 0  # tokens up to the end of the last mention
        self._scores: list[float] = []
        self._cut = False

    def take(self, logits: Any, row: int) -> bool:
        """Say the next token (see decoding.Talk). RETURNS (bool): whether there is more to say."""
        token = logits.best[row]
        if self.constrain and not self._allows(token):
            token = self._pick(logits.values[row])
            if token is None:
                return False
        before = len(self.text.rstrip(HALF))
        self.ids.append(token)
        self.text = self.encoder.decode(self.ids)
        self._said.append(Said(self.text.rstrip(HALF)[before:], logits.probability(row, token), logits.closing[row]))
        return self._is_sure() and len(self.ids) < self.limit and not self.vocabulary.ends(self.ids, self.text)

    def guess(self, count: int) -> list[int]:
        """What may be said next, at most so many tokens: answers copy the passage."""
        if not count or self.text.endswith(HALF):
            return []
        if self.text.endswith('",'):
            return self.encoder.go_on(' "')[:count]
        begun = self.copying.begun(self.text)
        rest = next(self.copying.follows(begun, 12 * count), "") if begun else ""
        return self.encoder.go_on(rest)[:count] if rest else []

    def read(self) -> list[Answer]:
        """What was said about each type."""
        return self.encoder.template.read(self._kept() if self._cut else self.text, self.types, self._scores)

    def _allows(self, token: int) -> bool:
        return token != self.encoder.end and self.copying.allows(self.encoder.decode([*self.ids, token]))

    def _pick(self, values: Any) -> int | None:
        """The likeliest token that may be said; None if there is none, where bytes lead nowhere."""
        likely = values.topk(min(LIKELY, len(values))).indices.tolist()
        found = next(filter(self._allows, likely), None)
        if found is not None:
            return found
        others = self.vocabulary.candidates(self.copying, self.text)
        order = values[others].argsort(descending=True).tolist()
        return next(filter(self._allows, (others[i] for i in order)), None)

    def _is_sure(self) -> bool:
        """Score what was said. RETURNS (bool): False where the mention that was begun is below min_score: it is cut."""
        scores = score_mentions(self._said)
        begun = scores[-1] if len(scores) > len(self._scores) else score_begun(self._said, self._closed)
        if begun < self.min_score and len(self.types) == 1:
            self._cut = True
            return False
        if len(scores) > len(self._scores):
            self._scores, self._closed = scores, len(self._said)
        return True

    def _kept(self) -> str:
        """The answer without the mention that was cut."""
        kept = "".join(token.piece for token in self._said[: self._closed])
        return kept[: kept.rindex('"') + 1] + "]" if kept else "[]"
