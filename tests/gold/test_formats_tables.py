import json

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.formats import READERS, SetAside

from .published import read, write

ADA = {"tokens": ["Ada", "Bee", "left"], "tags": ["B-per", "I-per", "O"]}
EXPECTED = [("Ada Bee left", [("Ada Bee", "per")])]
NAMES = ["O", "B-per", "I-per"]
# Options, the file's name, its content, and what is read.
TOKENS = {
    "JSON lines": ({}, "a.jsonl", json.dumps(ADA) + "\n\n", EXPECTED),
    "a byte order mark": ({}, "a.json", "\ufeff" + json.dumps(ADA), EXPECTED),
    "an array": ({}, "a.json", "\ufeff\n" + json.dumps([ADA, ADA], indent=1), EXPECTED * 2),
    "ids of tags": ({"names": NAMES}, "a.jsonl", json.dumps({**ADA, "tags": [1, 2, 0]}), EXPECTED),
    "a map of ids": (
        {"names": {"7": "B-per", "8": "I-per", "14": "O"}},
        "a.jsonl",
        json.dumps({**ADA, "tags": [7, 8, 14]}),
        EXPECTED,
    ),
    "other keys": (
        {"tokens": "words", "tags": "ner", "scheme": "io"},
        "a.jsonl",
        json.dumps({"words": ADA["tokens"], "ner": ["per", "per", "O"]}),
        EXPECTED,
    ),
    "two levels": (
        {"tags": ["coarse", "fine"]},
        "a.jsonl",
        json.dumps({"tokens": ["Ada", "Bee"], "coarse": ["B-per", "I-per"], "fine": ["B-first", "B-last"]}),
        [("Ada Bee", [("Ada", "first"), ("Ada Bee", "per"), ("Bee", "last")])],
    ),
    "rows of one language": (
        {"only": {"lang": "en"}},
        "a.jsonl",
        json.dumps({**ADA, "lang": "en"}) + "\n" + json.dumps({**ADA, "lang": "mt"}),
        EXPECTED,
    ),
    "a table with a token a row": (
        {"tokens": "gold_token", "tags": "gold_label", "names": NAMES, "group": ["doc_idx", "sent_idx"]},
        "a.csv",
        'gold_label,gold_token,doc_idx,sent_idx\r\n1,Ada,0,0\r\n2,Bee,0,0\r\n0,left,0,0\r\n0,",",0,1\r\n1,"""",1,1\r\n',
        [*EXPECTED, (",", []), ('"', [('"', "per")])],
    ),
    "no tokens": ({}, "a.jsonl", json.dumps({"tokens": [], "tags": []}) + "\n" + json.dumps(ADA), EXPECTED),
}


@pytest.mark.parametrize(("options", "name", "content", "expected"), TOKENS.values(), ids=TOKENS)
def test_rows_of_tokens(tmp_path, options, name, content, expected):
    write(tmp_path, {name: content})
    assert read("token-json", tmp_path / name, **options)[0] == expected


def test_rows_keep_their_names_and_places(tmp_path):
    path = write(tmp_path, {"a.jsonl": "\n" + json.dumps({**ADA, "unique_id": 7})}) / "a.jsonl"
    (sentence,) = READERS["token-json"](path, SetAside(), id="unique_id")
    assert (sentence.id, sentence.where) == ("7", f"{path}, line 2")


BAD = {
    "no such key": ({"tokens": "words"}, json.dumps(ADA), r"U220.*a\.jsonl, line 1: expected 'words'.*'tags'"),
    "no list": ({}, json.dumps({**ADA, "tags": "O"}), r"U220.*line 1: expected a list in 'tags'"),
    "an unknown id": ({"names": ["O"]}, json.dumps({**ADA, "tags": [0, 0, 3]}), r"U220.*line 1.*ids \['0'\], got 3"),
    "ids without names": ({}, json.dumps({**ADA, "tags": [0, 1, 2]}), r"U221.*line 1: tag '0'"),
    "fewer tags": ({}, json.dumps({**ADA, "tags": ["O"]}), r"U227.*line 1: 1 tags for 3 tokens"),
    "a truncated line": ({}, json.dumps(ADA) + '\n{"tok', r"U002.*a\.jsonl, line 2"),
}


@pytest.mark.parametrize(("options", "content", "message"), BAD.values(), ids=BAD)
def test_bad_rows_of_tokens_are_errors(tmp_path, options, content, message):
    write(tmp_path, {"a.jsonl": content})
    with pytest.raises(UniversalNERError, match=message):
        read("token-json", tmp_path / "a.jsonl", **options)


