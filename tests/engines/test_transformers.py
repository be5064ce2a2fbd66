"""The engine loads its student at first use, and another when it is named."""

import pytest

from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.registry import Engine, Portable

from ..conftest import CONVERSATIONS


def make_engine(model) -> TransformersEngine:
    return TransformersEngine(model=str(model), device="cpu", dtype="float32", batch_tokens=4096, max_new_tokens=16)


def test_the_model_is_loaded_at_first_use():
    engine = make_engine("/no/such/student")
    with pytest.raises(UniversalNERError, match=r"U051.*no such directory"):
        engine.extract(["A."], [["person"]])


def test_a_new_model_is_loaded(tiny_student, tuned_student):
    engine = make_engine(tiny_student)
    before = engine.extract([CONVERSATIONS[0].text], [["person"]])
    engine.model = str(tuned_student)
    assert engine.extract([CONVERSATIONS[0].text], [["person"]]) != before


def test_an_unknown_device(tiny_student):
    engine = make_engine(tiny_student)
    engine.device = "abacus"
    with pytest.raises(UniversalNERError, match=r"U054.*abacus"):
        engine.extract(["A."], [["person"]])


def test_contracts():
    engine = make_engine("anywhere")
    assert isinstance(engine, Engine)
    assert isinstance(engine, Portable)
