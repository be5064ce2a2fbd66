import pytest

from spacy_universalner.align import place
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.metrics import mean, normalise, score
from spacy_universalner.gold.readers import Example
from spacy_universalner.records import Prediction


def example(text, **mentions):
    spans = {(start, end, type_) for type_, found in mentions.items() for start, end in place(text, found)[0]}
    return Example("e", text, tuple(mentions), frozenset(spans))


def answer(text, type_, mentions):
    spans, lost = place(text, mentions)
    return Prediction(type_, tuple(mentions), tuple(spans), tuple(lost))


@pytest.mark.parametrize(
    "mention, expected",
    [
        ("The  United States", "united states"),
        ("U.S.A.", "usa"),
        ("A Song for an Other, the Best", "song for other best"),
        ("Anna Thea", "anna thea"),
        ("state-of-the-art", "stateoftheart"),
        ("Qu’est–the", "qu’est–"),
        ("the", ""),
        ("!", ""),
    ],
)
def test_normalise(mention, expected):
    assert normalise(mention) == expected


@pytest.mark.parametrize(
    "text, gold, said, span, string",
    [
        # nothing to find, nothing said
        ("no one", [], [], (0, 0, 0), (0, 0, 0)),
        ("no one", [], ["one"], (0, 0, 0), (0, 0, 0)),
        ("Ada", ["Ada"], [], (0, 0, 0), (0, 0, 0)),
        ("Ada met Bee", ["Ada", "Bee"], ["Ada"], (100, 50, 66.67), (100, 50, 66.67)),
        # a mention that stands twice: two spans, one string
        ("Ada met Bee and Ada", ["Ada", "Bee"], ["Ada"], (100, 66.67, 80), (100, 50, 66.67)),
        ("Ada met Bee", ["Ada"], ["Bee", "Bee", "Bee"], (0, 0, 0), (0, 0, 0)),
        ("Ada met Bee", ["Ada"], ["Ada", "Ada", "Bee"], (50, 100, 66.67), (50, 100, 66.67)),
        # case, punctuation, articles: strings agree, spans do not (or stand nowhere)
        ("the U.S. team", ["U.S"], ["the U.S."], (0, 0, 0), (100, 100, 100)),
        ("the Band played", ["Band"], ["the band"], (0, 0, 0), (100, 100, 100)),
        ("the Band played", ["Band"], ["The Band", "Band"], (100, 100, 100), (100, 100, 100)),
        # a boundary that is wrong
        ("New York City", ["New York City"], ["New York"], (0, 0, 0), (0, 0, 0)),
    ],
)
def test_scores(text, gold, said, span, string):
    scores = score([example(text, name=gold)], [[answer(text, "name", said)]])
    assert tuple(scores[f"span_{rate}"] for rate in ("precision", "recall", "f1")) == span
    assert tuple(scores[f"string_{rate}"] for rate in ("precision", "recall", "f1")) == string
    assert (scores["sentences"], scores["questions"]) == (1, 1)


def test_types_must_match_and_are_reported():
    one, two = "Ada met Bee in Rome", "Bern is far"
    examples = [example(one, person=["Ada", "Bee"], city=["Rome"]), example(two, person=[], city=["Bern"])]
    predictions = [
        [answer(one, "person", ["Ada", "Rome"]), answer(one, "city", ["Rome", "Oslo"])],
        [answer(two, "person", []), answer(two, "city", [])],
    ]
    scores = score(examples, predictions)
    # spans: 2 right of 3 predicted, 4 in the gold; strings: Oslo is predicted too
    assert (scores["span_precision"], scores["span_recall"], scores["span_f1"]) == (66.67, 50, 57.14)
    assert (scores["string_precision"], scores["string_recall"], scores["string_f1"]) == (50, 50, 50)
    assert (scores["sentences"], scores["questions"], scores["lost"]) == (2, 4, 1)
    assert scores["per_type"] == {
        "person": {"span_f1": 50, "string_f1": 50, "support": 2, "predicted": 2},
        "city": {"span_f1": 66.67, "string_f1": 50, "support": 2, "predicted": 1},
    }


def test_nothing_to_score():
    scores = score([], [])
    assert scores["span_f1"] == scores["string_f1"] == scores["sentences"] == 0
    assert scores["per_type"] == {}


@pytest.mark.parametrize(
    "predictions, code",
    [([], "U083"), ([[]], "U084"), ([[Prediction("city"), Prediction("person")]], "U084")],
)
def test_predictions_of_something_else(predictions, code):
    with pytest.raises(UniversalNERError, match=code):
        score([example("Ada", person=["Ada"], city=[])], predictions)


def test_mean():
    one = {"span_f1": 50.0, "string_f1": 60.01, "sentences": 3, "questions": 6}
    two = {"span_f1": 25.0, "string_f1": 40.0, "sentences": 100, "questions": 100}
    assert mean({"a": one, "b": two}) == {"span_f1": 37.5, "string_f1": 50.0, "sentences": 103, "questions": 106}
    assert mean({}) is None
