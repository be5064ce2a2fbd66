import shutil

import pytest
import spacy

from spacy_universalner.assemble import assemble
from spacy_universalner.errors import UniversalNERError

from .conftest import CONVERSATIONS, ROOT

CONFIG = ROOT / "configs" / "pipeline.cfg"


@pytest.fixture
def saved(tuned_student, tmp_path):
    """An assembled pipeline on disk."""
    assemble(CONFIG, tuned_student, name="tiny", version="1.2.3").to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_no_path_of_this_machine_is_saved(saved, tuned_student):
    for name in ("config.cfg", "meta.json"):
        text = (saved / name).read_text(encoding="utf8")
        assert str(tuned_student) not in text
        assert str(ROOT) not in text
        assert str(saved.parent) not in text
        assert '= "/' not in text


def test_the_pipeline_works(saved):
    doc = spacy.load(saved)(CONVERSATIONS[0].text)
    assert [(ent.text, ent.label_) for ent in doc.ents][:2] == [("Ada", "person"), ("Grace", "person")]


def test_meta(saved):
    meta = spacy.load(saved).meta
    assert (meta["name"], meta["version"]) == ("tiny", "1.2.3")
    assert meta["requirements"] == ["spacy-universalner>=0.1.0"]
    assert meta["student"]["method"] == "full"
    assert meta["student"]["training"]["tokens"] > 0


def test_no_such_config(tuned_student, tmp_path):
    with pytest.raises(UniversalNERError, match=r"U001.*none\.cfg"):
        assemble(tmp_path / "none.cfg", tuned_student, name="tiny", version="0.0.0")


def test_a_config_spacy_refuses(tuned_student, tmp_path):
    config = tmp_path / "pipeline.cfg"
    config.write_text(CONFIG.read_text(encoding="utf8").replace("spans_key", "spans_kee"), encoding="utf8")
    with pytest.raises(UniversalNERError, match=r"(?s)U010.*pipeline\.cfg.*spans_kee"):
        assemble(config, tuned_student, name="tiny", version="0.0.0")


def test_a_damaged_student(tuned_student, tmp_path):
    shutil.copytree(tuned_student, tmp_path / "student")
    (tmp_path / "student" / "config.json").write_text("{}", encoding="utf8")
    with pytest.raises(UniversalNERError, match=r"U005.*config\.json"):
        assemble(CONFIG, tmp_path / "student", name="tiny", version="0.0.0")
