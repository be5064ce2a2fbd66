import shutil
import sys
from importlib.metadata import entry_points

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import sha256_file
from spacy_universalner.student import (
    MANIFEST,
    REQUIRED,
    VARIABLE,
    check_manifest,
    copy_student,
    find_student,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    """A directory with the files of a student, their contents aside."""
    path = tmp_path / "student"
    path.mkdir()
    for name in (*REQUIRED, "extra.txt"):
        (path / name).write_text(f"this is {name}", encoding="utf8")
    return path


def test_the_manifest_sums_up_the_files(folder):
    manifest = write_manifest(folder, {"method": "full"})
    assert manifest["method"] == "full"
    assert manifest["files"] == {name: sha256_file(folder / name) for name in sorted((*REQUIRED, "extra.txt"))}
    assert check_manifest(folder) == manifest


def test_the_manifest_is_not_in_the_manifest(folder):
    write_manifest(folder, {})
    assert MANIFEST not in write_manifest(folder, {})["files"]


def test_directories_are_not_in_the_manifest(folder):
    (folder / "more").mkdir()
    assert "more" not in write_manifest(folder, {})["files"]


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, text="changed"):
    return lambda folder: (folder / name).write_text(text, encoding="utf8")


DAMAGE = {
    "no directory": (shutil.rmtree, r"U051.*no such directory"),
    "no manifest": (remove(MANIFEST), r"U051.*no manifest\.json.*model\.safetensors"),
    "a required file missing": (remove("tokenizer.json"), r"U051.*tokenizer\.json missing"),
    "a listed file missing": (remove("extra.txt"), r"U051.*extra\.txt missing"),
    "a file changed": (write("extra.txt"), r"U005.*extra\.txt"),
    "the weights changed": (write("model.safetensors"), r"U005.*model\.safetensors"),
    "the manifest cut off": (write(MANIFEST, '{"files": {'), r"U002.*manifest\.json"),
    "a manifest without files": (write(MANIFEST, "{}"), r"U051.*config\.json, .*not in the manifest"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_student(folder, damage, message):
    write_manifest(folder, {})
    damage(folder)
    with pytest.raises(UniversalNERError, match=message):
        check_manifest(folder)


def test_a_required_file_must_be_listed(folder):
    (folder / "config.json").rename(folder / "hidden")
    write_manifest(folder, {})
    (folder / "hidden").rename(folder / "config.json")
    with pytest.raises(UniversalNERError, match=r"U051.*config\.json, hidden missing"):
        check_manifest(folder)


def test_files_that_are_not_listed_do_no_harm(folder):
    manifest = write_manifest(folder, {})
    write("note.txt")(folder)
    assert check_manifest(folder) == manifest


def test_what_is_required_can_be_named(folder):
    (folder / "template.json").unlink()
    write_manifest(folder, {})
    assert check_manifest(folder, ("config.json",))["files"]


def test_copy(folder, tmp_path):
    manifest = write_manifest(folder, {})
    write("note.txt")(folder)
    copy_student(folder, tmp_path / "deep" / "copy")
    assert check_manifest(tmp_path / "deep" / "copy") == manifest
    assert not (tmp_path / "deep" / "copy" / "note.txt").exists()


def test_a_copy_leaves_nothing_of_an_earlier_student(folder, tmp_path):
    target = tmp_path / "copy"
    write("special_tokens_map.json")(folder)
    write_manifest(folder, {})
    copy_student(folder, target)
    (folder / "special_tokens_map.json").unlink()
    manifest = write_manifest(folder, {})
    copy_student(folder, target)
    assert {path.name for path in target.iterdir()} == {*manifest["files"], MANIFEST}


def test_a_copy_replaces_a_student_whose_manifest_is_damaged(folder, tmp_path):
    manifest = write_manifest(folder, {})
    copy_student(folder, tmp_path / "copy")
    (tmp_path / "copy" / MANIFEST).write_text('{"files": {', encoding="utf8")
    copy_student(folder, tmp_path / "copy")
    assert check_manifest(tmp_path / "copy") == manifest


def test_copy_in_place(folder):
    manifest = write_manifest(folder, {})
    copy_student(folder, folder.parent / "." / folder.name)
    assert check_manifest(folder) == manifest


def test_copy_of_a_damaged_student(folder, tmp_path):
    write_manifest(folder, {})
    write("model.safetensors")(folder)
    with pytest.raises(UniversalNERError, match="U005"):
        copy_student(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A pipeline package on sys.path with a student in it, as `spacy package` lays it out."""
    site = tmp_path / "site"
    student = site / "en_tiny" / "en_tiny-0.0.0" / "universal_ner" / "student"
    student.mkdir(parents=True)
    (student / MANIFEST).write_text("{}", encoding="utf8")
    (site / "en_tiny" / "__init__.py").touch()
    info = site / "en_tiny-0.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: en_tiny\nVersion: 0.0.0\n", encoding="utf8")
    (info / "entry_points.txt").write_text("[spacy_models]\nen_tiny = en_tiny\n", encoding="utf8")
    monkeypatch.syspath_prepend(site)
    yield student
    sys.modules.pop("en_tiny", None)


def test_the_installed_package_is_seen(installed):
    assert "en_tiny" in {point.name for point in entry_points(group="spacy_models")}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """An empty folder in place of that of the student that comes with this package."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("spacy_universalner.student.SHIPPED", folder)
    return folder


FOUND = {
    "the one named first": ("named", "environment", "named"),
    "then the environment's": (None, "environment", "environment"),
    "an empty name is none": ("", "environment", "environment"),
}


@pytest.mark.parametrize(("model", "variable", "expected"), FOUND.values(), ids=FOUND)
def test_find(installed, monkeypatch, model, variable, expected):
    monkeypatch.setenv(VARIABLE, variable)
    assert str(find_student(model)) == expected


def test_find_an_installed_one(installed, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find_student(None) == installed


def test_finding_does_not_import_the_package(installed, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    find_student(None)
    assert "en_tiny" not in sys.modules


@pytest.mark.parametrize("package", ["en_gone", "en_gone.part"], ids=["package", "module"])
def test_a_package_that_is_gone_is_passed_over(installed, monkeypatch, package):
    info = installed.parents[3] / "en_gone-0.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: en_gone\nVersion: 0.0.0\n", encoding="utf8")
    (info / "entry_points.txt").write_text(f"[spacy_models]\naa = {package}\n", encoding="utf8")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find_student(None) == installed


def test_the_one_that_comes_with_this_package_is_found_last(installed, shipped, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    (shipped / MANIFEST).write_text("{}", encoding="utf8")
    assert find_student(None) == installed
    (installed / MANIFEST).unlink()
    assert find_student(None) == shipped


def test_none_to_find(installed, shipped, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    (installed / MANIFEST).unlink()
    with pytest.raises(UniversalNERError, match=rf"U050.*{VARIABLE}.*weasel run all"):
        find_student(None)
