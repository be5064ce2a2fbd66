import json
import math
import random

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.confidence import (
    BINS,
    POINTS,
    Calibration,
    fit_calibration,
    gather,
    measure_calibration,
    measure_confidence,
    measure_transfer,
    trace_curve,
)
from spacy_universalner.records import write_rows


def row(said, missed=0):
    """A row of spans, each a (score, right), and of gold entities that were not predicted."""
    spans = [[i, i + 1, "person"] for i in range(len(said) + missed)]
    gold = [span for span, (_, right) in zip(spans, said, strict=False) if right] + spans[len(said) :]
    return {"id": "r", "gold": gold, "predicted": spans[: len(said)], "scores": [score for score, _ in said]}


def draw(count, slope=1.0, bias=0.0, seed=0):
    """Spans that are right as often as their scores say, once these are mapped."""
    rng = random.Random(seed)
    scores = [rng.uniform(0.02, 0.98) for _ in range(count)]
    return [(score, rng.random() < Calibration(slope, bias).apply(score)) for score in scores]


CURVES = {
    "right before wrong": ([(0.9, True), (0.8, True), (0.4, False)], 0, 80.0, 100.0, 0.8, 100.0),
    "the wrong one first": ([(0.9, False), (0.8, True)], 0, 66.67, 66.67, 0.8, 50.0),
    "what was missed counts in recall": ([(0.9, True), (0.5, False)], 3, 33.33, 40.0, 0.9, 25.0),
    "equal scores are kept together": ([(0.5, True), (0.5, False), (0.5, True)], 0, 80.0, 80.0, 0.5, 66.67),
    "none is right": ([(0.5, False)], 2, 0.0, 0.0, 0.5, 0.0),
    "no gold": ([(0.5, False)], 0, 0.0, 0.0, 0.5, 0.0),
}


@pytest.mark.parametrize(("said", "missed", "f1", "best", "threshold", "average"), CURVES.values(), ids=CURVES)
def test_the_curve_of_precision_and_recall(said, missed, f1, best, threshold, average):
    curve = trace_curve(gather([row(said, missed)]))
    assert (curve["f1"], curve["best_f1"], curve["best_threshold"]) == (f1, best, threshold)
    assert curve["average_precision"] == average
    assert [point[0] for point in curve["curve"]] == sorted({score for score, _ in said}, reverse=True)


def test_a_point_of_the_curve_is_threshold_precision_recall_and_f1():
    curve = trace_curve(gather([row([(0.9, True), (0.5, False)], missed=3)]))
    assert curve["curve"] == [[0.9, 100.0, 25.0, 40.0], [0.5, 50.0, 25.0, 33.33]]


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_its_best_point():
    found = gather([row(draw(5000), missed=500)])
    curve = trace_curve(found)
    thresholds = [point[0] for point in curve["curve"]]
    assert len(thresholds) <= POINTS and thresholds == sorted(thresholds, reverse=True)
    assert {found.scores.max(), found.scores.min(), curve["best_threshold"]} <= set(thresholds)
    assert max(point[3] for point in curve["curve"]) == curve["best_f1"]


def test_spans_are_right_with_type_and_both_offsets():
    gold = [[0, 3, "person"], [4, 7, "city"]]
    predicted = [[0, 3, "city"], [0, 3, "person"], [4, 6, "city"]]
    found = gather([{"id": "r", "gold": gold, "predicted": predicted, "scores": [0.1, 0.2, 0.3]}])
    assert (found.right.tolist(), found.gold) == ([False, True, False], 2)


def test_spans_without_a_score_are_set_aside_and_counted():
    measured = measure_confidence([row([(0.9, True), (None, True)])])
    assert [measured[key] for key in ("spans", "unscored", "gold")] == [1, 1, 2]


@pytest.mark.parametrize("rows", [[], [row([])], [row([], missed=2)], [row([(None, True)])]])
def test_nothing_is_measured_without_a_score(rows):
    assert measure_confidence(rows) is None


@pytest.mark.parametrize("change", [{"scores": None}, {"scores": []}, {"predicted": None}])
def test_rows_without_scores_beside_their_spans(change):
    bad = {**row([(0.9, True)]), **change}
    with pytest.raises(UniversalNERError, match=r"U206.*'r'"):
        gather([{key: value for key, value in bad.items() if value is not None}])


ERRORS = {
    "sure and right": ([(1.0, True)] * 40, 0.0, 0.0),
    "sure and wrong": ([(1.0, False)] * 40, 1.0, 1.0),
    "half right, half sure": ([(0.5, True), (0.5, False)] * 20, 0.0, 0.25),
    "two bins off by as much": ([(0.25, False)] * 40 + [(0.75, True)] * 40, 0.25, 0.0625),
}


