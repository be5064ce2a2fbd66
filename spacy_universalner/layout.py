"""A passage and many questions in one row: what each token sees, for training and for inference alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch


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
