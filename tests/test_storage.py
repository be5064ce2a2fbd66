"""The pipeline on disk, as bytes, as a config and pickled."""

import json
import pickle
import shutil

import pytest
import spacy

from spacy_universalner.base import CACHE_VARIABLE
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.packing import unpack_student
from spacy_universalner.student import MANIFEST

from .conftest import CONVERSATIONS
from .pipelines import TRANSFORMERS, ents, replaying, with_student


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def saved(tuned_student, tmp_path):
    """A saved pipeline, moved, whose first student is gone; and what it said before."""
    origin = tmp_path / "origin"
    shutil.copytree(tuned_student, origin)
    nlp = with_student(origin)
    nlp.get_pipe("universal_ner").add_label("event")
    before = [ents(nlp(conversation.text)) for conversation in CONVERSATIONS]
    nlp.to_disk(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    shutil.rmtree(origin)
    return tmp_path / "moved", before


def test_a_saved_pipeline_says_the_same_elsewhere(saved):
    folder, before = saved
    nlp = spacy.load(folder)
    assert nlp.get_pipe("universal_ner").labels == ("person", "city", "date", "event")
    assert [ents(nlp(conversation.text)) for conversation in CONVERSATIONS] == before
    assert before[0][0] == (0, 3, "person")


def test_a_loaded_pipeline_can_be_saved_in_place(saved):
    folder, before = saved
    nlp = spacy.load(folder)
    nlp.get_pipe("universal_ner").add_label("animal")
    nlp.to_disk(folder)
    assert spacy.load(folder).get_pipe("universal_ner").labels[-1] == "animal"


def test_a_pipeline_in_use_takes_the_student_it_is_given(saved, tiny_student):
    folder, before = saved
    nlp = with_student(tiny_student)
    assert ents(nlp(CONVERSATIONS[0].text)) != before[0]
    with pytest.warns(UserWarning, match=f"U191.*{tiny_student}"):
        nlp.from_disk(folder)
    assert ents(nlp(CONVERSATIONS[0].text)) == before[0]


def test_a_damaged_student_is_refused(saved):
    folder, _ = saved
    weights = folder / "universal_ner" / "student" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-7] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UniversalNERError, match=r"U005.*model\.safetensors"):
        spacy.load(folder)("Ada slept.")


def test_saving_without_the_student(tuned_student, tmp_path):
    pipe = with_student(tuned_student).get_pipe("universal_ner")
    pipe.to_disk(tmp_path, exclude=["student"])
    assert [path.name for path in tmp_path.iterdir()] == ["cfg.json"]


def test_labels_on_disk_are_checked(tmp_path):
    pipe = replaying({"": {}}, labels=["person"]).get_pipe("universal_ner")
    pipe.to_disk(tmp_path)
    (tmp_path / "cfg.json").write_text(json.dumps({"labels": ["a", "a"]}), encoding="utf8")
    with pytest.raises(UniversalNERError, match="U041"):
        pipe.from_disk(tmp_path)


def test_settings_can_be_changed_when_a_pipeline_is_loaded(saved):
    folder, before = saved
    settings = {"annotate": "spans", "engine": {"dtype": "auto"}}
    nlp = spacy.load(folder, config={"components": {"universal_ner": settings}})
    pipe = nlp.get_pipe("universal_ner")
    assert (pipe.annotate, pipe.engine.dtype, pipe.labels) == ("spans", "auto", ("person", "city", "date", "event"))


def test_labels_can_be_named_when_a_pipeline_is_loaded(saved):
    folder, _ = saved
    nlp = spacy.load(folder, config={"components.universal_ner.labels": ["person"]})
    assert nlp.get_pipe("universal_ner").labels == ("person",)
    assert ents(nlp(CONVERSATIONS[0].text)) == [(0, 3, "person"), (8, 13, "person")]


def test_a_model_named_when_a_pipeline_is_loaded_is_told_not_to_be_used(saved):
    folder, _ = saved
    with pytest.warns(UserWarning, match="U191.*/my/other"):
        nlp = spacy.load(folder, config={"components.universal_ner.engine.model": "/my/other"})
    assert nlp.get_pipe("universal_ner").engine.model == str(folder / "universal_ner" / "student")


def test_a_pipeline_without_labels_takes_those_on_disk(tmp_path):
    replaying({"": {}}, labels={"city": "a town"}).get_pipe("universal_ner").to_disk(tmp_path)
    pipe = replaying({"": {}}, labels=[]).get_pipe("universal_ner").from_disk(tmp_path)
    assert pipe.label_data == {"city": "a town"}


def test_labels_saved_by_an_earlier_version(tmp_path):
    (tmp_path / "cfg.json").write_text(json.dumps({"labels": ["city"]}), encoding="utf8")
    assert replaying({"": {}}, labels=["person"]).get_pipe("universal_ner").from_disk(tmp_path).labels == ("city",)


