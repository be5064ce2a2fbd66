import json

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.evaluate import prediction_rows, set_rows
from spacy_universalner.evaluation.metrics import score, score_rows
from spacy_universalner.evaluation.rescore import score_file, score_sets
from spacy_universalner.gold.readers import Example
from spacy_universalner.records import Prediction, write_rows

TEXT = "Ada Lovelace met Bee"
EXAMPLES = [Example(str(i), TEXT, ("person", "city"), frozenset({(0, 12, "person")})) for i in range(9)]
ENDS = [3 if i % 3 == 0 else 12 for i in range(9)]
ANSWERS = [[Prediction("person", (TEXT[:end],), ((0, end),)), Prediction("city")] for end in ENDS]


def test_a_file_scores_as_what_was_written_to_it(tmp_path):
    write_rows(tmp_path / "p.jsonl", prediction_rows(EXAMPLES, ANSWERS))
    found = score_file(tmp_path / "p.jsonl")
    direct = score(EXAMPLES, ANSWERS)
    assert {key: found[key] for key in direct} == direct
    assert found["span_f1"] == 66.67 and found["partial_f1"] == 83.33
    assert found["mistakes"]["boundary"] == 3 and found["mistakes"]["correct"] == 6
    for name in ("span", "string", "partial"):
        low, high = found[f"{name}_interval"]
        assert low < found[f"{name}_f1"] < high
    assert json.loads(json.dumps(found)) == found


def test_a_file_of_several_sets_is_scored_set_by_set(tmp_path):
    path = tmp_path / "p.jsonl"
    write_rows(path, set_rows({"a": EXAMPLES, "b": EXAMPLES[1:3]}, {"a": ANSWERS, "b": ANSWERS[1:3]}))
    found = score_sets(path)
    assert [(name, scores["sentences"], scores["span_f1"]) for name, scores in found.items()] == [
        ("a", 9, 66.67),
        ("b", 2, 100),
    ]
    with pytest.raises(UniversalNERError, match="U236.*a, b"):
        score_file(path)


def test_an_empty_file_has_nothing_right(tmp_path):
    write_rows(tmp_path / "p.jsonl", [])
    found = score_file(tmp_path / "p.jsonl")
    assert (found["sentences"], found["span_f1"], found["span_interval"]) == (0, 0, [0, 0])
    assert score_rows([])["per_type"] == {}


def test_a_file_of_an_earlier_version_says_what_it_lacks(tmp_path):
    write_rows(tmp_path / "p.jsonl", [{"id": "r", "text": "Ada", "gold": [], "predicted": [], "scores": []}])
    with pytest.raises(UniversalNERError, match="U230.*types.*mentions.*weasel run evaluate"):
        score_file(tmp_path / "p.jsonl")


def test_the_released_scorer_reads_nothing_of_a_list_with_a_bracket_in_a_mention(tmp_path):
    text = "f[0] and Ada"
    examples = [Example(str(i), text, ("name",), frozenset({(9, 12, "name")})) for i in range(2)]
    said = [[Prediction("name", ("f[0]", "Ada"), ((0, 4), (9, 12)))], [Prediction("name", ("Ada",), ((9, 12),))]]
    write_rows(tmp_path / "p.jsonl", prediction_rows(examples, said))
    found = score_file(tmp_path / "p.jsonl")
    assert (found["string_f1"], found["official_f1"]) == (80.0, 66.67)
