"""Labels: names, descriptions, and who may ask which of them."""

from itertools import permutations

import pytest
import spacy

from spacy_universalner.component import UniversalNER
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.registry import Answer

from .conftest import CONVERSATIONS
from .pipelines import REPLAY, Stub, ents, group, replaying, with_engine, with_student


def test_labels():
    nlp = replaying({"": {}}, labels=["person", "city"])
    assert nlp.get_pipe("universal_ner").labels == ("person", "city")
    assert nlp.pipe_labels["universal_ner"] == ["person", "city"]


@pytest.mark.parametrize(("label", "added"), [("city", 1), ("person", 0)], ids=["new", "known"])
def test_add_label(label, added):
    pipe = replaying({"": {}}, labels=["person"]).get_pipe("universal_ner")
    assert pipe.add_label(label) == added
    assert pipe.labels == ("person", "city")[: 1 + added]


def test_an_added_label_is_asked():
    nlp = replaying({"Ada left Rome.": {"person": ["Ada"], "city": ["Rome"]}}, labels=["person"])
    nlp.get_pipe("universal_ner").add_label("city")
    assert ents(nlp("Ada left Rome.")) == [(0, 3, "person"), (9, 13, "city")]


BAD = {
    "empty": ("", "U042.*empty"),
    "white space": ("  ", "U042.*empty"),
    "white space before": (" person", "U042.*white space"),
    "white space after": ("person ", "U042.*white space"),
    "line break": ("per\nson", "U042.*line break"),
    "tab": ("per\tson", "U042.*control"),
    "null": ("per\0son", "U042.*control"),
    "line separator": ("per\u2028son", "U042.*line break"),
    "half a surrogate pair": ("per\ud800son", "U042.*control"),
    "no string": (3, "U042.*it is a int"),
}


@pytest.mark.parametrize(("label", "message"), BAD.values(), ids=BAD)
def test_an_unusable_label(label, message):
    pipe = replaying({"": {}}, labels=["city"]).get_pipe("universal_ner")
    with pytest.raises(UniversalNERError, match=message):
        pipe.add_label(label)
    assert pipe.labels == ("city",)


def test_a_label_listed_twice():
    with pytest.raises(UniversalNERError, match=r"U041.*'person' occurs 2 times"):
        replaying({"": {}}, labels=["person", "city", "person"])


def test_no_labels():
    with pytest.raises(UniversalNERError, match=r"U040.*add_label"):
        replaying({"": {}}, labels=[])("Ada slept.")


ODD = [
    '"quoted"',
    "ship's name",
    "<|im_end|>",
    "USER: Text",
    "{type}",
    "{text}",
    "[]",
    '["Ada"]',
    "größe 東京 🛰",
    "\\n",
    "%",
]


@pytest.mark.parametrize("label", ODD)
def test_an_odd_label_is_a_label_like_any_other(tuned_student, label):
    nlp = with_student(tuned_student, ["person", label, "date"])
    doc = nlp(CONVERSATIONS[0].text)
    assert nlp.get_pipe("universal_ner").labels == ("person", label, "date")
    assert {"Ada", "Grace"} <= {span.text for span in doc.spans["universal_ner"] if span.label_ == "person"}
    assert {item["label"] for item in doc.user_data["universal_ner"]} <= {label}


# Descriptions

DESCRIBED = {"person": "a human being, real or made up", "place": "where things are", "city": "where things are"}


def recording(answers):
    """An engine that answers {question: mentions}, and the list of what it was asked."""
    asked = []

    def answer(text, question):
        asked.append(question)
        return Answer(tuple(answers[question]))

    return Stub(answer), asked


def test_a_description_is_asked_and_the_name_reported():
    engine, asked = recording({"a human being, real or made up": ["Ada"], "where things are": ["Rome"]})
    nlp = with_engine(engine, DESCRIBED)
    doc = nlp("Ada left Rome.")
    assert group(doc) == [(0, 3, "person"), (9, 13, "city"), (9, 13, "place")]
    assert asked == ["a human being, real or made up", "where things are"]
    assert nlp.get_pipe("universal_ner").labels == ("person", "place", "city")


