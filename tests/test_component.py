import random
import re

import pytest
import spacy
from confection import ConfigValidationError
from spacy.tokens import Doc, Span
from spacy.util import ignore_error

from spacy_universalner import student
from spacy_universalner.component import UniversalNER
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Prediction
from spacy_universalner.registry import Answer

from .conftest import CONVERSATIONS
from .pipelines import TRANSFORMERS, Stub, ents, group, replaying, with_engine, with_student

FOUND = {
    "nothing": ("It rained.", {"person": []}, [], []),
    "one": ("Ada slept.", {"person": ["Ada"]}, [(0, 3, "person")], [(0, 3, "person")]),
    "several labels": (
        "Ada left Rome.",
        {"person": ["Ada"], "city": ["Rome"]},
        [(0, 3, "person"), (9, 13, "city")],
        [(0, 3, "person"), (9, 13, "city")],
    ),
    "every occurrence": (
        "Ada met Ada, not Adam.",
        {"person": ["Ada"]},
        [(0, 3, "person"), (8, 11, "person")],
        [(0, 3, "person"), (8, 11, "person")],
    ),
    "a mention given twice": ("Ada slept.", {"person": ["Ada", "Ada"]}, [(0, 3, "person")], [(0, 3, "person")]),
    "nested, longest first": (
        "Bank of York opened.",
        {"city": ["York"], "company": ["Bank of York"]},
        [(0, 12, "company")],
        [(0, 12, "company"), (8, 12, "city")],
    ),
    "nested in one label": (
        "Bank of York opened.",
        {"company": ["York", "Bank of York"]},
        [(0, 12, "company")],
        [(0, 12, "company"), (8, 12, "company")],
    ),
    "overlapping, longest first": (
        "North Sea Oil Rig Ltd",
        {"sea": ["North Sea"], "company": ["Sea Oil Rig Ltd"]},
        [(6, 21, "company")],
        [(0, 9, "sea"), (6, 21, "company")],
    ),
    "two labels, by the alphabet": (
        "Paris slept.",
        {"person": ["Paris"], "city": ["Paris"]},
        [(0, 5, "city")],
        [(0, 5, "city"), (0, 5, "person")],
    ),
    "non-Latin": ("Łódź, 東京 und Ærø.", {"city": ["Łódź", "東京"]}, [(0, 4, "city"), (6, 8, "city")], None),
    "emoji before": ("👩‍🚀 🇫🇷 Ada 👍🏽 Bob", {"person": ["Ada", "Bob"]}, [(7, 10, "person"), (14, 17, "person")], None),
    "emoji itself": ("I like 🍕!", {"food": ["🍕"]}, [(7, 8, "food")], None),
    "combining marks": ("Zoe\u0308 met Zoe.", {"person": ["Zoe"]}, [(9, 12, "person")], None),
    "characters that change length in lower case": ("İİİ Ada", {"person": ["Ada"]}, [(4, 7, "person")], None),
}


@pytest.mark.parametrize(("text", "answers", "expected", "spans"), FOUND.values(), ids=FOUND)
def test_entities(text, answers, expected, spans):
    doc = replaying({text: answers})(text)
    assert ents(doc) == expected
    assert group(doc) == (expected if spans is None else spans)
    assert doc.user_data["universal_ner"] == []


BLANK = {"empty": "", "space": "   ", "line breaks": "\n\n\t "}


@pytest.mark.parametrize("text", BLANK.values(), ids=BLANK)
def test_a_doc_without_words_is_not_asked_about(text):
    doc = replaying({"unused": {"person": ["Ada"]}})(text)
    assert ents(doc) == []
    assert group(doc) == []
    assert doc.text == text