TEXT = "I see an Audi Q7 ."
VEHICLE = {
    "id": 1,
    "data": TEXT,
    "ner_label": [["brand", 9, 13, "Audi", 3, 4, ["Audi"]], ["type", 9, 16, "Audi Q7", 3, 5, ["Audi", "Q7"]]],
}
DOCUMENT = {"sentences": [["Ada", "left"], ["We", "use", "BERT"]], "ner": [[[0, 0, "per"]], [[4, 4, "method"]]]}
WORDS = {"words": ["Ada", "left", "We", "use", "BERT"], "sentences": [[0, 2], [2, 5]]}
BY_PLACE = {"start": 0, "end": 1, "label": 2}
SPANS = {
    "characters": (
        {"text": "data", "spans": "ner_label", "label": 0, "start": 1, "end": 2, "surface": 3},
        VEHICLE,
        [(TEXT, [("Audi", "brand"), ("Audi Q7", "type")])],
        {},
    ),
    "white space at an entity's edge": (
        {"text": "text"},
        {"text": " Ada left", "entities": [{"start": 0, "end": 5, "label": "per"}]},
        [(" Ada left", [("Ada", "per")])],
        {},
    ),
    "an entity twice, one of nothing": (
        {"text": "text"},
        {"text": "Ada  left", "entities": [{"start": s, "end": e, "label": "x"} for s, e in ((0, 3), (0, 4), (3, 5))]},
        [("Ada  left", [("Ada", "x")])],
        {"entities annotated twice": 1, "entities that cannot be seen": 1},
    ),
    "tokens": (
        {"tokens": "tokens", "label": "type"},
        {
            "tokens": ["IL-2", "gene"],
            "entities": [{"start": 0, "end": 2, "type": "DNA"}, {"start": 0, "end": 1, "type": "p"}],
        },
        [("IL-2 gene", [("IL-2", "p"), ("IL-2 gene", "DNA")])],
        {},
    ),
    "a document in sentences": (
        {"sentences": "sentences", "spans": "ner", "inclusive": True, **BY_PLACE},
        DOCUMENT,
        [("Ada left", [("Ada", "per")]), ("We use BERT", [("BERT", "method")])],
        {},
    ),
    "a document, whole": (
        {"sentences": "sentences", "spans": "ner", "inclusive": True, "whole": True, **BY_PLACE},
        DOCUMENT,
        [("Ada left We use BERT", [("Ada", "per"), ("BERT", "method")])],
        {},
    ),
    "sentences as offsets": (
        {"tokens": "words", "sentences": "sentences", "spans": "ner", **BY_PLACE},
        {**WORDS, "ner": [[0, 1, "per"], [4, 5, "method"], [1, 3, "x"]]},
        [("Ada left", [("Ada", "per")]), ("We use BERT", [("BERT", "method")])],
        {"entities across a sentence boundary": 1},
    ),
}


@pytest.mark.parametrize(("options", "row", "expected", "set_aside"), SPANS.values(), ids=SPANS)
def test_rows_of_spans(tmp_path, options, row, expected, set_aside):
    write(tmp_path, {"a.jsonl": json.dumps(row)})
    assert read("span-json", tmp_path / "a.jsonl", **options) == (expected, set_aside)


def test_sentences_of_a_named_document_are_numbered(tmp_path):
    path = write(tmp_path, {"a.json": json.dumps({**DOCUMENT, "doc_key": "P1"})}) / "a.json"
    options = {"sentences": "sentences", "spans": "ner", "inclusive": True, "id": "doc_key", **BY_PLACE}
    assert [sentence.id for sentence in READERS["span-json"](path, SetAside(), **options)] == ["P1.0", "P1.1"]


RECIPE = "5 ounces rum\n1 tbsp hershey's cocoa\n"
FOOD = {"text": "ingredients", "spans": "entities", "label": "type", "surface": "entity"}


def test_a_table_with_entities_in_a_cell(tmp_path):
    entities = [
        {"start": 9, "end": 12, "type": "FOOD", "entity": "rum"},
        {"start": 20, "end": 35, "type": "FOOD", "entity": 'hershey"s cocoa'},  # some quotes were changed
    ]
    cell = json.dumps(entities).replace('"', '""')
    write(tmp_path, {"a.csv": f'ingredients,entities\n"{RECIPE}","{cell}"\n'})
    expected = [(RECIPE, [("rum", "FOOD"), ("hershey's cocoa", "FOOD")])]
    assert read("csv", tmp_path / "a.csv", **FOOD) == (expected, {})


MISFITS = {
    "another text": ([9, 13, "x", "rums"], r"U222.*a\.jsonl, line 1: entity 'x' from 9 to 13.*'rum.*not 'rums'"),
    "behind the end": ([9, 99, "x", "rum"], r"U222.*a\.jsonl, line 1: entity 'x' from 9 to 99.*36 characters"),
    "before the start": ([-2, 3, "x", "rum"], r"U222.*from -2 to 3"),
    "the wrong way round": ([5, 3, "x", "rum"], r"U222.*from 5 to 3"),
    "no numbers": (["a", 3, "x", "rum"], r"U220.*line 1: expected two numbers"),
    "too short": ([1], r"U220.*line 1: expected 1"),
}


@pytest.mark.parametrize(("span", "message"), MISFITS.values(), ids=MISFITS)
def test_entities_that_do_not_fit_are_errors(tmp_path, span, message):
    write(tmp_path, {"a.jsonl": json.dumps({"text": RECIPE, "entities": [span]})})
    with pytest.raises(UniversalNERError, match=message):
        read("span-json", tmp_path / "a.jsonl", text="text", surface=3, **BY_PLACE)


def test_a_token_span_that_does_not_fit_is_an_error(tmp_path):
    write(tmp_path, {"a.jsonl": json.dumps({**WORDS, "ner": [[4, 6, "x"]]})})
    with pytest.raises(UniversalNERError, match=r"U222.*line 1: entity 'x' from 4 to 6.*there are 5 tokens"):
        read("span-json", tmp_path / "a.jsonl", tokens="words", spans="ner", **BY_PLACE)


def test_a_cell_that_is_no_json_is_an_error(tmp_path):
    write(tmp_path, {"a.csv": 'ingredients,entities\n"a\nb",\nc,[oops\n'})
    with pytest.raises(UniversalNERError, match=r"U220.*a\.csv, line 2: expected JSON"):
        read("csv", tmp_path / "a.csv", **FOOD)
