"""What is asked of a student about a passage, and how its answers are read, wherever it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import exp
from typing import TypeVar

from .answering import LIKELIER, Vocabulary, keep_unclaimed
from .copying import HALF
from .encoding import Encoder
from .errors import Errors, UniversalNERError
from .records import Query
from .registry import Answer
from .scoring import Said, score_mentions

Key = TypeVar("Key", int, str)


@dataclass(frozen=True)
class Asked:
    """A passage and the questions asked of it, as ids.

    passage (list): ids of the prefix that the questions share; empty without a question.
    types (list): the types of each question.
    prompts (list): ids of each question.
    limits (list): longest answer to each question, in tokens.
    """

    passage: list[int]
    types: list[Sequence[str]]
    prompts: list[tuple[int, ...]]
    limits: list[int]


@dataclass
class Question:
    """One question about one passage, and what has been said to it so far.

    index (int): place of the passage in the call.
    types (Sequence): the types asked.
    prompt (list): ids of the passage and the question.
    limit (int): longest answer, in tokens.
    ids (list): tokens of the answer.
    chances (list): of each token, its own probability and that of all tokens that close a mention in its place; fewer
        than tokens where they are not known.
    begun (bool): whether a list of something was begun where nothing was the likelier.
    """

    index: int
    types: Sequence[str]
    prompt: list[int]
    limit: int
    ids: list[int] = field(default_factory=list)
    chances: list[tuple[float, float]] = field(default_factory=list)
    begun: bool = False

    @property
    def room(self) -> int:
        """Tokens that the answer may still have."""
        return self.limit - len(self.ids)


def ask(encoder: Encoder, text: str, types: Sequence[str], dataset: str, *, context: int, max_new_tokens: int) -> Asked:
    """The questions about a passage.

    context, max_new_tokens (int): see Asker.
    RAISES (UniversalNERError): the passage does not fit the student's context.
    """
    groups = encoder.template.groups(types)
    prompts = [encoder.ask(tuple(names)) for names in groups]
    passage = encoder.passage(text, dataset) if groups else []
    longest = len(passage) + max(map(len, prompts), default=0)
    if groups and longest + max_new_tokens > context:
        raise UniversalNERError(Errors.U052.format(tokens=longest, answer=max_new_tokens, context=context))
    limits = [
        min(max_new_tokens * len(names), context - len(passage) - len(prompt))
        for names, prompt in zip(groups, prompts, strict=True)
    ]
    return Asked(passage, groups, prompts, limits)


class Asker:
    """Puts questions in the words of a student, and reads what it says.

    An answer ends with its list, or object, or where it goes round in circles. What a student says after that is never
    read, so that engines which cannot look at every token give the same answers as those that do.

    encoder (Encoder): the student's tokenizer and template.
    context (int): most tokens that see one another.
    max_new_tokens (int): longest answer about one type, in tokens; one about many may be so many times longer, as far
        as the context reaches.
    min_score (float): an answer ends before a mention whose score is lower, where scores are known.
    begin (float): how probable a list of something must be to be begun, where probabilities are known.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        context: int,
        max_new_tokens: int,
        min_score: float = 0.0,
        begin: float = LIKELIER,
    ):
        self.encoder = encoder
        self.template = encoder.template
        self.context = context
        self.max_new_tokens = max_new_tokens
        self.min_score = min_score
        self.begin = begin
        self.vocabulary = Vocabulary(encoder)
        bracket = self.template.answer([Query("type", ())])[-1]
        pieces = encoder.tokenizer.get_vocab().items()
        self.stops = sorted({encoder.end, *(i for piece, i in pieces if bracket in piece)})
        """Ids of the tokens after which an answer may be whole: one of them may also stand in a mention."""
        self.closing = frozenset(self.vocabulary.closers)
        """Ids of the tokens that close a mention."""

    def extract(
        self,
        passages: Sequence[str],
        types: Sequence[Sequence[str]],
        dataset: str,
        answer: Callable[[list[Question]], None],
    ) -> list[list[Answer]]:
        """See Engine.

        dataset (str): the data set that the labels follow, "" for none.
        answer (Callable): puts ids, and chances where they are known, into questions.
        RAISES (UniversalNERError): a passage that does not fit the student's context, a data set its template does not
            tell.
        """
        self.template.check_dataset(dataset)
        questions = [
            Question(i, asked, [*group.passage, *prompt], limit)
            for i, (text, names) in enumerate(zip(passages, types, strict=True))
            for group in [self.ask(text, names, dataset)]
            for asked, prompt, limit in zip(group.types, group.prompts, group.limits, strict=True)
        ]
        if questions:
            answer(questions)
        said: list[list[tuple[Answer, bool]]] = [[] for _ in passages]
        for question in questions:
            said[question.index] += ((answer, question.begun) for answer in self.read(question))
        return [keep_unclaimed(answers) for answers in said]

    def ask(self, text: str, types: Sequence[str], dataset: str = "") -> Asked:
        """The questions about a passage. RAISES (UniversalNERError): it does not fit the student's context."""
        return ask(self.encoder, text, types, dataset, context=self.context, max_new_tokens=self.max_new_tokens)

    def hear(self, question: Question, ids: Sequence[int], rows: Sequence[Mapping[int, float]]) -> bool:
        """Put what a student has said into a question. If it was nothing, and something was probable enough, a list is
        begun in its place (see `Answering`).

        ids (Sequence): the tokens.
        rows (Sequence): for each of them, where known, logarithms of its probability and of those of others.
        RETURNS (bool): whether a list was begun so, and is to go on.
        """
        first = not question.ids
        question.ids += ids
        question.chances += [
            chance(token, row, self.closing.__contains__) for token, row in zip(ids, rows, strict=False)
        ]
        return first and self._begins(question, rows)

    def _begins(self, question: Question, rows: Sequence[Mapping[int, float]]) -> bool:
        if self.begin >= LIKELIER or not self.vocabulary.fork:
            return False
        before, none, some = self.vocabulary.fork
        place = len(before)
        if question.ids[: place + 1] != [*before, none] or place >= len(rows) or some not in rows[place]:
            return False
        chances = chance(some, rows[place], self.closing.__contains__)
        if chances[0] < self.begin:
            return False
        question.ids[place:], question.chances[place:], question.begun = [some], [chances], True
        return True

    def is_open(self, question: Question) -> bool:
        """Whether a student that stopped after one of the stops has more to say."""
        return question.room > 0 and self.end(question.ids) is None

    def read(self, question: Question) -> list[Answer]:
        """The answers in what was said: one for each type of the question."""
        ids = question.ids[: self.end(question.ids)]
        if len(question.chances) < len(ids):
            return self.template.read(self.encoder.decode(ids), question.types)
        pieces = self.pieces(ids)
        said = [Said(piece, *chances) for piece, chances in zip(pieces, question.chances, strict=False)]
        answers = self.template.read("".join(pieces), question.types, score_mentions(said))
        return [self._cut(answer) for answer in answers] if self.template.is_list else answers

    def _cut(self, answer: Answer) -> Answer:
        """An answer without what follows the mentions of which the student is sure."""
        unsure = next((i for i, score in enumerate(answer.scores) if score < self.min_score), None)
        return answer if unsure is None else Answer(answer.mentions[:unsure], answer.scores[:unsure])

    def end(self, ids: Sequence[int]) -> int | None:
        """Tokens before the end of an answer, which the end token is not one of; None if it is open."""
        for i, token in enumerate(ids):
            if token == self.encoder.end:
                return i
            if token in self.vocabulary.marks and self.vocabulary.ends(ids[: i + 1], self.encoder.decode(ids[: i + 1])):
                return i + 1
        return None

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token, together that of the answer. A character of several tokens is its last one's."""
        text = self.encoder.decode(ids)
        before = [len(self.encoder.decode(ids[:n]).rstrip(HALF)) for n in range(1, len(ids))]
        edges = [0, *accumulate(before, max), len(text)]
        return [text[start:end] for start, end in pairwise(edges)] if ids else []


def chance(token: Key, logprobs: Mapping[Key, float], closes: Callable[[Key], bool]) -> tuple[float, float]:
    """The probability of a token, and of all that close a mention in its place, as far as they are among those known.

    token (int | str): the token said: its id, or its text.
    logprobs (Mapping): logarithms of the probabilities of this token and of others.
    closes (Callable): whether a token closes a mention.
    """
    closing = sum(exp(value) for other, value in logprobs.items() if closes(other))
    return exp(logprobs[token]), min(closing, 1.0)
