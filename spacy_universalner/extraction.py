"""Asking a loaded student: passages and types in, answers out, all questions about a passage together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import torch

from .answering import LIKELIER, Answering, Vocabulary, keep_unclaimed
from .asking import ask
from .attention import can_pack
from .choices import context_of
from .copying import Copying
from .decoding import Decoder
from .encoding import Encoder
from .layout import batch_by_width
from .registry import Answer
from .tree import Tree, grow

ROW_TOKENS = 1024
grow_once = lru_cache(maxsize=1 << 10)(grow)  # passages are often asked the same


@dataclass(frozen=True)
class Pace:
    """How much a device computes at a time.

    prefill (int): tokens of a first pass. On a CPU, what stays in its cache: more is slower.
    open (int): answers that go on together.
    step (int): tokens of a pass that goes on with answers which cost little more than one: so many are guessed.
    """

    prefill: int
    open: int
    step: int


PACES = {"cpu": Pace(prefill=1024, open=96, step=24)}
PACE = Pace(prefill=16384, open=1024, step=256)


@dataclass
class Group:
    """A passage and the questions asked of it, as ids.

    index (int): place of the passage in the call.
    passage (list): ids of the shared prefix.
    questions (list): ids of each prompt.
    answers (list): what is said to each.
    """

    index: int
    passage: list[int]
    questions: list[tuple[int, ...]]
    answers: list[Answering]

    @property
    def tree(self) -> Tree:
        """Its questions as they are computed."""
        return grow_once(tuple(self.questions))

    @property
    def width(self) -> int:
        """Tokens to compute."""
        return len(self.passage) + len(self.tree.ids)

    def part(self, start: int, end: int) -> "Group":
        """Some of the questions."""
        some = slice(start, end)
        return Group(self.index, self.passage, self.questions[some], self.answers[some])


class Extractor:
    """Asks a student, in the words of its template.

    model (PreTrainedModel): the causal language model, in evaluation mode, on its device.
    encoder (Encoder): its tokenizer and template.
    batch_tokens (int): tokens computed or held at a time.
    max_new_tokens (int): longest answer about one type, in tokens; one about many may be so many times longer, as far
        as the context reaches.
    constrain (bool): let answers name only what stands in the passage.
    min_score (float): an answer ends before a mention of which the student is less sure than this (see `scoring`).
    begin (float): how probable a list of something must be to be begun, at most 0.5.
    """

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        *,
        batch_tokens: int,
        max_new_tokens: int,
        constrain: bool = False,
        min_score: float = 0.0,
        begin: float = LIKELIER,
    ):
        self.model = model
        self.encoder = encoder
        self.template = encoder.template
        self.batch_tokens = batch_tokens
        self.max_new_tokens = max_new_tokens
        self.constrain = constrain
        self.min_score = min_score
        self.begin = begin
        self.context = context_of(model.config)[0]
        self.vocabulary = Vocabulary(encoder)
        self.packed = can_pack(model)

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
        self.answer(groups)
        return [
            keep_unclaimed((answer, said.begun) for said in group.answers for answer in said.read()) for group in groups
        ]

    @torch.inference_mode()
    def answer(self, groups: Sequence[Group]) -> None:
        """Answer the questions of groups, greedily."""
        closers = torch.tensor(self.vocabulary.closers, device=self.model.device)
        decoder = Decoder(self.model, packed=self.packed, closers=closers)
        pace = PACES.get(self.model.device.type, PACE)
        for batch in self._batches(groups, min(self.batch_tokens, pace.prefill)):
            decoder.prefill(
                [group.passage for group in batch], [group.tree for group in batch], [group.answers for group in batch]
            )
            while len(decoder.open) >= pace.open or decoder.held > self.batch_tokens:
                decoder.step(pace.step)
        while decoder.open:
            decoder.step(pace.step)

    def _group(self, index: int, text: str, types: Sequence[str], dataset: str) -> Group:
        asked = ask(self.encoder, text, types, dataset, context=self.context, max_new_tokens=self.max_new_tokens)
        copying = Copying(text, ascii=self.template.ascii)
        answers = [
            Answering(
                self.vocabulary,
                names,
                limit=limit,
                copying=copying.within(self.template.literals(names)),
                constrain=self.constrain,
                min_score=self.min_score,
                begin=self.begin,
            )
            for names, limit in zip(asked.types, asked.limits, strict=True)
        ]
        return Group(index, asked.passage, asked.prompts, answers)

    def _batches(self, groups: Sequence[Group], tokens: int) -> Iterator[list[Group]]:
        return batch_by_width(self._parts(groups), attrgetter("width"), tokens)

    def _parts(self, groups: Sequence[Group]) -> Iterator[Group]:
        """Groups with so many questions that a pass stays short."""
        for group in groups:
            room = min(self.batch_tokens, ROW_TOKENS) - len(group.passage)
            most = max(1, room // max(map(len, group.questions), default=1))
            for start in range(0, len(group.questions), most):
                yield group.part(start, start + most)
