"""An answer in the making: which token is said next, when it is whole, how sure the student is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from .copying import HALF, Copying
from .encoding import Encoder
from .errors import Errors, UniversalNERError
from .parsing import is_whole
from .registry import Answer
from .scoring import STRING, Said, score_begun, score_mentions

T = TypeVar("T")
LIKELY = 64
MIN_SCORE = 0.05  # the best of the default student on its held-out passages (README, "What it may say")
BEGIN = 0.1  # below it the shipped student gains no more on nine sets of other domains (docs/LOG.md)
LIKELIER = 0.5
MARKS = '"]}'
BYTES = {f"<0x{ord(mark):02X}>": mark for mark in MARKS}  # as tokenizers of bytes and pieces spell them


class Vocabulary:
    """What a tokenizer's tokens can do in an answer.

    encoder (Encoder): the tokenizer and the template.
    """

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        pieces = [(BYTES.get(piece, piece), i) for piece, i in encoder.tokenizer.get_vocab().items()]
        self.marks = frozenset(i for piece, i in pieces if any(mark in piece for mark in MARKS))
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
        """Ids of the tokens that may stand between mentions or before a list, and of those of no whole characters."""
        signs = '[]{}",:' + HALF
        return [i for i, piece in enumerate(self.encoder.pieces) if piece.isspace() or any(s in piece for s in signs)]

    def spell(self, row: Mapping[str, T]) -> dict[int, T]:
        """What is told of tokens by what they write, by their ids: of several that write the same, of the first."""
        return {self._by_piece[piece][0]: value for piece, value in row.items() if piece in self._by_piece}

    @cached_property
    def fork(self) -> tuple[list[int], int, int] | None:
        """Where lists of nothing and of something part: the ids before, and the next of either. None where no list is
        said."""
        template = self.encoder.template
        if not template.is_list:
            return None
        none, some = (self.encoder.go_on(template.answer_prefix + said) for said in ("[]", '["'))
        place = next(i for i, pair in enumerate(zip(none, some, strict=False)) if pair[0] != pair[1])
        return none[:place], none[place], some[place]

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
        for rest in copying.follows(answer, self._longest):
            for length in range(1, len(rest) + 1):
                found.update(self._by_piece.get(rest[:length], ()))
        return sorted(found)


def check_begin(begin: float) -> None:
    """RAISES (UniversalNERError): no list can be begun at such a probability."""
    if not 0 < begin <= LIKELIER:
        raise UniversalNERError(Errors.U192.format(got=begin))


def keep_unclaimed(said: Iterable[tuple[Answer, bool]]) -> list[Answer]:
    """The answers about a passage. A list that was begun where nothing was the likelier loses what any list names that
    was the likelier itself: of several types for one mention, most are wrong.

    said (Iterable): each answer, and whether its list was begun so.
    """
    said = list(said)
    claimed = {mention for answer, begun in said if not begun for mention in answer.mentions}
    return [_without(answer, claimed) if begun else answer for answer, begun in said]


def _without(answer: Answer, claimed: set[str]) -> Answer:
    kept = [i for i, mention in enumerate(answer.mentions) if mention not in claimed]
    scores = tuple(answer.scores[i] for i in kept) if answer.scores else ()
    return replace(answer, mentions=tuple(answer.mentions[i] for i in kept), scores=scores)


class Answering:
    """The answer to one question.

    vocabulary (Vocabulary): the student's tokens.
    types (Sequence[str]): the types asked for.
    limit (int): longest answer, in tokens.
    copying (Copying): what it may say.
    constrain (bool): hold it to that.
    min_score (float): it ends before a mention of which the student is less sure than this.
    begin (float): how probable a list of something must be to be begun, at most 0.5: where it is the likelier.
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
        begin: float = LIKELIER,
    ):
        self.vocabulary = vocabulary
        self.encoder = vocabulary.encoder
        self.types = types
        self.limit = limit
        self.copying = copying
        self.constrain = constrain
        self.min_score = min_score
        self.begin = begin
        self.begun = False
        """Whether a list of something was begun where nothing was the likelier."""
        self.ids: list[int] = []
        self.text = ""
        self._said: list[Said] = []
        self._written = 0  # characters of what was said
        self._cuts = min_score > 0 and copying.is_list
        self._cut = False
        self._closed = 0  # tokens up to the end of the last mention of which the student is sure
        self._sure = 0  # mentions up to there

    def take(self, logits: Any, row: int) -> bool:
        """Say the next token (see decoding.Talk). RETURNS (bool): whether there is more to say."""
        token = self._begin(logits, row)
        if self.constrain and not self._allows(token):
            token = self._pick(logits.values[row])
            if token is None:
                return False
        self.ids.append(token)
        self.text = self.encoder.decode(self.ids)
        piece = self.text.rstrip(HALF)[self._written :]  # whole characters may turn into halves for a while
        self._written += len(piece)
        self._said.append(Said(piece, logits.probability(row, token), logits.closing[row]))
        self._cut = self._cuts and not self._is_sure()
        return not self._cut and len(self.ids) < self.limit and not self.vocabulary.ends(self.ids, self.text)

    def guess(self, count: int) -> list[int]:
        """What may be said next, at most so many tokens: answers copy the passage."""
        count = min(count, self.limit - len(self.ids) - 1)
        if count <= 0 or self.text.endswith(HALF) or self.copying.begun(self.text) == "":
            return []
        rest = next(self.copying.follows(self.text, 12 * count), "")
        return self.encoder.go_on(rest)[:count] if rest else []

    def read(self) -> list[Answer]:
        """What was said about each type."""
        said = self._said[: self._closed] if self._cut else self._said
        return self.encoder.template.read(self._kept() if self._cut else self.text, self.types, score_mentions(said))

    def _begin(self, logits: Any, row: int) -> int:
        """The likeliest token, or the one that begins a list of something where that is probable enough."""
        token = logits.best[row]
        if self.begin < LIKELIER and self.vocabulary.fork:
            before, none, some = self.vocabulary.fork
            if token == none and self.ids == before and logits.probability(row, some) >= self.begin:
                self.begun = True
                return some
        return token

    def _allows(self, token: int) -> bool:
        said = self.encoder.decode([*self.ids, token])
        speaks = said != self.text or said.endswith(HALF) or not said.strip()
        return speaks and token != self.encoder.end and self.copying.allows(said)

    def _pick(self, values: Any) -> int | None:
        """The likeliest token that may be said; None if there is none, where bytes lead nowhere."""
        likely = values.topk(min(LIKELY, len(values))).indices.tolist()
        found = next(filter(self._allows, likely), None)
        if found is not None:
            return found
        others = [i for i in self.vocabulary.candidates(self.copying, self.text) if i < len(values)]
        order = values[others].argsort(descending=True).tolist()
        return next(filter(self._allows, (others[i] for i in order)), None)

    def _is_sure(self) -> bool:
        """Whether the student is sure enough of the mention that was begun or finished."""
        scores = score_mentions(self._said)
        finished = len(scores) > self._sure
        sure = (scores[-1] if finished else score_begun(self._said, self._closed)) >= self.min_score
        if finished and sure:
            self._sure, self._closed = len(scores), len(self._said)
        return sure

    def _kept(self) -> str:
        """The answer without the mention that was cut."""
        kept = "".join(token.piece for token in self._said[: self._closed])
        end = max((match.end() for match in STRING.finditer(kept)), default=0)
        return kept[:end] + "]" if end else "[]"
