"""Studies: what is trained on, what is scored, and that nothing is done twice."""

import json
import runpy
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from spacy_universalner import ablation
from spacy_universalner.ablation import read_training, run_study, split_types, take_share
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.readers import dev_examples
from spacy_universalner.records import Mention, Record, sha256_json, write_records, write_rows
from spacy_universalner.schemas import ConvertSettings

from .conftest import CONVERSATIONS, ROOT, make_settings

CONVERT = {
    "negatives": "frequency",
    "negatives_number": 1.0,
    "negatives_per": "positive",
    "dev_share": 0.25,
    "dev_limit": 10,
    "seed": 0,
}
RECORDS = [
    Record(c.id, c.text, tuple(Mention(m, q.type) for q in c.queries for m in q.mentions)) for c in CONVERSATIONS
]
TYPES = sorted({mention.type for record in RECORDS for mention in record.mentions})
EXAMPLES = dev_examples(CONVERSATIONS[:2])
SETS = {"tiny": dev_examples(CONVERSATIONS[2:])}


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, RECORDS)
    return path


@pytest.fixture
def study(tiny_base, tmp_path):
    """Run a study of short runs on the tiny base."""

    def run(arms, sets=SETS, **options):
        work = tmp_path / "ablation"
        found = run_study(
            arms,
            CONVERSATIONS[:1],
            find_base=lambda name: tiny_base,
            work=work,
            dev_examples=EXAMPLES,
            unseen_examples=EXAMPLES[:1],
            sets=sets,
            device="cpu",
            **options,
        )
        return found

    return run


def arms(**changes):
    return {
        "plain": (CONVERSATIONS, make_settings(epochs=1)),
        "changed": (CONVERSATIONS, make_settings(epochs=1, **changes)),
    }


def test_training_conversations_are_those_of_convert(records):
    every, none = (
        read_training(records, ConvertSettings(**{**CONVERT, "negatives": strategy}), absent=Path("unread"))
        for strategy in ("frequency", "none")
    )
    assert [c.id for c in every] == [c.id for c in none]
    assert len(every) == 3
    assert all(query.mentions for c in none for query in c.queries)
    assert any(not query.mentions for c in every for query in c.queries)


def test_types_known_to_be_absent_are_read_where_the_settings_ask_for_them(records, tmp_path):
    known = [{"text_sha": sha256_json(record.text), "absent": ["lake", *TYPES]} for record in RECORDS]
    write_rows(tmp_path / "absent.jsonl", known)
    settings = ConvertSettings(**{**CONVERT, "negatives": "verified"})
    read = read_training(records, settings, absent=tmp_path / "absent.jsonl")
    assert any(not query.mentions for c in read for query in c.queries)
    with pytest.raises(UniversalNERError, match="U001.*unread"):
        read_training(records, settings, absent=Path("unread"))


def test_each_student_is_scored(study):
    found = study(arms(questions="multi-turn"))
    assert list(found) == ["plain", "changed"]
    for arm in found.values():
        assert (arm["conversations"], arm["questions"], arm["negatives"]) == (4, 11, 4)
        assert arm["steps"] == 4
        assert arm["dev"].keys() == arm["unseen"].keys() == arm["sets"]["tiny"].keys()
        assert arm["mean"]["sentences"] == 2
    assert found["plain"]["loss"] != found["changed"]["loss"]


def test_types_are_held_out_of_all_conversations():
    kept, held = split_types(CONVERSATIONS, unseen=0.5)
    names = [{query.type.casefold() for c in part for query in c.queries} for part in (kept, held)]
    assert names[0] and names[1] and not names[0] & names[1]
    asked = [(c.id, query) for part in (kept, held) for c in part for query in c.queries]
    assert sorted(asked, key=repr) == sorted(((c.id, q) for c in CONVERSATIONS for q in c.queries), key=repr)
    assert all(part in held for part in split_types(CONVERSATIONS[1:], unseen=0.5)[1])


def test_none_is_held_out_unless_asked():
    assert split_types(CONVERSATIONS, unseen=0) == (list(CONVERSATIONS), [])


def test_a_smaller_share_is_a_part_of_a_larger_one():
    shares = [take_share(CONVERSATIONS, share) for share in (0.1, 0.5, 0.75, 1)]
    assert list(map(len, shares)) == [1, 2, 3, 4]
    assert all(c in larger for smaller, larger in pairwise(shares) for c in smaller)
    assert shares[-1] == list(CONVERSATIONS)


def count_trainers(monkeypatch):
    made = Counter()

    class Counted(ablation.Trainer):
        def __init__(self, *args, **kwargs):
            made["trainers"] += 1
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(ablation, "Trainer", Counted)
    return made


def test_students_that_are_done_are_not_tuned_again(study, monkeypatch):
    first = study(arms(seed=1))
    made = count_trainers(monkeypatch)
    assert study(arms(seed=1)) == first
    assert made["trainers"] == 0


