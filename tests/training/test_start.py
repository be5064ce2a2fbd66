import runpy
import shutil
import sys
from pathlib import Path

import pytest

from spacy_universalner.base import BASE_VARIABLE, CACHE_VARIABLE
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Conversation, Query, read_json, write_json, write_rows
from spacy_universalner.student import ADAPTER, MANIFEST, check_manifest, write_manifest
from spacy_universalner.training.start import EXAMPLES, Setting, find_start

from ..conftest import CONVERSATIONS, SETTINGS

ROOT = Path(__file__).parents[2]
NAME = SETTINGS["base"]
GOLD = [Conversation(f"g{i}", f"Eve{i} left.", (Query("person", (f"Eve{i}",)),), "mine") for i in range(3)]


def write(path, conversations):
    write_rows(path, (talk.to_sharegpt() for talk in conversations))
    return path


UNFIT = [(setting, Path(file)) for setting in Setting for other, file in EXAMPLES.items() if other is not setting]


@pytest.mark.parametrize(("setting", "distilled"), UNFIT, ids=[f"{s.value}-{p.name}" for s, p in UNFIT])
def test_a_file_of_another_setting_is_an_error(setting, distilled):
    expected = rf"U159.*'{setting.value}'.*{distilled.name}.*--vars\.distilled {EXAMPLES[setting]}"
    with pytest.raises(UniversalNERError, match=expected):
        find_start(setting, distilled, base=NAME)


def test_a_distilled_student_is_started_from(tiny_student):
    assert find_start(Setting.DISTILLED, tiny_student / MANIFEST, base=NAME) == tiny_student


def test_a_damaged_student_is_not_started_from(tiny_student, tmp_path):
    shutil.copytree(tiny_student, tmp_path / "student")
    (tmp_path / "student" / "config.json").write_text("{}", encoding="utf8")
    with pytest.raises(UniversalNERError, match=r"U005.*config\.json"):
        find_start(Setting.DISTILLED, tmp_path / "student" / MANIFEST, base=NAME)


def test_adapters_alone_are_not_started_from(tiny_student, tmp_path):
    shutil.copytree(tiny_student, tmp_path / "student")
    (tmp_path / "student" / ADAPTER).touch()
    write_manifest(tmp_path / "student", {"base": {"name": "tiny"}})
    with pytest.raises(UniversalNERError, match="U076.*adapters alone"):
        find_start(Setting.DISTILLED, tmp_path / "student" / MANIFEST, base=NAME)


def as_config(settings):
    """Settings in the form of a config file, [train] and its subsections."""
    lines = {"train": []}
    for key, value in settings.items():
        if isinstance(value, dict):
            lines[f"train.{key}"] = [f"{k} = {v!r}" for k, v in value.items()]
        else:
            lines["train"].append(f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value!r}")
    return "\n".join("\n".join((f"[{section}]", *found)) for section, found in lines.items())


@pytest.fixture
def train_sup(tmp_path, monkeypatch, tiny_base, tiny_student):
    """Runs scripts/train_sup.py on the tiny base in a folder of its own. RETURNS: the manifest of the student."""
    write(tmp_path / "supervised" / "train.jsonl", GOLD)
    write(tmp_path / "supervised" / "dev.jsonl", GOLD[:1])
    write(tmp_path / "corpus" / "train.jsonl", CONVERSATIONS)
    write_json(tmp_path / "training" / "base.json", {})
    shutil.copytree(tiny_student, tmp_path / "training" / "student")
    (tmp_path / "train.cfg").write_text(as_config({**SETTINGS, "epochs": 1}), encoding="utf8")
    monkeypatch.setenv(BASE_VARIABLE, str(tiny_base))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("SPACY_UNIVERSALNER_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)

    def run(setting):
        options = ("--setting", setting.value, "--distilled", EXAMPLES[setting], "--config", "train.cfg")
        monkeypatch.setattr(sys, "argv", ["train_sup.py", *options])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts" / "train_sup.py"), run_name="__main__")
        assert ended.value.code == 0
        return check_manifest(tmp_path / "training" / "supervised" / "student")

    return run


# Steps of one epoch, a conversation each, and whether a student is behind the base.
RUNS = {Setting.ALONE: (3, False), Setting.DISTILLED: (3, True), Setting.MIXED: (7, False)}


@pytest.mark.parametrize("setting", Setting)
def test_a_student_is_tuned_in_each_setting(train_sup, tmp_path, setting):
    steps, on_student = RUNS[setting]
    manifest = train_sup(setting)
    assert (manifest["training"]["setting"], manifest["training"]["steps"]) == (setting.value, steps)
    assert manifest["base"]["name"]
    assert ("student" in manifest["base"]) is on_student
    assert (tmp_path / "training" / "supervised" / "log.jsonl").is_file()
    assert read_json(tmp_path / "training" / "student" / MANIFEST)["base"] == {"name": "tiny"}
