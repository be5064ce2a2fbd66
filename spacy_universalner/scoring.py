"""Confidence in the mentions of an answer, from the probabilities of its tokens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
KEY = re.compile(r"\s*:")


@dataclass(frozen=True)
class Said:
    """A token of an answer.

    piece (str): its text, as it stands in the answer.
    probability (float): the probability that the model gave it.
    closing (float): the probability of all tokens that close a mention here, those that begin with a double quote.
    """

    piece: str
    probability: float
    closing: float


def score_mentions(said: Sequence[Said]) -> list[float]:
    """Score each finished string of an answer, but for the keys of an object, in the order said.

    A score is the probability that the model names a mention here, rather than none or no more, times that of its
    words and of its end. That the list ends or goes on after a mention is no part of that mention.

    said (Sequence): the tokens of the answer, in order.
    """
    answer = "".join(token.piece for token in said)
    owners = [number for number, token in enumerate(said) for _ in token.piece]
    scores: list[float] = []
    begin, opened = 0, 1.0
    for match in STRING.finditer(answer):
        last = owners[match.end() - 1]
        closed = said[last].closing if said[last].piece.startswith('"') else said[last].probability
        if not KEY.match(answer, match.end()):
            scores.append(opened * prod(token.probability for token in said[begin:last]) * closed)
        begin, opened = last + 1, said[last].probability / closed if closed else 0.0
    return scores
