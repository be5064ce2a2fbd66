"""Students on a hub, and models that were released without manifest and template."""

import json
import shutil

import pytest

from spacy_universalner.base import CACHE_VARIABLE
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import load_template
from spacy_universalner.records import read_json
from spacy_universalner.remote import locate_student
from spacy_universalner.student import MANIFEST, VARIABLE, check_manifest

from .hub_server import Hub, serve

RELEASED = "Universal-NER/UniNER-7B-type"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no student elsewhere."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "cache" / "students"


@pytest.fixture
def released(llama_base, tmp_path):
    """A tiny model as the released ones are: a LLaMA and its tokenizer."""
    folder = shutil.copytree(llama_base, tmp_path / "UniNER")
    (folder / MANIFEST).unlink()
    return folder


@pytest.fixture
def serving(monkeypatch):
    """Serve a folder as a repository. RETURNS (Callable): takes folder and name, gives the hub."""
    running = []

    def start(folder, name):
        hub = Hub(folder, name)
        running.append(serve(hub))
        monkeypatch.setenv("HF_ENDPOINT", running[-1].__enter__())
        return hub

    yield start
    for server in running:
        server.__exit__(None, None, None)


def test_a_released_model_is_made_a_student(released, serving, cache):
    serving(released, RELEASED)
    folder = locate_student(RELEASED)
    assert folder == cache / "Universal-NER--UniNER-7B-type"
    manifest = check_manifest(folder)
    assert (manifest["template"], manifest["method"]) == ("uniner.v1", "released")
    assert manifest["base"] == {"name": RELEASED, "source": "hub, revision abc123"}
    assert load_template(folder).name == "uniner.v1"


def test_a_student_of_this_project_is_taken_as_it_is(tuned_student, serving, tmp_path):
    hub = serving(shutil.copytree(tuned_student, tmp_path / "hub"), "org/mine")
    (hub.folder / ".gitattributes").write_text("of the hub", encoding="utf8")
    folder = locate_student("org/mine")
    assert check_manifest(folder) == read_json(tuned_student / MANIFEST)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in tuned_student.iterdir())


@pytest.mark.parametrize("name", [RELEASED, "org/mine"])
def test_what_is_in_the_cache_needs_no_hub(name, released, tuned_student, serving, cache):
    hub = serving(released if name == RELEASED else tuned_student, name)
    folder = locate_student(name)
    hub.requests.clear()
    assert locate_student(name) == folder
    assert hub.requests == []
    assert [path.name for path in cache.iterdir()] == [name.replace("/", "--")]


def test_a_revision(released, serving, cache):
    hub = serving(released, RELEASED)
    folder = locate_student(RELEASED, revision="abc123")
    assert folder == cache / "Universal-NER--UniNER-7B-type--abc123"
    assert hub.requests[0] == f"/api/models/{RELEASED}/revision/abc123?blobs=true"
    assert all("/resolve/abc123/" in path for path in hub.requests[1:])


def test_no_such_revision(released, serving):
    serving(released, RELEASED)
    with pytest.raises(UniversalNERError, match=rf"U187.*{RELEASED}.*404.*revision"):
        locate_student(RELEASED, revision="def456")


def test_a_folder_without_a_template(released, cache):
    folder = locate_student(str(released), template="plain.v1")
    assert folder.parent == cache
    assert check_manifest(folder)["template"] == "plain.v1"
    assert (released / "model.safetensors").is_file()
    assert locate_student(str(released)) != folder  # known by its name: uniner.v1


UNKNOWN = {
    "none known": ("org/other", None, "U188.*org/other.*brings none.*uniner.v1"),
    "no such template": ("org/other", "latin.v1", "U020.*latin.v1"),
}


@pytest.mark.parametrize(("name", "template", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_released_model_wants_a_template(name, template, message, released, serving):
    serving(released, name)
    with pytest.raises(UniversalNERError, match=message):
        locate_student(name, template=template)


def test_a_student_brings_its_own_template(tuned_student):
    assert locate_student(str(tuned_student), template="plain.v1") == tuned_student
    with pytest.raises(UniversalNERError, match=r"U188.*uniner\.v1 is named.*tuned with plain\.v1"):
        locate_student(str(tuned_student), template="uniner.v1")


def test_weights_with_code_in_them_are_refused(released, serving):
    (released / "model.safetensors").unlink()
    (released / "pytorch_model-00001-of-00002.bin").touch()
    serving(released, RELEASED)
    with pytest.raises(UniversalNERError, match=r"U187.*only pytorch_model.*safetensors only.*save_pretrained"):
        locate_student(RELEASED)


def test_a_manifest_that_names_files_elsewhere(tuned_student, serving, tmp_path):
    folder = shutil.copytree(tuned_student, tmp_path / "hub")
    (folder / MANIFEST).write_text(json.dumps({"files": {"../x": ""}}), encoding="utf8")
    serving(folder, "org/mine")
    with pytest.raises(UniversalNERError, match=r"U187.*\.\./x"):
        locate_student("org/mine")


def test_files_that_are_not_as_the_manifest_says(tuned_student, serving, tmp_path, cache):
    folder = shutil.copytree(tuned_student, tmp_path / "hub")
    (folder / "config.json").write_text("{}", encoding="utf8")
    serving(folder, "org/mine")
    with pytest.raises(UniversalNERError, match=r"U005.*config\.json"):
        locate_student("org/mine")
    assert not (cache / "org--mine").exists()


def test_no_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UniversalNERError, match=rf"U187.*{RELEASED}.*URLError"):
        locate_student(RELEASED)


ELSEWHERE = ["no/such/folder", "nowhere", "/no/such/folder"]


@pytest.mark.parametrize("model", ELSEWHERE)
def test_what_is_neither_a_folder_nor_a_repository(model):
    assert str(locate_student(model)) == model


def test_without_a_model_the_environment_names_it(monkeypatch, tuned_student):
    monkeypatch.setenv(VARIABLE, str(tuned_student))
    assert locate_student(None) == tuned_student
