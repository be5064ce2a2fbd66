"""Extraction into a folder: begun, stopped, gone on with."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from spacy_universalner.bulk.formats import FORMATS
from spacy_universalner.bulk.output import Output
from spacy_universalner.bulk.run import count_documents, extract, identify
from spacy_universalner.engines.replay import ReplayEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import read_json, read_rows

from ..test_component import TRANSFORMERS, replaying, with_student

COUNT = 23
BAD = (5, 6)
"""A document that is empty and one that fails: its answers are not known."""
ROOT = Path(__file__).parents[2]


def make_texts():
    texts = [f"Ada met Bob{number} in Rome!" for number in range(COUNT)]
    answers = {text: {"person": ["Ada", f"Bob{number}"], "city": ["Rome"]} for number, text in enumerate(texts)}
    texts[BAD[0]], texts[BAD[1]] = " ", "Nobody knows!"
    return texts, answers


@pytest.fixture
def place(tmp_path):
    """A folder with documents and a pipeline."""
    texts, answers = make_texts()
    lines = [json.dumps({"id": f"d{number}", "text": text}) + "\n" for number, text in enumerate(texts)]
    (tmp_path / "documents.jsonl").write_text("".join(lines), encoding="utf8")
    replaying(answers).to_disk(tmp_path / "pipeline")
    return tmp_path


def begin(place, name="found", **settings):
    settings = {"pipeline": str(place / "pipeline"), "size": 4, "batch_size": 3, **settings}
    return extract(place / "documents.jsonl", place / name, **settings)


def parts(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "parts").iterdir())}


def rows(folder):
    return [json.loads(line) for data in parts(folder).values() for line in data.splitlines()]


def without_seconds(folder):
    """All that is known of an extraction but the time it took."""
    summary = {**read_json(folder / "summary.json"), "seconds": 0}
    return parts(folder), summary, (folder / "set_aside.jsonl").read_bytes()


@pytest.fixture
def asked(monkeypatch):
    """The passages that the engine is asked about."""
    seen = []
    extract = ReplayEngine.extract

    def listen(self, passages, types):
        seen.extend(passages)
        return extract(self, passages, types)

    monkeypatch.setattr(ReplayEngine, "extract", listen)
    return seen


def test_an_extraction(place):
    summary = begin(place)
    assert list(parts(place / "found")) == [f"part-0000{number}.jsonl" for number in range(6)]
    assert [row["id"] for row in rows(place / "found")] == [
        f"d{number}" for number in range(COUNT) if number not in BAD
    ]
    assert [span["text"] for span in rows(place / "found")[0]["spans"]] == ["Ada", "Bob0", "Rome"]
    assert read_json(place / "found" / "summary.json") == summary
    assert summary.pop("seconds") >= 0
    assert summary == {
        "parts": 6,
        "documents": 21,
        "characters": sum(len(row["text"]) for row in rows(place / "found")),
        "spans": 63,
        "spans_per_label": {"person": 42, "city": 21},
        "unused": {},
        "set_aside": 2,
        "set_aside_reasons": {"empty": 1, "failed": 1},
    }
    set_aside = [row for _, row in read_rows(place / "found" / "set_aside.jsonl")]
    assert [(row["id"], row["reason"], row["part"]) for row in set_aside] == [("d5", "empty", 1), ("d6", "failed", 1)]
    assert "U053" in set_aside[1]["error"]


def test_labels_that_are_given_are_asked(place):
    assert begin(place, labels=["city"])["spans_per_label"] == {"city": 21}


def test_a_student_is_asked(tuned_student, tmp_path):
    with_student(tuned_student).to_disk(tmp_path / "pipeline")
    (tmp_path / "documents.txt").write_text("Ada met Grace in Paris.", encoding="utf8")
    extract(tmp_path / "documents.txt", tmp_path / "found", pipeline=str(tmp_path / "pipeline"))
    assert [(s["text"], s["label"]) for s in rows(tmp_path / "found")[0]["spans"]] == [
        ("Ada", "person"),
        ("Grace", "person"),
        ("Paris", "city"),
    ]


def test_what_is_done_is_not_done_again(place, asked):
    begin(place)
    before = without_seconds(place / "found")
    asked.clear()
    begin(place)
    assert (asked, without_seconds(place / "found")) == ([], before)


class Stopped(Exception):
    """Stands for a crash."""


@pytest.mark.parametrize("moment", ["before a part", "between a part and its line", "in its line"])
@pytest.mark.parametrize("form", FORMATS)
def test_an_extraction_goes_on_after_a_crash(place, asked, monkeypatch, form, moment):
    begin(place, "unbroken", form=form)
    add = Output.add

    def crash(self, result):
        if result.row["part"] < 3:
            return add(self, result)
        if moment != "before a part":
            before = self.journal.read_bytes()
            add(self, result)
            line = self.journal.read_bytes()[len(before) :]
            self.journal.write_bytes(before + (line[:40] if moment == "in its line" else b""))
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Output, "add", crash)
        with pytest.raises(Stopped):
            begin(place, form=form)
    assert not (place / "found" / "summary.json").exists()
    asked.clear()
    begin(place, form=form)
    assert without_seconds(place / "found") == without_seconds(place / "unbroken")
    assert asked == [text for text in make_texts()[0][12:]]


CHILD = """
import sys, time
from pathlib import Path
from spacy_universalner.bulk.run import extract
from spacy_universalner.engines.replay import ReplayEngine

