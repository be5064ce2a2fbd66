"""Labels: names, descriptions, and who may ask which of them."""

import pytest

from spacy_universalner.errors import UniversalNERError

from .conftest import CONVERSATIONS
from .pipelines import ents, replaying, with_student


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