UNUSED = {
    "not in the text": (Answer(("Bob",)), "strict", [("Bob", "not in the text")]),
    "in part of a word only": (Answer(("Ad",)), "strict", [("Ad", "not in the text")]),
    "cut off": (Answer(("Ada",), complete=False), "strict", [("", "cut off")]),
    "inside a token": (Answer(("Rome",)), "strict", [("Rome", "not at token boundaries")]),
    "inside a token, nothing left": (Answer(("Rome",)), "contract", [("Rome", "not at token boundaries")]),
    "inside a token, expanded": (Answer(("Rome",)), "expand", []),
    "all at once": (
        Answer(("Bob", "Rome", "Ada"), complete=False),
        "strict",
        [("Bob", "not in the text"), ("", "cut off"), ("Rome", "not at token boundaries")],
    ),
}


@pytest.mark.parametrize(("answer", "mode", "expected"), UNUSED.values(), ids=UNUSED)
def test_what_was_not_used_can_be_read(answer, mode, expected):
    nlp = with_engine(Stub(lambda text, name: answer), alignment_mode=mode)
    doc = nlp.get_pipe("universal_ner")(Doc(nlp.vocab, words=["Ada", "met", "Rome/Bonn"]))
    assert [(item["text"], item["reason"]) for item in doc.user_data["universal_ner"]] == expected
    assert {item["label"] for item in doc.user_data["universal_ner"]} <= {"person"}


ALIGNED = {
    "strict": [],
    "contract": [(4, 7, "city")],
    "expand": [(0, 7, "city")],
}


@pytest.mark.parametrize(("mode", "expected"), ALIGNED.items(), ids=ALIGNED)
def test_alignment_modes(mode, expected):
    nlp = with_engine(Stub(lambda text, name: Answer(("b c d",))), labels=["city"], alignment_mode=mode)
    doc = nlp.get_pipe("universal_ner")(Doc(nlp.vocab, words=["a-b", "c d"]))
    assert ents(doc) == expected
    assert group(doc) == expected


def test_two_mentions_expanded_to_one_token_are_one_span():
    nlp = with_engine(Stub(lambda text, name: Answer(("Rome", "Bonn"))), alignment_mode="expand")
    doc = nlp.get_pipe("universal_ner")(Doc(nlp.vocab, words=["Rome/Bonn"]))
    assert group(doc) == [(0, 9, "person")]


def test_existing_entities_are_kept():
    nlp = replaying({"Ada left New York.": {"city": ["New York"], "person": ["Ada"]}})
    doc = nlp.make_doc("Ada left New York.")
    doc.ents = [Span(doc, 3, 4, label="known")]
    doc = nlp.get_pipe("universal_ner")(doc)
    assert ents(doc) == [(0, 3, "person"), (13, 17, "known")]
    assert group(doc) == [(0, 3, "person"), (9, 17, "city")]


def test_asking_again_changes_nothing():
    nlp = replaying({"Ada slept.": {"person": ["Ada"]}})
    doc = nlp("Ada slept.")
    nlp.get_pipe("universal_ner")(doc)
    assert ents(doc) == group(doc) == [(0, 3, "person")]


def test_the_key_of_the_spans():
    doc = replaying({"Ada slept.": {"person": ["Ada"]}}, spans_key="sc")("Ada slept.")
    assert list(doc.spans) == ["sc"]
    assert group(doc, "sc") == [(0, 3, "person")]


# Long documents


def numbered_words(length):
    """Sentences of words that occur once each, some of them astral, at least so many characters."""
    rng = random.Random(0)
    text = ""
    for i in range(length):
        text += f"Name{i} " + "🛰️ 東京 " * rng.randint(0, 2) + rng.choice(["met ", "saw\n", "x. ", "and, "])
        if len(text) >= length:
            return text
    return text


def test_a_long_document_is_asked_about_in_pieces():
    text = numbered_words(50_000)
    asked = []

    def answer(passage, name):
        asked.append(passage)
        return Answer(tuple(re.findall(r"Name\d+", passage)))

    doc = with_engine(Stub(answer), max_passage_tokens=64)(text)
    expected = [(match.start(), match.end(), "person") for match in re.finditer(r"Name\d+", text)]
    assert len(asked) > 100
    assert all(len(re.findall(r"\w+|[^\w\s]", passage)) <= 64 for passage in asked)
    assert ents(doc) == group(doc) == expected


