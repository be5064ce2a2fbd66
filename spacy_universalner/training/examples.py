"""From conversations to rows of ids: which questions, which tokens are learnt, which rows go together."""

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

import torch

from ..encoding import Encoder
from ..layout import Layout, batch_by_width, lay_out
from ..records import Conversation, Query
from ..tree import Line, grow, line_up


class Row:
    """One conversation as ids. All rows of a run are planned ahead, so they are kept in an eighth of what tuples take.

    id (str): the conversation.
    ids (tuple): passage, then question, answer and end token, again and again.
    learnt (tuple): positions of the tokens to be predicted: answers and their end tokens, nothing else; in uniner.v1
        also the reply to the passage.
    starts (tuple): where each question starts in ids; the first one is the length of the passage.
    """

    __slots__ = ("id", "_ids", "_learnt", "_starts")

    def __init__(self, id: str, ids: Iterable[int], learnt: Iterable[int], starts: Iterable[int]):
        self.id = id
        self._ids, self._learnt, self._starts = (array("i", numbers) for numbers in (ids, learnt, starts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._ids)

    @property
    def learnt(self) -> tuple[int, ...]:
        return tuple(self._learnt)

    @property
    def starts(self) -> tuple[int, ...]:
        return tuple(self._starts)

    @property
    def width(self) -> int:
        """How many tokens it has."""
        return len(self._ids)


@dataclass(frozen=True)
class Batch:
    """Rows padded to one width, or one after the other.

    conversations (tuple): ids of the conversations.
    layout (Layout or Line): ids, positions and who sees whom.
    predict (Tensor): flat positions whose next token is learnt, (n,).
    targets (Tensor): those next tokens, (n,).
    """

    conversations: tuple[str, ...]
    layout: Layout | Line
    predict: torch.Tensor
    targets: torch.Tensor


def make_row(encoder: Encoder, conversation: Conversation, queries: Sequence[Query]) -> Row:
    """Render and tokenise a conversation with some of its queries, in the order given."""
    groups = encoder.template.groups(queries)
    exchanges = [encoder.first_exchange(conversation.text, conversation.dataset), *map(encoder.exchange, groups)]
    ids: list[int] = []
    learnt: list[int] = []
    starts: list[int] = []
    for exchange in exchanges:
        starts.append(len(ids))
        learnt += range(len(ids) + exchange.answer_start, len(ids) + len(exchange.ids))
        ids += exchange.ids
    return Row(conversation.id, ids, learnt, starts[1:])


def draw_queries(conversation: Conversation, *, most: int, rng: random.Random) -> list[Query]:
    """The questions of a conversation in a new order (as the authors' training code draws it), at most so many."""
    queries = list(conversation.queries)
    rng.shuffle(queries)
    return queries[:most] if most else queries


def split_rows(
    encoder: Encoder, conversation: Conversation, queries: Sequence[Query], longest: int
) -> tuple[list[Row], list[Query]]:
    """Rows of at most `longest` tokens with as many of the questions as fit each; the passage opens every one.

    RETURNS (tuple): the rows, and the questions that do not fit even alone. No answer is ever cut.
    """
    rows: list[Row] = []
    left: list[Query] = []
    rest = list(queries)
    while rest:
        row = make_row(encoder, conversation, rest)
        count = len(rest)
        if row.width > longest:
            count = bisect_right(range(1, count), longest, key=lambda n: _count_ids(encoder, conversation, rest[:n]))
            row = make_row(encoder, conversation, rest[:count])
        if count:
            rows.append(row)
        else:
            left.append(rest[0])
        rest = rest[max(1, count) :]
    return rows, left


def plan_epoch(
    rows: Sequence[Row], *, batch_tokens: int, step_tokens: int, rng: random.Random, pool: int = 64
) -> Iterator[list[list[Row]]]:
    """Order an epoch: optimiser steps of about `step_tokens` tokens, each of batches of rows of like length.

    Rows are shuffled, then sorted by length within pools, so that padding is small and order stays random.

    batch_tokens (int): tokens of a batch, padding included.
    YIELDS (list): the batches of one optimiser step.
    """
    shuffled = list(rows)
    rng.shuffle(shuffled)
    batches: list[list[Row]] = []
    for start in range(0, len(shuffled), pool):
        batches += batch_by_width(shuffled[start : start + pool], attrgetter("width"), batch_tokens)
    rng.shuffle(batches)
    step: list[list[Row]] = []
    tokens = 0
    for batch in batches:
        step.append(batch)
        tokens += sum(row.width for row in batch)
        if tokens >= step_tokens:
            yield step
            step, tokens = [], 0
    if step:
        yield step


def collate(rows: Sequence[Row], pad: int, *, isolated: bool) -> Batch:
    """Pad rows on the right, and say what each token sees and where the loss is taken.

    isolated (bool): each question sees the passage and itself, as it will be asked; its positions go on from the
        passage. Otherwise it sees all before it, as in the authors' training code.
    """
    layout = lay_out([row.ids for row in rows], [row.starts for row in rows], pad=pad, isolated=isolated)
    width = layout.ids.shape[1]
    predict = torch.tensor([i * width + position - 1 for i, row in enumerate(rows) for position in row.learnt])
    targets = torch.tensor([ids[position] for row in rows for ids in (row.ids,) for position in row.learnt])
    return Batch(tuple(row.id for row in rows), layout, predict, targets)


def pack(rows: Sequence[Row]) -> Batch:
    """Rows one after the other, for a model that attends by plans: what `collate` says of isolated questions, without
    padding, and with what the questions of a row begin with alike once."""
    passages, trees = [], []
    for row in rows:
        ids, bounds = row.ids, (*row.starts, row.width)
        passages.append(ids[: bounds[0]])
        trees.append(grow(tuple(ids[start:end] for start, end in pairwise(bounds))))
    line = line_up(passages, trees)
    predict, targets = [], []
    for row, passage in zip(rows, line.passages, strict=True):
        ids = row.ids
        nodes = [node for chain in passage.tree.chains for node in chain]
        places = [*range(passage.start, passage.place(0)), *map(passage.place, nodes)]
        predict += [places[position - 1] for position in row.learnt]
        targets += [ids[position] for position in row.learnt]
    return Batch(tuple(row.id for row in rows), line, torch.tensor(predict), torch.tensor(targets))


def _count_ids(encoder: Encoder, conversation: Conversation, queries: Sequence[Query]) -> int:
    return make_row(encoder, conversation, queries).width
