import json
import runpy
import sys
import tracemalloc
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.corpus import released
from spacy_universalner.corpus.conversations import Survey, write_parts
from spacy_universalner.corpus.origin import know_embedded
from spacy_universalner.corpus.released import (
    REASONS,
    ImportReport,
    SetAside,
    Variant,
    describe,
    guess_variant,
    read_released,
    read_values,
    to_record,
    write_released,
)
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import (
    Conversation,
    Mention,
    Passage,
    Query,
    Record,
    read_conversations,
    read_json,
    read_rows,
)

from ..conftest import ROOT

READ = "I've read this text."
# Written for this test in the form of the released files, escapes and all.
TYPES_FILE = r"""[{"id": "ner_0", "conversations": [{"from": "human", "value": "Text: Zo\u00eb met Bo in Oslo."},
{"from": "gpt", "value": "I've read this text."}, {"from": "human", "value": "What describes Person in the text?"},
{"from": "gpt", "value": "[\"Zo\\u00eb\", \"Bo\"]"}, {"from": "human", "value": "What describes FAC in the text?"},
{"from": "gpt", "value": "[]"}]}, {"id": "ner_1", "conversations": [{"from": "human", "value": "Text: It rained."},
{"from": "gpt", "value": "I've read this text."}, {"from": "human", "value": "What describes weather in the text?"},
{"from": "gpt", "value": "[\"rain\"]"}]}]"""
TALKS = [
    Conversation("ner_0", "Zoë met Bo in Oslo.", (Query("Person", ("Zoë", "Bo")), Query("FAC", ()))),
    Conversation("ner_1", "It rained.", (Query("weather", ("rain",)),)),
]


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


FORMS = {
    "array": TYPES_FILE,
    "array on many lines": json.dumps(json.loads(TYPES_FILE), indent=2),
    "array in utf-8": json.dumps(json.loads(TYPES_FILE), ensure_ascii=False),
    "lines": lines(*json.loads(TYPES_FILE)),
    "lines without a last break": lines(*json.loads(TYPES_FILE)).rstrip(),
    "lines with empty ones": "\n\n" + lines(*json.loads(TYPES_FILE)).replace("\n", "\r\n\r\n"),
    "byte order mark": "\ufeff" + TYPES_FILE,
}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "released.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_arrays_and_lines_are_read(write, monkeypatch, content, block):
    monkeypatch.setattr(released, "BLOCK", block)
    assert list(read_released(write(content))) == TALKS