def test_predictions_of_the_pieces_are_merged():
    nlp = with_engine(Stub(lambda text, name: Answer(("Ada", "Bob"), complete="x" not in text)), max_passage_tokens=3)
    (predictions,) = nlp.get_pipe("universal_ner").predict([nlp.make_doc("Ada slept. Ada x.")])
    assert predictions == [Prediction("person", ("Ada", "Bob"), ((0, 3), (11, 14)), ("Bob",), complete=False)]


# Asking without writing


def test_predict_leaves_the_doc_alone():
    nlp = replaying({"Ada slept.": {"person": ["Ada"]}})
    doc = nlp.make_doc("Ada slept.")
    assert nlp.get_pipe("universal_ner").predict([doc]) == [[Prediction("person", ("Ada",), ((0, 3),))]]
    assert (ents(doc), len(doc.spans), doc.user_data) == ([], 0, {})


def test_predict_asks_each_doc_its_own_labels():
    nlp = replaying({"Ada.": {"person": ["Ada"]}, "Rome.": {"city": ["Rome"], "sea": []}}, labels=[])
    docs = [nlp.make_doc("Ada."), nlp.make_doc("Rome.")]
    predictions = nlp.get_pipe("universal_ner").predict(docs, [["person"], ["sea", "city"]])
    assert [[p.type for p in of_doc] for of_doc in predictions] == [["person"], ["sea", "city"]]


WINDOWS = {"max_passage_tokens": (0, "U008.*max_passage_tokens"), "overlap_tokens": (-1, "U190.*-1")}


@pytest.mark.parametrize(("setting", "value", "message"), [(key, *rest) for key, rest in WINDOWS.items()], ids=WINDOWS)
def test_windows_that_cannot_be_are_refused(setting, value, message):
    with pytest.raises(UniversalNERError, match=message):
        replaying({"": {}}, **{setting: value})


def test_predict_wants_labels_for_each_doc():
    nlp = replaying({"Ada.": {"person": ["Ada"]}})
    with pytest.raises(UniversalNERError, match=r"U043.*2 docs but 1"):
        nlp.get_pipe("universal_ner").predict([nlp.make_doc("Ada.")] * 2, [["person"]])


# Config


UNKNOWN = {
    "component": ({"labelz": ["person"]}, "labelz"),
    "engine": ({"engine": {**TRANSFORMERS, "devise": "cpu"}}, "devise"),
    "alignment mode": ({"alignment_mode": "loose"}, "alignment_mode"),
    "number format": ({"engine": {**TRANSFORMERS, "dtype": "float8"}}, "dtype"),
    "no list": ({"labels": "person"}, "labels"),
}


