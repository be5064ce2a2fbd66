import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy

from spacy_universalner import progress
from spacy_universalner.align import place
from spacy_universalner.evaluation.evaluate import evaluate, evaluate_sets, prediction_rows
from spacy_universalner.gold.datasets import TOKEN_TAG, DataSet
from spacy_universalner.gold.readers import Example, load
from spacy_universalner.records import Conversation, Prediction, Query, read_rows, write_rows

ROOT = Path(__file__).parents[2]
EXAMPLES = [Example(str(i), f"Ada {i}", ("person", "city"), frozenset({(0, 3, "person")})) for i in range(5)]


def find_ada(texts, types):
    """Answer "Ada" to every question about persons."""
    said = {"person": ("Ada",)}
    return [
        [Prediction(t, said.get(t, ()), tuple(place(text, said.get(t, ()))[0])) for t in asked]
        for text, asked in zip(texts, types, strict=True)
    ]


class Pipe:
    def predict(self, docs, labels):
        return find_ada([doc.text for doc in docs], labels)


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
        "gold": [[0, 3, "person"]],
        "predicted": [[0, 3, "person"]],
    }


def test_sets():
    report = evaluate_sets({"one": EXAMPLES, "two": EXAMPLES[:1]}, find_ada)
    assert list(report["sets"]) == ["one", "two"]
    assert report["mean"] == {"span_f1": 100, "string_f1": 100, "sentences": 6, "questions": 12}
    assert report["note"] == ""


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
    toy = DataSet("toy", "toy/test.txt", TOKEN_TAG, {"per": "person"})
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


def test_script_with_data(main):
    folder = Path("data/toy")
    folder.mkdir(parents=True)
    (folder / "test.txt").write_text("Ada\tB-per\n\nBee\tB-per\n\nnone\tO\n", encoding="utf8")
    main(data="data", limit=2, seed=3)
    report = json.loads(Path("metrics/zero_shot.json").read_text())
    assert report["sets"]["toy"]["sentences"] == report["mean"]["sentences"] == 2
    assert (report["limit"], report["seed"]) == (2, 3)
    whole = load(DataSet("toy", "toy/test.txt", TOKEN_TAG, {"per": "person"}), Path("data"))
    assert evaluate(whole, find_ada)[0]["span_f1"] == 66.67
