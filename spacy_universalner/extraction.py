"""Asking a loaded student: passages and types in, answers out, many questions about a passage in one row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import torch

from .choices import context_of
from .decoding import decode, prefill
from .encoding import Encoder
from .errors import Errors, UniversalNERError
from .layout import batch_by_width
from .parsing import is_whole
from .registry import Answer

ROW_TOKENS = 1024


@dataclass
class Group:
    """A passage and the questions asked of it, as ids.

    index (int): place of the passage in the call.
    passage (list): ids of the shared prefix.
    asked (list): the types of each question.
    questions (list): ids of each prompt.
    first (int): number of the first of these questions among all of the passage.
    answers (list): ids generated for each question, the end token included once it came.
    """

    index: int
    passage: list[int]
    asked: list[Sequence[str]]
    questions: list[tuple[int, ...]]
    first: int = 0
    answers: list[list[int]] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Tokens of the passage and all its questions."""
        return len(self.passage) + sum(map(len, self.questions))

    def part(self, start: int, end: int) -> "Group":
        """Some of the questions."""
        return Group(self.index, self.passage, self.asked[start:end], self.questions[start:end], first=start)


class Extractor:
    """Asks a student, in the words of its template.

    model (PreTrainedModel): the causal language model, in evaluation mode, on its device.
    encoder (Encoder): its tokenizer and template.
    batch_tokens (int): tokens computed or held at a time.
    max_new_tokens (int): longest answer about one type, in tokens; one about many may be so many times longer, as far
        as the context reaches.
    """

    def __init__(self, model: Any, encoder: Encoder, *, batch_tokens: int, max_new_tokens: int):
        self.model = model
        self.encoder = encoder
        self.template = encoder.template
        self.batch_tokens = batch_tokens
        self.max_new_tokens = max_new_tokens
        self.context = context_of(model.config)[0]
        vocabulary = encoder.tokenizer.get_vocab().items()
        self.marks = frozenset(i for piece, i in vocabulary if any(mark in piece for mark in '"]}'))
        """Ids of the tokens that may end a mention, a list or an object."""

    def extract(
        self, passages: Sequence[str], types: Sequence[Sequence[str]], datasets: Sequence[str] | None = None
    ) -> list[list[Answer]]:
        """See Engine.

        datasets (Sequence[str] | None): the data set that the labels of each passage follow, "" for none; told by the
            templates that know data sets.
        RAISES (UniversalNERError): a passage that does not fit the student's context.
        """
        datasets = [""] * len(passages) if datasets is None else datasets
        groups = [
            self._group(i, text, names, dataset)
            for i, (text, names, dataset) in enumerate(zip(passages, types, datasets, strict=True))
        ]
        answers: list[list[list[Answer]]] = [[[] for _ in group.questions] for group in groups]
        for batch in batch_by_width(self._parts(groups), attrgetter("width"), self.batch_tokens):
            self._answer(batch)
            for group in batch:
                for i, (ids, asked) in enumerate(zip(group.answers, group.asked, strict=True), group.first):
                    answers[group.index][i] = self.template.read(self.encoder.decode(ids), asked)
        return [[answer for part in parts for answer in part] for parts in answers]

    def _group(self, index: int, text: str, types: Sequence[str], dataset: str) -> Group:
        asked = self.template.groups(types)
        questions = [self.encoder.ask(tuple(names)) for names in asked]
        group = Group(index, self.encoder.passage(text, dataset) if asked else [], asked, questions)
        longest = len(group.passage) + max(map(len, questions), default=0)
        if asked and longest + self.max_new_tokens > self.context:
            raise UniversalNERError(Errors.U052.format(tokens=longest, context=self.context))
        return group

    def _parts(self, groups: Sequence[Group]) -> Iterator[Group]:
        """Groups with so many questions that a row stays short: what a token does not see costs time all the same."""
        for group in groups:
            room = min(self.batch_tokens, ROW_TOKENS) - len(group.passage)
            most = max(1, room // max(map(len, group.questions), default=1))
            for start in range(0, len(group.questions), most):
                yield group.part(start, start + most)

    def _limits(self, group: Group) -> list[int]:
        """Longest answer to each question: room for each of its types, as far as the context reaches."""
        return [
            min(self.max_new_tokens * len(names), self.context - len(group.passage) - len(prompt))
            for names, prompt in zip(group.asked, group.questions, strict=True)
        ]

    @torch.inference_mode()
    def _answer(self, batch: list[Group]) -> None:
        """Generate the answers of a batch, greedily."""
        asked, cache = prefill(
            self.model,
            [group.passage for group in batch],
            [group.questions for group in batch],
            [self._limits(group) for group in batch],
        )
        open_ = sorted((q for q in asked if not self._ended(q.answer)), key=attrgetter("held"))
        while open_:
            count = max(1, self.batch_tokens // open_[-1].held)
            part, open_ = open_[-count:], open_[:-count]
            decode(self.model, cache, part, ended=self._ended)
        for question in asked:
            batch[question.row].answers.append(question.answer)

    def _ended(self, ids: Sequence[int]) -> bool:
        """Whether nothing more of an answer would be read, or it goes round in circles and will not end."""
        if ids[-1] == self.encoder.end:
            return True
        if ids[-1] not in self.marks:
            return False
        answer = self.encoder.decode(ids)
        return is_whole(answer) or self.template.repeats(answer)
