import json

import pytest

from spacy_universalner.bulk import shards
from spacy_universalner.bulk.shards import cut, read_shards
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Passage

DOCUMENTS = [Passage(str(number), f"Text {number}.") for number in range(7)]


def write(path, documents=DOCUMENTS):
    path.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in documents), encoding="utf8")
    return path


def numbers(found):
    return [[document.id for document in shard.documents] for shard in found]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_shards_hold_all_documents_once_and_in_order(size):
    found = list(cut(DOCUMENTS, size))
    assert [document for shard in found for document in shard.documents] == DOCUMENTS
    assert [shard.number for shard in found] == list(range(len(found)))
    assert all(len(shard.documents) == size for shard in found[:-1])


def test_long_documents_end_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "MAX_CHARS", 10)
    documents = [Passage("a", "x" * 50), Passage("b", "y"), Passage("c", "z" * 9), Passage("d", "w")]
    assert numbers(cut(documents, 3)) == [["a"], ["b", "c"], ["d"]]


def test_no_documents_make_no_shards():
    assert list(cut([], 3)) == []


def test_shards_that_are_done_are_passed_over(tmp_path):
    path = write(tmp_path / "a.jsonl")
    every = list(cut(DOCUMENTS, 2))
    done = {shard.number: shard.digest for shard in (every[0], every[2])}
    assert list(read_shards(path, size=2, done=done)) == [every[1], every[3]]


# What became of the documents since two shards of two were done.
CHANGED = {
    "a text": ([Passage("0", "Other."), *DOCUMENTS[1:]], "U198.*part 0.*'0'"),
    "an id": ([*DOCUMENTS[:2], Passage("x", "Text 2."), *DOCUMENTS[3:]], "U198.*part 1"),
    "the order": (DOCUMENTS[::-1], "U198.*part 0"),
    "one is gone": (DOCUMENTS[1:], "U198.*part 0"),
    "the end is gone": (DOCUMENTS[:2], "U199.*1 of the parts"),
}


@pytest.mark.parametrize(("documents", "message"), CHANGED.values(), ids=CHANGED)
def test_other_documents_than_before_are_refused(tmp_path, documents, message):
    done = {shard.number: shard.digest for shard in list(cut(DOCUMENTS, 2))[:2]}
    with pytest.raises(UniversalNERError, match=message):
        list(read_shards(write(tmp_path / "a.jsonl", documents), size=2, done=done))


def test_documents_may_be_added_behind_those_that_are_done(tmp_path):
    done = {shard.number: shard.digest for shard in list(cut(DOCUMENTS, 2))[:2]}
    longer = [*DOCUMENTS, Passage("7", "More."), Passage("8", "And more.")]
    assert numbers(read_shards(write(tmp_path / "a.jsonl", longer), size=2, done=done)) == [
        ["4", "5"],
        ["6", "7"],
        ["8"],
    ]
