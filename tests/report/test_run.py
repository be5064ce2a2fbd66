import importlib.util
import json
from pathlib import Path

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.provenance import PACKAGES
from spacy_universalner.records import write_json, write_rows
from spacy_universalner.report import run as report

from ..conftest import ROOT
from .pages import EVIL, TEXT, Page, spans

INPUTS = {
    "stages": "metrics/stages",
    "corpus": "corpus/filter_report.json",
    "log": "training/log.jsonl",
    "manifest": "training/pipeline/universal_ner/student/manifest.json",
    "dev": "metrics/dev.json",
    "zero_shot": "metrics/zero_shot.json",
    "predictions": "metrics/dev_predictions.jsonl",
}
REQUIRED = ("corpus", "manifest", "dev")
OPTIONAL = ("log", "zero_shot", "predictions")


def scores(f1: float, **more):
    rates = {f"{kind}_{rate}": f1 for kind in ("span", "ents", "string") for rate in ("precision", "recall", "f1")}
    return {**rates, "sentences": 12, "questions": 34, "lost": 1, "per_type": {}, **more}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Made-up inputs of a whole run, but for the package stage; hostile where a teacher's words are shown."""
    paths = {name: tmp_path / path for name, path in INPUTS.items()}
    facts = {
        "sample": {"passages": 290, "kept": 40},
        "convert": {"train_conversations": 30, "dev_conversations": 4, "train_questions": 210},
    }
    for i, command in enumerate(report.COMMANDS[:-1]):
        stage = {"stage": command, "seconds": 10.5 + i, "peak_rss_mb": 1200 + i, **facts.get(command, {})}
        write_json(paths["stages"] / f"{command}.json", stage)
    type_counts = {"person": 500, EVIL: 60, "a|b": 9, **{f"rare type {i:03}": 1 for i in range(97)}}
    corpus = {"replies": 40, "records": 34, "mentions": 666, "types": 100, "type_counts": type_counts}
    corpus["rejected"] = {"not in the text": 7, "not JSON": 2}
    corpus["examples"] = {
        "not in the text": [{"passage_id": "p1", "entity": EVIL, "type": "x"}],
        "not JSON": [{"passage_id": "p2", "entity": "", "type": ""}],
    }
    write_json(paths["corpus"], corpus)
    steps = [{"step": i, "tokens": i * 900, "loss": 2 / (i + 1), "lr": 1e-4, "seconds": i} for i in range(50)]
    write_rows(paths["log"], [*steps, {"step": 49, "dev_loss": 0.4}])
    training = {"tokens": 44100, "tokens_per_s": 321.5, "dev_loss": 0.4}
    manifest = {"base": {"hub": "HuggingFaceTB/SmolLM2-135M"}, "method": "full", "template": "compact"}
    write_json(paths["manifest"], {**manifest, "files": {"model.safetensors": "ab" * 32}, "training": training})
    per_type = {
        name: {"span_f1": 50.0, "string_f1": 55.0, "support": i, "predicted": i + 1}
        for i, name in enumerate([EVIL, *(f"type {i}" for i in range(25))])
    }
    write_json(paths["dev"], scores(61.25, per_type=per_type))
    write_json(
        paths["zero_shot"], {"sets": {"movie": scores(30.0), "ai": scores(40.0)}, "mean": scores(35.0), "note": ""}
    )
    gold = spans(("Grace Hopper", "person"), ("New York University", "university"), ("New York", "city"))
    predicted = spans(("Grace Hopper", EVIL), ("York University & Harvard", "place"), ("New York University", "school"))
    write_rows(
        paths["predictions"], [{"id": f"d{i}", "text": TEXT, "gold": gold, "predicted": predicted} for i in range(25)]
    )
    return paths


def test_page_is_whole_and_needs_nothing_else(paths):
    page = Page(report.render_html(report.read_run(**paths)))
    assert page.links
    assert page.tags.count("article") == report.SHOWN
    assert page.tags.count("svg") == 1
    assert "rare type 096" in page.text and "rare type 050" not in page.text
    for shown in ("61.2", "35.0", "1 min 52 s", "not in the text", "the whole reply, p2", "type 24", "53.4"):
        assert shown in page.text, shown


