"""The engine loads its student at first use, and another when it is named."""

import shutil

import pytest

from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import DATASET_V1, TEMPLATES
from spacy_universalner.registry import Engine, Portable, spacy
from spacy_universalner.student import write_manifest

from ..conftest import CONVERSATIONS

SETTINGS = {"device": "cpu", "dtype": "float32", "batch_tokens": 4096, "max_new_tokens": 16}


def make_engine(model, **settings) -> TransformersEngine:
    return TransformersEngine(model=str(model), **{**SETTINGS, **settings})


def make_student(base, folder, template):
    """A student of random weights with a template."""
    shutil.copytree(base, folder)
    template.save(folder)
    write_manifest(folder, {"template": template.name})
    return folder


def test_the_model_is_loaded_at_first_use():
    engine = make_engine("/no/such/student")
    with pytest.raises(UniversalNERError, match=r"U051.*no such directory"):
        engine.extract(["A."], [["person"]])


def test_a_new_model_is_loaded(tiny_student, tuned_student):
    engine = make_engine(tiny_student)
    before = engine.extract([CONVERSATIONS[0].text], [["person"]])
    engine.model = str(tuned_student)
    assert engine.extract([CONVERSATIONS[0].text], [["person"]]) != before


def test_a_list_that_is_begun_names_what_no_likelier_one_does(tuned_student):
    engine = make_engine(tuned_student, begin=1e-9)
    passage, types = CONVERSATIONS[0].text, ["person", "city", "date"]
    (alone,), (together,) = (engine.extract([passage], [asked]) for asked in (["date"], types))
    claimed = {mention for answer in together[:2] for mention in answer.mentions}
    assert alone[0].mentions and claimed >= set(alone[0].mentions)
    assert together[2].mentions == ()


def test_an_unknown_device(tiny_student):
    engine = make_engine(tiny_student)
    engine.device = "abacus"
    with pytest.raises(UniversalNERError, match=r"U054.*abacus"):
        engine.extract(["A."], [["person"]])


@pytest.mark.parametrize("setting", [{"begin": 0.0}, {"begin": 0.6}, {"max_new_tokens": 0}], ids=str)
def test_settings_that_cannot_be(setting):
    with pytest.raises(UniversalNERError, match=f"U.*{next(iter(setting))}"):
        make_engine("anywhere", **setting)


def test_contracts():
    engine = make_engine("anywhere")
    assert isinstance(engine, Engine)
    assert isinstance(engine, Portable)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_template_is_the_students(llama_base, tmp_path, name):
    engine = make_engine(make_student(llama_base, tmp_path / "student", TEMPLATES[name]))
    assert [len(answers) for answers in engine.extract(["Ada met Bob.", "x"], [["person", "city"], ["date"]])] == [2, 1]
    assert engine.extractor.template is TEMPLATES[name]


def test_the_student_is_told_the_data_set(tiny_base, tmp_path):
    engine = make_engine(make_student(tiny_base, tmp_path / "student", DATASET_V1), dataset="set one")
    told = engine.extract(["Ada met Bob."], [["person"]])
    assert told == engine.extractor.extract(["Ada met Bob."], [["person"]], ["set one"])
    passages = []
    engine.extractor.encoder.passage = lambda text, dataset: passages.append((text, dataset)) or [1]
    engine.extract(["Ada met Bob."], [["person"]])
    engine.dataset = ""
    engine.extract(["Ada met Bob."], [["person"]])
    assert passages == [("Ada met Bob.", "set one"), ("Ada met Bob.", "")]


def test_a_student_that_knows_no_data_sets(tiny_student):
    with pytest.raises(UniversalNERError, match=r"U150.*'set one'.*plain.v1"):
        make_engine(tiny_student, dataset="set one").extract(["A."], [["person"]])


def test_a_bad_name_of_a_data_set(tiny_base, tmp_path):
    engine = make_engine(make_student(tiny_base, tmp_path / "student", DATASET_V1), dataset="one\ntwo")
    with pytest.raises(UniversalNERError, match=r"U151.*line break"):
        engine.extract(["A."], [["person"]])


def test_the_config_names_the_data_set():
    make = spacy.registry.universal_ner_engines.get("universal_ner.Transformers.v1")
    assert (make().dataset, make(dataset="set one").dataset) == ("", "set one")