ask = ReplayEngine.extract

def slow(self, passages, types):
    time.sleep(0.02 * len(passages))
    return ask(self, passages, types)

ReplayEngine.extract = slow
place = Path(sys.argv[1])
extract(place / "documents.jsonl", place / "found", pipeline=str(place / "pipeline"), size=4, batch_size=3)
"""


def start(place):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", CHILD, str(place)], env=environment, stderr=subprocess.DEVNULL)


def lines(place):
    journal = place / "found" / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def test_a_killed_process_is_gone_on_with(place, asked):
    child = start(place)
    while child.poll() is None and lines(place) < 2:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it must not have ended before"
    done = lines(place)
    assert 2 <= done < 6
    begin(place)
    assert asked[0] == make_texts()[0][4 * done]
    begin(place, "unbroken")
    assert without_seconds(place / "found") == without_seconds(place / "unbroken")
    assert [row["part"] for _, row in read_rows(place / "found" / "journal.jsonl")] == list(range(6))


@pytest.mark.slow
def test_a_process_killed_at_any_moment_loses_and_doubles_nothing(place):
    rng, kills = random.Random(0), 0
    while True:
        child, before = start(place), lines(place)
        while child.poll() is None and lines(place) == before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        child.kill()
        kills += child.wait() == -signal.SIGKILL
        if child.returncode == 0:
            break
    begin(place, "unbroken")
    assert kills > 2
    assert without_seconds(place / "found") == without_seconds(place / "unbroken")


# What a begun extraction is gone on with, and what is said.
OTHERS = {
    "labels": ({"labels": ["city"]}, r"U197[\s\S]*labels: \['person', 'city'\] then, \['city'\] now"),
    "format": ({"form": "spacy"}, r"U197[\s\S]*format: jsonl then, spacy now"),
    "size": ({"size": 5}, r"U197[\s\S]*size: 4 then, 5 now"),
}


@pytest.mark.parametrize(("settings", "message"), OTHERS.values(), ids=OTHERS)
def test_other_settings_than_those_it_was_begun_with_are_refused(place, settings, message):
    begin(place)
    before = without_seconds(place / "found")
    with pytest.raises(UniversalNERError, match=message):
        begin(place, **settings)
    assert without_seconds(place / "found") == before


def test_settings_may_change_while_nothing_is_done(place):
    documents = (place / "documents.jsonl").rename(place / "later.jsonl")
    with pytest.raises(UniversalNERError, match="U001"):
        begin(place)
    documents.rename(place / "documents.jsonl")
    assert begin(place, labels=["city"])["spans_per_label"] == {"city": 21}


def test_another_pipeline_than_the_one_it_was_begun_with_is_refused(place):
    begin(place)
    replaying({**make_texts()[1], "Ada!": {"person": [], "city": []}}).to_disk(place / "pipeline")
    with pytest.raises(UniversalNERError, match=r"U197[\s\S]*pipeline"):
        begin(place)


def test_other_documents_than_those_it_was_begun_with_are_refused(place):
    begin(place)
    path = place / "documents.jsonl"
    path.write_text(path.read_text(encoding="utf8").replace("Bob9", "Bea9"), encoding="utf8")
    with pytest.raises(UniversalNERError, match="U198.*part 2"):
        begin(place)


def test_documents_and_pipeline_may_be_moved(place, asked):
    begin(place)
    (place / "elsewhere").mkdir()
    for name in ("documents.jsonl", "pipeline"):
        (place / name).rename(place / "elsewhere" / name)
    (place / "elsewhere" / "pipeline" / "README.md").write_text("# Another card", encoding="utf8")
    asked.clear()
    extract(
        place / "elsewhere" / "documents.jsonl",
        place / "found",
        pipeline=str(place / "elsewhere" / "pipeline"),
        size=4,
    )
    assert asked == []


def test_a_part_that_is_gone_is_missed(place):
    begin(place)
    (place / "found" / "parts" / "part-00002.jsonl").unlink()
    with pytest.raises(UniversalNERError, match=r"U202.*part-00002\.jsonl"):
        begin(place)


def test_parts_with_failures_are_done_again_when_it_is_asked_for(place, asked, monkeypatch):
    begin(place)
    asked.clear()
    answer = ReplayEngine._answer
    monkeypatch.setattr(
        ReplayEngine,
        "_answer",
        lambda self, passage, name: answer(self, passage.replace("Nobody knows!", "Ada met Bob0 in Rome!"), name),
    )
    summary = begin(place, again=True)
    assert asked == [text for text in make_texts()[0][4:8] if text.strip()]
    assert (summary["documents"], summary["parts"], summary["set_aside_reasons"]) == (22, 6, {"empty": 1})
    assert [row["id"] for row in rows(place / "found")] == [f"d{number}" for number in range(COUNT) if number != 5]


def test_one_process_writes_at_a_time(place):
    (place / "found").mkdir()
    with FileLock(place / "found" / ".lock"), pytest.raises(UniversalNERError, match="U201"):
        begin(place)


def test_if_no_document_can_be_used_it_is_an_error(place):
    (place / "documents.jsonl").write_text('{"text": "Nobody knows!"}\n{"text": ""}\n', encoding="utf8")
    with pytest.raises(UniversalNERError, match="U203.*'failed': 1, 'empty': 1.*set_aside.jsonl"):
        begin(place)


def test_without_documents_it_is_an_error(place):
    (place / "documents.jsonl").touch()
    (place / "documents.jsonl").write_text("", encoding="utf8")
    with pytest.raises(UniversalNERError, match="U004"):
        begin(place)


def test_a_damaged_file_is_found_before_the_work(place, asked):
    with (place / "documents.jsonl").open("a", encoding="utf8") as file:
        file.write('{"text": "cut o')
    with pytest.raises(UniversalNERError, match="U002.*line 24"):
        begin(place)
    assert asked == []


@pytest.mark.parametrize("name", ["size", "batch_size", "cpus"])
def test_numbers_below_one_are_refused(place, name):
    with pytest.raises(UniversalNERError, match=f"U008.*{name}.*got 0"):
        begin(place, **{name: 0})


def test_a_data_set_is_not_counted():
    assert count_documents(ROOT / "configs" / "pile.cfg") is None


def test_progress_counts_what_is_left(place, capsys):
    begin(place, progress="extract")
    assert "extract: 23/23 [" in capsys.readouterr().err


def test_the_student_beside_a_pipeline_is_part_of_it(tuned_student, tiny_student, tmp_path):
    folders = []
    for name, student in (("one", tuned_student), ("two", tiny_student)):
        nlp = replaying({"": {}}, labels=["city"])
        nlp.to_disk(tmp_path / name)
        config = nlp.config.copy()
        config["components"]["universal_ner"]["engine"] = {**TRANSFORMERS, "model": None}
        config.to_disk(tmp_path / name / "config.cfg")
        folders.append((str(tmp_path / name), student))
    digests = set()
    for folder, student in folders:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SPACY_UNIVERSALNER_STUDENT", str(student))
            digests.add(identify(folder)["pipeline"])
    assert len(digests) == 2


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_cluster_finds_what_one_process_finds(place, form):
    begin(place, "here", form=form)
    begin(place, "there", form=form, ray="local")
    assert without_seconds(place / "here") == without_seconds(place / "there")


@pytest.mark.slow
def test_a_cluster_goes_on_with_what_one_process_began(place, monkeypatch):
    begin(place, "unbroken")
    add = Output.add

    def crash(self, result):
        if result.row["part"] == 2:
            raise Stopped
        add(self, result)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "add", crash)
        with pytest.raises(Stopped):
            begin(place)
    begin(place, ray="local")
    assert without_seconds(place / "found") == without_seconds(place / "unbroken")
    assert sorted(row["part"] for _, row in read_rows(place / "found" / "journal.jsonl")) == list(range(6))


@pytest.mark.slow
def test_an_error_on_a_cluster_arrives_as_it_was_raised(place):
    begin(place)
    path = place / "documents.jsonl"
    path.write_text(path.read_text(encoding="utf8").replace("Bob9", "Bea9"), encoding="utf8")
    with pytest.raises(UniversalNERError, match="U198.*part 2"):
        begin(place, ray="local")


@pytest.fixture(scope="module", autouse=True)
def leave():
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
