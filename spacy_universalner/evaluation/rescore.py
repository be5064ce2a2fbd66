"""Scoring predictions again from the files they were written to, without a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Errors, UniversalNERError
from .metrics import METRICS, score_rows
from .mistakes import count_mistakes
from .official import score_strings
from .resampling import intervals
from .rows import Row, group_questions, read_predictions


def summarise(rows: Sequence[Row], samples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """All that can be said of the predictions about one set.

    rows (Sequence): of `prediction_rows`, or of the file they are in.
    samples (int): bootstrap samples of the intervals.
    seed (int): of their drawing.
    RETURNS (dict): what `score_rows` gives, the 95% intervals of the F1 scores as "span_interval", "ents_interval",
        "string_interval" and "partial_interval", each [low, high], under "mistakes" what `count_mistakes` gives, and
        "official_f1".
    RAISES (UniversalNERError): a row that cannot be scored.
    """
    bounds = intervals(rows, samples=samples, seed=seed)
    return {
        **score_rows(rows),
        **{f"{name}_interval": list(bounds[f"{name}_f1"]) for name in METRICS},
        "mistakes": count_mistakes(rows),
        "official_f1": score_officially(rows),
    }


def score_officially(rows: Sequence[Row]) -> float:
    """F1 of the released scorer (0-100) on what was answered, written down as the JSON lists it reads.

    It is string F1 but for its quirks: of a list with a "]" in a mention it reads nothing.
    """
    questions = [question for row in rows for question in group_questions(row).values()]
    golds = [json.dumps([one.text[start:end] for start, end in sorted(one.gold)]) for one in questions]
    answers = [json.dumps(list(one.mentions)) for one in questions]
    return round(100 * score_strings(answers, golds)["f1"], 2)


def score_file(path: Path, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Score the predictions of a file that is of one set; see `summarise`.

    RAISES (UniversalNERError): the file is missing or damaged, of several sets, or has a row that cannot be scored.
    """
    sets = _read_sets(path)
    if len(sets) > 1:
        raise UniversalNERError(Errors.U236.format(path=path, sets=", ".join(sets)))
    return summarise([row for rows in sets.values() for row in rows], samples, seed)


def score_sets(path: Path, samples: int = 1000, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Score the predictions of a file set by set.

    RETURNS (dict): by the name of the set ("" if rows have none) what `summarise` gives.
    RAISES (UniversalNERError): the file is missing or damaged, or has a row that cannot be scored.
    """
    return {name: summarise(rows, samples, seed) for name, rows in _read_sets(path).items()}


def _read_sets(path: Path) -> dict[str, list[dict[str, Any]]]:
    sets: dict[str, list[dict[str, Any]]] = {}
    for row in read_predictions(path):
        sets.setdefault(row.get("set", ""), []).append(row)
    return sets
