"""The default engine: a causal language model run with Hugging Face transformers.

A passage is computed once and its keys and values are shared by all questions about it. The questions go through the
model together; an empty answer is known after that one pass. The rest are decoded greedily, all at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from ..encoding import Encoder
from ..errors import Errors, UniversalNERError
from ..hardware import pick_device, pick_dtype
from ..parsing import parse_list
from ..prompts import load_template
from ..registry import Answer
from ..student import check_manifest, copy_student, find_student


@dataclass(frozen=True)
class Student:
    """A loaded model with what is needed to ask it."""

    model: Any
    encoder: Encoder
    device: torch.device
    context: int
    empty: tuple[int, ...]


@dataclass
class Group:
    """A passage and the questions asked of it, as ids.

    index (int): place of the passage in the call.
    passage (list): ids of the shared prefix.
    questions (list): ids of each prompt.
    answers (list): ids generated for each question, the end token included once it came.
    """

    index: int
    passage: list[int]
    questions: list[tuple[int, ...]]
    answers: list[list[int]] = field(default_factory=list)

    @property
    def width(self) -> int:
        return len(self.passage) + max(map(len, self.questions))


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
            if group.width + self.max_new_tokens > self.student.context:
                raise UniversalNERError(Errors.U052.format(tokens=group.width, context=self.student.context))
        answers: list[list[Answer]] = [[] for _ in passages]
        for batch in self._batches(groups):
            self._answer(batch)
            for group in batch:
                answers[group.index] += [self._read(ids) for ids in group.answers]
        return answers

    def _batches(self, groups: Sequence[Group]) -> Iterator[list[Group]]:
        """Passages of like length together, as many as the cache may hold; one with too many questions is cut up."""
        batch: list[Group] = []
        rows = 0
        for group in sorted(groups, key=lambda group: -group.width):
            most = max(1, self.batch_tokens // group.width)
            for start in range(0, len(group.questions), most):
                part = Group(group.index, group.passage, group.questions[start : start + most])
                if batch and (rows + len(part.questions)) * batch[0].width > self.batch_tokens:
                    yield batch
                    batch, rows = [], 0
                batch.append(part)
                rows += len(part.questions)
        if batch:
            yield batch

    @torch.inference_mode()
    def _answer(self, batch: list[Group]) -> None:
        """Generate the answers of a batch, greedily."""
        student = self.student
        passages, passage_mask = _pad([group.passage for group in batch], student.device)
        cache = DynamicCache(config=student.model.config)
        student.model.model(input_ids=passages, attention_mask=passage_mask, past_key_values=cache, use_cache=True)

        owners = [i for i, group in enumerate(batch) for _ in group.questions]
        owner = torch.tensor(owners, device=student.device)
        cache.batch_select_indices(owner)
        questions, question_mask = _pad([ids for group in batch for ids in group.questions], student.device)
        mask = torch.cat([passage_mask[owner], question_mask], dim=1)
        position = passage_mask.sum(1)[owner, None] + torch.arange(questions.shape[1], device=student.device)
        hidden = self._forward(questions, mask, position, cache)
        last = question_mask.sum(1) - 1
        rows = torch.arange(len(owners), device=student.device)
        token = student.model.lm_head(hidden[rows, last]).argmax(-1)
        position = position[rows, last]

        generated: list[list[int]] = [[] for _ in owners]
        row = list(range(len(owners)))
        for _ in range(self.max_new_tokens):
            for i, id_ in zip(row, token.tolist(), strict=True):
                generated[i].append(id_)
            open_ = [k for k, i in enumerate(row) if not self._ended(generated[i])]
            if not open_:
                break
            if len(open_) < len(row):
                keep = torch.tensor(open_, device=student.device)
                cache.batch_select_indices(keep)
                mask, position, token = mask[keep], position[keep], token[keep]
                row = [row[k] for k in open_]
            mask = torch.cat([mask, mask.new_ones(len(row), 1)], dim=1)
            position = position + 1
            hidden = self._forward(token[:, None], mask, position[:, None], cache)
            token = student.model.lm_head(hidden[:, -1]).argmax(-1)
        for i, ids in zip(owners, generated, strict=True):
            batch[i].answers.append(ids)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, position: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        output = self.student.model.model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
        )
        return output.last_hidden_state

    def _ended(self, ids: Sequence[int]) -> bool:
        return ids[-1] == self.student.encoder.end or tuple(ids) == self.student.empty

    def _read(self, ids: Sequence[int]) -> Answer:
        mentions = parse_list(self.student.encoder.decode(ids))
        return Answer(tuple(mentions or ()), complete=mentions is not None and self._ended(ids))


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
    return Student(model.to(where).eval(), encoder, where, int(model.config.max_position_embeddings), empty)


def _pad(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-pad id lists. RETURNS (tuple): ids and mask, both (rows, longest)."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask
