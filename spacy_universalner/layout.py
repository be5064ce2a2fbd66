"""A passage and many questions in one row, rows padded to one width, with a mask of what each token sees: for questions
that see those before them, and for models that cannot do without (see `tree`)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """Rows padded to one width.

    ids (Tensor): token ids, (rows, width).
    positions (Tensor): place of each token in what it can see, (rows, width).
    mask (Tensor): True where a token (second last dimension) sees another, (rows, 1, width, width).
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor


def batch_by_width(items: Iterable[T], width: Callable[[T], int], tokens: int) -> Iterator[list[T]]:
    """Items of like width together, the widest first, as many as fit a budget of tokens, padding included.

    width (Callable): tokens of an item.
    tokens (int): tokens of a batch; an item wider than that is a batch of its own.
    """
    batch: list[T] = []
    for item in sorted(items, key=width, reverse=True):
        if batch and (len(batch) + 1) * width(batch[0]) > tokens:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def lay_out(rows: Sequence[Sequence[int]], starts: Sequence[Sequence[int]], *, pad: int, isolated: bool) -> Layout:
    """Pad rows on the right and say what each token sees.

    rows (Sequence): ids of a passage and the questions about it, one after the other.
    starts (Sequence): where each question of a row starts; the first start is the length of the passage.
    isolated (bool): each question sees the passage and itself, and its positions go on from the passage, as if it were
        the only one. Otherwise it sees all before it.
    """
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    positions = torch.arange(width).repeat(len(rows), 1)
    part = torch.zeros((len(rows), width), dtype=torch.long)
    for i, (row, begins) in enumerate(zip(rows, starts, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        part[i, len(row) :] = -1
        if isolated:
            for number, (start, end) in enumerate(pairwise((*begins, len(row))), 1):
                part[i, start:end] = number
                positions[i, start:end] -= start - begins[0]
    same = part[:, :, None] == part[:, None, :]
    seen = same | ((part[:, None, :] == 0) & (part[:, :, None] > 0))
    mask = (seen & torch.ones(width, width, dtype=torch.bool).tril())[:, None]
    return Layout(ids, positions, mask)
