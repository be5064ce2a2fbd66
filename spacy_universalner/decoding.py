"""Answers to many questions about many passages, on a Hugging Face causal language model.

Passages and the questions behind them go through the model as one sequence of tokens; each question sees its passage
and itself, and what questions of a passage begin with alike is computed once. Answers that are not ended by their first
token go on together, whichever passage they are about, a token of each at a time, or a few where they can be guessed.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from .attention import NO_MASK, Packed, Plan, Rows, Step, planned, planned_cache
from .causal import layers, logits_at
from .tree import Passage, Tree, line_up


class Talk(Protocol):
    """An answer in the making.

    ids (list): what was said so far.
    """

    ids: list[int]

    def take(self, logits: "Logits", row: int) -> bool:
        """Say the next token. RETURNS (bool): whether there is more to say."""
        ...

    def guess(self, count: int) -> list[int]:
        """What may be said next, at most so many tokens."""
        ...


class Logits:
    """Logits of some tokens, and what is asked of all of them at once.

    values (Tensor): (tokens, vocabulary).
    closers (Tensor): ids of the tokens that close a mention.
    """

    def __init__(self, values: torch.Tensor, closers: torch.Tensor):
        self.values = values.float()
        best = self.values.max(-1)
        total = self.values.logsumexp(-1)
        self.best: list[int] = best.indices.tolist()
        self._top: list[float] = (best.values - total).exp().tolist()
        self._total: list[float] = total.tolist()
        self.closing: list[float] = (self.values[:, closers].logsumexp(-1) - total).exp().tolist()

    def probability(self, row: int, token: int) -> float:
        """How probable a token is."""
        if token == self.best[row]:
            return self._top[row]
        return float(np.exp(self.values[row, token].item() - self._total[row]))


@dataclass(eq=False)
class Open:
    """An answer that goes on.

    talk (Talk): the answer.
    row (int): the row with its passage.
    passage (int): tokens of the passage, which stand in the first slots.
    slots (list): those of its prompt and of what was said, in order.
    prompt (int): tokens of its prompt.
    """

    talk: Talk
    row: int
    passage: int
    slots: list[int]
    prompt: int

    @property
    def position(self) -> int:
        """Where its next token stands, in what it sees."""
        return self.passage + len(self.slots)


@dataclass
class Room:
    """The slots of a row.

    used (int): how many were ever taken.
    free (list): those that were given back.
    """

    used: int
    free: list[int] = field(default_factory=list)

    def take(self) -> int:
        if self.free:
            return self.free.pop()
        self.used += 1
        return self.used - 1


class Decoder:
    """Computes first passes, and goes on with what they left open.

    model (PreTrainedModel): the causal language model.
    packed (bool): whether its attention follows a plan (see `attention`); otherwise it is handed masks.
    closers (Tensor): ids of the tokens that close a mention.
    """

    def __init__(self, model: Any, *, packed: bool, closers: torch.Tensor):
        self.model = model
        self.packed = packed
        self.closers = closers
        self.open: list[Open] = []
        self._rows = Rows()
        self._rooms: dict[int, Room] = {}
        self._layers = len(layers(model))

    @property
    def held(self) -> int:
        """Tokens whose keys and values are held."""
        return len(self._rooms) * self._rows.width

    def prefill(
        self, passages: Sequence[Sequence[int]], trees: Sequence[Tree], talks: Sequence[Sequence[Talk]]
    ) -> None:
        """Compute passages with all their questions, and the first token of each answer.

        passages (Sequence): ids of each passage.
        trees (Sequence): the questions about each.
        talks (Sequence): the answers to them.
        """
        line = line_up(passages, trees)
        placed = line.passages
        plan = line.plan(self.model.device)
        last = [passage.place(chain[-1]) for passage in placed for chain in passage.tree.chains]
        logits = self._forward(plan, line.ids, line.positions, last)
        row = iter(range(len(last)))
        more = [[talk.take(logits, next(row)) for talk in asked] for asked in talks]
        self._keep(plan, placed, talks, more)

    def step(self, tokens: int) -> None:
        """Go on with all open answers.

        tokens (int): compute about so many; where answers are fewer, what they may say next is guessed and checked.
        """
        guesses = [one.talk.guess(max(0, tokens // len(self.open) - 1)) for one in self.open]
        fed = [[one.talk.ids[-1], *guess] for one, guess in zip(self.open, guesses, strict=True)]
        positions = [one.position + i for one, tokens_ in zip(self.open, fed, strict=True) for i in range(len(tokens_))]
        plan = self._plan(fed)
        ids = [token for tokens_ in fed for token in tokens_]
        logits = self._forward(plan, ids, positions, range(len(ids)))
        self._listen(logits, fed)

    def _listen(self, logits: Logits, fed: Sequence[Sequence[int]]) -> None:
        """Let answers say what follows; what was guessed wrongly is forgotten."""
        row, still = 0, []
        for one, tokens in zip(self.open, fed, strict=True):
            right, more = 0, one.talk.take(logits, row)
            while more and right + 1 < len(tokens) and one.talk.ids[-1] == tokens[right + 1]:
                right += 1
                more = one.talk.take(logits, row + right)
            row += len(tokens)
            wrong = len(tokens) - 1 - right
            given_back = one.slots[one.prompt :] if not more else one.slots[len(one.slots) - wrong :]
            self._rooms[one.row].free += given_back
            del one.slots[len(one.slots) - wrong :]
            if more:
                still.append(one)
        self.open = still
        for gone in self._rooms.keys() - {one.row for one in still}:
            self._rows.let_go(gone)
            del self._rooms[gone]

    def _plan(self, fed: Sequence[Sequence[int]]) -> Step:
        """Find a slot for each token, and say what it sees."""
        row, slot, place, seen = [], [], [], []
        filled = dict.fromkeys(self._rooms, 0)
        for one, tokens in zip(self.open, fed, strict=True):
            for _ in tokens:
                one.slots.append(self._rooms[one.row].take())
                row.append(one.row)
                slot.append(one.slots[-1])
                place.append(filled[one.row])
                seen.append((one.passage, list(one.slots)))
                filled[one.row] += 1
        slots = max(room.used for room in self._rooms.values())
        mask = np.zeros((max(self._rooms) + 1, max(filled.values()), slots), dtype=bool)
        mask[:, :, 0] = True  # what stands for no token sees something, so that nothing is divided by nothing
        for i, (passage, own) in enumerate(seen):
            mask[row[i], place[i], :passage] = True
            mask[row[i], place[i], own] = True
        self._rows.widen(slots)
        device = self.model.device
        numbers = (torch.tensor(values, device=device) for values in (row, slot, place))
        return Step(self._rows, *numbers, mask=torch.from_numpy(mask).to(device))

    def _forward(self, plan: Plan, ids: Sequence[int], positions: Sequence[int], places: Sequence[int]) -> Logits:
        """Logits at some tokens of a pass."""
        mask, cache = NO_MASK, None
        if not self.packed:
            mask, cache = plan.dense()[None, None], planned_cache(plan, self._layers)
        with planned(plan) if self.packed else nullcontext():
            logits = logits_at(
                self.model,
                torch.tensor(places),
                ids=torch.tensor([ids]),
                positions=torch.tensor([positions]),
                mask=mask,
                cache=cache,
            )
        return Logits(logits, self.closers)

    def _keep(
        self, plan: Packed, placed: Sequence[Passage], talks: Sequence[Sequence[Talk]], more: Sequence[Sequence[bool]]
    ) -> None:
        """Hold what open answers of a first pass will see."""
        places: list[list[int]] = []
        opened: list[list[tuple[Talk, int, list[int]]]] = []
        for passage, asked, goes_on in zip(placed, talks, more, strict=True):
            going = [(talk, chain) for talk, chain, on in zip(asked, passage.tree.chains, goes_on, strict=True) if on]
            if going:
                nodes = sorted({node for _, chain in going for node in chain})
                slots = {node: len(passage.ids) + i for i, node in enumerate(nodes)}
                places.append([*range(passage.start, passage.start + len(passage.ids)), *map(passage.place, nodes)])
                opened.append([(talk, len(passage.ids), [slots[node] for node in chain]) for talk, chain in going])
        if places:
            for row, place, going in zip(self._rows.put(plan, places), places, opened, strict=True):
                self._rooms[row] = Room(len(place))
                self.open += [Open(talk, row, length, own, len(own)) for talk, length, own in going]
