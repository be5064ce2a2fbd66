"""The default engine: a causal language model run with Hugging Face transformers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..encoding import Encoder
from ..errors import Errors, UniversalNERError
from ..hardware import pick_device, pick_dtype
from ..layout import batch_by_width
from ..parsing import parse_list
from ..prompts import load_template
from ..registry import Answer
from ..student import check_manifest, copy_student, find_student
from .decoding import ROOM, decode, prefill

ROW_TOKENS = 1024


@dataclass(frozen=True)
class Student:
    """A loaded model with what is needed to ask it.

    model (PreTrainedModel): the causal language model, in evaluation mode.
    encoder (Encoder): its tokenizer and template.
    device (torch.device): where it is.
    context (int): tokens it can see.
    empty (tuple): ids of the empty list.
    quotes (frozenset): ids of the tokens with a double quote in them, which may end a mention.
    """

    model: Any
    encoder: Encoder
    device: torch.device
    context: int
    empty: tuple[int, ...]
    quotes: frozenset[int]


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


class TransformersEngine:
    """See make_transformers_engine for the arguments. The model is loaded at first use."""

    def __init__(self, *, model: str | None, device: str | None, dtype: str, batch_tokens: int, max_new_tokens: int):
        self.model = model
        self.device = device
        self.dtype = dtype
        self.batch_tokens = batch_tokens
        self.max_new_tokens = max_new_tokens

    @property
    def model(self) -> str | None:
        """Directory of the student. Naming another one lets go of what was loaded."""
        return self._model

    @model.setter
    def model(self, model: str | None) -> None:
        self._model = model
        self._student: Student | None = None

    @property
    def student(self) -> Student:
        """The loaded student. RAISES (UniversalNERError): none named or found, or not as its manifest says."""
        if self._student is None:
            self._student = load_student(find_student(self.model), device=self.device, dtype=self.dtype)
        return self._student

    def save_model(self, folder: str) -> None:
        """Copy the whole student into a folder."""
        copy_student(find_student(self.model), Path(folder))

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine. RAISES (UniversalNERError): a passage that does not fit the student's context."""
        encoder = self.student.encoder
        groups = [
            Group(i, encoder.passage(text), [encoder.ask(name) for name in names])
            for i, (text, names) in enumerate(zip(passages, types, strict=True))
            if names
        ]
        for group in groups:
            longest = len(group.passage) + max(map(len, group.questions))
            if longest + self.max_new_tokens > self.student.context:
                raise UniversalNERError(Errors.U052.format(tokens=longest, context=self.student.context))
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
        model = self.student.model
        asked, cache = prefill(model, [group.passage for group in batch], [group.questions for group in batch])
        open_ = sorted((q for q in asked if not self._ended(q.answer)), key=attrgetter("length"))
        while open_:
            count = max(1, self.batch_tokens // (open_[-1].length + ROOM))
            part, open_ = open_[-count:], open_[:-count]
            decode(model, cache, part, ended=self._ended, max_new_tokens=self.max_new_tokens)
        for question in asked:
            batch[question.row].answers.append(question.answer)

    def _ended(self, ids: Sequence[int]) -> bool:
        return self._whole(ids) or (ids[-1] in self.student.quotes and self._repeats(ids))

    def _whole(self, ids: Sequence[int]) -> bool:
        return ids[-1] == self.student.encoder.end or tuple(ids) == self.student.empty

    def _repeats(self, ids: Sequence[int]) -> bool:
        """Whether an answer names a mention again. None does in training: it goes round in circles and will not end."""
        mentions = parse_list(self.student.encoder.decode(ids)) or []
        return len(set(mentions)) < len(mentions)

    def _read(self, ids: Sequence[int]) -> Answer:
        mentions = parse_list(self.student.encoder.decode(ids))
        return Answer(tuple(dict.fromkeys(mentions or ())), complete=mentions is not None and self._whole(ids))


def load_student(folder: Path, *, device: str | None, dtype: str) -> Student:
    """Load a student's weights, tokenizer and template.

    RAISES (UniversalNERError): files missing, or other than its manifest says.
    """
    check_manifest(folder)
    where = pick_device(device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=pick_dtype(dtype, where), use_safetensors=True)
    encoder = Encoder(tokenizer, load_template(folder))
    answer = encoder.exchange("person", ())
    empty = answer.ids[answer.answer_start : -1]
    quotes = frozenset(i for piece, i in tokenizer.get_vocab().items() if '"' in piece)
    return Student(model.to(where).eval(), encoder, where, int(model.config.max_position_embeddings), empty, quotes)
