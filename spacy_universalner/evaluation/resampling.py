"""How much of a score is chance: bootstrap intervals, and whether two systems differ on the same sentences.

Sentences are drawn, not questions: the questions about one sentence stand or fall together.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import Errors, UniversalNERError
from .metrics import F1S, METRICS, RATES
from .rows import Row, check_row, group_questions

LEVEL = (2.5, 97.5)
"""The percentiles that bound an interval."""
NEAR = 1e-9


def interval(rows: Iterable[Row], metric: str, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of a score; see `intervals`."""
    return intervals(rows, (metric,), samples, seed)[metric]


def intervals(
    rows: Iterable[Row], metrics: Sequence[str] = F1S, samples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The 95% percentile bootstrap intervals of scores, over sentences.

    The order of the rows does not matter.

    rows (Iterable): of `prediction_rows`, or of the file they are in.
    metrics (Sequence): names of rates that `score_rows` gives, such as "span_f1" or "string_precision".
    samples (int): how often as many sentences as there are are drawn, with replacement.
    seed (int): of the drawing.
    RETURNS (dict): by metric (low, high), 0-100; (0, 0) if there are no rows.
    RAISES (UniversalNERError): an unknown metric, or a row that cannot be scored.
    """
    split = [_split(metric) for metric in metrics]
    table = tabulate(rows, [name for name, _ in split])
    found = {}
    for metric, (_, rate), counts in zip(metrics, split, table, strict=True):
        drawn = _rate(_draw(counts, samples, np.random.default_rng(seed)), rate)
        found[metric] = _bounds(drawn)
    return found


def compare(
    rows_a: Iterable[Row], rows_b: Iterable[Row], metric: str, samples: int = 1000, seed: int = 0
) -> dict[str, float | int]:
    """Compare two systems on the sentences that both were asked about.

    The interval is that of a paired bootstrap. The p value is that of approximate randomisation: how often a
    difference as large comes about where it is tossed up for each sentence which system gave which answers.

    rows_a, rows_b (Iterable): the rows of each; those of the same set and id are of the same sentence.
    metric (str): name of a rate that `score_rows` gives.
    samples (int): draws of each kind; p is at least 1 / (samples + 1).
    seed (int): of the drawing.
    RETURNS (dict): "difference" of the first from the second in points of 100, its 95% interval "low" and "high", "p",
        how many "sentences" were compared, and how many are in one of both only ("unshared").
    RAISES (UniversalNERError): an unknown metric, a sentence that is there twice, that was not asked the same or has
        other gold; no shared sentence.
    """
    name, rate = _split(metric)
    shared, unshared = _pair(rows_a, rows_b)
    counts = np.hstack([tabulate(rows, [name])[0] for rows in zip(*shared, strict=True)])
    rng = np.random.default_rng(seed)
    total = counts.sum(axis=0)
    difference = _differ(total, rate)
    drawn = _differ(_draw(counts, samples, rng), rate)
    swapped = _differ(total + _swap(counts, samples, rng), rate)
    as_far = int(np.sum(np.abs(swapped) >= abs(difference) - NEAR))
    low, high = _bounds(drawn)
    return {
        "difference": round(float(difference), 2),
        "low": low,
        "high": high,
        "p": round((1 + as_far) / (samples + 1), 6),
        "sentences": len(shared),
        "unshared": unshared,
    }


def tabulate(rows: Iterable[Row], names: Sequence[str]) -> np.ndarray:
    """Count what is correct, predicted and gold in each sentence.

    names (Sequence): of METRICS.
    RETURNS (np.ndarray): of metrics, sentences and the three counts.
    """
    table = []
    for row in rows:
        questions = group_questions(row).values()
        tallies = [[METRICS[name](question) for question in questions] for name in names]
        table.append([_add(found) for found in tallies])
    return np.array(table, dtype=float).reshape(len(table), len(names), 3).swapaxes(0, 1)


def _add(tallies: Sequence[Any]) -> tuple[float, int, int]:
    return sum(t.correct for t in tallies), sum(t.predicted for t in tallies), sum(t.gold for t in tallies)


def _split(metric: str) -> tuple[str, str]:
    name, _, rate = metric.rpartition("_")
    if name not in METRICS or rate not in RATES:
        known = ", ".join(f"{name}_{rate}" for name in METRICS for rate in RATES)
        raise UniversalNERError(Errors.U232.format(metric=metric, known=known))
    return name, rate


def _draw(counts: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of the counts of as many sentences as there are, drawn with replacement; so many samples of them.

    Sentences of equal counts are drawn as one kind, of which there are few.
    """
    if not len(counts):
        return np.zeros((samples, counts.shape[1]))
    kinds, sizes = np.unique(counts, axis=0, return_counts=True)
    return rng.multinomial(len(counts), sizes / len(counts), size=samples) @ kinds


def _swap(counts: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """What changes in the sums of two systems if either gets the other's answers to half of the sentences."""
    kinds, sizes = np.unique(counts, axis=0, return_counts=True)
    first, second = np.split(kinds, 2, axis=1)
    return rng.binomial(sizes, 0.5, size=(samples, len(sizes))) @ np.hstack([second - first, first - second])


def _rate(sums: np.ndarray, rate: str) -> np.ndarray:
    """A rate of each (correct, predicted, gold), 0-100; 0 of nothing."""
    part, whole = RATES[rate](*np.moveaxis(sums, -1, 0))
    return 100 * np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _differ(sums: np.ndarray, rate: str) -> np.ndarray:
    first, second = np.split(sums, 2, axis=-1)
    return _rate(first, rate) - _rate(second, rate)


def _bounds(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(drawn, LEVEL)
    return round(float(low), 2), round(float(high), 2)


def _pair(rows_a: Iterable[Row], rows_b: Iterable[Row]) -> tuple[list[tuple[Row, Row]], int]:
    """The rows of the same sentences, in the order of the first, and how many others there are."""
    first, second = _index(rows_a), _index(rows_b)
    shared = [(row, second[key]) for key, row in first.items() if key in second]
    if not shared:
        raise UniversalNERError(Errors.U234.format(first=len(first), second=len(second)))
    for a, b in shared:
        if _asked(a) != _asked(b):
            raise UniversalNERError(Errors.U233.format(id=a["id"], reason="its text, types or gold differ"))
    return shared, len(first) + len(second) - 2 * len(shared)


def _index(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        check_row(row)
        key = (row.get("set", ""), row["id"])
        if key in found:
            raise UniversalNERError(Errors.U233.format(id=row["id"], reason="it is there twice"))
        found[key] = row
    return found


def _asked(row: Row) -> tuple[str, set[str], set[tuple[int, int, str]]]:
    return row["text"], set(row["types"]), set(map(tuple, row["gold"]))
