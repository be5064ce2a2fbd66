import pytest

from spacy_universalner.align import place
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.metrics import mean, mean_by, pair_overlapping, score, score_rows
from spacy_universalner.gold.readers import Example
from spacy_universalner.gold.strings import normalise
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
    # spans: 2 right of 3 predicted, 4 in the gold; ents: Rome is a city alone; strings: Oslo is predicted too
    assert (scores["span_precision"], scores["span_recall"], scores["span_f1"]) == (66.67, 50, 57.14)
    assert (scores["string_precision"], scores["string_recall"], scores["string_f1"]) == (50, 50, 50)
    assert (scores["sentences"], scores["questions"], scores["lost"]) == (2, 4, 1)
    counts_of_city = {"support": 2, "predicted": 1}
    assert scores["per_type"] == {
        "person": {"span_f1": 50, "ents_f1": 66.67, "string_f1": 50, "partial_f1": 50, "support": 2, "predicted": 2},
        "city": {"span_f1": 66.67, "ents_f1": 66.67, "string_f1": 50, "partial_f1": 66.67, **counts_of_city},
    }


PARTIAL = {
    # gold and predicted spans of one type in "Ada Lovelace met Bee in New York City", and what counts as right
    "a part of one": ([(24, 37)], [(24, 32)], 0.5),
    "more than one": ([(24, 32)], [(21, 37)], 0.5),
    "another": ([(0, 12)], [(17, 20)], 0),
    "one right, one in part": ([(0, 12), (17, 20)], [(0, 3), (17, 20)], 1.5),
    "two parts of one count as one": ([(24, 37)], [(24, 32), (33, 37)], 0.5),
    "one over two counts as one": ([(0, 12), (17, 20)], [(0, 20)], 0.5),
    "a part of one that another has right": ([(24, 37)], [(24, 37), (33, 37)], 1),
    "around one that another has right": ([(0, 12), (17, 20)], [(0, 12), (0, 20)], 1.5),
    "as many pairs as there can be": ([(0, 12), (17, 23)], [(4, 20), (21, 32)], 1),
    "beside one, with no word in common": ([(24, 27)], [(28, 32)], 0),
}


@pytest.mark.parametrize(("gold", "said", "right"), PARTIAL.values(), ids=PARTIAL)
def test_partial_matches(gold, said, right):
    text = "Ada Lovelace met Bee in New York City"
    scores = score([Example("e", text, ("t",), frozenset((*s, "t") for s in gold))], [[Prediction("t", spans=said)]])
    rates = 100 * right / len(said), 100 * right / len(gold), 200 * right / (len(said) + len(gold))
    assert tuple(scores[f"partial_{rate}"] for rate in ("precision", "recall", "f1")) == pytest.approx(rates, abs=0.01)


def test_a_span_of_another_type_or_sentence_is_no_partial_match():
    texts = ["Ada Lovelace", "Ada Lovelace"]
    examples = [Example(str(i), text, ("a", "b"), frozenset({(0, 12, "ab"[i])})) for i, text in enumerate(texts)]
    answers = [[Prediction("a"), Prediction("b", spans=((0, 3),))], [Prediction("a", spans=((0, 3),)), Prediction("b")]]
    assert score(examples, answers)["partial_f1"] == 0


def test_letters_that_stand_elsewhere_are_no_partial_match():
    example = Example("e", "Ada met Ada Lovelace", ("t",), frozenset({(8, 20, "t")}))
    assert score([example], [[Prediction("t", spans=((0, 3),))]])["partial_f1"] == 0
    assert score([example], [[Prediction("t", spans=((0, 3), (8, 11)))]])["partial_f1"] == 33.33


def test_pairs_are_of_gold_and_predicted_spans():
    assert pair_overlapping([(0, 5, "a"), (6, 9, "a")], [(8, 12, "b"), (1, 2, "b")]) == [
        ((0, 5, "a"), (1, 2, "b")),
        ((6, 9, "a"), (8, 12, "b")),
    ]


def test_what_is_lost_and_what_is_cut_off_are_counted():
    one = Prediction("t", mentions=("Ada", " Ada ", "Bee", "Bee", "Ada L"), spans=((0, 3),), complete=False)
    scores = score([Example("e", "Ada Lovelace", ("t",), frozenset())], [[one]])
    assert (scores["lost"], scores["incomplete"]) == (2, 1)


ROW = {"id": "r", "text": "Ada", "types": ["t"], "gold": [], "predicted": [], "mentions": {}}
BAD_ROWS = {
    "no types": ({key: value for key, value in ROW.items() if key != "types"}, "U230.*'r' lacks.*types"),
    "a type that was not asked": ({**ROW, "gold": [[0, 3, "u"]]}, "U231.*'r' has.*under 'gold'"),
    "a span beyond the text": ({**ROW, "predicted": [[0, 4, "t"]]}, "U231.*under 'predicted'"),
    "an empty span": ({**ROW, "predicted": [[1, 1, "t"]]}, "U231.*under 'predicted'"),
    "a span without a type": ({**ROW, "predicted": [[0, 3]]}, "U231.*under 'predicted'"),
    "another number of scores": ({**ROW, "scores": [0.5] * 9}, "U231.*under 'scores'"),
    "a score that is no number": ({**ROW, "predicted": [[0, 3, "t"]], "scores": ["0.5"]}, "U231.*under 'scores'"),
    "mentions of a type that was not asked": ({**ROW, "mentions": {"u": ["Ada"]}}, "U231.*under 'mentions'"),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_rows_that_cannot_be_scored(row, message):
    with pytest.raises(UniversalNERError, match=message):
        score_rows([row])


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
    one = {"span_f1": 50.0, "ents_f1": 52.0, "string_f1": 60.01, "sentences": 3, "questions": 6}
    two = {"span_f1": 25.0, "ents_f1": 26.0, "string_f1": 40.0, "sentences": 100, "questions": 100}
    assert mean({"a": one, "b": two}) == {
        **{"span_f1": 37.5, "ents_f1": 39.0, "string_f1": 50.0},
        **{"sentences": 103, "questions": 106},
    }
    assert mean({}) is None


def test_means_of_groups_count_each_set_once():
    def scores(domain, f1):
        more = {"ents_f1": f1 + 5, "string_f1": f1 + 10, "partial_f1": f1 + 20}
        return {"domain": domain, "span_f1": f1, **more, "sentences": f1 * 100}

    assert mean_by([scores("Law", 10), scores("Biomed", 5), scores("Law", 21)], "domain") == {
        "Law": {"sets": 2, "span_f1": 15.5, "ents_f1": 20.5, "string_f1": 25.5, "partial_f1": 35.5},
        "Biomed": {"sets": 1, "span_f1": 5, "ents_f1": 10, "string_f1": 15, "partial_f1": 25},
    }
    assert mean_by([scores("Law", 10)], "domain", ["span_f1"]) == {"Law": {"sets": 1, "span_f1": 10}}
    assert mean_by([], "domain") == {}


def test_entities_of_doc_ents_do_not_overlap():
    text = "Ada met Bee"
    examples = [example(text, actor=["Ada"], director=[], duo=[])]
    said = [
        Prediction("actor", spans=((0, 3),), scores=(0.9,)),
        Prediction("director", spans=((0, 3), (8, 11)), scores=(0.8, 0.2)),
        Prediction("duo", spans=((0, 11),), scores=(0.1,)),
    ]
    scores = score(examples, [said])
    assert (scores["span_precision"], scores["span_recall"]) == (25, 100)
    assert (scores["ents_precision"], scores["ents_recall"]) == (50, 100)
