import pytest

from spacy_universalner.engines.replay import ReplayEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.registry import Answer, Engine, Portable, spacy

ANSWERS = {"Ada met Bob.": {"person": ["Ada", "Bob"], "city": []}, "Rome.": {"city": ["Rome"]}}

ASKED = {
    "one": (["Rome."], [["city"]], [[Answer(("Rome",))]]),
    "in the order asked": (
        ["Rome.", "Ada met Bob."],
        [["city"], ["city", "person"]],
        [[Answer(("Rome",))], [Answer(()), Answer(("Ada", "Bob"))]],
    ),
    "no types": (["Rome."], [[]], [[]]),
    "no passages": ([], [], []),
}


@pytest.mark.parametrize(("passages", "types", "answers"), ASKED.values(), ids=ASKED)
def test_extract(passages, types, answers):
    assert ReplayEngine(ANSWERS).extract(passages, types) == answers


@pytest.mark.parametrize(("passage", "name"), [("Oslo.", "city"), ("Rome.", "person")], ids=["passage", "type"])
def test_what_was_not_recorded(passage, name):
    with pytest.raises(UniversalNERError, match=f"U053.*Replay.*{passage}.*{name}"):
        ReplayEngine(ANSWERS).extract([passage], [[name]])


def test_as_many_types_as_passages():
    with pytest.raises(ValueError, match="shorter"):
        ReplayEngine(ANSWERS).extract(["Rome."], [])


def test_registered():
    make = spacy.registry.universal_ner_engines.get("universal_ner.Replay.v1")
    assert make(ANSWERS).extract(["Rome."], [["city"]]) == [[Answer(("Rome",))]]


def test_contracts():
    engine = ReplayEngine(ANSWERS)
    assert isinstance(engine, Engine)
    assert not isinstance(engine, Portable)