@given(values=st.lists(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v, max_size=3))))
def test_values_are_read_as_json_reads_them(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("values") / "values.json"
    for block in (1, 3, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(released, "BLOCK", block)
            path.write_text(json.dumps(values))
            assert list(read_values(path)) == values
            path.write_text(lines(*values))
            if not values or not isinstance(values[0], list):  # a first list would be taken for the array of rows
                assert list(read_values(path)) == values


DAMAGED = {
    "array cut off in a row": (TYPES_FILE[:-30], "U121.*row 2"),
    "array cut off after a row": (TYPES_FILE[:-1], "U121.*row 2.*expected ]"),
    "array without a comma": ("[{} {}]", "U121.*row 1.*expected ,"),
    "array with a comma too many": ("[{}, ]", "U121.*row 2"),
    "something after the array": ("[{}]{}", "U121.*expected the end"),
    "line cut off": (lines({"id": 1}) + '{"id": "a\n' + lines({"id": 2}), "U121.*row 2"),
    "no JSON": ("<html>", "U121.*row 1.*<html>"),
    "another encoding": ('[{"id": "é"}]'.encode("latin-1"), "U121.*utf-8"),
    "too deep": ("[" * 100_000, "U121"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_an_error_that_names_the_row(write, content, message):
    with pytest.raises(UniversalNERError, match=message):
        list(read_values(write(content)))


def test_what_follows_the_damage_is_not_read_to_the_end(write, monkeypatch):
    monkeypatch.setattr(released, "BLOCK", 100)
    monkeypatch.setattr(released, "LONGEST", 500)
    path = write('[{"id": "a}, ' + lines(*({} for _ in range(10_000))))
    read = []
    monkeypatch.setattr(released._Window, "_read", counted(released._Window._read, read))
    with pytest.raises(UniversalNERError, match="U121"):
        list(read_values(path))
    assert len(read) < 10


def counted(method, calls):
    def call(self):
        calls.append(1)
        return method(self)

    return call


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UniversalNERError, match=r"U001.*gone.json.*vars.released"):
        list(read_released(tmp_path / "gone.json"))


def test_an_array_is_not_held_in_memory(write):
    row = json.dumps(TALKS[0].to_sharegpt())
    path = write("[" + ", ".join([row] * 40_000) + "]")  # 12 MB
    tracemalloc.start()
    assert sum(1 for _ in read_values(path)) == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * released.BLOCK


def turns(*values):
    return [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(values)]


ASK = "What describes x in the text?"
BAD = {
    "a number": (5, "no object"),
    "a list": ([1], "no object"),
    "no id": ({"conversations": turns("Text: a", READ)}, "no id"),
    "empty id": ({"id": "", "conversations": turns("Text: a", READ)}, "no id"),
    "id used before": ({"id": "ner_0", "conversations": turns("Text: a", READ)}, "id used before"),
    "no turns": ({"id": "1"}, "other turns"),
    "empty turns": ({"id": "1", "conversations": []}, "other turns"),
    "turns are text": ({"id": "1", "conversations": ["a", "b"]}, "other turns"),
    "a system turn first": (
        {"id": "1", "conversations": [{"from": "system", "value": "s"}, *turns("Text: a", READ)]},
        "other turns",
    ),
    "question without answer": ({"id": "1", "conversations": turns("Text: a", READ, ASK)}, "other turns"),
    "a value is a number": ({"id": "1", "conversations": turns("Text: a", READ, ASK, 5)}, "other turns"),
    "no text": ({"id": "1", "conversations": turns("Passage: a", READ, ASK, "[]")}, "no text"),
    "empty text": ({"id": "1", "conversations": turns("Text:  ", READ, ASK, "[]")}, "no text"),
    "another question": ({"id": "1", "conversations": turns("Text: a", READ, "What is x?", "[]")}, "no question"),
    "question without a type": (
        {"id": "1", "conversations": turns("Text: a", READ, "What describes   in the text?", "[]")},
        "no question",
    ),
    "answer is no JSON": ({"id": "1", "conversations": turns("Text: a", READ, ASK, "['a']")}, "no list"),
    "answer is a string": ({"id": "1", "conversations": turns("Text: a", READ, ASK, '"a"')}, "no list"),
    "answer holds a number": ({"id": "1", "conversations": turns("Text: a", READ, ASK, "[1]")}, "no list"),
}


@pytest.mark.parametrize(("row", "reason"), BAD.values(), ids=BAD)
def test_another_row_is_set_aside_with_its_reason(write, row, reason):
    first, aside, last = read_released(write(json.dumps([TALKS[0].to_sharegpt(), row, TALKS[1].to_sharegpt()])))
    assert (first, last) == tuple(TALKS)
    assert isinstance(aside, SetAside)
    assert (aside.row, aside.reason) == (2, reason)
    assert json.dumps(row).startswith(aside.start)


def test_every_reason_is_tried():
    assert {reason for _, reason in BAD.values()} == set(REASONS)


def test_an_id_may_be_a_number(write):
    row = {"id": 7, "conversations": turns("Text: a", READ)}
    assert [talk.id for talk in read_released(write(lines(row)))] == ["7"]


def test_half_a_surrogate_pair_becomes_a_character_a_file_can_hold(write):
    values = ("Text: a \ud83d b \U0001f600", READ, "What describes \udc00 in the text?", r'["\ud83d"]')
    row = {"id": "1", "conversations": turns(*values)}
    assert list(read_released(write(lines(row)))) == [
        Conversation("1", "a \ufffd b \U0001f600", (Query("\ufffd", ("\ufffd",)),))
    ]


def test_answers_that_stand_nowhere_are_kept_and_counted(write):
    report = ImportReport()
    for row in read_released(write(json.dumps([*json.loads(TYPES_FILE), 5]))):
        report.add(row)
    found = report.to_json()
    assert (found["rows"], found["conversations"], found["questions"], found["negatives"]) == (3, 2, 3, 1)
    assert (found["mentions"], found["mentions_not_in_text"]) == (3, 1)
    assert found["set_aside"] == {**dict.fromkeys(REASONS, 0), "no object": 1}
    assert found["examples"] == {
        "not in text": [{"id": "ner_1", "type": "weather", "mention": "rain"}],
        "no object": [{"row": 3, "id": "", "reason": "no object", "start": "5"}],
    }


VARIANTS = {
    "types": (["person", "FAC", "medical condition", "type of event", "a very long name of a type"], Variant.TYPE),
    "definitions": (
        ["A person's name", "a city in the north of France", "weather", "A disease of the human skin"],
        Variant.DEFINITION,
    ),
    "none": ([], Variant.TYPE),
}


@pytest.mark.parametrize(("types", "variant"), VARIANTS.values(), ids=VARIANTS)
def test_the_variant_is_guessed_from_the_length_of_the_types(types, variant):
    assert guess_variant(types) is variant


def test_a_conversation_is_surveyed_by_its_answers():
    expected = (Mention("Zoë", "Person"), Mention("Bo", "Person"))
    assert to_record(TALKS[0]) == Record("ner_0", "Zoë met Bo in Oslo.", expected)


VISIBLE = st.text(min_size=1, max_size=20).filter(str.strip)
QUERIES = st.lists(st.builds(Query, VISIBLE, st.lists(st.text(max_size=10), max_size=3).map(tuple)), max_size=4)
CONVERSATIONS = st.lists(
    st.builds(Conversation, VISIBLE, VISIBLE, QUERIES.map(tuple)), max_size=6, unique_by=lambda talk: talk.id
)


@given(talks=CONVERSATIONS)
def test_what_is_exported_is_imported_the_same(tmp_path_factory, talks):
    path = tmp_path_factory.mktemp("export") / "train.json"
    write_released(path, talks)
    assert list(read_released(path)) == talks


def test_an_export_is_escaped_as_the_released_files_are(tmp_path):
    path = tmp_path / "train.json"
    write_released(path, TALKS)
    assert path.read_bytes() == TYPES_FILE.replace("\n", " ").encode()
    write_released(path, [])
    assert path.read_bytes() == b"[]"


OWN = know_embedded([Passage("1", "a"), Passage("2", "b")], [("1", "[]"), ("2", "[x]")])
TALK_PARTS = {
    "all": ([Conversation("1", "a", ()), Conversation("2", "b", ())], True),
    "another id": ([Conversation("3", "a", ())], False),
    "another text": ([Conversation("1", "a", ()), Conversation("2", "a", ())], False),
}


@pytest.mark.parametrize(("talks", "embedded"), TALK_PARTS.values(), ids=TALK_PARTS)
def test_passages_of_the_project_are_known(talks, embedded):
    assert describe(talks, OWN).embedded is embedded


def test_a_part_is_counted_with_the_types_that_are_answered():
    part = describe(TALKS, OWN)
    assert asdict(part.tally) == {"conversations": 2, "questions": 3, "negatives": 1, "mentions": 3}
    assert part.types == {"Person", "weather"}


def run_script(name, *arguments, monkeypatch, folder):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    return ended.value.code


@pytest.fixture
def import_file(tmp_path, monkeypatch):
    config = ROOT / "configs" / "distil.cfg"

    def import_file(path, *more):
        arguments = ("--source", path, "--config", config, *more)
        return run_script("import", *arguments, monkeypatch=monkeypatch, folder=tmp_path)

    return import_file


def make_talks(count):
    return [Conversation(f"ner_{i}", f"Text {i}.", (Query("noun", ("Text",)), Query("verb", ()))) for i in range(count)]


def test_the_script_splits_what_it_reads_as_convert_does(tmp_path, import_file):
    talks = make_talks(30)
    write_released(tmp_path / "in.json", talks)
    assert import_file("in.json") == 0
    train, dev = (list(read_conversations(tmp_path / "released" / f"{part}.jsonl")) for part in ("train", "dev"))
    survey = Survey(seed=0, dev_limit=5000)
    for talk in talks:
        survey.add(to_record(talk))
    held_out = survey.finish(dev_share=0.1).dev
    assert len(held_out) == 3
    assert dev == [talk for talk in talks if talk.id in held_out]
    assert train == [talk for talk in talks if talk.id not in held_out]


def test_the_script_says_what_it_read(tmp_path, import_file):
    (tmp_path / "in.json").write_text(lines(*(talk.to_sharegpt() for talk in make_talks(4)), 5))
    assert import_file("in.json", "--variant", "definition") == 0
    found = read_json(tmp_path / "released" / "import.json")
    assert (found["variant"], found["variant_guessed"], found["types"]) == ("definition", False, 1)
    assert (found["rows"], found["train_conversations"], found["dev_conversations"]) == (5, 3, 1)
    assert len(found["sha256"]) == 64
    [(_, aside)] = read_rows(tmp_path / "released" / "rejected.jsonl")
    assert (aside["row"], aside["reason"]) == (5, "no object")


def test_the_script_says_what_the_data_come_from(tmp_path, import_file):
    write_released(tmp_path / "in.json", make_talks(4))
    assert import_file("in.json", "--license", "cc-by-nc-4.0") == 0
    origin = read_json(tmp_path / "released" / "origin.json")
    assert (origin["license"], origin["dataset"], list(origin["files"])) == ("cc-by-nc-4.0", "not stated", ["in.json"])


FAILURES = {
    "no conversation": ("[5]", (), "U122"),
    "empty": ("", (), "U122"),
    "training reads another folder": (TYPES_FILE, ("--conversations", "corpus"), "U126"),
}


@pytest.mark.parametrize(("content", "arguments", "code"), FAILURES.values(), ids=FAILURES)
def test_the_script_stops_with_a_sentence(tmp_path, import_file, capsys, content, arguments, code):
    (tmp_path / "in.json").write_text(content)
    assert import_file("in.json", *arguments) == 1
    assert code in capsys.readouterr().err
    assert not (tmp_path / "released" / "train.jsonl").exists()


def test_imported_parts_are_written_without_an_array(tmp_path):
    write_parts(iter(TALKS), {"ner_1"}, train=tmp_path / "train", dev=tmp_path / "dev")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev", "train"]
