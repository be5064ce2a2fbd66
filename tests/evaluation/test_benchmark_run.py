"""The benchmark's run: what is asked, what is on disk, how it goes on, and what is told of what failed."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.benchmark import (
    Sample,
    compare_systems,
    draw_questions,
    measure,
    name_protocol,
    run_benchmark,
)
from spacy_universalner.gold.datasets import TOKEN_TAG, DataSet
from spacy_universalner.gold.readers import Example
from spacy_universalner.records import Prediction, read_json

TOY = DataSet(
    "toy",
    "columns",
    TOKEN_TAG,
    {"test": ("toy.txt",)},
    {"PER": "person", "LOC": "place"},
    sentences={"test": 4},
    paper={"chatgpt": 10.0},
    title="Toy",
    family="Toy",
)
ROOT = Path(__file__).parents[2]
GONE = {"test": ("gone.txt",)}
LINES = "Ada\tB-PER\nwrote\tO\n\nOslo\tB-LOC\nslept\tO\n\nno\tO\none\tO\n\nBob\tB-PER\nran\tO\n\n"


class Capitals:
    """A system that says every capitalised word of every type; it counts what it is asked."""

    def __init__(self, name="capitals", trained=(), version="1", fails_after=None):
        self.name = self.title = name
        self.source = Path(f"{name}.cfg")
        self.trained = trained
        self.version = version
        self.fails_after = fails_after
        self.asked = []
        self.lacking = {}
        self.released = 0

    def release(self):
        self.released += 1

    def fingerprint(self, dataset):
        return self.version

    def list_trained(self, dataset):
        return self.trained

    def prepare(self, dataset):
        def predict(texts, types):
            if self.fails_after is not None and len(self.asked) >= self.fails_after:
                raise RuntimeError("out of luck")
            self.asked += texts
            return [[self.answer(text, type_) for type_ in names] for text, names in zip(texts, types, strict=True)]

        return predict

    def answer(self, text, type_):
        word = text.split()[0]
        return Prediction(type_, (word,), ((0, len(word)),)) if word.istitle() else Prediction(type_)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "toy.txt").write_text(LINES)
    return tmp_path / "data"


def ask(systems, data, tmp_path, sets=(TOY,), **settings):
    options = {"sample": Sample(), "output": tmp_path / "said", "batch_size": 1, **settings}
    return list(run_benchmark(systems, sets, data, **options))


def test_a_row_has_scores_counts_and_the_papers_numbers(data, tmp_path):
    (row,) = ask([Capitals()], data, tmp_path)
    counts = {key: row[key] for key in ("set", "system", "sentences", "questions", "sentences_paper", "protocol")}
    assert counts == {
        "set": "toy",
        "system": "capitals",
        "sentences": 4,
        "questions": 8,
        "sentences_paper": 4,
        "protocol": "zero-shot",
    }
    assert row["paper"] == {"chatgpt": 10.0}
    assert (row["span_precision"], row["span_recall"]) == (50.0, 100.0)
    assert row["span_interval"][0] <= row["span_f1"] <= row["span_interval"][1]
    assert sum(row["mistakes"].values()) > 0


def test_types_without_a_label_are_told_in_a_run_that_asks_nothing_too(data, tmp_path):
    first = Capitals()
    first.lacking["toy"] = ("place",)  # as `prepare` finds out
    assert ask([first], data, tmp_path)[0]["lacking"] == ["place"]
    assert ask([Capitals()], data, tmp_path)[0]["lacking"] == ["place"]


def test_what_was_said_is_on_disk_and_is_not_asked_again(data, tmp_path):
    first = ask([Capitals()], data, tmp_path)
    again = Capitals()
    assert ask([again], data, tmp_path) == first
    assert again.asked == []
    assert Path(first[0]["predictions"]).read_text().count("\n") == 4


def test_a_run_that_broke_off_goes_on_where_it_was(data, tmp_path):
    (failed,) = ask([Capitals(fails_after=2)], data, tmp_path)
    assert failed == {"set": "toy", "system": "capitals", "reason": "RuntimeError: out of luck"}
    (tmp_path / "said" / "capitals" / "toy.jsonl").open("a").write('{"torn')
    system = Capitals()
    (row,) = ask([system], data, tmp_path)
    assert (len(system.asked), row["sentences"]) == (2, 4)
    fresh = ask([Capitals("other")], data, tmp_path)[0]
    assert {key: row[key] for key in row if key.endswith("f1")} == {
        key: fresh[key] for key in row if key.endswith("f1")
    }


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"version": "2"}, id="another system"),
        pytest.param({"trained": ("toy",)}, id="another protocol"),
    ],
)
def test_answers_of_another_system_are_not_taken_for_its_own(data, tmp_path, change):
    ask([Capitals()], data, tmp_path)
    system = Capitals(**change)
    ask([system], data, tmp_path)
    assert len(system.asked) == 4


def test_other_questions_are_asked_anew(data, tmp_path):
    ask([Capitals()], data, tmp_path)
    system = Capitals()
    ask([system], data, tmp_path, sample=Sample(limit=3))
    assert len(system.asked) == 3


def test_a_set_that_cannot_be_read_is_told_and_the_rest_go_on(data, tmp_path):
    gone = replace(TOY, name="gone", files=GONE)
    lost, row = ask([Capitals()], data, tmp_path, sets=(gone, TOY))
    assert (lost["set"], lost["system"], "gone.txt" in lost["reason"]) == ("gone", "capitals", True)
    assert row["set"] == "toy"


def test_a_system_that_fails_does_not_end_the_others(data, tmp_path):
    failed, row = ask([Capitals("broken", fails_after=0), Capitals()], data, tmp_path)
    assert failed["reason"] == "RuntimeError: out of luck"
    assert row["system"] == "capitals"


@pytest.mark.parametrize(
    ("trained", "protocol"), [((), "zero-shot"), (("toy", "ncbi"), "in-domain"), (("ncbi",), "out-of-domain")]
)
def test_the_protocol_follows_from_what_a_system_has_learnt_from(trained, protocol):
    assert name_protocol(Capitals(trained=trained), TOY) == protocol


@pytest.mark.parametrize(("most", "asked"), [(0, 6), (6, 6), (4, 4), (1, 1)])
def test_questions_are_drawn_without_replacement_and_gold_with_them(most, asked):
    spans = frozenset({(0, 1, "x"), (0, 1, "y")})
    examples = [Example(str(i), "a b", ("x", "y"), spans) for i in range(3)]
    drawn = draw_questions(examples, most, seed=0)
    assert sum(len(example.types) for example in drawn) == asked
    assert all({type_ for _, _, type_ in example.spans} == set(example.types) for example in drawn)
    assert drawn == draw_questions(examples, most, seed=0)


def test_the_results_hold_rows_what_has_none_and_what_was_asked(data, tmp_path):
    systems = [Capitals(), Capitals("broken", fails_after=0), Capitals("other")]
    output = tmp_path / "metrics" / "benchmark.json"
    results = measure(systems, [TOY], data, sample=Sample(limit=2, seed=3), output=output)
    assert read_json(output) == json.loads(json.dumps(results))
    assert (results["limit"], results["seed"], sorted(results["systems"])) == (2, 3, ["broken", "capitals", "other"])
    assert [row["system"] for row in results["rows"]] == ["capitals", "other"]
    assert results["unread"] == [{"set": "toy", "system": "broken", "reason": "RuntimeError: out of luck"}]
    assert [(c["a"], c["b"]) for c in results["comparisons"]] == [("capitals", "other")]
    assert (tmp_path / "metrics" / "benchmark" / "test-2-seed-3" / "other" / "toy.jsonl").is_file()


def test_another_sample_overwrites_nothing(data, tmp_path):
    output = tmp_path / "benchmark.json"
    whole, part = Sample(), Sample(limit=2, questions=3)
    for sample in (whole, part):
        measure([Capitals()], [TOY], data, sample=sample, output=output)
    again = Capitals()
    assert measure([again], [TOY], data, sample=whole, output=output)["rows"][0]["sentences"] == 4
    assert again.asked == []
    assert part.name == "test-2-seed-0-3-questions"


def test_a_system_that_does_not_answer_what_it_was_asked_is_told(data, tmp_path):
    system = Capitals()
    system.answer = lambda text, type_: Prediction("other")
    (lost,) = ask([system], data, tmp_path)
    assert "U084" in lost["reason"]
    assert not (tmp_path / "said" / "capitals" / "toy.json").exists()


def test_what_another_process_writes_is_left_alone(data, tmp_path):
    (tmp_path / "said" / "capitals").mkdir(parents=True)
    with FileLock(tmp_path / "said" / "capitals" / "toy.lock"):
        (lost,) = ask([Capitals()], data, tmp_path)
    assert "U201" in lost["reason"]


def test_a_system_is_let_go_of_after_its_sets(data, tmp_path):
    system = Capitals()
    ask([system], data, tmp_path)
    assert system.released == 1


def test_nothing_to_measure_is_an_error(tmp_path):
    with pytest.raises(UniversalNERError, match="U255"):
        measure([Capitals()], [], tmp_path, sample=Sample(), output=tmp_path / "benchmark.json")


def test_systems_are_compared_on_the_sentences_they_share(data, tmp_path):
    rows = ask([Capitals(), Capitals("other")], data, tmp_path)
    (comparison,) = compare_systems(rows)
    assert {key: comparison[key] for key in ("set", "a", "b", "metric", "difference", "p")} == {
        "set": "toy",
        "a": "capitals",
        "b": "other",
        "metric": "span_f1",
        "difference": 0.0,
        "p": 1.0,
    }


@pytest.fixture
def main(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(ROOT / "scripts" / "benchmark.py"))["main"]
    monkeypatch.setitem(script.__globals__, "choose_sets", lambda names: [TOY, replace(TOY, name="gone", files=GONE)])
    monkeypatch.setitem(script.__globals__, "load_systems", lambda names, folder: [Capitals()])
    return script


def test_the_script_measures_what_is_there_and_writes_the_page(main):
    main(data="data")
    results = read_json(Path("metrics/benchmark.json"))
    assert ([row["set"] for row in results["rows"]], results["unread"]) == (["toy"], [])
    assert "Toy" in Path("reports/benchmark.html").read_text(encoding="utf8")
    assert "Toy" in Path("reports/benchmark.md").read_text(encoding="utf8")


def test_the_script_tells_of_a_named_set_that_is_not_there(main):
    main(data="data", sets="toy,gone")
    assert [lost["set"] for lost in read_json(Path("metrics/benchmark.json"))["unread"]] == ["gone"]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ({"tell": True}, ["toy", "there", "gone", "missing"]),
        ({"counts": True}, ["toy", "test", "4"]),
        ({"get": True}, ["toy: there", "gone: [U211]"]),
    ],
)
def test_the_script_tells_what_there_is(main, capsys, flag, expected):
    main(data="data", **flag)
    told = capsys.readouterr().out
    assert [word for word in expected if word not in told] == []
    assert not Path("metrics").exists()