def test_a_student_of_two_studies_is_tuned_once(study, monkeypatch):
    made = count_trainers(monkeypatch)
    found = study(arms())
    assert made["trainers"] == 1
    assert found["plain"] == found["changed"]


def test_seeds_are_averaged_and_kept_apart(study):
    found = study(arms(seed=1), seeds=2)
    losses = {name: [run["loss"] for run in arm["runs"]] for name, arm in found.items()}
    assert losses["plain"][1] == losses["changed"][0] != losses["plain"][0]
    assert found["plain"]["loss"] == pytest.approx(sum(losses["plain"]) / 2, abs=1e-4)
    assert (found["plain"]["steps"], found["plain"]["questions"]) == (4, 11)
    for part in ("dev", "unseen", "mean"):
        each = [run[part]["span_f1"] for run in found["plain"]["runs"]]
        assert found["plain"][part]["span_f1"] == pytest.approx(sum(each) / 2, abs=1e-4)
    assert found["plain"]["compute"] == found["plain"]["runs"][0]["compute"]


def test_other_gold_is_another_result(study, monkeypatch):
    study(arms())
    made = count_trainers(monkeypatch)
    monkeypatch.setattr(sys.modules[__name__], "EXAMPLES", [replace(e, spans=frozenset()) for e in EXAMPLES])
    assert study(arms())["plain"]["dev"]["span_recall"] == 0
    assert made["trainers"] == 1


def test_other_code_is_another_result(study, monkeypatch):
    study(arms())
    made = count_trainers(monkeypatch)
    monkeypatch.setattr(ablation, "hash_code", lambda: "changed")
    study(arms())
    assert made["trainers"] == 1


def test_another_question_is_another_result(study, monkeypatch):
    study(arms())
    made = count_trainers(monkeypatch)
    assert study(arms(), sets={})["plain"]["mean"] is None
    assert made["trainers"] == 1


def run_script(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["ablate.py", *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / "ablate.py"), run_name="__main__")
    return ended.value.code


def test_an_unknown_study_is_named_with_those_there_are(monkeypatch, capsys):
    assert run_script(monkeypatch, "--study", "colours", "--config", str(ROOT / "configs" / "ablate.cfg")) == 2
    said = capsys.readouterr().err
    assert "negatives" in said and "colours" in said


def test_the_script_writes_results_and_page(monkeypatch, tmp_path, records, tiny_base):
    write_rows(tmp_path / "dev.jsonl", [c.to_sharegpt() for c in CONVERSATIONS[:2]])
    write_rows(tmp_path / "gold.jsonl", [c.to_sharegpt() for c in CONVERSATIONS])
    lines = {
        "distil.cfg": "\n".join(["[convert]", *(f"{k} = {json.dumps(v)}" for k, v in CONVERT.items())]),
        "train.cfg": "\n".join(
            ["[train]", *(f"{k} = {json.dumps(v)}" for k, v in make_settings().model_dump().items() if k != "lora")]
            + ["[train.lora]", "r = 4", "alpha = 8", "dropout = 0.0"]
        ),
        "ablate.cfg": "[ablate]\nmax_tokens = 100\nmax_minutes = 9\ndev_limit = 1\nunseen_share = 0.5\nlimit = 1\n"
        "seed = 0\n"
        "[ablate.studies]\n"
        '[ablate.studies.two]\nnone = {"convert": {"negatives": "none"}}\nlora = {"train": {"method": "lora"}}\n'
        'third = {"share": 0.3}\ngold = {"data": "supervised"}\n',
    }
    for name, text in lines.items():
        (tmp_path / name).write_text(text, encoding="utf8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("spacy_universalner.base.fetch_base", lambda *args, **kwargs: tiny_base)
    options = {
        "study": "two",
        "config": "ablate.cfg",
        "records": str(records),
        "dev": "dev.jsonl",
        "supervised": "gold.jsonl",
        "convert": "distil.cfg",
        "train": "train.cfg",
    }
    code = run_script(monkeypatch, *(part for key, value in options.items() for part in (f"--{key}", value)))
    assert code == 0
    found = json.loads((tmp_path / "metrics" / "ablation" / "two.json").read_text(encoding="utf8"))
    assert list(found) == ["none", "lora", "third", "gold"]
    assert [arm["share"] for arm in found.values()] == [1.0, 1.0, 0.3, 1.0]
    learnt = split_types(CONVERSATIONS, unseen=0.5)[0]
    assert found["gold"]["questions"] == sum(len(c.queries) for c in learnt)
    assert learnt != list(CONVERSATIONS)
    assert found["third"]["conversations"] < found["none"]["conversations"]
    assert all(arm["unseen"] for arm in found.values())
    assert found["none"]["negatives"] == 0 < found["lora"]["negatives"]
    assert "lora" in (tmp_path / "reports" / "ablation" / "two.html").read_text(encoding="utf8")