@pytest.mark.parametrize(("config", "key"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_wrong_config_names_the_key(config, key):
    with pytest.raises(ConfigValidationError) as err:
        spacy.blank("en").add_pipe("universal_ner", config=config)
    assert key in str(err.value)


def test_an_unknown_engine():
    with pytest.raises(ValueError, match=r"universal_ner\.Abacus\.v1"):
        spacy.blank("en").add_pipe(
            "universal_ner", config={"engine": {"@universal_ner_engines": "universal_ner.Abacus.v1"}}
        )


# Streams

TEXTS = ["Ada slept.", "", "Bob left Rome.", "It rained.", "Ada met Bob."]
STREAM = {
    "Ada slept.": {"person": ["Ada"], "city": []},
    "Bob left Rome.": {"person": ["Bob"], "city": ["Rome"]},
    "It rained.": {"person": [], "city": []},
    "Ada met Bob.": {"person": ["Ada", "Bob"], "city": []},
}


@pytest.mark.parametrize("batch_size", [1, 2, 128])
def test_a_stream_equals_one_by_one(batch_size):
    nlp = replaying(STREAM)
    docs = list(nlp.pipe(TEXTS, batch_size=batch_size, n_process=1))
    assert [doc.text for doc in docs] == TEXTS
    assert [ents(doc) for doc in docs] == [ents(nlp(text)) for text in TEXTS]
    assert [group(doc) for doc in docs] == [group(nlp(text)) for text in TEXTS]


def test_a_stream_through_a_student_equals_one_by_one(tuned_student):
    nlp = with_student(tuned_student)
    texts = [conversation.text for conversation in CONVERSATIONS] * 2
    docs = list(nlp.pipe(texts, batch_size=3))
    assert [ents(doc) for doc in docs] == [ents(nlp(text)) for text in texts]
    assert ents(docs[0]) == [(0, 3, "person"), (8, 13, "person"), (17, 22, "city")]


def test_a_stream_with_contexts():
    nlp = replaying(STREAM)
    found = list(nlp.pipe(zip(TEXTS, range(5), strict=True), as_tuples=True, batch_size=2))
    assert [(doc.text, context) for doc, context in found] == list(zip(TEXTS, range(5), strict=True))


def test_a_stream_is_read_as_it_is_asked_for():
    nlp = replaying(STREAM)
    read = []
    stream = nlp.get_pipe("universal_ner").pipe(
        (read.append(text) or nlp.make_doc(text) for text in TEXTS), batch_size=2
    )
    next(stream)
    assert read == TEXTS[:2]


def test_a_failing_batch_raises():
    nlp = replaying(STREAM)
    with pytest.raises(UniversalNERError, match=r"U053.*Nobody knows"):
        list(nlp.pipe([*TEXTS, "Nobody knows."], batch_size=2))


def test_a_failing_doc_can_be_ignored():
    nlp = replaying(STREAM)
    nlp.set_error_handler(ignore_error)
    docs = list(nlp.pipe(["Ada slept.", "It rained.", "Nobody knows.", "Bob left Rome.", "Ada met Bob."], batch_size=2))
    assert [doc.text for doc in docs] == ["Ada slept.", "It rained.", "Bob left Rome.", "Ada met Bob."]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_error_handler_gets_the_doc_that_fails(batch_size):
    nlp = replaying(STREAM)
    handled = []
    nlp.set_error_handler(
        lambda name, pipe, docs, err: handled.append((name, [doc.text for doc in docs], str(err)[:6]))
    )
    docs = list(nlp.pipe(["Ada slept.", "Nobody knows."], batch_size=batch_size))
    assert handled == [("universal_ner", ["Nobody knows."], "[U053]")]
    assert [ents(doc) for doc in docs] == [[(0, 3, "person")]]


# Which student


def test_the_student_of_the_environment(monkeypatch, tuned_student):
    monkeypatch.setenv(student.VARIABLE, str(tuned_student))
    nlp = spacy.blank("en")
    nlp.add_pipe("universal_ner", config={"labels": ["person"], "engine": TRANSFORMERS})
    assert ents(nlp(CONVERSATIONS[0].text)) == [(0, 3, "person"), (8, 13, "person")]


def test_no_student_at_all(monkeypatch, tmp_path):
    monkeypatch.delenv(student.VARIABLE, raising=False)
    monkeypatch.setattr(student, "entry_points", lambda group: [])
    monkeypatch.setattr(student, "SHIPPED", tmp_path)
    nlp = spacy.blank("en")
    nlp.add_pipe("universal_ner", config={"labels": ["person"]})
    with pytest.raises(UniversalNERError, match=f"U050.*{student.VARIABLE}"):
        nlp("Ada slept.")


def test_the_component_by_hand():
    nlp = spacy.blank("en")
    pipe = UniversalNER(labels=["person"], engine=Stub(lambda text, name: Answer(("Ada",))))
    assert ents(pipe(nlp.make_doc("Ada slept."))) == [(0, 3, "person")]
