"""Passages with questions behind them as one sequence of tokens without padding, for training and for inference alike.

Each question sees its passage and itself, and what questions of a passage begin with alike stands there once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .attention import Blocks, Packed

BLOCK_TOKENS = 128


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
    """A passage in a line.

    ids (Sequence): its tokens.
    tree (Tree): the questions about it.
    start (int): where it stands in the line; its questions follow.
    """

    ids: Sequence[int]
    tree: Tree
    start: int

    def place(self, node: int) -> int:
        """Where a token of its questions stands."""
        return self.start + len(self.ids) + node


@dataclass(frozen=True)
class Line:
    """Passages, each with the tree of its questions behind it, one after the other.

    passages (tuple): where each stands.
    """

    passages: tuple[Passage, ...]

    @cached_property
    def ids(self) -> list[int]:
        """All tokens."""
        return [token for passage in self.passages for token in (*passage.ids, *passage.tree.ids)]

    @cached_property
    def positions(self) -> list[int]:
        """Of each token its place in what it sees."""
        return [
            place
            for passage in self.passages
            for place in (*range(len(passage.ids)), *(len(passage.ids) + depth for depth in passage.tree.depths))
        ]

    def plan(self, device: torch.device, *, keeps: bool = True) -> Packed:
        """Who sees whom.

        keeps (bool): whether keys and values are wanted afterwards.
        """
        kinds = (_passage_sets(self.passages), _question_sets(self.passages))
        return Packed([_pad(sets, device) for sets in kinds if sets], keeps=keeps)


def line_up(passages: Sequence[Sequence[int]], trees: Sequence[Tree]) -> Line:
    """Put passages and the questions about each one after the other."""
    placed, start = [], 0
    for ids, tree in zip(passages, trees, strict=True):
        placed.append(Passage(ids, tree, start))
        start += len(ids) + len(tree.ids)
    return Line(tuple(placed))


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
