import re

import pytest
from spacy.tokens import DocBin

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.datasets import DATASETS, train_sets
from spacy_universalner.gold.sources import read_benchmark, read_column_set, read_doc_set

from .test_docs import make_doc

TRAINABLE = ["btc", "bc5cdr", "ncbi", "anatem", "bc2gm", "scierc", "harveyner", "jnlpba", "tasteset"]
ZERO_SHOT = ["movie", "restaurant", "ai", "literature", "music", "politics", "science"]
COLUMNS = {"labels": {"per": "person"}, "separator": "\t", "columns": 2, "token": 0, "tag": 1, "license": "our own"}


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf8")
    return path


def test_the_sets_with_a_train_split():
    assert {name for name, dataset in DATASETS.items() if not dataset.train} == set(ZERO_SHOT)
    assert [dataset.name for dataset in train_sets(TRAINABLE)] == TRAINABLE
    assert all(dataset.license for dataset in train_sets(TRAINABLE))


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_no_zero_shot_set_can_be_trained_on(name):
    assert DATASETS[name].train == ()
    with pytest.raises(UniversalNERError, match=rf"U155.*\n  {name}: one of the zero-shot sets.*never trained on"):
        read_benchmark([name], "anywhere", max_tokens=256)


def test_no_file_is_both_learnt_from_and_measured_on():
    measured = {file for dataset in DATASETS.values() for file in dataset.files["test"]}
    assert not measured & {file for dataset in DATASETS.values() for file in dataset.train}


def test_all_names_that_cannot_be_trained_on_are_told_at_once():
    with pytest.raises(UniversalNERError, match="U155") as caught:
        train_sets(["btc", "movie", "ai", "conll"])
    lines = str(caught.value).splitlines()[1:-1]
    assert [line.strip().partition(":")[0] for line in lines] == ["movie", "ai", "conll"]


def test_a_train_split_of_several_files_is_read_in_order(tmp_path):
    for name in "abeg":
        write(tmp_path / f"btc/{name}.conll", [f"{name}\tB-PER", "", "left\tO", ""])
    (source,) = read_benchmark(["btc"], str(tmp_path), max_tokens=256)
    assert (source.name, source.license, source.sentences) == ("btc", "cc-by-4.0", 8)
    assert list(source.files) == ["btc/a.conll", "btc/b.conll", "btc/e.conll", "btc/g.conll"]
    assert [e.text for e in source.examples] == ["a", "left", "b", "left", "e", "left", "g", "left"]
    assert [e.id for e in source.examples] == [f"btc-train-{i}" for i in range(8)]
    assert source.examples[0].spans == {(0, 1, "person")}


def test_a_missing_train_file_is_an_error(tmp_path):
    with pytest.raises(UniversalNERError, match=rf"U080.*{re.escape(str(tmp_path))}.*ncbi/train\.tsv"):
        read_benchmark(["ncbi"], str(tmp_path), max_tokens=256)


def test_the_benchmark_needs_a_folder():
    with pytest.raises(UniversalNERError, match="U156.*btc, ncbi.*vars.benchmark_data"):
        read_benchmark(["btc", "ncbi"], "", max_tokens=256)
    assert read_benchmark([], "", max_tokens=256) == []


# Settings of a file of one's own, its lines, and its types.
FORMS = {
    "token and tag": ({}, ["Ada\tB-per", "Bee\tI-per", "left\tO"], ("person",)),
    "tag and token": ({"token": 1, "tag": 0}, ["B-per\tAda", "I-per\tBee", "O\tleft"], ("person",)),
    "four columns": (
        {"columns": 4, "tag": 3, "separator": " "},
        ["Ada N O B-per", "Bee N O I-per", "left V O O"],
        ("person",),
    ),
    "any white space": ({"separator": None}, ["Ada  B-per", "Bee\tI-per ", "left \t O"], ("person",)),
    "no map": ({"labels": None}, ["Ada\tB-WORK_OF", "Bee\tI-WORK_OF", "left\tO"], ("work of",)),
}


@pytest.mark.parametrize(("changes", "lines", "types"), FORMS.values(), ids=FORMS)
def test_column_files_of_ones_own(tmp_path, changes, lines, types):
    path = write(tmp_path / "my.tsv", lines)
    source = read_column_set("mine", path, **{**COLUMNS, **changes}, max_tokens=256)
    (example,) = source.examples
    assert (source.name, source.license, dict(source.files)) == ("mine", "our own", {"my.tsv": path})
    assert (example.id, example.text, example.types) == ("mine-train-0", "Ada Bee left", types)
    assert example.spans == {(0, 7, types[0])}


BAD = {
    "no such file": (None, r"U001.*my\.tsv.*\[supervise\.sets\.mine\]"),
    "another number of columns": (b"Ada\tN\tB-per\n", r"U081.*my\.tsv, line 1.*2 columns"),
    "a tag without a prefix": (b"Ada\tper\n", r"U221.*my\.tsv, line 1.*'per'"),
    "a tag without words": (b"Ada\tO\nRome\tB-city\n", r"U082.*my\.tsv, line 1.*'city'"),
    "another encoding": (b"Ad\xe9\tO\n", r"U100.*my\.tsv.*utf-8"),
    "nothing in it": (b"\n\n", r"U004.*my\.tsv"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_column_files_are_errors(tmp_path, content, message):
    path = tmp_path / "my.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UniversalNERError, match=message):
        read_column_set("mine", path, **COLUMNS, max_tokens=256)


def test_long_sentences_are_cut_and_entities_across_a_cut_counted(tmp_path):
    path = write(tmp_path / "my.tsv", ["Ada\tB-per", "left\tO", "Bob\tB-per", "Bee\tI-per", "Eve\tB-per"])
    source = read_column_set("mine", path, **COLUMNS, max_tokens=3)
    assert [(e.id, e.text) for e in source.examples] == [
        ("mine-train-0.0", "Ada left Bob"),
        ("mine-train-0.1", "Bee Eve"),
    ]
    assert [e.spans for e in source.examples] == [{(0, 3, "person")}, {(4, 7, "person")}]
    assert (source.sentences, source.set_aside) == (1, {"entities across a cut": 1})


def test_docs_are_named_by_their_place_in_the_folder(tmp_path):
    (tmp_path / "more").mkdir()
    DocBin(docs=[make_doc("Ada left.", ("Ada", "PER")), make_doc("  ")]).to_disk(tmp_path / "more" / "a.spacy")
    source = read_doc_set("mine", tmp_path, labels=None, spans_key=None, license="our own", max_tokens=256)
    assert dict(source.files) == {"more/a.spacy": tmp_path / "more" / "a.spacy"}
    assert [(e.text, e.spans) for e in source.examples] == [("Ada left.", {(0, 3, "per")})]
    assert (source.sentences, source.set_aside) == (2, {"sentences without visible text": 1})
