"""The released scorer, on the answers as models write them: universalner.md, section 5.

It is strict about form where our component is not: one "]" inside a mention, a single quote for a double one, a number
or a line end, and nothing of an answer counts. `metrics` gives the same string scores where answers are well formed.
"""

import json
import re
from collections.abc import Sequence

from ..errors import Errors, UniversalNERError
from ..gold.strings import normalise

LIST = re.compile(r"\[.*?\]")
TURN = "ASSISTANT:"
TINY = 1e-10


def take_answer(response: str) -> str:
    """What is scored of all that a model wrote: what follows the last turn of its own, without white space around."""
    return response.rpartition(TURN)[2].strip()


def read_answer(answer: str) -> list[str]:
    """The mentions that count of an answer, each normalised and once.

    The answer must begin with "[" and hold a "]" in its first line; the JSON up to the first "]" must be a list of
    strings. Of any other answer there are none.
    """
    match = LIST.match(answer)
    try:
        items = json.loads(match.group()) if match else []
    except (ValueError, RecursionError):
        return []
    if not all(isinstance(item, str) for item in items):
        return []
    return list(dict.fromkeys(map(normalise, items)))


def score_strings(answers: Sequence[str], golds: Sequence[str]) -> dict[str, float]:
    """Score answers as the released code does, both sides read by the same rules.

    answers (Sequence): what a model said, one for each question (see `take_answer`).
    golds (Sequence): what is right, in the same form.
    RETURNS (dict): precision, recall and f1 from 0 to 1; the terms of 1e-10 keep them from being quite 1.
    RAISES (UniversalNERError): another number of answers than of golds.
    """
    if len(answers) != len(golds):
        raise UniversalNERError(Errors.U235.format(answers=len(answers), golds=len(golds)))
    correct = predicted = gold = 0
    for answer, truth in zip(map(read_answer, answers), map(read_answer, golds), strict=True):
        correct += len(set(answer) & set(truth))
        predicted += len(answer)
        gold += len(truth)
    precision, recall = correct / (predicted + TINY), correct / (gold + TINY)
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall + TINY)}
