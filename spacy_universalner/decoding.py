"""Answers to many questions about many passages, on a Hugging Face causal language model.

Passages and the questions behind them go through the model as one sequence of tokens; each question sees its passage
and itself, and what questions of a passage begin with alike is computed once. Answers that are not ended by their first
token go on together, whichever passage they are about, a token of each at a time, or a few where they can be guessed.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch

from .attention import NO_MASK, Blocks, Packed, Plan, Rows, Step, planned, planned_cache
from .causal import layers, logits_at

BLOCK_TOKENS = 128


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


@dataclass(frozen=True)
class Tree:
    """Prompts that begin alike as branches of a tree of tokens.

    ids, depths (tuple): of each token; a token comes after those it follows.
    chains (tuple): the tokens of each prompt, in order.
    blocks (tuple): tokens in blocks: all that one of the block may see, its own at the end, and which of them each of
        its own sees, (own, all).
    """

    ids: tuple[int, ...]
    depths: tuple[int, ...]
    chains: tuple[tuple[int, ...], ...]
    blocks: tuple[tuple[np.ndarray, np.ndarray], ...]


@lru_cache(maxsize=1 << 10)
def grow(prompts: tuple[tuple[int, ...], ...]) -> Tree:
    """The tree of some prompts."""
    nodes: dict[tuple[int, int], int] = {}
    parents: list[int] = []
    depths: list[int] = []
    chains = []
    for prompt in prompts:
        chain, parent = [], -1
        for depth, token in enumerate(prompt):
            node = nodes.setdefault((parent, token), len(nodes))
            if node == len(parents):
                parents.append(parent)
                depths.append(depth)
            chain.append(node)
            parent = node
        chains.append(tuple(chain))
    ids = tuple(token for _, token in nodes)
    return Tree(ids, tuple(depths), tuple(chains), tuple(_blocks(parents)))


def _blocks(parents: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tokens of a tree in blocks, as the tokens each block may see, its own the last ones, and which sees which."""
    sees = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            sees[node] |= sees[parent]
    for start in range(0, len(parents), BLOCK_TOKENS):
        own = sees[start : start + BLOCK_TOKENS]
        keys = np.flatnonzero(own.any(0))
        yield keys, own[:, keys]


@dataclass(frozen=True)
class Passage:
    """A passage in a first pass.

    ids (Sequence): its tokens.
    tree (Tree): the questions about it.
    start (int): where it stands in the pass; its questions follow.
    """

    ids: Sequence[int]
    tree: Tree
    start: int

    def place(self, node: int) -> int:
        """Where a token of its questions stands."""
        return self.start + len(self.ids) + node


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
        placed, start = [], 0
        for ids, tree in zip(passages, trees, strict=True):
            placed.append(Passage(ids, tree, start))
            start += len(ids) + len(tree.ids)
        device = self.model.device
        plan = Packed([_pad(sets, device) for sets in (_passage_sets(placed), _question_sets(placed)) if sets])
        ids = [token for passage in placed for token in (*passage.ids, *passage.tree.ids)]
        positions = [
            place
            for passage in placed
            for place in (*range(len(passage.ids)), *(len(passage.ids) + depth for depth in passage.tree.depths))
        ]
        last = [passage.place(chain[-1]) for passage in placed for chain in passage.tree.chains]
        logits = self._forward(plan, ids, positions, last)
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


Sets = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def _passage_sets(placed: Sequence[Passage]) -> Sets:
    """Each passage sees itself."""
    sets = []
    for passage in placed:
        tokens = passage.start + np.arange(len(passage.ids))
        sets.append((tokens, tokens, np.tri(len(tokens), dtype=bool)))
    return sets


def _question_sets(placed: Sequence[Passage]) -> Sets:
    """The questions of each passage see it, and what they consist of."""
    sets = []
    for passage in placed:
        tokens = passage.start + np.arange(len(passage.ids))
        for nodes, sees in passage.tree.blocks:
            own = passage.place(0) + nodes
            mask = np.concatenate([np.ones((len(sees), len(tokens)), dtype=bool), sees], axis=1)
            sets.append((own[len(own) - len(sees) :], np.concatenate([tokens, own]), mask))
    return sets


def _pad(sets: Sets, device: torch.device) -> Blocks:
    """Sets of (queries, keys, mask) side by side."""
    width, most = (max(len(item[i]) for item in sets) for i in (0, 1))
    queries = np.zeros((len(sets), width), dtype=np.int64)
    keys = np.zeros((len(sets), most), dtype=np.int64)
    mask = np.zeros((len(sets), width, most), dtype=bool)
    for i, (own, seen, sees) in enumerate(sets):
        queries[i, : len(own)], keys[i, : len(seen)], mask[i, : len(own), : len(seen)] = own, seen, sees
    return Blocks(*(torch.from_numpy(array).to(device) for array in (queries, keys, mask)))
