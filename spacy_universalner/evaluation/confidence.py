"""How far scores can be trusted: precision and recall by threshold, and scores beside how often they are right."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Errors, UniversalNERError
from ..records import read_rows

POINTS = 50
"""A curve has at most so many points."""
BINS = 10
PER_BIN = 20
"""Spans are divided into at most so many bins, of at least so many: the share of fewer tells nothing."""
EDGE = 1e-6
"""Scores are taken to be so far from 0 and from 1, where the log-odds end."""
LEAST_SLOPE = 0.01
FIELDS = ("gold", "predicted", "scores")


@dataclass(frozen=True, eq=False)
class Scored:
    """Predicted spans and what became of them.

    scores (np.ndarray): the confidence in each span that has one.
    right (np.ndarray): whether each is in the gold, with its type and both offsets.
    gold (int): the gold entities, predicted or not.
    unscored (int): predicted spans without a score, which are in none of these.
    """

    scores: np.ndarray
    right: np.ndarray
    gold: int
    unscored: int


@dataclass(frozen=True)
class Calibration:
    """A rising map from a score to how often such a span is right: sigmoid(slope * logit(score) + bias).

    slope (float): below 1 where scores are too sure of themselves.
    bias (float): below 0 where they are too high.
    """

    slope: float = 1.0
    bias: float = 0.0

    def apply(self, score: float) -> float:
        """RETURNS (float): the calibrated score, between 0 and 1."""
        score = min(max(score, EDGE), 1 - EDGE)
        odds = self.slope * math.log(score / (1 - score)) + self.bias
        return 1 / (1 + math.exp(-min(max(odds, -700.0), 700.0)))


def gather(rows: Iterable[Mapping[str, Any]]) -> Scored:
    """Compare predicted spans with the gold.

    rows (Iterable): of `rows.prediction_rows`, or of the file they are in.
    RAISES (UniversalNERError): a row without scores beside its spans.
    """
    scores: list[float] = []
    right: list[bool] = []
    gold = unscored = 0
    for row in rows:
        if any(key not in row for key in FIELDS) or len(row["scores"]) != len(row["predicted"]):
            raise UniversalNERError(Errors.U206.format(id=row.get("id"), expected=", ".join(FIELDS)))
        truth = set(map(tuple, row["gold"]))
        gold += len(truth)
        for span, score in zip(row["predicted"], row["scores"], strict=True):
            if score is None:
                unscored += 1
            else:
                scores.append(score)
                right.append(tuple(span) in truth)
    return Scored(np.array(scores, dtype=float), np.array(right, dtype=bool), gold, unscored)


def measure_confidence(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Measure how well scores tell right spans from wrong ones, and how near they are to the share that is right.

    rows (Iterable): as for `gather`.
    RETURNS (dict): counts, and what `trace_curve` and `measure_calibration` give; None if no span has a score.
    RAISES (UniversalNERError): a row without scores beside its spans.
    """
    found = gather(rows)
    if not len(found.scores):
        return None
    counts = {"spans": len(found.scores), "unscored": found.unscored, "gold": found.gold}
    return {**counts, **trace_curve(found), **measure_calibration(found.scores, found.right)}


def trace_curve(found: Scored, points: int = POINTS) -> dict[str, Any]:
    """Precision and recall of the spans with at least a score, for every score there is.

    found (Scored): the spans, at least one.
    points (int): the curve is thinned to so many points, the best one among them.
    RETURNS (dict): F1 of all spans, the best F1 and its threshold, average precision (precision at each right span,
        summed over all gold entities), and the curve: lists of threshold, precision, recall and F1, all but the
        threshold from 0 to 100.
    """
    order = np.argsort(-found.scores, kind="stable")
    scores, hits = found.scores[order], np.cumsum(found.right[order])
    last = np.flatnonzero(np.diff(scores, append=-1.0))  # spans of the same score are kept or left together
    kept, hits = last + 1, hits[last]
    precision, recall = hits / kept, hits / max(found.gold, 1)
    f1 = 2 * hits / (kept + found.gold)
    best = int(np.argmax(f1))
    shown = {*np.linspace(0, len(last) - 1, min(points - 1, len(last)), dtype=int).tolist(), best}
    curve = ((scores[last[i]], 100 * precision[i], 100 * recall[i], 100 * f1[i]) for i in sorted(shown))
    return {
        "f1": round(100 * float(f1[-1]), 2),
        "best_f1": round(100 * float(f1[best]), 2),
        "best_threshold": float(scores[last[best]]),
        "average_precision": round(100 * float(np.sum(np.diff(recall, prepend=0.0) * precision)), 2),
        "curve": [[float(score), *(round(float(rate), 2) for rate in rates)] for score, *rates in curve],
    }