def test_what_a_teacher_wrote_is_escaped(paths):
    run = report.read_run(**paths)
    assert EVIL not in report.render_html(run)
    assert Page(report.render_html(run)).text.count(EVIL) >= 4
    markdown = report.render_markdown(run)
    assert EVIL not in markdown and r"\<script>" in markdown


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_required_input_is_named(paths, name):
    paths[name].unlink()
    with pytest.raises(UniversalNERError, match=rf"U001.*{paths[name].name}"):
        report.read_run(**paths)


@pytest.mark.parametrize("gone", [(), *((name,) for name in OPTIONAL), OPTIONAL])
def test_missing_optional_inputs_are_named(paths, gone):
    for name in gone:
        paths[name].unlink()
    run = report.read_run(**paths)
    assert run.missing == [str(paths["stages"] / "package.json"), *(str(paths[name]) for name in gone)]
    page = Page(report.render_html(run))
    assert all(path in page.text and path in report.render_markdown(run) for path in run.missing)
    assert ("svg" in page.tags) == ("log" not in gone)


def test_a_log_of_another_student_is_left_out(paths):
    manifest = json.loads(paths["manifest"].read_text(encoding="utf8"))
    write_json(paths["manifest"], {**manifest, "training": {"tokens": 7}})
    run = report.read_run(**paths)
    assert (run.log, run.missing[-1]) == ([], str(paths["log"]))


def test_no_stage_has_run(paths, tmp_path):
    run = report.read_run(**{**paths, "stages": tmp_path / "nothing"})
    assert len(run.missing) == len(report.COMMANDS)
    assert report.summarize(run)["total_seconds"] == 0
    assert report.summarize(run)["corpus"]["passages"] == 40
    assert "annotate" in Page(report.render_html(run)).text


def test_empty_corpus_and_log(paths):
    empty = {"replies": 0, "records": 0, "mentions": 0, "types": 0, "rejected": {}, "examples": {}, "type_counts": {}}
    write_json(paths["corpus"], empty)
    write_rows(paths["log"], [])
    run = report.read_run(**paths)
    assert "No loss to show" in report.render_html(run)
    assert report.render_markdown(run)


def test_summary(paths):
    summary = report.summarize(report.read_run(**paths))
    assert json.loads(json.dumps(summary)) == summary
    assert summary["total_seconds"] == sum(summary["stages"].values()) == 112
    assert summary["peak_rss_mb"]["fetch"] == 1200 and "package" not in summary["stages"]
    assert summary["corpus"] == {
        "passages": 40,
        "records": 34,
        "mentions": 666,
        "types": 100,
        "rejected": 9,
        "train_conversations": 30,
        "dev_conversations": 4,
        "train_questions": 210,
    }
    assert summary["dev"] == {"span_f1": 61.25, "ents_f1": 61.25, "string_f1": 61.25, "sentences": 12, "questions": 34}
    assert set(summary["zero_shot"]["sets"]) == {"movie", "ai"} and summary["zero_shot"]["mean"]["span_f1"] == 35.0
    assert summary["student"]["method"] == "full" and summary["student"]["tokens"] == 44100
    assert summary["versions"]["spacy"] and set(PACKAGES) < set(summary["versions"])


def test_summary_without_zero_shot(paths):
    write_json(paths["zero_shot"], {"sets": {}, "mean": None, "note": "No data."})
    run = report.read_run(**paths)
    assert report.summarize(run)["zero_shot"] == {"sets": {}, "mean": None}
    assert "No data." in report.render_html(run) and "not measured" in report.render_html(run)


def test_script_writes_with_its_defaults(paths, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("script", ROOT / "scripts/report.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.chdir(tmp_path)
    script.main()
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"index.html", "report.md"}
    assert json.loads((tmp_path / "metrics/summary.json").read_text())["total_seconds"] == 112
    assert (tmp_path / "metrics/stages/report.json").is_file()
    script.main()
    assert json.loads((tmp_path / "metrics/summary.json").read_text())["total_seconds"] == 112
