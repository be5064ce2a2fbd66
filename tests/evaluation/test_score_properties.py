"""What holds of scores, whatever was asked and answered."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_universalner.evaluation.evaluate import prediction_rows
from spacy_universalner.evaluation.metrics import METRICS, RATES, pair_overlapping, score, score_rows
from spacy_universalner.evaluation.mistakes import KINDS, count_mistakes, find_mistakes
from spacy_universalner.evaluation.official import score_strings
from spacy_universalner.evaluation.resampling import compare, intervals
from spacy_universalner.evaluation.rows import read_predictions
from spacy_universalner.gold.readers import Example
from spacy_universalner.records import Prediction, write_rows

WORDS = ("Ada", "the", "New", "York", "U.S.", "Zoë", "東京", "a]", "b\\n", '"')
TYPES = ("person", "city", "the place")
PAIRS = ("boundary", "type", "boundary+type")
spans = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4)), max_size=4)


@st.composite
def questions(draw, words=WORDS):
    """An example and what was answered about it."""
    said = draw(st.lists(st.sampled_from(words), min_size=1, max_size=9))
    text = " ".join(said)
    starts = [sum(len(word) + 1 for word in said[:i]) for i in range(len(said))]

    def place(found):
        runs = {(first, min(first + length, len(said))) for first, length in found if first < len(said)}
        return sorted((starts[first], starts[stop - 1] + len(said[stop - 1])) for first, stop in runs)

    types = draw(st.permutations(TYPES).map(lambda names: tuple(names[:2])))
    gold = frozenset((*span, type_) for type_ in types for span in place(draw(spans)))
    answers = []
    for type_ in types:
        found = place(draw(spans))
        others = draw(st.lists(st.sampled_from(words), max_size=2))
        mentions = draw(st.permutations([text[start:end] for start, end in found] + others))
        scores = draw(st.lists(st.floats(0, 1), min_size=len(found), max_size=len(found)) | st.just([]))
        facts = {"complete": draw(st.booleans()), "scores": tuple(scores)}
        answers.append(Prediction(type_, tuple(mentions), tuple(found), **facts))
    return Example("e", text, types, gold), answers


several = st.lists(questions(), max_size=3)


def make_rows(asked):
    return list(prediction_rows([example for example, _ in asked], [answers for _, answers in asked]))


def hold(test, examples, **given_):
    """Try a property, the same examples each time."""
    calm = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],  # on a busy machine
    )
    calm(given(**given_)(test))()


def test_the_order_of_anything_changes_no_score():
    def check(asked, order):
        rows = make_rows(asked)

        def mix(row):
            pairs = order.sample(range(len(row["predicted"])), len(row["predicted"]))
            return {name: [row[name][i] for i in pairs] for name in ("predicted", "scores")}

        mixed = [
            {
                **row,
                **{name: order.sample(row[name], len(row[name])) for name in ("types", "gold")},
                **mix(row),
                "mentions": {key: order.sample(said, len(said)) for key, said in reversed(row["mentions"].items())},
            }
            for row in order.sample(rows, len(rows))
        ]
        assert score_rows(mixed) == score_rows(rows)
        assert count_mistakes(mixed) == count_mistakes(rows)
        assert intervals(mixed, samples=20) == intervals(rows, samples=20)

    hold(check, 40, asked=several, order=st.randoms(use_true_random=False))


def test_scores_of_a_file_are_those_in_memory():
    def check(asked):
        examples, answers = [example for example, _ in asked], [said for _, said in asked]
        with TemporaryDirectory() as folder:
            path = Path(folder) / "p.jsonl"
            write_rows(path, prediction_rows(examples, answers))
            assert score_rows(read_predictions(path)) == score(examples, answers)

    hold(check, 30, asked=several)


def test_partial_scores_are_never_below_those_of_spans():
    def check(asked):
        scores = score_rows(make_rows(asked))
        for name in METRICS:
            assert all(0 <= scores[f"{name}_{rate}"] <= 100 for rate in RATES)
        assert all(scores[f"partial_{rate}"] >= scores[f"span_{rate}"] for rate in RATES)
        assert all(s["partial_f1"] >= s["span_f1"] for s in scores["per_type"].values())

    hold(check, 40, asked=several)


def test_the_gold_as_an_answer_is_all_right():  # but for doc.ents, which cannot hold gold spans that overlap
    def check(asked):
        rows = [
            {**row, "predicted": row["gold"], "scores": [], "mentions": {t: _said(row, t) for t in row["types"]}}
            for row in make_rows(asked)
        ]
        scores = score_rows(rows)
        full = 100 if any(row["gold"] for row in rows) else 0
        assert all(scores[f"{name}_f1"] == full for name in METRICS if name != "ents")
        assert not any(count_mistakes(rows)[kind] for kind in KINDS)

    hold(check, 20, asked=several)


def test_every_span_is_right_or_in_one_mistake():
    def check(asked):
        rows = make_rows(asked)
        counts, total = count_mistakes(rows), score_rows(rows)
        both = counts["correct"] + sum(counts[kind] for kind in PAIRS)
        gold, predicted = (sum(len(row[name]) for row in rows) for name in ("gold", "predicted"))
        assert (both + counts["missed"], both + counts["invented"]) == (gold, predicted)
        for side in ("gold", "predicted"):
            for row in rows:
                found = [getattr(m, side) for m in find_mistakes(row) if getattr(m, side)]
                assert len(found) == len(set(found))
        if gold + predicted:
            half_right = 200 * (counts["correct"] + counts["boundary"] / 2) / (gold + predicted)
            assert total["partial_f1"] == pytest.approx(half_right, abs=0.01)

    hold(check, 40, asked=several)


def test_strings_score_as_the_released_code_scores_well_formed_answers():
    def check(asked):
        rows = make_rows(asked)
        answers = [json.dumps(row["mentions"].get(type_, [])) for row in rows for type_ in row["types"]]
        golds = [json.dumps(_said(row, type_)) for row in rows for type_ in row["types"]]
        ours, theirs = score_rows(rows), score_strings(answers, golds)
        for rate in RATES:
            assert ours[f"string_{rate}"] == pytest.approx(100 * theirs[rate], abs=0.006)

    well_formed = tuple(word for word in WORDS if "]" not in word)
    hold(check, 40, asked=st.lists(questions(well_formed), max_size=3))


def test_a_comparison_turned_round_is_the_same():
    def check(asked):
        one = [{**row, "id": str(i)} for i, row in enumerate(make_rows(asked))]
        other = [{**row, "predicted": [], "scores": [], "mentions": {}} for row in one]
        there, back = (compare(*both, "partial_f1", samples=20) for both in ((one, other), (other, one)))
        assert there["difference"] == -back["difference"]
        assert 0 < there["p"] <= 1
        assert there["low"] <= there["high"]

    hold(check, 30, asked=st.lists(questions(), min_size=1, max_size=3))


def test_there_are_as_many_pairs_as_there_can_be():
    def most(gold, predicted):
        """Try all."""
        if not gold:
            return 0
        (start, end), rest = gold[0], gold[1:]
        partners = [i for i, (first, last) in enumerate(predicted) if first < end and start < last]
        return max([most(rest, predicted), *(1 + most(rest, predicted[:i] + predicted[i + 1 :]) for i in partners)])

    def check(gold, predicted):
        gold, predicted = (sorted({(s, s + n) for s, n in found}) for found in (gold, predicted))
        pairs = pair_overlapping(gold, predicted)
        assert all(a[0] < b[1] and b[0] < a[1] for a, b in pairs)
        assert all(len({pair[side] for pair in pairs}) == len(pairs) for side in (0, 1))
        assert len(pairs) == most(gold, predicted)

    places = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=5)
    hold(check, 300, gold=places, predicted=places)


def _said(row, type_):
    return [row["text"][start:end] for start, end, found in row["gold"] if found == type_]
