"""Asking a loaded student: passages and types in, answers out, many questions about a passage in one row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import torch

from .choices import context_of
from .decoding import ROOM, decode, prefill
from .encoding import Encoder
from .errors import Errors, UniversalNERError
from .layout import batch_by_width
from .parsing import parse_list
from .registry import Answer

ROW_TOKENS = 1024


@dataclass
class Group:
    """A passage and the questions asked of it, as ids.

    index (int): place of the passage in the call.
    passage (list): ids of the shared prefix.
    questions (list): ids of each prompt.
    first (int): number of the first of these questions among all of the passage.
    answers (list): ids generated for each question, the end token included once it came.
    """

    index: int
    passage: list[int]
    questions: list[tuple[int, ...]]
    first: int = 0
    answers: list[list[int]] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Tokens of the passage and all its questions."""
        return len(self.passage) + sum(map(len, self.questions))


class Extractor:
    """Asks a student.

    model (PreTrainedModel): the causal language model, in evaluation mode, on its device.
    encoder (Encoder): its tokenizer and template.
    batch_tokens (int): tokens computed or held at a time.
    max_new_tokens (int): longest answer, in tokens.
    """

    def __init__(self, model: Any, encoder: Encoder, *, batch_tokens: int, max_new_tokens: int):
        self.model = model
        self.encoder = encoder
        self.batch_tokens = batch_tokens
        self.max_new_tokens = max_new_tokens
        self.context = context_of(model.config)[0]
        answer = encoder.exchange("person", ())
        self.empty = answer.ids[answer.answer_start : -1]
        """Ids of the empty list."""
        self.quotes = frozenset(i for piece, i in encoder.tokenizer.get_vocab().items() if '"' in piece)
        """Ids of the tokens with a double quote in them, which may end a mention."""

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine. RAISES (UniversalNERError): a passage that does not fit the student's context."""
        groups = [
            Group(i, self.encoder.passage(text), [self.encoder.ask(name) for name in names])
            for i, (text, names) in enumerate(zip(passages, types, strict=True))
            if names
        ]
        for group in groups:
            longest = len(group.passage) + max(map(len, group.questions))
            if longest + self.max_new_tokens > self.context:
                raise UniversalNERError(Errors.U052.format(tokens=longest, context=self.context))
        answers = [[Answer()] * len(names) for names in types]
        for batch in batch_by_width(self._parts(groups), attrgetter("width"), self.batch_tokens):
            self._answer(batch)
            for group in batch:
                for i, ids in enumerate(group.answers, group.first):
                    answers[group.index][i] = self._read(ids)
        return answers

    def _parts(self, groups: Sequence[Group]) -> Iterator[Group]:
        """Groups with so many questions that a row stays short: what a token does not see costs time all the same."""
        for group in groups:
            room = min(self.batch_tokens, ROW_TOKENS) - len(group.passage)
            most = max(1, room // max(map(len, group.questions)))
            for start in range(0, len(group.questions), most):
                yield Group(group.index, group.passage, group.questions[start : start + most], first=start)

    @torch.inference_mode()
    def _answer(self, batch: list[Group]) -> None:
        """Generate the answers of a batch, greedily."""
        asked, cache = prefill(self.model, [group.passage for group in batch], [group.questions for group in batch])
        open_ = sorted((q for q in asked if not self._ended(q.answer)), key=attrgetter("length"))
        while open_:
            count = max(1, self.batch_tokens // (open_[-1].length + ROOM))
            part, open_ = open_[-count:], open_[:-count]
            decode(self.model, cache, part, ended=self._ended, max_new_tokens=self.max_new_tokens)
        for question in asked:
            batch[question.row].answers.append(question.answer)

    def _ended(self, ids: Sequence[int]) -> bool:
        return self._whole(ids) or (ids[-1] in self.quotes and self._repeats(ids))

    def _whole(self, ids: Sequence[int]) -> bool:
        return ids[-1] == self.encoder.end or tuple(ids) == self.empty

    def _repeats(self, ids: Sequence[int]) -> bool:
        """Whether an answer names a mention again. None does in training: it goes round in circles and will not end."""
        mentions = parse_list(self.encoder.decode(ids)) or []
        return len(set(mentions)) < len(mentions)

    def _read(self, ids: Sequence[int]) -> Answer:
        mentions = parse_list(self.encoder.decode(ids))
        return Answer(tuple(dict.fromkeys(mentions or ())), complete=mentions is not None and self._whole(ids))
