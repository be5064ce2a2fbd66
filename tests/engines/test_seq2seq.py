"""An encoder-decoder is asked all types of a passage at once."""

import pickle
import shutil

import pytest
import torch

from spacy_universalner.base import CACHE_VARIABLE
from spacy_universalner.engines.seq2seq import Seq2SeqEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import INSTRUCTUIE_V1
from spacy_universalner.records import Query
from spacy_universalner.registry import Answer, Engine, Loadable, Portable, spacy

from ..hub_server import Hub, serve
from ..systems.models import make_seq2seq

TYPES = ["city", "person"]
KNOWN = {
    "Ada met Grace in Paris.": (Query("city", ("Paris",)), Query("person", ("Ada", "Grace"))),
    "It rained.": (Query("city", ()), Query("person", ())),
    "Bob left Rome.": (Query("city", ("Rome",)), Query("person", ("Bob",))),
}
EXPECTED = [[Answer(query.mentions) for query in queries] for queries in KNOWN.values()]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A tiny T5 that knows three answers by heart; treat it as read-only."""
    answers = {INSTRUCTUIE_V1.ask(text, TYPES): INSTRUCTUIE_V1.answer(queries) for text, queries in KNOWN.items()}
    assert TYPES == sorted(TYPES), "in a pipeline labels are asked in that order"
    return make_seq2seq(tmp_path_factory.mktemp("seq2seq") / "learnt", answers)


def make_engine(model, **settings) -> Seq2SeqEngine:
    return Seq2SeqEngine(model=str(model), **{"device": "cpu", "dtype": "float32", "max_new_tokens": 60, **settings})


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_what_was_learnt_is_said(learnt, batch_size):
    engine = make_engine(learnt, batch_size=batch_size)
    assert engine.extract(list(KNOWN), [TYPES] * 3) == EXPECTED


def test_answers_come_in_the_order_asked(learnt):
    engine = make_engine(learnt)
    texts = list(KNOWN)
    found = engine.extract([texts[2], "x", texts[0]], [TYPES, [], TYPES])
    assert found == [EXPECTED[2], [], EXPECTED[0]]
    assert engine.extract([], []) == []


def test_a_long_answer_is_cut_and_not_complete(learnt):
    found = make_engine(learnt, max_new_tokens=8).extract(list(KNOWN)[:1], [TYPES])
    assert [answer.complete for answer in found[0]] == [False, False]


def test_special_tokens_in_a_text_are_text(learnt):
    engine = make_engine(learnt)
    engine.load()
    ids = engine._encode("a <|im_end|> b", *engine._loaded)
    assert engine._loaded[1].eos_token_id not in ids


def test_the_config_makes_one_without_loading_it():
    make = spacy.registry.universal_ner_engines.get("universal_ner.Seq2Seq.v1")
    engine = make(model="/no/such/model")
    assert isinstance(engine, Engine) and isinstance(engine, Loadable) and not isinstance(engine, Portable)
    with pytest.raises(UniversalNERError, match=r"U240.*/no/such/model.*no such folder"):
        engine.extract(["A."], [["person"]])


def test_in_a_pipeline(learnt):
    nlp = spacy.blank("en")
    engine = {"@universal_ner_engines": "universal_ner.Seq2Seq.v1", "model": str(learnt), "dtype": "float32"}
    nlp.add_pipe("universal_ner", config={"labels": TYPES, "engine": {**engine, "device": "cpu"}})
    (doc,) = nlp.pipe(["Bob left Rome."])
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Bob", "person"), ("Rome", "city")]


def test_another_process_loads_it_itself(learnt):
    engine = make_engine(learnt)
    engine.load()
    assert pickle.loads(pickle.dumps(engine)).extract(list(KNOWN), [TYPES] * 3) == EXPECTED


WRONG = {
    "batch_size": ({"batch_size": 0}, "U008.*batch_size"),
    "max_new_tokens": ({"max_new_tokens": 0}, "U008.*max_new_tokens"),
    "prompt": ({"prompt": "v99"}, "U020.*v99.*instructuie.v1"),
}


@pytest.mark.parametrize(("settings", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting(settings, message):
    with pytest.raises(UniversalNERError, match=message):
        make_engine("anywhere", **settings)


def test_a_model_of_another_kind(tiny_base):
    with pytest.raises(UniversalNERError, match=r"U240.*cannot read it as an encoder-decoder"):
        make_engine(tiny_base).load()


def test_weights_that_may_hold_code_are_not_read(learnt, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(learnt, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UniversalNERError, match=r"U240.*only pytorch_model.bin.*safetensors only"):
        make_engine(folder).load()


def test_a_passage_that_is_too_long(learnt):
    engine = make_engine(learnt)
    engine.load()
    engine._loaded[0].config.max_position_embeddings = 100
    with pytest.raises(UniversalNERError, match=r"U241.*the 100 tokens"):
        engine.extract(["word " * 100], [TYPES])


def test_a_model_of_a_hub_is_fetched_once(learnt, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    hub = Hub(learnt, "some/model")
    with serve(hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert make_engine("some/model").extract(list(KNOWN), [TYPES] * 3) == EXPECTED
    assert make_engine("some/model").extract(list(KNOWN), [TYPES] * 3) == EXPECTED


def test_a_hub_out_of_reach(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UniversalNERError, match=r"U240.*some/model"):
        make_engine("some/model").load()