@pytest.mark.parametrize(("said", "ece", "brier"), ERRORS.values(), ids=ERRORS)
def test_calibration_error_and_brier_score(said, ece, brier):
    measured = measure_calibration(*zip(*said, strict=True))
    assert (measured["ece"], measured["brier"]) == (ece, brier)


@pytest.mark.parametrize(("count", "bins"), [(1, 1), (39, 1), (40, 2), (199, 9), (1000, BINS)])
def test_bins_hold_about_as_many_spans_each_and_never_too_few(count, bins):
    counts = [b["count"] for b in measure_calibration(*zip(*draw(count), strict=True))["bins"]]
    assert len(counts) == bins and sum(counts) == count
    assert max(counts) - min(counts) <= 1


def test_equal_scores_are_in_one_bin():
    said = [(1.0, True)] * 150 + draw(50)
    bins = measure_calibration(*zip(*said, strict=True))["bins"]
    assert (bins[-1]["count"], bins[-1]["score"], bins[-1]["right"]) == (150, 1.0, 1.0)


def test_the_interval_of_a_bin_holds_its_share():
    for b in measure_calibration(*zip(*draw(500), strict=True))["bins"]:
        assert 0 <= b["low"] < b["right"] < b["high"] <= 1


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.5), (0.2, 1.5)])
def test_a_fit_finds_the_map_that_scores_were_drawn_with(slope, bias):
    found = fit_calibration(*zip(*draw(20000, slope, bias), strict=True))
    assert found.slope == pytest.approx(slope, abs=0.08)
    assert found.bias == pytest.approx(bias, abs=0.08)


FITS = {
    "nothing": [],
    "all right": [(0.9, True)] * 50,
    "all wrong": [(0.9, False)] * 50,
    "told apart without a fault": [(0.9, True)] * 50 + [(0.1, False)] * 50,
    "the wrong way round": [(0.9, False)] * 50 + [(0.1, True)] * 50,
    "at the ends": [(1.0, True)] * 50 + [(0.0, False)] * 50 + [(1.0, False), (0.0, True)],
}


@pytest.mark.parametrize("said", FITS.values(), ids=FITS)
def test_every_fit_is_finite_and_rises(said):
    found = fit_calibration([score for score, _ in said], [right for _, right in said])
    assert math.isfinite(found.slope) and math.isfinite(found.bias)
    mapped = [found.apply(score) for score in (0.0, 0.01, 0.3, 0.5, 0.99, 1.0)]
    assert mapped == sorted(mapped) and len(set(mapped)) == len(mapped)
    assert 0 <= mapped[0] and mapped[-1] <= 1


def test_scores_of_nothing_are_left_as_they_are():
    assert fit_calibration([], []) == Calibration(1.0, 0.0)
    assert Calibration().apply(0.3) == pytest.approx(0.3)


def test_scores_that_tell_nothing_become_the_share_that_is_right():
    said = [(score, i % 4 == 0) for score in (0.2, 0.5, 0.9) for i in range(400)]
    found = fit_calibration(*zip(*said, strict=True))
    assert [found.apply(score) for score in (0.2, 0.9)] == pytest.approx([0.25, 0.25], abs=0.02)


def test_a_calibration_fitted_to_one_file_is_measured_on_another(tmp_path):
    dev, other = tmp_path / "dev.jsonl", tmp_path / "other.jsonl"
    write_rows(dev, [row(draw(2000, 0.4, -1.0))])
    write_rows(other, [row(draw(2000, 0.4, -1.0, seed=1))])
    compared = measure_transfer(dev, other)
    assert compared["spans"] == 2000
    assert compared["after"]["ece"] < 0.05 < compared["before"]["ece"]
    assert compared["after"]["brier"] < compared["before"]["brier"]
    assert json.loads(json.dumps(compared)) == compared


def test_a_threshold_chosen_on_one_file_is_measured_on_another(tmp_path):
    dev, other = tmp_path / "dev.jsonl", tmp_path / "other.jsonl"
    write_rows(dev, [row([(0.9, True), (0.4, False)])])
    write_rows(other, [row([(0.9, True), (0.95, False), (0.8, True)], missed=1)])
    at = measure_transfer(dev, other)["threshold"]
    assert at == {"threshold": 0.9, "precision": 50.0, "recall": 33.33, "f1": 40.0}


@pytest.mark.parametrize("empty", ["dev", "other"])
def test_a_file_without_scores_compares_with_nothing(tmp_path, empty):
    for name in ("dev", "other"):
        write_rows(tmp_path / name, [row([(None if name == empty else 0.5, True)])])
    assert measure_transfer(tmp_path / "dev", tmp_path / "other") is None


def test_what_is_measured_can_be_written_as_json():
    measured = measure_confidence([row(draw(300), missed=20)])
    assert json.loads(json.dumps(measured)) == measured