LOADED = {
    "disabled": ({"disable": ["universal_ner"]}, ["sentencizer"], ["sentencizer", "universal_ner"]),
    "excluded": ({"exclude": ["universal_ner"]}, ["sentencizer"], ["sentencizer"]),
    "enabled alone": ({"enable": ["universal_ner"]}, ["universal_ner"], ["sentencizer", "universal_ner"]),
}


@pytest.mark.parametrize(("how", "active", "all_"), LOADED.values(), ids=LOADED)
def test_a_pipeline_loaded_in_part(how, active, all_, tmp_path):
    nlp = replaying({"Ada": {"person": ["Ada"]}})
    nlp.add_pipe("sentencizer", first=True)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path, **how)
    assert (loaded.pipe_names, loaded.component_names) == (active, all_)
    assert bool(loaded("Ada").ents) == ("universal_ner" in active)


# As a config


@pytest.mark.parametrize("labels", [["person", "sea"], {"person": "a human: being", "sea": "water"}], ids=type)
def test_a_pipeline_from_its_config(labels):
    nlp = replaying({"Ada": {"person": ["Ada"]}}, labels=labels, annotate="spans", spans_key="sc", scorer=None)
    other = spacy.blank("en").from_config(nlp.config)
    assert other.config.to_str() == nlp.config.to_str()
    pipe = other.get_pipe("universal_ner")
    assert (pipe.label_data, pipe.annotate, pipe.spans_key, pipe.scorer) == (labels, "spans", "sc", None)


def test_a_config_written_for_an_earlier_version():
    """Without the newer settings, and with spaCy's scorer."""
    config = replaying({"Ada": {"person": ["Ada"]}}).config
    for key in ("threshold", "occurrences", "annotate", "overwrite"):
        del config["components"]["universal_ner"][key]
    config["components"]["universal_ner"]["scorer"] = {"@scorers": "spacy.ner_scorer.v1"}
    nlp = spacy.blank("en").from_config(config)
    assert ents(nlp("Ada")) == [(0, 3, "person")]
    assert nlp.evaluate([spacy.training.Example(nlp("Ada"), nlp("Ada"))])["ents_f"] == 1.0


# As bytes


def test_a_pipeline_from_bytes_says_the_same(tuned_student, tmp_path, cache):
    shutil.copytree(tuned_student, tmp_path / "origin")
    nlp = with_student(tmp_path / "origin")
    nlp.get_pipe("universal_ner").add_label("event", "an event")
    before = [ents(nlp(conversation.text)) for conversation in CONVERSATIONS]
    data = nlp.to_bytes()
    shutil.rmtree(tmp_path / "origin")
    other = spacy.blank("en")
    other.add_pipe("universal_ner", config={"engine": TRANSFORMERS})
    other.from_bytes(data)
    assert other.get_pipe("universal_ner").label_data == nlp.get_pipe("universal_ner").label_data
    assert [ents(other(conversation.text)) for conversation in CONVERSATIONS] == before
    other.from_bytes(data)
    assert len([path for path in (cache / "students").iterdir() if path.is_dir()]) == 1


def test_bytes_without_the_student(tuned_student):
    pipe = with_student(tuned_student, ["sea"]).get_pipe("universal_ner")
    assert len(pipe.to_bytes(exclude=["student"])) < 1000
    other = with_student("elsewhere").get_pipe("universal_ner")
    other.from_bytes(pipe.to_bytes(), exclude=["student"])
    assert (other.labels, other.engine.model) == (("sea",), "elsewhere")


def test_bytes_of_a_pipeline_without_a_student():
    pipe = replaying({"": {}}, labels={"city": "a town"}).get_pipe("universal_ner")
    other = replaying({"": {}}, labels=["person"]).get_pipe("universal_ner").from_bytes(pipe.to_bytes())
    assert other.label_data == {"city": "a town"}


NO_STUDENT = {
    "a path": ({"../model.safetensors": b""}, "U185.*'../model"),
    "an absolute path": ({"/tmp/x": b""}, "U185"),
    "a folder": ({"..": b""}, "U185"),
    "no manifest": ({"model.safetensors": b""}, "U051"),
    "another sum": ({MANIFEST: b'{"files": {"config.json": "ab"}}', "config.json": b""}, "U051"),
}


@pytest.mark.parametrize(("files", "message"), NO_STUDENT.values(), ids=NO_STUDENT)
def test_bytes_that_are_no_student_are_refused(files, message, cache):
    with pytest.raises(UniversalNERError, match=message):
        unpack_student(files)
    assert [path.name for path in (cache / "students").glob("*") if path.is_dir()] == []


# Pickled


def test_a_pickled_component_asks_the_same():
    nlp = replaying({"Ada": {"person": ["Ada"]}})
    pipe = pickle.loads(pickle.dumps(nlp.get_pipe("universal_ner")))
    assert ents(pipe(nlp.make_doc("Ada"))) == [(0, 3, "person")]
