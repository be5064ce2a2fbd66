import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy

from spacy_universalner import progress
from spacy_universalner.align import place
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.evaluate import evaluate, evaluate_sets, prediction_rows, set_rows
from spacy_universalner.gold.readers import Example, load
from spacy_universalner.records import Conversation, Prediction, Query, read_rows, write_rows

from ..gold.published import make_set

ROOT = Path(__file__).parents[2]
EXAMPLES = [Example(str(i), f"Ada {i}", ("person", "city"), frozenset({(0, 3, "person")})) for i in range(5)]


def find_ada(texts, types, score=None):
    """Answer "Ada" to every question about persons."""
    said = {"person": ("Ada",)}
    predictions = []
    for text, asked in zip(texts, types, strict=True):
        spans = {type_: tuple(place(text, said.get(type_, ()))[0]) for type_ in asked}
        scores = {type_: () if score is None else (score,) * len(spans[type_]) for type_ in asked}
        predictions.append([Prediction(t, said.get(t, ()), spans[t], scores=scores[t]) for t in asked])
    return predictions


class Pipe:
    score = None

    def predict(self, docs, labels):
        return find_ada([doc.text for doc in docs], labels, self.score)


@pytest.mark.parametrize("batch_size, sizes", [(2, [2, 2, 1]), (32, [5])])
def test_batches(batch_size, sizes):
    seen = []

    def predict(texts, types):
        seen.append(len(texts))
        return find_ada(texts, types)

    scores, predictions = evaluate(EXAMPLES, predict, batch_size=batch_size)
    assert seen == sizes
    assert len(predictions) == 5
    assert scores["span_f1"] == scores["string_f1"] == 100
    assert list(prediction_rows(EXAMPLES, predictions))[0] == {
        "id": "0",
        "text": "Ada 0",
        "types": ["person", "city"],
        "gold": [[0, 3, "person"]],
        "predicted": [[0, 3, "person"]],
        "scores": [None],
        "mentions": {"person": ["Ada"]},
        "incomplete": [],
    }


def test_sets():
    sets = {"one": EXAMPLES, "two": EXAMPLES[:1]}
    report, predictions = evaluate_sets(sets, find_ada)
    assert list(report["sets"]) == ["one", "two"]
    assert report["mean"] == {"span_f1": 100, "ents_f1": 100, "string_f1": 100, "sentences": 6, "questions": 12}
    assert report["note"] == ""
    assert [(row["set"], row["id"]) for row in set_rows(sets, predictions)] == [
        *(("one", str(i)) for i in range(5)),
        ("two", "0"),
    ]


def test_confidence_is_measured_per_set_and_over_all():
    report, _ = evaluate_sets({"one": EXAMPLES, "two": EXAMPLES[:1]}, lambda *asked: find_ada(*asked, score=0.75))
    assert [report["sets"][name]["confidence"]["spans"] for name in ("one", "two")] == [5, 1]
    assert (report["confidence"]["spans"], report["confidence"]["ece"]) == (6, 0.25)


def test_an_engine_without_scores_has_no_confidence():
    report, _ = evaluate_sets({"one": EXAMPLES}, find_ada)
    assert report["sets"]["one"]["confidence"] is report["confidence"] is None


ROWS = {
    "in the order of the spans": ([("person", [(4, 5), (0, 3)], [0.5, 0.25])], [[0, 3], [4, 5]], [0.25, 0.5]),
    "the higher of a span said twice": ([("person", [(0, 3), (0, 3)], [0.5, 0.75])], [[0, 3]], [0.75]),
    "a known one before none": ([("person", [(0, 3)], []), ("person", [(0, 3)], [0.0])], [[0, 3]], [0.0]),
    "to six digits": ([("person", [(0, 3)], [0.12345678])], [[0, 3]], [0.123457]),
}


@pytest.mark.parametrize(("said", "spans", "scores"), ROWS.values(), ids=ROWS)
def test_a_row_has_scores_beside_its_spans(said, spans, scores):
    answers = [Prediction(t, spans=tuple(found), scores=tuple(given)) for t, found, given in said]
    (row,) = prediction_rows(EXAMPLES[:1], [answers])
    assert [span[:2] for span in row["predicted"]] == spans
    assert row["scores"] == scores


def test_a_row_has_what_was_answered_and_what_was_cut_off():
    answers = [Prediction("person", ("Eve", "Ada"), ((0, 3),), ("Eve",)), Prediction("city", complete=False)]
    (row,) = prediction_rows(EXAMPLES[:1], [answers])
    assert (row["mentions"], row["incomplete"]) == ({"person": ["Eve", "Ada"]}, ["city"])


