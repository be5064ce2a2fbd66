import pytest

from spacy_universalner.definitions import define_reply, read_definitions
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.parsing import parse_pairs
from spacy_universalner.records import write_rows

DEFINITIONS = {"person": "A human being.", "quote": 'Words said, as "hm".'}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('[("Ada", "quote")]', [("Ada", 'Words said, as "hm".')]),
        ('[("O\\"B", "quote"), ("b", "quote")]', [('O"B', 'Words said, as "hm".'), ("b", 'Words said, as "hm".')]),
        ("[]", []),
    ],
)
def test_types_are_said_as_their_definitions(raw, expected):
    assert parse_pairs(define_reply(raw, "text", DEFINITIONS)) == expected


def test_what_is_no_list_is_handed_on():
    assert define_reply("I cannot.", "text", DEFINITIONS) == "I cannot."


def test_a_type_without_a_definition():
    with pytest.raises(UniversalNERError, match="U258.*1 types.*'text'.*city"):
        define_reply('[("Rome", "city")]', "text", DEFINITIONS)


def test_definitions_are_read_from_a_file(tmp_path):
    write_rows(tmp_path / "d.jsonl", ({"type": name, "definition": said} for name, said in DEFINITIONS.items()))
    assert read_definitions(tmp_path / "d.jsonl") == DEFINITIONS


@pytest.mark.parametrize("row", [{"type": "person"}, {"type": "person", "definition": ""}, {"definition": "A."}])
def test_a_damaged_line_of_definitions(tmp_path, row):
    write_rows(tmp_path / "d.jsonl", [row])
    with pytest.raises(UniversalNERError, match="U003.*line 1"):
        read_definitions(tmp_path / "d.jsonl")


def test_a_missing_file_of_definitions(tmp_path):
    with pytest.raises(UniversalNERError, match="U001.*configs/definitions.cfg"):
        read_definitions(tmp_path / "none.jsonl")
