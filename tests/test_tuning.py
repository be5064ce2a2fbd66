"""A run as a command has it: which files are learnt from, and what the student's manifest tells of them."""

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Conversation, Query, write_rows
from spacy_universalner.student import check_manifest
from spacy_universalner.tuning import tune

from .conftest import CONVERSATIONS, make_settings

GOLD = [Conversation(f"g{i}", f"Eve{i} left.", (Query("person", (f"Eve{i}",)),), "mine") for i in range(3)]


@pytest.fixture
def run(tiny_base, tmp_path):
    """Tune the tiny base on files with these conversations."""

    def tune_on(**files):
        for name, conversations in files.items():
            write_rows(tmp_path / f"{name}.jsonl", [c.to_sharegpt() for c in conversations])
        facts = tune(
            tiny_base,
            train=[tmp_path / f"{name}.jsonl" for name in files if name != "dev"],
            dev=tmp_path / "dev.jsonl",
            settings=make_settings(epochs=1, dev_conversations=2),
            student=tmp_path / "work" / "student",
            device="cpu",
            ignore_memory=False,
            setting="mixed",
        )
        return facts, check_manifest(tmp_path / "work" / "student")

    return tune_on


def test_all_files_are_learnt_from(run):
    facts, manifest = run(gold=GOLD, distilled=CONVERSATIONS, dev=CONVERSATIONS[:2])
    assert facts["steps"] == len(GOLD) + len(CONVERSATIONS)
    assert manifest["training"] == facts
    assert facts["setting"] == "mixed"
    assert facts["dev_f1"] is not None
    assert manifest["data"]["train"]["conversations"] == 7
    assert manifest["data"]["dev"]["conversations"] == 2


@pytest.mark.parametrize("empty", ["gold", "distilled"])
def test_a_file_without_a_conversation_is_an_error(run, empty):
    files = {"gold": GOLD, "distilled": CONVERSATIONS, "dev": CONVERSATIONS[:2]}
    with pytest.raises(UniversalNERError, match=rf"U004.*{empty}\.jsonl"):
        run(**{**files, empty: []})


def test_adapters_alone_do_not_go_on_top_of_a_student(tiny_student, tmp_path):
    with pytest.raises(UniversalNERError, match="U077.*tuned student"):
        tune(
            tiny_student,
            train=[],
            dev=tmp_path / "dev.jsonl",
            settings=make_settings(method="lora", save="adapter"),
            student=tmp_path / "student",
            device="cpu",
            ignore_memory=False,
        )
