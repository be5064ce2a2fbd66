import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import DEFINITION_V1, TYPE_V1, messages_key
from spacy_universalner.records import Reply, write_rows
from spacy_universalner.teacher.completion import Completion
from spacy_universalner.teacher.replay import make_defining_model, make_replay_model, recording


def reply(text, raw="[]", sha=TYPE_V1.sha):
    return Reply("p1", text, raw, "gpt", sha, {"total_tokens": 3}, "length")


def recorded(path, *replies):
    write_rows(path, (recording(item, TYPE_V1) for item in replies))
    return make_replay_model(str(path))


def ask(model, text):
    return list(model([[TYPE_V1.messages(text)]]))


def test_a_reply_is_found_by_its_messages(tmp_path):
    model = recorded(tmp_path / "r.jsonl", reply("One."), reply("Two.", '[("Two", "number")]'))
    assert ask(model, "Two.") == [[Completion('[("Two", "number")]', "gpt", {"total_tokens": 3}, "length")]]


def test_the_later_of_two_replies_counts(tmp_path):
    model = recorded(tmp_path / "r.jsonl", reply("One.", "old"), reply("One.", "new"))
    assert ask(model, "One.")[0][0].text == "new"


def test_the_file_is_read_at_the_first_call_and_once(tmp_path):
    path = tmp_path / "r.jsonl"
    model = make_replay_model(str(path))
    recorded(path, reply("One."))
    ask(model, "One.")
    path.unlink()
    assert ask(model, "One.")


def test_the_key_depends_on_every_message():
    messages = TYPE_V1.messages("One.")
    assert len({messages_key(messages), messages_key(messages[1:]), messages_key(TYPE_V1.messages("Two."))}) == 3


def test_a_missing_file(tmp_path):
    with pytest.raises(UniversalNERError, match="U001.*none.jsonl.*configs/teacher.cfg"):
        ask(make_replay_model(str(tmp_path / "none.jsonl")), "One.")


def test_a_damaged_line(tmp_path):
    path = tmp_path / "r.jsonl"
    recorded(path, reply("One."))
    path.write_text(path.read_text(encoding="utf8") + '{"key": "ab', encoding="utf8")
    with pytest.raises(UniversalNERError, match="U002.*line 2"):
        ask(make_replay_model(str(path)), "One.")


def test_a_line_of_another_kind(tmp_path):
    write_rows(tmp_path / "r.jsonl", [{"id": "a", "text": "One."}])
    with pytest.raises(UniversalNERError, match="U003.*line 1.*recorded reply"):
        ask(make_replay_model(str(tmp_path / "r.jsonl")), "One.")


def test_a_passage_that_was_not_recorded(tmp_path):
    with pytest.raises(UniversalNERError, match="U030.*'.*Two.'.*1 replies.*real teacher"):
        ask(recorded(tmp_path / "r.jsonl", reply("One.")), "Two.")


def test_a_file_of_another_prompt(tmp_path):
    with pytest.raises(UniversalNERError, match=f"U031.*ffff.*{TYPE_V1.sha[:12]}"):
        ask(recorded(tmp_path / "r.jsonl", reply("One.", sha="f" * 64)), "Two.")


@pytest.mark.parametrize("messages", ["a plain prompt", [], [{"role": "user", "content": "other"}]])
def test_messages_of_another_task(tmp_path, messages):
    with pytest.raises(UniversalNERError, match="U030"):
        list(recorded(tmp_path / "r.jsonl", reply("One."))([[messages]]))


@pytest.fixture
def defining(tmp_path):
    recorded(tmp_path / "r.jsonl", reply("One.", '[("One", "number")]'))
    write_rows(tmp_path / "d.jsonl", [{"type": "number", "definition": "How many there are."}])
    return make_defining_model(str(tmp_path / "r.jsonl"), str(tmp_path / "d.jsonl"))


def test_a_reply_is_said_in_definitions(defining):
    [[said]] = defining([[DEFINITION_V1.messages("One.")]])
    assert said == Completion('[("One", "How many there are.")]', "gpt", {"total_tokens": 3}, "length")


@pytest.mark.parametrize(("messages", "got"), [(TYPE_V1.messages("One."), "type.v1"), ("One.", "none")])
def test_definitions_answer_their_own_prompt_only(defining, messages, got):
    with pytest.raises(UniversalNERError, match=f"U259.*{got}.*definition.v1"):
        list(defining([[messages]]))