def measure_calibration(scores: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray) -> dict[str, Any]:
    """Compare scores with how often they are right, in bins that hold about as many spans each.

    scores (Sequence): of each span, at least one.
    right (Sequence): whether each is.
    RETURNS (dict): mean score and share right, the expected calibration error (their distance in a bin, averaged over
        the spans), the Brier score (mean squared distance of a score from 0 or 1), and the bins with the interval that
        the share right lies in with 95% confidence; all from 0 to 1.
    """
    order = np.argsort(scores, kind="stable")
    ordered, hits = np.asarray(scores, dtype=float)[order], np.asarray(right, dtype=float)[order]
    bins, error = [], 0.0
    for part in _cut(ordered):
        count, score, share = len(ordered[part]), float(ordered[part].mean()), float(hits[part].mean())
        error += count * abs(score - share)
        low, high = _interval(share, count)
        rates = {"score": score, "right": share, "low": low, "high": high}
        bins.append({"count": count, **{key: round(rate, 4) for key, rate in rates.items()}})
    return {
        "mean_score": round(float(ordered.mean()), 4),
        "share_right": round(float(hits.mean()), 4),
        "ece": round(error / len(ordered), 4),
        "brier": round(float(np.mean((ordered - hits) ** 2)), 4),
        "bins": bins,
    }


def fit_calibration(scores: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray) -> Calibration:
    """Fit a calibration to spans by maximum likelihood (Platt scaling of the log-odds).

    A pull as strong as one span holds it at the scores as they are, so that few spans change little, and spans that
    are all right have a finite fit. The map always rises: where scores tell nothing, it is all but flat.

    scores (Sequence): of each span.
    right (Sequence): whether each is.
    """
    near = np.clip(np.asarray(scores, dtype=float), EDGE, 1 - EDGE)
    odds, hits = np.log(near / (1 - near)), np.asarray(right, dtype=float)
    ones = np.ones_like(odds)
    slope, bias = _maximise(np.stack([odds, ones], axis=1), hits, np.zeros_like(odds), np.array([1.0, 0.0]))
    if slope < LEAST_SLOPE:
        slope = LEAST_SLOPE
        (bias,) = _maximise(ones[:, None], hits, slope * odds, np.array([0.0]))
    return Calibration(float(slope), float(bias))


def measure_transfer(fitted: Path, measured: Path) -> dict[str, Any] | None:
    """Choose a threshold and fit a calibration on the predictions of one file, and measure both on those of another.

    fitted (Path): predictions as `evaluate` writes them, of the dev part.
    measured (Path): others.
    RETURNS (dict): the spans fitted to, the threshold of the best F1 there with precision, recall and F1 of the others
        (0-100), the calibration, and what `measure_calibration` gives before and after it; None if one of the files
        holds no scores.
    RAISES (UniversalNERError): a missing or damaged file, or a row without scores beside its spans.
    """
    source, target = (gather(row for _, row in read_rows(path)) for path in (fitted, measured))
    if not len(source.scores) or not len(target.scores):
        return None
    calibration = fit_calibration(source.scores, source.right)
    after = [calibration.apply(score) for score in target.scores.tolist()]
    return {
        "spans": len(source.scores),
        "threshold": _rate(target, trace_curve(source)["best_threshold"]),
        "slope": round(calibration.slope, 4),
        "bias": round(calibration.bias, 4),
        "before": measure_calibration(target.scores, target.right),
        "after": measure_calibration(after, target.right),
    }


def _rate(found: Scored, threshold: float) -> dict[str, float]:
    """Precision, recall and F1 of the spans with at least a score, 0-100."""
    kept = found.right[found.scores >= threshold]
    hits, predicted = int(kept.sum()), len(kept)
    rates = {
        "precision": hits / max(predicted, 1),
        "recall": hits / max(found.gold, 1),
        "f1": 2 * hits / max(predicted + found.gold, 1),
    }
    return {"threshold": threshold, **{name: round(100 * rate, 2) for name, rate in rates.items()}}


def _cut(ordered: np.ndarray) -> list[slice]:
    """Bins of about equal counts; equal scores are in the same."""
    number = max(1, min(BINS, len(ordered) // PER_BIN))
    places = [len(ordered) * i // number for i in range(number)]
    starts = np.unique(np.searchsorted(ordered, ordered[places], side="left")).tolist()
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(ordered)], strict=True)]


def _interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _maximise(features: np.ndarray, hits: np.ndarray, offset: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Logistic regression pulled towards its start, by Newton steps that are halved until they gain."""

    def loss(weights: np.ndarray) -> float:
        odds = offset + features @ weights
        return float(np.sum(np.logaddexp(0, odds) - hits * odds) + np.sum((weights - start) ** 2) / 2)

    weights = start
    for _ in range(100):
        chance = np.exp(-np.logaddexp(0, -(offset + features @ weights)))
        slope = features.T @ (chance - hits) + weights - start
        if np.max(np.abs(slope)) < 1e-6:
            break
        curvature = (features.T * (chance * (1 - chance))) @ features + np.eye(len(start))
        step, size = np.linalg.solve(curvature, slope), 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-6:
            size /= 2
        weights = weights - size * step
    return weights
