import re
from inspect import signature
from pathlib import Path

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.datasets import DATASETS, zero_shot_sets
from spacy_universalner.gold.formats import READERS, SetAside, split_slice
from spacy_universalner.gold.readers import dev_examples, find_tags, load, load_sets
from spacy_universalner.records import Conversation, Query

from .published import COLUMNS, make_set, write

FILES = {split: (f"{split}.txt",) for split in ("train", "dev", "test")}


def write_lines(folder, lines, name="test.txt", **changes):
    write(folder, {name: "\n".join(lines)})
    return make_set(FILES, **changes)


def strings(example):
    return sorted((example.text[start:end], type_) for start, end, type_ in example.spans)


def test_tags_become_words(tmp_path):
    lines = ["Ada\tB-sci", "met\tO", "Bee\tB-per", "in\tO", "C\tB-prog", "Rome\tB-misc"]
    (example,) = load(write_lines(tmp_path, lines), tmp_path)
    assert (example.id, example.text) == ("toy-0", "Ada met Bee in C Rome")
    assert example.types == ("person", "program language")
    assert strings(example) == [("Ada", "person"), ("Bee", "person"), ("C", "program language")]


@pytest.mark.parametrize(("split", "id_"), [("train", "toy-train-0"), ("dev", "toy-dev-0"), ("test", "toy-0")])
def test_splits_have_names_of_their_own(tmp_path, split, id_):
    dataset = write_lines(tmp_path, ["Ada\tB-per"], name=f"{split}.txt")
    assert [example.id for example in load(dataset, tmp_path, split=split)] == [id_]


BAD = {
    "another number of columns": (["Ada\tB-per", "Bee"], "U081", "line 2"),
    "an unknown tag": (["Ada\tO", "", "Ada\tO", "Rome\tB-city"], "U082", "line 3: tag 'city'.*per, sci, prog, misc"),
    "a tag without a prefix": (["Ada\tper"], "U221", "line 1"),
    "nothing": (["", ""], "U004", "empty"),
}


@pytest.mark.parametrize(("lines", "code", "where"), BAD.values(), ids=BAD)
def test_bad_files_are_errors(tmp_path, lines, code, where):
    dataset = write_lines(tmp_path, lines)
    with pytest.raises(UniversalNERError, match=rf"\[{code}\].*test\.txt.*{where}"):
        load(dataset, tmp_path)


REGISTERED = {
    "a split it has not": ({"files": {"test": ("test.txt",)}}, "train", r"U224.*'toy'.*train.*expected one of: test"),
    "a format nobody knows": ({"files": FILES, "format": "conll"}, "test", r"U225.*'toy'.*'conll'.*columns, conllu"),
    "an option its format has not": (
        {"files": FILES, "options": {**COLUMNS, "label": 3}},
        "test",
        r"U225.*'columns'.*'label'",
    ),
}


@pytest.mark.parametrize(("changes", "split", "message"), REGISTERED.values(), ids=REGISTERED)
def test_what_is_registered_wrongly_is_an_error(tmp_path, changes, split, message):
    write(tmp_path, {"test.txt": "Ada\tO"})
    with pytest.raises(UniversalNERError, match=message):
        load(make_set(**changes), tmp_path, split=split)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_the_registered_formats_and_options_are_known(dataset):
    signature(READERS[dataset.format]).bind(Path("a"), SetAside(), **dataset.options)


def test_documents_are_cut_into_sentences(tmp_path):
    text = "Ada Bee left. She\nwent by cab.  \n"
    write(tmp_path, {"p.txt": text, "p.ann": "T1\tper 0 7\tAda Bee\nT2\tper 8 17\tleft. She\nT3\tprog 26 29\tcab\n"})
    dataset = make_set({"test": (".",)}, format="brat", options={}, cut=True)
    set_aside = SetAside()
    examples = load(dataset, tmp_path, set_aside=set_aside)
    assert [(e.id, e.text) for e in examples] == [
        ("toy-0.0", "Ada Bee left."),
        ("toy-0.1", "She"),
        ("toy-0.2", "went by cab."),
    ]
    assert [strings(e) for e in examples] == [[("Ada Bee", "person")], [], [("cab", "program language")]]
    assert dict(+set_aside) == {"entities across a sentence boundary": 1}


SLICES = {
    "a.csv[:80%]": [0, 1, 2, 3, 4],
    "a.csv[80%:90%]": [5],
    "a.csv[90%:]": [6],
    "a.csv[:2]": [0, 1],
    "a.csv": range(7),
}


@pytest.mark.parametrize(("file", "expected"), SLICES.items(), ids=SLICES)
def test_a_split_may_be_a_slice_of_a_file(tmp_path, file, expected):
    assert split_slice(file)[0] == "a.csv"
    write(tmp_path, {"a.csv": "".join(f"word{i}\tO\n\n" for i in range(7))})
    assert [e.text for e in load(make_set({"test": (file,)}), tmp_path)] == [f"word{i}" for i in expected]


def test_a_file_is_shuffled_before_it_is_sliced(tmp_path):
    write(tmp_path, {"a.txt": "".join(f"word{i}\tO\n\n" for i in range(20))})
    dataset = make_set({"train": ("a.txt[:80%]",), "test": ("a.txt[80%:]",)}, shuffle=0)
    parts = {split: [e.text for e in load(dataset, tmp_path, split=split)] for split in ("train", "test")}
    assert (len(parts["train"]), len(parts["test"])) == (16, 4)
    assert sorted(parts["train"] + parts["test"]) == sorted(f"word{i}" for i in range(20))
    assert parts["test"] != [f"word{i}" for i in range(16, 20)]
    assert parts["test"] == [e.text for e in load(dataset, tmp_path)]


def test_files_of_a_split_are_numbered_through(tmp_path):
    write(tmp_path, {"a.txt": "a\tO\n\nb\tO\n", "b.txt": "c\tO\n"})
    examples = load(make_set({"test": ("a.txt", "b.txt")}), tmp_path)
    assert [(e.id, e.text) for e in examples] == [("toy-0", "a"), ("toy-1", "b"), ("toy-2", "c")]


def test_the_tags_of_a_file(tmp_path):
    write(tmp_path, {"a.txt": "a\tB-y\n\nb\tI-x\nc\tO\nd\tB-y\n"})
    assert find_tags(tmp_path / "a.txt", "columns", COLUMNS) == ["x", "y"]


def test_missing_file(tmp_path):
    with pytest.raises(UniversalNERError, match=rf"\[U080\] {re.escape(str(tmp_path))}"):
        load(DATASETS["ai"], tmp_path)


def test_sample(tmp_path):
    dataset = write_lines(tmp_path, [line for i in range(50) for line in (f"word{i}\tO", "")])
    whole = load(dataset, tmp_path)
    sample = load(dataset, tmp_path, limit=10, seed=1)
    assert [example.id for example in whole] == [f"toy-{i}" for i in range(50)]
    assert len({example.id for example in sample}) == 10
    assert sample == [example for example in whole if example in sample]
    assert sample == load(dataset, tmp_path, limit=10, seed=1)
    assert sample != load(dataset, tmp_path, limit=10, seed=2)
    assert load(dataset, tmp_path, limit=50) == load(dataset, tmp_path, limit=99) == load(dataset, tmp_path, limit=0)


def test_sets_need_a_folder(tmp_path):
    dataset = write_lines(tmp_path, ["Ada\tB-per"])
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
