import json

import pytest

from spacy_universalner.corpus.passages import read_documents, sample
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Passage


def documents(*texts):
    return [Passage(f"d{number}", text) for number, text in enumerate(texts)]


def test_a_short_document_stays_as_it_is():
    document = Passage("a", "  One two.\n", source="book", domain="fiction")
    assert sample([document]).passages == [document]


def test_a_long_document_is_numbered():
    result = sample([Passage("a", "One two. Three four.", domain="fiction")], max_tokens=3)
    assert result.passages == [
        Passage("a-1", "One two.", source="a", domain="fiction"),
        Passage("a-2", "Three four.", source="a", domain="fiction"),
    ]


def test_passages_keep_the_source_of_their_document():
    result = sample([Passage("a", "One two. Three four.", source="book")], max_tokens=3)
    assert {passage.source for passage in result.passages} == {"book"}


def test_duplicates_but_for_case_and_white_space_are_dropped_and_counted():
    result = sample(documents("One two.", "one\n TWO. ", "Three."))
    assert [passage.id for passage in result.passages] == ["d0", "d2"]
    assert result.counts["duplicates"] == 1


def test_empty_documents_are_set_aside_and_counted():
    result = sample(documents("", " \n", "One."))
    assert [passage.id for passage in result.passages] == ["d2"]
    assert result.counts["empty"] == 2


def test_counts_add_up():
    counts = sample(documents("One two. Three four.", "", "one two."), max_tokens=3, limit=1).counts
    assert counts == {"documents": 3, "empty": 1, "passages": 3, "duplicates": 1, "kept": 1}


def test_a_sample_stands_in_file_order():
    kept = sample(documents(*map(str, range(100))), limit=10, seed=3).passages
    numbers = [int(passage.text) for passage in kept]
    assert len(set(numbers)) == 10
    assert numbers == sorted(numbers)


def test_the_seed_decides_the_sample():
    texts = documents(*map(str, range(100)))
    assert sample(texts, limit=10, seed=1) == sample(texts, limit=10, seed=1)
    assert sample(texts, limit=10, seed=1) != sample(texts, limit=10, seed=2)


def test_every_passage_is_as_likely():
    texts = documents(*map(str, range(10)))
    drawn = [passage.text for seed in range(400) for passage in sample(texts, limit=3, seed=seed).passages]
    assert all(80 < drawn.count(str(number)) < 160 for number in range(10))


def test_a_limit_above_the_number_keeps_all():
    assert len(sample(documents("One.", "Two."), limit=5).passages) == 2


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf8")
    return path


def test_documents_are_read(tmp_path):
    path = write(tmp_path / "d.jsonl", {"id": 7, "text": "One.", "extra": 1}, {"id": "b", "text": "", "domain": "law"})
    assert list(read_documents(path)) == [Passage("7", "One."), Passage("b", "", domain="law")]


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    path = write(tmp_path / "d.jsonl", r'{"id": "a", "text": "x \ud83d y"}')
    assert next(read_documents(path)).text == "x \ufffd y"


BAD = {
    "no text": ({"id": "b"}, "U007.*line 2.*'text' of a document must be a string"),
    "text is a number": ({"id": "b", "text": 5}, "U007.*line 2.*got 5"),
    "no id": ({"text": "One."}, "U007.*line 2.*'id'"),
    "domain is a list": ({"id": "b", "text": "One.", "domain": []}, "U007.*line 2.*'domain'"),
    "id used twice": ({"id": "a", "text": "Two."}, "U006.*line 2"),
    "no object": ("5", "U002.*line 2"),
    "cut off": ('{"id": "b", "te', "U002.*line 2"),
}


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named(tmp_path, row, message):
    path = write(tmp_path / "d.jsonl", {"id": "a", "text": "One."}, row)
    with pytest.raises(UniversalNERError, match=message):
        list(read_documents(path))


def test_another_encoding_is_an_error_of_its_line(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes('{"id": "a", "text": "é"}\n'.encode("latin1"))
    with pytest.raises(UniversalNERError, match="U002.*line 1"):
        list(read_documents(path))


def test_a_missing_file_says_what_is_wanted(tmp_path):
    with pytest.raises(UniversalNERError, match="U001.*JSONL file of documents"):
        list(read_documents(tmp_path / "none.jsonl"))
