import random

import numpy as np
import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.metrics import score_rows
from spacy_universalner.evaluation.resampling import compare, interval, intervals

TEXT = "Ada Bee Eve Kim"
WORDS = [[0, 3, "t"], [4, 7, "t"], [8, 11, "t"], [12, 15, "t"]]


def row(id_, gold, said, **more):
    """A row about the words with these numbers."""
    gold, predicted = ([WORDS[i] for i in numbers] for numbers in (gold, said))
    said = {"predicted": predicted, "mentions": {"t": [TEXT[start:end] for start, end, _ in predicted]}}
    return {"id": str(id_), "text": TEXT, "types": ["t"], "gold": gold, **said, **more}


def draw(count, right, seed=0):
    """Sentences of one entity, found with this chance."""
    rng = random.Random(seed)
    return [row(i, [0], [0 if rng.random() < right else 1]) for i in range(count)]


def test_an_interval_holds_the_score_and_is_the_same_for_the_same_seed():
    rows = draw(300, 0.6)
    low, high = interval(rows, "span_f1")
    assert low < score_rows(rows)["span_f1"] < high
    assert interval(rows, "span_f1") == (low, high)
    assert len({interval(rows, "span_f1", seed=seed) for seed in range(9)}) > 1


def test_an_interval_is_that_of_a_share():
    """One prediction and one entity each: F1 is the share that is right, whose standard error is known."""
    low, high = interval(draw(1000, 0.5), "span_f1", samples=4000)
    share = score_rows(draw(1000, 0.5))["span_f1"] / 100
    error = 196 * (share * (1 - share) / 1000) ** 0.5
    assert (low, high) == pytest.approx((100 * share - error, 100 * share + error), abs=0.3)


def test_an_interval_is_that_of_sentences_drawn_one_by_one():
    rng = random.Random(0)
    rows = [row(i, rng.sample(range(4), rng.randint(0, 4)), rng.sample(range(4), rng.randint(0, 4))) for i in range(80)]
    drawn = [score_rows(rng.choices(rows, k=len(rows)))["string_precision"] for _ in range(600)]
    assert interval(rows, "string_precision", samples=4000) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=1.5)


def test_more_sentences_make_a_narrower_interval():
    widths = [high - low for low, high in (interval(draw(count, 0.5), "span_f1") for count in (50, 500, 5000))]
    assert widths == sorted(widths, reverse=True)


def test_the_order_of_sentences_changes_nothing():
    rows = draw(200, 0.3)
    assert intervals(rows) == intervals(rows[::-1])


SURE = {"all right": ([0], [0], 100), "all wrong": ([0], [1], 0), "nothing to find": ([], [], 0)}


@pytest.mark.parametrize(("gold", "said", "f1"), SURE.values(), ids=SURE)
def test_where_all_sentences_are_alike_the_interval_is_a_point(gold, said, f1):
    assert set(intervals([row(i, gold, said) for i in range(9)]).values()) == {(f1, f1)}


def test_the_interval_of_nothing():
    assert interval([], "span_f1") == (0, 0)


@pytest.mark.parametrize("metric", ["span", "f1", "span_f2", "spans_f1", ""])
def test_a_metric_that_is_none(metric):
    with pytest.raises(UniversalNERError, match="U232.*span_f1.*partial_f1"):
        interval([], metric)


def test_a_system_does_not_differ_from_itself():
    found = compare(draw(50, 0.5), draw(50, 0.5), "string_f1")
    assert found == {"difference": 0, "low": 0, "high": 0, "p": 1, "sentences": 50, "unshared": 0}


def test_a_clear_difference_is_significant_both_ways():
    good, bad = draw(200, 0.8), draw(200, 0.4, seed=1)
    found, back = compare(good, bad, "span_f1"), compare(bad, good, "span_f1")
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p"] == pytest.approx(1 / 1001, abs=1e-6)
    assert back["difference"] == -found["difference"]
    assert back["high"] < 0 and back["p"] == found["p"]


def test_p_is_that_of_tossing_up_each_sentence():
    """Three sentences that only one system has right: one toss in four is as far from even, 3:0 or 0:3."""
    first = [row(i, [0], [0]) for i in range(3)]
    second = [row(i, [0], [1]) for i in range(3)]
    assert compare(first, second, "span_f1", samples=8000)["p"] == pytest.approx(0.25, abs=0.02)


def test_chance_alone_is_significant_as_often_as_p_says():
    pairs = [(draw(60, 0.5, seed=i), draw(60, 0.5, seed=i + 500)) for i in range(40)]
    assert sum(compare(*pair, "span_f1", samples=200)["p"] <= 0.05 for pair in pairs) <= 6


def test_the_sentences_of_both_are_compared_in_any_order():
    first, second = draw(40, 0.9), draw(60, 0.3, seed=1)
    found = compare(first, second[::-1], "span_f1")
    assert (found["sentences"], found["unshared"]) == (40, 20)
    assert found == {**compare(first, second[:40], "span_f1"), "unshared": 20}


def test_sentences_of_different_sets_are_different():
    first = [row(0, [0], [0], set="a"), row(0, [0], [1], set="b")]
    assert compare(first, first[::-1], "span_f1")["sentences"] == 2


UNLIKE = {
    "none shared": ([row(0, [0], [0])], [row(1, [0], [0])], "U234.*of 1 and 1"),
    "nothing": ([], [], "U234.*of 0 and 0"),
    "twice": ([row(0, [0], [0])] * 2, [row(0, [0], [0])], "U233.*'0'.*twice"),
    "another text": ([row(0, [0], [0])], [row(0, [0], [0], text=TEXT + ".")], "U233.*text, types or gold"),
    "another type": ([row(0, [0], [0])], [row(0, [0], [0], types=["t", "u"])], "U233.*text, types or gold"),
    "other gold": ([row(0, [0], [0])], [row(0, [1], [0])], "U233.*text, types or gold"),
}


@pytest.mark.parametrize(("first", "second", "message"), UNLIKE.values(), ids=UNLIKE)
def test_what_cannot_be_compared(first, second, message):
    with pytest.raises(UniversalNERError, match=message):
        compare(first, second, "span_f1")
