"""What is written to docs: spans with scores, entities without overlaps, beside what was there."""

import time

import pytest
from spacy.tokens import Doc, DocBin, Span

from spacy_universalner.annotation import scored
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Prediction
from spacy_universalner.registry import Answer

from .pipelines import Stub, ents, group, replaying, scoring, with_engine

TEXT = "Bank of York opened in New York."
BANK, YORK, NEW = (0, 12), (8, 12), (23, 31)


def annotate(scores, text=TEXT, **config):
    """A doc in which each label has the mentions with the scores: {label: {mention: score}}."""
    return with_engine(scoring(scores), labels=list(scores), **config)(text)


# Scores


def test_the_group_has_a_score_for_each_span():
    doc = annotate({"city": {"York": 0.5, "New York": 0.75}, "company": {"Bank of York": 0.25}})
    assert [(span.text, span.label_, score) for span, score in scored(doc)] == [
        ("Bank of York", "company", 0.25),
        ("York", "city", 0.5),
        ("New York", "city", 0.75),
        ("York", "city", 0.5),
    ]
    assert doc.spans["universal_ner"].attrs["scores"] == [0.25, 0.5, 0.75, 0.5]


def test_without_scores_the_group_has_none():
    doc = replaying({"Ada slept.": {"person": ["Ada"]}})("Ada slept.")
    assert doc.spans["universal_ner"].attrs == {}
    assert [(span.text, score) for span, score in scored(doc)] == [("Ada", None)]


def test_a_group_without_spans_has_no_score_either():
    doc = annotate({"person": {}})
    assert doc.spans["universal_ner"].attrs == {"scores": []}
    assert scored(doc) == []


def test_the_scores_of_a_group_by_another_name():
    doc = annotate({"city": {"New York": 0.5}}, spans_key="sc")
    assert [(span.text, score) for span, score in scored(doc, "sc")] == [("New York", 0.5)]