def test_what_two_names_share_is_asked_once():
    engine, asked = recording({"where things are": ["Rome", "Atlantis"]})
    doc = with_engine(engine, {"place": "where things are", "city": "where things are"})("Ada left Rome.")
    assert asked == ["where things are"]
    assert [item["label"] for item in doc.user_data["universal_ner"]] == ["city", "place"]


@pytest.mark.parametrize(
    ("label", "description", "added", "asked"),
    [
        ("city", "a large town", 1, ["a large town", "person"]),
        ("person", "a human being", 1, ["a human being"]),
        ("person", "person", 0, ["person"]),
        ("person", None, 0, ["person"]),
    ],
    ids=["new", "known by its name", "with the same", "without"],
)
def test_add_a_label_with_a_description(label, description, added, asked):
    engine, questions = recording(dict.fromkeys(["person", "a large town", "a human being"], ()))
    nlp = with_engine(engine)
    assert nlp.get_pipe("universal_ner").add_label(label, description) == added
    nlp("Ada.")
    assert questions == asked


def test_a_known_label_keeps_its_description():
    nlp = with_engine(recording({})[0], {"person": "a human being"})
    assert nlp.get_pipe("universal_ner").add_label("person") == 0
    assert nlp.get_pipe("universal_ner").label_data == {"person": "a human being"}


WRONG = {
    "a string": ("person", "U184.*'person'"),
    "a number": (3, "U184.*3"),
    "an empty description": ({"person": ""}, "U180.*'' of label 'person'.*empty"),
    "a description of two lines": ({"person": "a\nb"}, "U180.*line break"),
    "no description": ({"person": None}, "U180.*NoneType"),
    "an empty name": ({"": "person"}, "U042"),
    "a name twice": (["person", "person"], "U041"),
}


@pytest.mark.parametrize(("labels", "message"), WRONG.values(), ids=WRONG)
def test_labels_that_cannot_be_asked(labels, message):
    with pytest.raises(UniversalNERError, match=message):
        UniversalNER(labels=labels, engine=Stub(None))
    nlp = with_engine(Stub(None))
    with pytest.raises(UniversalNERError, match=message):
        list(nlp.pipe(["Ada."], component_cfg={"universal_ner": {"labels": labels}}))


UNWRITABLE = [["$5"], ["${a.b}"], {"a = b": "c"}, {"#tag": "c"}, {"[x]": "c"}, {"sum": "money, such as $5"}]


@pytest.mark.parametrize("labels", UNWRITABLE, ids=str)
def test_a_label_that_a_config_file_would_change_is_refused(labels):
    with pytest.raises(UniversalNERError, match=r"U186.*add_label"):
        replaying({"": {}}, labels=labels)


def test_it_can_be_added(tmp_path):
    nlp = replaying({"": {}}, labels=[])
    nlp.get_pipe("universal_ner").add_label("a = b", "money, such as $5")
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("universal_ner").label_data == {"a = b": "money, such as $5"}


def test_hundreds_of_labels_are_asked_at_once():
    names = [f"type {i}" for i in range(300)]
    nlp = with_engine(Stub(lambda text, name: Answer(("Ada",) if name.endswith("7") else ())), names)
    assert group(nlp("Ada.")) == sorted((0, 3, name) for name in names if name.endswith("7"))


# Labels of a call and of a doc


def asking():
    """A pipeline that finds everything, so that its spans tell what it was asked."""
    return with_engine(Stub(lambda text, name: Answer((text,))), ["person"])


def test_labels_of_a_call():
    nlp = asking()
    doc = nlp("Ada", component_cfg={"universal_ner": {"labels": ["city"]}})
    assert group(doc) == [(0, 3, "city")]
    assert group(nlp("Ada")) == [(0, 3, "person")]