def test_a_row_has_gold_of_the_types_that_were_asked_only():
    example = Example("e", "Ada in Rome", ("city",), frozenset({(0, 3, "person"), (7, 11, "city")}))
    (row,) = prediction_rows([example], [[Prediction("city")]])
    assert (row["types"], row["gold"]) == (["city"], [[7, 11, "city"]])


@pytest.mark.parametrize(
    ("scores", "code"), [((0.5, 0.5), "U205"), ((1.5,), "U207"), ((-0.1,), "U207"), ((float("nan"),), "U207")]
)
def test_scores_that_are_none_of_the_spans(scores, code):
    answers = [Prediction("person", spans=((0, 3),), scores=scores)]
    with pytest.raises(UniversalNERError, match=rf"{code}.*'person' in '0'"):
        list(prediction_rows(EXAMPLES[:1], [answers]))


@pytest.mark.parametrize("every, lines", [(1000.0, ["5/5"]), (0.0, ["2/5", "4/5", "5/5"])])
def test_progress_in_a_log(capsys, every, lines):
    with progress.show_progress(5, "dev", every=every) as update:
        for count in (2, 2, 1):
            update(count)
    written = capsys.readouterr().err
    assert "\r" not in written
    assert [line.split()[1] for line in written.splitlines()] == lines


def test_no_progress(capsys):
    evaluate(EXAMPLES, find_ada)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def main(tmp_path, monkeypatch):
    """The script's function, run in an empty folder with a pipeline that knows Ada."""
    pipes = {"universal_ner": Pipe()}
    nlp = SimpleNamespace(make_doc=lambda text: SimpleNamespace(text=text), get_pipe=pipes.__getitem__)
    monkeypatch.setattr(spacy, "load", lambda path: nlp)
    monkeypatch.chdir(tmp_path)
    talk = Conversation("c1", "Ada is in Rome.", (Query("person", ("Ada",)), Query("city", ("Rome",))))
    write_rows(Path("corpus/dev.jsonl"), [talk.to_sharegpt()])
    script = runpy.run_path(str(ROOT / "scripts" / "evaluate.py"))["main"]
    toy = make_set({"test": ("toy/test.txt",)}, labels={"per": "person"})
    monkeypatch.setitem(script.__globals__, "zero_shot_sets", lambda: [toy])
    return script


def test_script_without_data(main):
    main()
    dev = json.loads(Path("metrics/dev.json").read_text())
    assert (dev["span_precision"], dev["span_recall"], dev["questions"]) == (100, 50, 2)
    ((_, row),) = read_rows(Path("metrics/dev_predictions.jsonl"))
    assert row["gold"] == [[0, 3, "person"], [10, 14, "city"]]
    assert row["predicted"] == [[0, 3, "person"]]
    report = json.loads(Path("metrics/zero_shot.json").read_text())
    assert (report["sets"], report["mean"]) == ({}, None)
    assert "vars.benchmark_data" in report["note"]
    assert dev["confidence"] is report["confidence"] is report["from_dev"] is None
    assert Path("metrics/zero_shot_predictions.jsonl").read_text() == ""


def test_script_with_data(main):
    folder = Path("data/toy")
    folder.mkdir(parents=True)
    (folder / "test.txt").write_text("Ada\tB-per\n\nBee\tB-per\n\nnone\tO\n", encoding="utf8")
    main(data="data", limit=2, seed=3)
    report = json.loads(Path("metrics/zero_shot.json").read_text())
    assert report["sets"]["toy"]["sentences"] == report["mean"]["sentences"] == 2
    assert (report["limit"], report["seed"]) == (2, 3)
    whole = load(make_set({"test": ("toy/test.txt",)}, labels={"per": "person"}), Path("data"))
    assert evaluate(whole, find_ada)[0]["span_f1"] == 66.67


def test_script_with_scores(main, monkeypatch):
    monkeypatch.setattr(Pipe, "score", 0.5)
    folder = Path("data/toy")
    folder.mkdir(parents=True)
    (folder / "test.txt").write_text("Ada\tB-per\n\nBee\tB-per\n", encoding="utf8")
    main(data="data")
    report = json.loads(Path("metrics/zero_shot.json").read_text())
    assert report["from_dev"]["before"]["ece"] == 0.5 > report["from_dev"]["after"]["ece"]
    rows = [row for _, row in read_rows(Path("metrics/zero_shot_predictions.jsonl"))]
    assert [(row["set"], row["predicted"], row["scores"]) for row in rows] == [
        ("toy", [[0, 3, "person"]], [0.5]),
        ("toy", [], []),
    ]
