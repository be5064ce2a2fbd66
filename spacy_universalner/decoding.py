"""Greedy answers to many questions about shared passages, on a Hugging Face causal language model.

All questions about a passage stand behind it in one row and see the passage and themselves, so that the passage is
computed once and an empty answer costs no step. Questions still open go on together, a token of each at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from .causal import logits_at
from .layout import lay_out

ROOM = 32


@dataclass(frozen=True)
class Asked:
    """A question in a prefilled batch.

    row (int): row of its passage.
    passage (int): tokens of the passage.
    start (int): where its prompt starts in the row.
    end (int): where its prompt ends in the row.
    limit (int): longest answer, in tokens.
    answer (list): ids generated so far; grows.
    """

    row: int
    passage: int
    start: int
    end: int
    limit: int
    answer: list[int]

    @property
    def length(self) -> int:
        """Tokens that the answer sees: its passage and its prompt."""
        return self.passage + self.end - self.start

    @property
    def held(self) -> int:
        """Tokens held for it while it is answered: few answers are longer than a quarter of what they may be."""
        return self.length + self.limit // 4


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer, with room for what is to come, which is written in place.

    DynamicLayer copies everything it holds at each step.

    keys, values (Tensor): (rows, heads, width, dim).
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.lazy_initialization(keys, values)
        self.used = keys.shape[2]
        self.keys, self.values = self._widen(keys), self._widen(values)

    @staticmethod
    def _widen(states: torch.Tensor) -> torch.Tensor:
        return torch.cat([states, states.new_zeros(*states.shape[:2], ROOM, states.shape[3])], dim=2)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple:
        """Write one more token of each row. RETURNS (tuple): all keys and values, without the room behind them."""
        if self.used == self.keys.shape[2]:
            self.keys, self.values = self._widen(self.keys), self._widen(self.values)
        self.keys[:, :, self.used] = key_states[:, :, 0]
        self.values[:, :, self.used] = value_states[:, :, 0]
        self.used += 1
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def get_seq_length(self) -> int:
        return self.used


def prefill(
    model: Any,
    passages: Sequence[Sequence[int]],
    questions: Sequence[Sequence[Sequence[int]]],
    limits: Sequence[Sequence[int]],
) -> tuple[list[Asked], DynamicCache]:
    """Compute passages and the questions behind them, and the first token of each answer.

    passages (Sequence): ids of each passage.
    questions (Sequence): ids of the prompts asked of each passage.
    limits (Sequence): longest answer to each of them, in tokens.
    RETURNS (tuple): the questions in the order asked, and the keys and values of the rows.
    """
    asked: list[Asked] = []
    rows: list[list[int]] = []
    for passage, prompts, most in zip(passages, questions, limits, strict=True):
        row = list(passage)
        for prompt, limit in zip(prompts, most, strict=True):
            asked.append(Asked(len(rows), len(passage), len(row), len(row) + len(prompt), limit, []))
            row += prompt
        rows.append(row)
    starts = [[question.start for question in asked if question.row == i] for i in range(len(rows))]
    layout = lay_out(rows, starts, pad=0, isolated=True)
    cache = DynamicCache(config=model.config)
    width = layout.ids.shape[1]
    last = torch.tensor([question.row * width + question.end - 1 for question in asked])
    logits = logits_at(model, last, ids=layout.ids, positions=layout.positions, mask=layout.mask, cache=cache)
    for question, token in zip(asked, logits.argmax(-1).tolist(), strict=True):
        question.answer.append(token)
    return asked, cache


def decode(model: Any, cache: DynamicCache, asked: Sequence[Asked], *, ended: Callable[[list[int]], bool]) -> None:
    """Go on with answers that have their first token, until each has ended or is as long as allowed.

    cache (DynamicCache): keys and values of the prefilled rows; left as it is.
    asked (Sequence): the questions that are open; their answers grow.
    ended (Callable): whether an answer is whole.
    """
    live = list(asked)
    open_ = list(range(len(live)))
    answers, seen = _take(cache, live, model.device)
    positions = torch.tensor([question.length for question in live])[:, None]
    while open_ := [i for i in open_ if len(live[i].answer) < live[i].limit and not ended(live[i].answer)]:
        if len(open_) <= 0.8 * len(live):
            live = [live[i] for i in open_]
            keep = torch.tensor(open_, device=model.device)
            answers.batch_select_indices(keep)
            seen, positions = seen[keep], positions[keep.cpu()]
            open_ = list(range(len(live)))
        seen = torch.cat([seen, seen.new_ones(len(live), 1)], dim=1)
        logits = logits_at(
            model,
            torch.arange(len(live)),
            ids=torch.tensor([[question.answer[-1]] for question in live]),
            positions=positions,
            mask=seen[:, None, None],
            cache=answers,
        )
        positions = positions + 1
        tokens = logits.argmax(-1).tolist()
        for i in open_:
            live[i].answer.append(tokens[i])


def _take(cache: DynamicCache, asked: Sequence[Asked], device: torch.device) -> tuple[Cache, torch.Tensor]:
    """A row for each question, with the keys and values of its passage and of its prompt.

    RETURNS (tuple): the cache, and which of its places hold a token, (questions, width).
    """
    places = [[*range(question.passage), *range(question.start, question.end)] for question in asked]
    width = max(map(len, places))
    index = torch.tensor([[*place, *[0] * (width - len(place))] for place in places], device=device)
    seen = torch.tensor([[True] * len(place) + [False] * (width - len(place)) for place in places], device=device)
    row = torch.tensor([question.row for question in asked], device=device)[:, None]
    layers = [
        RoomyLayer(*(states[row, :, index].transpose(1, 2) for states in (layer.keys, layer.values)))
        for layer in cache.layers
    ]
    return Cache(layers=layers), seen
