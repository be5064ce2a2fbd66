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


def score_begun(said: Sequence[Said], closed: int) -> float:
    """Score what was said of the next mention so far: no score of it will be higher.

    closed (int): tokens up to the end of the mention before, 0 if there was none.
    """
    return _opened(said[:closed]) * prod(token.probability for token in said[closed:])


def score_mentions(said: Sequence[Said]) -> list[float]:
    """Score each finished string of an answer, but for the keys of an object, in the order said.

    A score is the probability that the model names a mention here, rather than none or no more, times that of its
    words and of its end. That the list ends or goes on after a mention is no part of that mention.

    said (Sequence): the tokens of the answer, in order.
    """
    answer = "".join(token.piece for token in said)
    owners = [number for number, token in enumerate(said) for _ in token.piece]
    scores: list[float] = []
    begin = 0
    for match in STRING.finditer(answer):
        last = owners[match.end() - 1]
        if not KEY.match(answer, match.end()):
            scores.append(score_begun(said[:last], begin) * _closed(said[last]))
        begin = last + 1
    return scores


def _closed(token: Said) -> float:
    """The probability that a mention ends here, whatever follows it."""
    return token.closing if token.piece.startswith('"') else token.probability


def _opened(before: Sequence[Said]) -> float:
    """The probability that another mention follows what ends one."""
    if not before:
        return 1.0
    closed = _closed(before[-1])
    return min(1.0, before[-1].probability / closed) if closed else 0.0
