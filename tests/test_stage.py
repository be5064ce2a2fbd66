import os
import subprocess
import sys

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import read_json, write_json
from spacy_universalner.stage import stage


def run_stage(tmp_path, outputs, *written, **facts):
    with stage("some", [tmp_path / name for name in outputs], tmp_path / "stages") as found:
        for name in written:
            write_json(tmp_path / name, {"of": "the stage"})
        found.update(facts)


def test_the_facts_of_a_stage_are_written(tmp_path):
    run_stage(tmp_path, ["a.json"], "a.json", records=3, by_type={"city": 2})
    report = read_json(tmp_path / "stages" / "some.json")
    assert {key: report.pop(key) for key in ("stage", "records", "by_type")} == {
        "stage": "some",
        "records": 3,
        "by_type": {"city": 2},
    }
    assert sorted(report) == ["peak_rss_mb", "seconds"]
    assert report["seconds"] >= 0 and report["peak_rss_mb"] > 0


def test_a_fact_does_not_cover_the_time_of_the_stage(tmp_path):
    run_stage(tmp_path, ["a.json"], "a.json", seconds=1e6)
    assert read_json(tmp_path / "stages" / "some.json")["seconds"] < 1e6


def test_only_the_first_of_several_processes_writes_facts(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    run_stage(tmp_path, ["a.json"], records=3)
    assert not (tmp_path / "stages").exists()


UNWRITTEN = {"nothing": [], "one of two": ["a.json"]}


@pytest.mark.parametrize("written", UNWRITTEN.values(), ids=UNWRITTEN)
def test_a_stage_that_does_not_write_its_output_fails(tmp_path, written):
    with pytest.raises(UniversalNERError, match="U090.*some.*b.json"):
        run_stage(tmp_path, ["b.json", "a.json"], *written)
    assert not (tmp_path / "stages").exists()


def test_an_output_of_an_earlier_run_does_not_count(tmp_path):
    write_json(tmp_path / "a.json", {"of": "an earlier run"})
    with pytest.raises(UniversalNERError, match="U090.*some.*a.json"):
        run_stage(tmp_path, ["a.json"])


def test_an_output_written_again_counts(tmp_path):
    write_json(tmp_path / "a.json", {"of": "the stage"})
    run_stage(tmp_path, ["a.json"], "a.json")
    assert read_json(tmp_path / "stages" / "some.json")["stage"] == "some"


def test_a_failing_stage_writes_no_facts(tmp_path):
    with pytest.raises(RuntimeError, match="its own"), stage("some", [], tmp_path / "stages"):
        raise RuntimeError("its own")
    assert not (tmp_path / "stages").exists()


SCRIPT = '''
from pathlib import Path
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.stage import run

def main(path: Path = Path("gone.jsonl"), fault: str = "") -> None:
    """Say which path it is."""
    if fault == "ours":
        raise UniversalNERError(Errors.U001.format(path=path, hint="Look elsewhere."))
    if fault:
        raise KeyError(fault)
    print("path", path)

run(main)
'''
# Arguments: exit code, what is said, whether there is a traceback.
COMMANDS = {
    "success": (["--path", "a.jsonl"], 0, "path a.jsonl", False),
    "our error": (["--fault", "ours"], 1, "[U001] File not found: gone.jsonl. Look elsewhere.", False),
    "another error": (["--fault", "theirs"], 1, "KeyError: 'theirs'", True),
    "unknown option": (["--colour", "red"], 2, "No such option: --colour", False),
    "help": (["--help"], 0, "Say which path it is.", False),
}


@pytest.mark.parametrize(("arguments", "code", "said", "traceback"), COMMANDS.values(), ids=COMMANDS)
def test_how_a_script_ends(tmp_path, arguments, code, said, traceback):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf8")
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, timeout=60)
    assert done.returncode == code
    assert said in " ".join((done.stdout + done.stderr).split())
    assert ("Traceback" in done.stderr) == traceback
