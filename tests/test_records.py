import hashlib
import json

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import (
    Conversation,
    Mention,
    Passage,
    Query,
    Record,
    Reply,
    atomic_write,
    open_array,
    read_conversations,
    read_json,
    read_records,
    read_rows,
    sha256_file,
    sha256_json,
    write_json,
    write_records,
    write_rows,
)

TEXT = "Zoë met Łukasz in “Café 7” 😀."


def turns(*values):
    return [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(values)]


def write_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


RECORDS = {
    "passage": (Passage, Passage("1", TEXT, source="s", domain="d")),
    "reply": (Reply, Reply("1", TEXT, '[("Zoë", "person")]', "model", "sha", {"total_tokens": 3}, "length")),
    "record": (Record, Record("1", TEXT, (Mention("Zoë", "person"), Mention("Café 7", "café")))),
    "record without mentions": (Record, Record("1", TEXT, ())),
}


@pytest.mark.parametrize(("kind", "record"), RECORDS.values(), ids=RECORDS)
def test_records_survive_a_file(tmp_path, kind, record):
    path = tmp_path / "records.jsonl"
    assert write_records(path, [record]) == 1
    assert list(read_records(path, kind)) == [record]


PASSAGE = '{"id": "1", "text": "a"}\n'
DAMAGED = {
    "cut off": (PASSAGE + '{"id": "2", "te', r"U002.*line 2"),
    "no object": (PASSAGE + "[1]\n", r"U002.*line 2.*a list"),
    "another encoding": (PASSAGE.encode() + '{"id": "2", "text": "é"}'.encode("latin-1"), r"U002.*line 2"),
    "unknown field": ('{"id": "1", "text": "a", "colour": "red"}\n', r"U003.*line 1.*Passage.*'colour'"),
    "missing field": ('{"id": "1"}\n', r"U003.*line 1.*'text'"),
    "id used twice": (PASSAGE + "\n" + PASSAGE, r"U006.*line 3.*Passage id '1'"),
    "id of another kind": ('{"id": ["1"], "text": "a"}\n', r"U009.*line 1"),
    "text of another kind": ('{"id": "1", "text": 5}\n', r"U009.*line 1"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_bad_line_is_an_error_of_its_line(tmp_path, content, message):
    path = tmp_path / "passages.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UniversalNERError, match=message):
        list(read_records(path, Passage))


def test_an_id_used_twice_may_be_left_to_a_later_stage(tmp_path):
    path = tmp_path / "passages.jsonl"
    path.write_text(f"{PASSAGE}\n{PASSAGE}", encoding="utf8")
    assert [passage.id for passage in read_records(path, Passage, unique=False)] == ["1", "1"]


MENTIONS = {"no list": 5, "strings": ["Zoë"], "a part missing": [{"text": "Zoë"}], "a part too many": [{"a": "b"}]}


@pytest.mark.parametrize("mentions", MENTIONS.values(), ids=MENTIONS)
def test_mentions_of_another_form_are_an_error(tmp_path, mentions):
    path = write_lines(tmp_path / "records.jsonl", {"passage_id": "1", "text": TEXT, "mentions": mentions})
    with pytest.raises(UniversalNERError, match=r"U003.*line 1.*Record"):
        list(read_records(path, Record))


def test_lines_are_streamed(tmp_path):
    path = tmp_path / "passages.jsonl"
    path.write_text(PASSAGE + "{", encoding="utf8")
    assert next(read_records(path, Passage)) == Passage("1", "a")


def test_empty_lines_count_but_hold_nothing(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"a": 1}\n  \n{"a": 2}', encoding="utf8")
    assert list(read_rows(path)) == [(2, {"a": 1}), (4, {"a": 2})]


READERS = {
    "rows": lambda path: next(read_rows(path)),
    "records": lambda path: next(read_records(path, Passage)),
    "conversations": lambda path: next(read_conversations(path)),
    "json": read_json,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(UniversalNERError, match="U001.*gone.jsonl"):
        read(tmp_path / "gone.jsonl")


# The form of the released Pile-NER-type data: its texts are UTF-8, its answers JSON in ASCII.
CONVERSATION = Conversation("ner_0", "Café Ø", (Query("place", ("Café Ø",)), Query("type of tea", ())))
RELEASED = {
    "id": "ner_0",
    "conversations": [
        {"from": "human", "value": "Text: Café Ø"},
        {"from": "gpt", "value": "I've read this text."},
        {"from": "human", "value": "What describes place in the text?"},
        {"from": "gpt", "value": '["Caf\\u00e9 \\u00d8"]'},
        {"from": "human", "value": "What describes type of tea in the text?"},
        {"from": "gpt", "value": "[]"},
    ],
}


def test_a_conversation_has_the_released_form():
    assert CONVERSATION.to_sharegpt() == RELEASED


def test_the_released_form_is_read(tmp_path):
    assert list(read_conversations(write_lines(tmp_path / "train.jsonl", RELEASED))) == [CONVERSATION]


CONVERSATIONS = {
    "of a data set": Conversation("1", "Ada.", (Query("person", ("Ada",)),), dataset="btc"),
    "unicode": Conversation("1", TEXT, (Query("person", ("Zoë", "Łukasz")), Query("😀 emoji", ("😀",)))),
    "no question": Conversation("1", TEXT, ()),
    "quotes and line breaks": Conversation("1", 'a "b"\n\nc\\d', (Query('say "b"', ('"b"', "c\\d")),)),
    "text like the form": Conversation("1", "Text: Text: a", (Query("x in the text?", ("a",)),)),
    "type like the form": Conversation("1", "a", (Query("What describes x", ("a",)), Query("", ()))),
}


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_conversations_survive_a_file(tmp_path, conversation):
    path = tmp_path / "train.jsonl"
    write_rows(path, [conversation.to_sharegpt()])
    assert list(read_conversations(path)) == [conversation]


OPENING = ("Text: a", "I've read this text.")
BAD_CONVERSATIONS = {
    "no turns": {"id": "1", "conversations": []},
    "data set is a number": {"id": "1", "conversations": turns(*OPENING), "dataset": 5},
    "no id": {"conversations": turns(*OPENING)},
    "no conversation": {"id": "1"},
    "turns without values": {"id": "1", "conversations": ["a", "b"]},
    "text is a number": {"id": "1", "conversations": turns(5, "ok")},
    "question is a number": {"id": "1", "conversations": turns(*OPENING, 5, "[]")},
    "question without answer": {"id": "1", "conversations": turns(*OPENING, "What describes x in the text?")},
    "answer is no JSON": {"id": "1", "conversations": turns(*OPENING, "What describes x in the text?", "a")},
    "answer is a string": {"id": "1", "conversations": turns(*OPENING, "What describes x in the text?", '"abc"')},
    "answer is an object": {"id": "1", "conversations": turns(*OPENING, "What describes x in the text?", '{"a": 1}')},
    "answer holds a number": {"id": "1", "conversations": turns(*OPENING, "What describes x in the text?", "[1]")},
}


@pytest.mark.parametrize("row", BAD_CONVERSATIONS.values(), ids=BAD_CONVERSATIONS)
def test_other_turns_are_an_error(tmp_path, row):
    path = write_lines(tmp_path / "train.jsonl", RELEASED, row)
    with pytest.raises(UniversalNERError, match=r"U003.*line 2.*conversation"):
        list(read_conversations(path))


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "folder" / "out.txt"
    with atomic_write(path) as file:
        file.write("é")
        assert not path.exists()
    assert path.read_text(encoding="utf8") == "é"
    assert list(path.parent.iterdir()) == [path]


def failing_rows():
    yield {"a": 1}
    raise RuntimeError("the writer's own")


def test_a_failing_writer_keeps_the_old_file_and_leaves_no_part(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"old": True}])
    with pytest.raises(RuntimeError, match="the writer's own"):
        write_rows(path, failing_rows())
    assert list(read_rows(path)) == [(1, {"old": True})]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_first_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="the writer's own"):
        write_rows(tmp_path / "rows.jsonl", failing_rows())
    assert list(tmp_path.iterdir()) == []


