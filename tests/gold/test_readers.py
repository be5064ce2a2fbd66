import re

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.datasets import (
    CONLL,
    DATASETS,
    SPACED,
    TAG_TOKEN,
    TOKEN_TAG,
    DataSet,
    zero_shot_sets,
)
from spacy_universalner.gold.readers import dev_examples, load, load_sets
from spacy_universalner.records import Conversation, Query

LABELS = {"per": "person", "sci": "person", "prog": "program language", "misc": None}


def write(folder, lines, format=TOKEN_TAG, labels=LABELS):
    (folder / "test.txt").write_text("\n".join(lines), encoding="utf8")
    return DataSet("toy", "columns", format, {"test": ("test.txt",)}, labels)


def strings(example):
    return sorted((example.text[start:end], type_) for start, end, type_ in example.spans)


@pytest.mark.parametrize(
    "format, lines",
    [
        (TOKEN_TAG, ["Ada\tB-per", "Bee\tI-per", "left\tO", ""]),
        (TAG_TOKEN, ["B-per\tAda", "I-per\tBee", "O\tleft", ""]),
        (SPACED, ["-DOCSTART- O", "", "Ada B-per", "Bee I-per", "left O"]),
        (CONLL, ["-DOCSTART-\tO", "", "Ada\tNN\tO\tB-per", "Bee\tNN\tO\tI-per", "left\tNN\tO\tO", "", ""]),
        (TOKEN_TAG, ["Ada\tB-per\r", "Bee\tI-per\r", "left\tO\r", "\r"]),
    ],
)
def test_formats(tmp_path, format, lines):
    (example,) = load(write(tmp_path, lines, format), tmp_path)
    assert example.id == "toy-0"
    assert example.text == "Ada Bee left"
    assert example.types == ("person", "program language")
    assert example.spans == {(0, 7, "person")}


@pytest.mark.parametrize(
    "tags, expected",
    [
        ("O O O O", []),
        ("I-per I-per O I-per", [("a b", "person"), ("d", "person")]),
        ("I-per I-prog I-prog O", [("a", "person"), ("b c", "program language")]),
        ("B-per B-per I-per O", [("a", "person"), ("b c", "person")]),
        ("B-per B-sci I-sci I-per", [("a", "person"), ("b c", "person"), ("d", "person")]),
        ("B-misc I-misc B-prog I-misc", [("c", "program language")]),
        ("O O O B-per", [("d", "person")]),
    ],
)
def test_tags(tmp_path, tags, expected):
    lines = [f"{token}\t{tag}" for token, tag in zip("abcd", tags.split(), strict=True)]
    (example,) = load(write(tmp_path, lines), tmp_path)
    assert strings(example) == sorted(expected)


def test_invisible_tokens_and_odd_white_space(tmp_path):
    lines = ["x\u2028y \tO", "\tO", " \tO", "Ada\tB-per", ""]
    (example,) = load(write(tmp_path, lines), tmp_path)
    assert example.text == "x\u2028y Ada"
    assert strings(example) == [("Ada", "person")]


@pytest.mark.parametrize(
    "lines, code, where",
    [
        (["Ada\tB-per", "Bee"], "U081", "line 2"),
        (["Ada\tB-per", "", "Bee\tI-per\tO"], "U081", "line 3"),
        (["Ada B-per"], "U081", "line 1"),
        (["Ada\tB-city"], "U082", "line 1"),
        (["Ada\tper"], "U082", "line 1"),
        (["Ada\tB-"], "U082", "line 1"),
        (["", ""], "U004", "empty"),
    ],
)
def test_bad_files(tmp_path, lines, code, where):
    dataset = write(tmp_path, lines)
    with pytest.raises(UniversalNERError, match=rf"\[{code}\].*test\.txt.*{where}"):
        load(dataset, tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(UniversalNERError, match=rf"\[U080\] {re.escape(str(tmp_path))}"):
        load(DATASETS["ai"], tmp_path)


def test_sample(tmp_path):
    dataset = write(tmp_path, [line for i in range(50) for line in (f"word{i}\tO", "")])
    whole = load(dataset, tmp_path)
    sample = load(dataset, tmp_path, limit=10, seed=1)
    assert [example.id for example in whole] == [f"toy-{i}" for i in range(50)]
    assert len({example.id for example in sample}) == 10
    assert sample == [example for example in whole if example in sample]
    assert sample == load(dataset, tmp_path, limit=10, seed=1)
    assert sample != load(dataset, tmp_path, limit=10, seed=2)
    assert load(dataset, tmp_path, limit=50) == load(dataset, tmp_path, limit=99) == load(dataset, tmp_path, limit=0)


def test_sets_need_a_folder(tmp_path):
    dataset = write(tmp_path, ["Ada\tB-per"])
    assert list(load_sets([dataset], tmp_path)) == ["toy"]
    assert load_sets([dataset], "") == {}


def test_dev_examples():
    talks = [
        Conversation("c1", "Ada met Ada in Rome.", (Query("person", ("Ada",)), Query("city", ("Rome", "Bern")))),
        Conversation("c2", "Nobody left.", (Query("person", ()), Query("person", ("Nobody",)))),
        Conversation("c3", "Not asked.", ()),
    ]
    first, second = dev_examples(talks)
    assert (first.id, first.text, first.types) == ("c1", "Ada met Ada in Rome.", ("person", "city"))
    assert first.spans == {(0, 3, "person"), (8, 11, "person"), (15, 19, "city")}
    assert (second.types, second.spans) == (("person",), {(0, 6, "person")})


def test_registry():
    assert " ".join(d.name for d in zero_shot_sets()) == "movie restaurant ai literature music politics science"
    assert [len(d.types) for d in zero_shot_sets()] == [12, 8, 13, 11, 12, 8, 16]
    assert [name for name, d in DATASETS.items() if name != d.name] == []