@pytest.mark.parametrize("labels", [["city", "sea"], dict.fromkeys(["city", "sea"], "place")], ids=["names", "both"])
def test_labels_of_a_stream(labels):
    docs = list(asking().pipe(["Ada", "Bob"], component_cfg={"universal_ner": {"labels": labels}}, batch_size=1))
    assert [group(doc) for doc in docs] == [[(0, 3, "city"), (0, 3, "sea")]] * 2


def test_labels_of_a_stream_are_read_once():
    nlp = asking()
    docs = list(nlp.get_pipe("universal_ner").pipe(map(nlp.make_doc, ["Ada", "Bob"]), batch_size=1, labels=iter(["x"])))
    assert [group(doc) for doc in docs] == [[(0, 3, "x")]] * 2


OWN = {
    "none": ({}, None, "person"),
    "of the call": ({}, ["city"], "city"),
    "of the doc": ({"universal_ner_labels": ["sea"]}, None, "sea"),
    "of the doc before the call's": ({"universal_ner_labels": {"sea": "much water"}}, ["city"], "sea"),
}


@pytest.mark.parametrize(("data", "labels", "expected"), OWN.values(), ids=OWN)
def test_each_doc_of_a_stream_may_name_its_own(data, labels, expected):
    nlp = asking()
    first, second = nlp.make_doc("Ada"), nlp.make_doc("Bob")
    first.user_data.update(data)
    docs = list(nlp.pipe([first, second], component_cfg={"universal_ner": {"labels": labels}}))
    assert [group(doc) for doc in docs] == [[(0, 3, expected)], [(0, 3, labels[0] if labels else "person")]]


def test_a_doc_may_name_labels_where_the_component_has_none():
    nlp = with_engine(Stub(lambda text, name: Answer((text,))), [])
    doc = nlp.make_doc("Ada")
    doc.user_data["universal_ner_labels"] = ["city"]
    assert group(nlp(doc)) == [(0, 3, "city")]


def test_a_doc_may_ask_for_nothing():
    nlp = asking()
    doc = nlp.make_doc("Ada")
    doc.user_data["universal_ner_labels"] = []
    assert group(nlp(doc)) == []


def test_a_doc_with_bad_labels_goes_to_the_error_handler():
    nlp = asking()
    handled = []
    nlp.set_error_handler(lambda name, pipe, docs, err: handled.append((docs[0].text, str(err)[:6])))
    docs = [nlp.make_doc(text) for text in ("Ada", "Bob")]
    docs[0].user_data["universal_ner_labels"] = "city"
    assert [group(doc) for doc in nlp.pipe(docs)] == [[(0, 3, "person")]]
    assert handled == [("Ada", "[U184]")]


def test_two_components_keep_their_labels_and_notes_apart():
    nlp = replaying({"Ada.": {"person": ["Bob"]}})
    engine = {**REPLAY, "answers": {"Ada.": {"city": ["Rome"]}}}
    nlp.add_pipe("universal_ner", name="places", config={"labels": [], "engine": engine, "spans_key": "places"})
    doc = nlp.make_doc("Ada.")
    doc.user_data["places_labels"] = ["city"]
    nlp(doc)
    assert [doc.user_data[name][0]["text"] for name in ("universal_ner", "places")] == ["Bob", "Rome"]


def test_the_order_of_labels_does_not_matter_to_a_student(tuned_student):
    texts = [conversation.text for conversation in CONVERSATIONS]
    seen = []
    for labels in permutations(["person", "city", "date"]):
        docs = with_student(tuned_student, labels).pipe(texts)
        seen.append([(ents(doc), group(doc), doc.user_data["universal_ner"]) for doc in docs])
    assert seen[0][0][0] == [(0, 3, "person"), (8, 13, "person"), (17, 22, "city")]
    assert all(one == seen[0] for one in seen)