COPIES = {
    "bytes": lambda doc: Doc(doc.vocab).from_bytes(doc.to_bytes()),
    "a DocBin": lambda doc: next(DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(doc.vocab)),
    "a copy": lambda doc: doc.copy(),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_scores_travel_with_the_doc(copy):
    doc = annotate({"city": {"New York": 0.75}, "company": {"Bank of York": 0.1}})
    expected = [("Bank of York", 0.1), ("New York", 0.75)]
    assert [(span.text, score) for span, score in scored(copy(doc))] == expected


def test_a_group_that_was_changed_has_no_scores_to_tell():
    doc = annotate({"city": {"New York": 0.5}})
    doc.spans["universal_ner"].append(doc[0:1])
    with pytest.raises(UniversalNERError, match=r"U183.*2 spans but 1 scores"):
        scored(doc)


def test_a_span_of_two_mentions_has_the_better_score():
    nlp = with_engine(Stub(lambda text, name: Answer(("Rome", "Bonn"), (0.5, 0.75))), alignment_mode="expand")
    doc = nlp.get_pipe("universal_ner")(Doc(nlp.vocab, words=["Rome/Bonn"]))
    assert [(span.text, score) for span, score in scored(doc)] == [("Rome/Bonn", 0.75)]


def test_predictions_carry_a_score_for_each_place():
    nlp = with_engine(scoring({"city": {"York": 0.5, "New York": 0.75}}), labels=["city"])
    (predictions,) = nlp.get_pipe("universal_ner").predict([nlp.make_doc(TEXT)])
    assert predictions == [Prediction("city", ("York", "New York"), (YORK, NEW, (27, 31)), scores=(0.5, 0.75, 0.5))]


def test_scores_of_the_passages_are_merged():
    answers = {"Ada slept.": Answer(("Ada",), (0.5,)), "Bob x.": Answer(("Bob",)), "It rained.": Answer()}
    nlp = with_engine(Stub(lambda text, name: answers[text]), max_passage_tokens=3)
    (predictions,) = nlp.get_pipe("universal_ner").predict([nlp.make_doc("Ada slept. Bob x. It rained.")])
    assert predictions == [Prediction("person", ("Ada", "Bob"), ((0, 3), (11, 14)), scores=(0.5, 0.0))]


# Thresholds

THRESHOLDS = {
    "none": (0.0, ["Bank of York", "New York"]),
    "reached": (0.25, ["Bank of York", "New York"]),
    "passed by one": (0.3, ["New York"]),
    "passed by none": (1.0, []),
}


@pytest.mark.parametrize(("threshold", "expected"), THRESHOLDS.values(), ids=THRESHOLDS)
def test_spans_below_the_threshold_are_not_used(threshold, expected):
    doc = annotate({"company": {"Bank of York": 0.25}, "city": {"New York": 0.75}}, threshold=threshold)
    assert [ent.text for ent in doc.ents] == [span.text for span in doc.spans["universal_ner"]] == expected
    unused = [item["text"] for item in doc.user_data["universal_ner"] if item["reason"] == "below the threshold"]
    assert sorted([*expected, *unused]) == ["Bank of York", "New York"]


def test_a_threshold_wants_an_engine_with_scores():
    nlp = replaying({"Ada slept.": {"person": ["Ada"]}, "It rained.": {"person": []}}, threshold=0.5)
    assert ents(nlp("It rained.")) == []
    with pytest.raises(UniversalNERError, match=r"U181.*0\.5"):
        nlp("Ada slept.")


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(UniversalNERError, match="U182"):
        annotate({"city": {}}, threshold=threshold)


# Entities

CHOSEN = {
    "the highest score": ({"city": {"York": 0.5, "New York": 0.2}}, [(*YORK, "city"), (27, 31, "city")]),
    "though it is nested": (
        {"company": {"Bank of York": 0.5}, "city": {"York": 0.75, "New York": 0.9}},
        [(*YORK, "city"), (*NEW, "city")],
    ),
    "of the same score, the longest": (
        {"company": {"Bank of York": 0.5}, "city": {"York": 0.5, "New York": 0.5}},
        [(*BANK, "company"), (*NEW, "city")],
    ),
    "of the same length, the first": ({"x": {"Bank of": 0.5}, "y": {"of York": 0.5}}, [(0, 7, "x")]),
    "of the same place, by label": ({"y": {"New York": 0.5}, "x": {"New York": 0.5}}, [(*NEW, "x")]),
    "of the same place, by score": ({"y": {"New York": 0.6}, "x": {"New York": 0.5}}, [(*NEW, "y")]),
}


@pytest.mark.parametrize(("scores", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_entities_do_not_overlap(scores, expected):
    doc = annotate(scores)
    assert ents(doc) == expected
    assert {label for _, _, label in group(doc)} == set(scores)


@pytest.mark.parametrize(("scores", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_the_order_of_labels_does_not_matter(scores, expected):
    doc, other = annotate(scores), annotate(dict(reversed(scores.items())))
    assert ents(other) == ents(doc)
    assert list(map(str, scored(other))) == list(map(str, scored(doc)))


EARLIER = {
    "beside it": (False, [(4, 5)], [(*BANK, "company"), (20, 22, "old"), (*NEW, "city")]),
    "overlapped, kept": (False, [(2, 4)], [(8, 19, "old"), (*NEW, "city")]),
    "overlapped, overwritten": (True, [(2, 4)], [(*BANK, "company"), (*NEW, "city")]),
    "beside it, not overwritten": (True, [(4, 5)], [(*BANK, "company"), (20, 22, "old"), (*NEW, "city")]),
    "the very same, kept": (False, [(5, 7)], [(*BANK, "company"), (*NEW, "old")]),
    "the very same, overwritten": (True, [(5, 7)], [(*BANK, "company"), (*NEW, "city")]),
}


@pytest.mark.parametrize(("overwrite", "earlier", "expected"), EARLIER.values(), ids=EARLIER)
def test_earlier_entities(overwrite, earlier, expected):
    scores = {"company": {"Bank of York": 0.1}, "city": {"New York": 0.1}}
    nlp = with_engine(scoring(scores), labels=list(scores), overwrite=overwrite)
    doc = nlp.make_doc(TEXT)
    doc.ents = [Span(doc, start, end, label="old") for start, end in earlier]
    nlp.get_pipe("universal_ner")(doc)
    assert ents(doc) == expected
    assert group(doc) == [(*BANK, "company"), (*NEW, "city")]


def test_earlier_entities_keep_their_ids():
    nlp = replaying({"Ada left York.": {"person": ["Ada"]}})
    doc = nlp.make_doc("Ada left York.")
    doc.ents = [Span(doc, 2, 3, label="old", kb_id="Q1", span_id="7")]
    nlp.get_pipe("universal_ner")(doc)
    assert [(ent.label_, ent.kb_id_, ent.ent_id_) for ent in doc.ents] == [("person", "", ""), ("old", "Q1", "7")]


WRITTEN = {
    "both": ([(0, 3, "person")], ["universal_ner"]),
    "ents": ([(0, 3, "person")], []),
    "spans": ([], ["universal_ner"]),
}


@pytest.mark.parametrize(("annotate", "found", "keys"), [(k, *v) for k, v in WRITTEN.items()], ids=WRITTEN)
def test_what_is_written(annotate, found, keys):
    doc = replaying({"Ada slept.": {"person": ["Ada"]}}, annotate=annotate)("Ada slept.")
    assert (ents(doc), list(doc.spans)) == (found, keys)
    assert doc.user_data["universal_ner"] == []


PLACES = {
    "all": [(0, 3, "person"), (8, 11, "person"), (20, 23, "person")],
    "first": [(0, 3, "person"), (20, 23, "person")],
}


@pytest.mark.parametrize(("occurrences", "expected"), PLACES.items(), ids=PLACES)
def test_the_places_of_a_mention_in_each_passage(occurrences, expected):
    nlp = replaying(
        {"Ada met Ada.": {"person": ["Ada"]}, "Maybe. Ada?": {"person": ["Ada"]}},
        max_passage_tokens=4,
        occurrences=occurrences,
    )
    assert ents(nlp("Ada met Ada. Maybe. Ada?")) == expected


def test_much_that_is_not_used_of_a_long_document_takes_seconds():
    nlp = with_engine(Stub(lambda text, name: Answer(("Rome",))))
    doc = Doc(nlp.vocab, words=["Rome/Bonn"] * 30_000)
    start = time.perf_counter()
    nlp.get_pipe("universal_ner")(doc)
    assert len(doc.user_data["universal_ner"]) > 29_000
    assert time.perf_counter() - start < 30