def test_a_document_survives_a_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"name": "Zoë", "n": [1, None]})
    assert read_json(path) == {"name": "Zoë", "n": [1, None]}


@pytest.mark.parametrize("content", ["{", "[]", "\xff"], ids=["cut off", "a list", "another encoding"])
def test_a_damaged_document_is_an_error(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UniversalNERError, match="U002.*a.json"):
        read_json(path)


@pytest.mark.parametrize("size", [0, 3, (1 << 20) + 1], ids=["empty", "small", "more than a block"])
def test_sha256_of_a_file(tmp_path, size):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * size)
    assert sha256_file(path) == hashlib.sha256(b"x" * size).hexdigest()


def test_sha256_of_a_value_ignores_the_order_of_keys():
    expected = hashlib.sha256('{"a": "é", "b": 2}'.encode()).hexdigest()
    assert sha256_json({"b": 2, "a": "é"}) == sha256_json({"a": "é", "b": 2}) == expected


ARRAYS = {"none": [], "one": [{"id": "a"}], "several": [{"id": "a", "text": "é"}, {"id": "b", "text": "\n"}]}


@pytest.mark.parametrize("rows", ARRAYS.values(), ids=ARRAYS)
def test_an_array_is_one_json_document(tmp_path, rows):
    with open_array(tmp_path / "rows.json") as add:
        for row in rows:
            add(row)
    assert json.loads((tmp_path / "rows.json").read_text(encoding="utf8")) == rows
