import pickle
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_universalner.corpus import passages as module
from spacy_universalner.corpus.documents import read_documents
from spacy_universalner.corpus.passages import draw, finish
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Passage, read_json, read_records, write_records
from spacy_universalner.schemas import load_settings

ROOT = Path(__file__).parents[2]


def story(number, ending=""):
    """A text of its own, but for its ending."""
    return " ".join(f"{word} {number}" for word in "harbour master wrote ship quay storm week".split()) + ending


def sample(documents, **changes):
    """A sample without near duplicates of all that is there, but for the changes."""
    all_of_it = {"max_tokens": 256, "limit": 1000, "seed": 0, "strata": "", "near_duplicates": 0, "spare": 0.25}
    return module.sample(documents, **{**all_of_it, **changes})


def documents(*texts):
    return [Passage(f"d{number}", text) for number, text in enumerate(texts)]


def test_a_short_document_stays_as_it_is():
    document = Passage("a", "  One two.\n", source="book", domain="fiction")
    assert sample([document]).passages == [document]


def test_a_long_document_is_numbered():
    result = sample([Passage("a", "One two. Three four.", domain="fiction")], max_tokens=3)
    assert result.passages == [
        Passage("a#1", "One two.", source="a", domain="fiction"),
        Passage("a#2", "Three four.", source="a", domain="fiction"),
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
    assert counts == {
        "documents": 3,
        "empty": 1,
        "passages": 3,
        "duplicates": 1,
        "near_duplicates": 0,
        "kept": 1,
        "short": 0,
    }


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


def test_the_embedded_corpus_comes_out_as_it_is():
    documents = list(read_documents(ROOT / "assets" / "passages.jsonl"))
    shipped = load_settings(ROOT / "configs" / "distil.cfg", "sample")
    result = module.sample(documents, **shipped.model_dump())
    assert result.passages == documents
    assert result.counts["kept"] == 1541


def test_what_was_drawn_from_parts_is_the_sample_of_the_whole():
    texts, settings_ = documents(*map(str, range(200))), {"max_tokens": 9, "limit": 20, "seed": 4, "strata": ""}
    parts = [draw(texts[start::3], spare=0.25, **settings_) for start in range(3)]
    whole, *others = (pickle.loads(pickle.dumps(part)) for part in parts)
    for other in others:
        whole.merge(other)
    merged = finish(whole, limit=20, near_duplicates=0.8)
    expected = sample(texts, near_duplicates=0.8, **settings_)
    assert merged.passages == sorted(expected.passages, key=lambda passage: passage.id)
    assert merged.counts == expected.counts


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from("ab")), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    shuffled=st.randoms(use_true_random=False),
    limit=st.integers(1, 8),
    strata=st.sampled_from(["", "source"]),
)
@settings(deadline=None, max_examples=60)
def test_order_and_parts_are_of_no_matter(rows, cuts, shuffled, limit, strata):
    found = [
        Passage(f"{i}", story(number, " The end." * end + " " * (i % 3)), source=source)
        for i, (number, end, source) in enumerate(rows)
    ]

    def run(parts):
        whole = draw([], max_tokens=256, limit=limit, seed=1, strata=strata, spare=0.5)
        for part in parts:
            whole.merge(draw(part, max_tokens=256, limit=limit, seed=1, strata=strata, spare=0.5))
        return finish(whole, limit=limit, near_duplicates=0.6).passages

    expected = run([found])
    streamed = sample(found, limit=limit, seed=1, strata=strata, near_duplicates=0.6, spare=0.5).passages
    assert sorted(streamed, key=lambda passage: passage.id) == expected
    shuffled.shuffle(found)
    edges = [0, *sorted(cuts), len(found)]
    assert run(found[start:end] for start, end in zip(edges, edges[1:], strict=False)) == expected


def test_of_near_duplicates_one_is_kept_and_the_rest_counted():
    result = sample(documents(story(1), story(2), story(2, "!"), story(2, " Then")), near_duplicates=0.7)
    assert [passage.text[:9] for passage in result.passages] == ["harbour 1", "harbour 2"]
    assert result.counts["near_duplicates"] == 2


def test_near_duplicates_are_made_up_for_as_far_as_the_spare_goes():
    copies = [story(1, f" {number}") for number in range(40)]
    texts = documents(*copies, *map(str, range(60)))
    plenty, little = (sample(texts, limit=20, near_duplicates=0.7, spare=spare).counts for spare in (2, 0))
    assert (plenty["kept"], plenty["short"]) == (20, 0)
    assert little["kept"] + little["near_duplicates"] == 20
    assert little["short"] == little["near_duplicates"] > 0


def test_strata_share_the_sample():
    texts = [Passage(f"{i}", f"Text {i}.", domain=["law", "news", "web"][min(i // 5, 2)]) for i in range(200)]
    kept = sample(texts, limit=30, strata="domain").passages
    shares = [sum(passage.domain == domain for passage in kept) for domain in ("law", "news", "web")]
    assert shares == [5, 5, 20]


def test_a_text_of_two_strata_is_kept_once():
    copies = [Passage(name, "One.", source=name) for name in "ba"]
    result = sample([*copies, Passage("c", "Two.", source="b")], strata="source")
    assert [passage.id for passage in result.passages] == ["a", "c"]
    assert result.counts["duplicates"] == 1


def test_an_id_of_two_passages_is_an_error():
    texts = [Passage("a#1", "Five."), Passage("a", "One two. Three four.")]
    with pytest.raises(UniversalNERError, match="U103.*'a#1'.*'Five.'.*'One two.'.*id = null"):
        sample(texts, max_tokens=3)


def test_a_document_that_is_there_twice_is_a_duplicate():
    assert sample([Passage("a", "One."), Passage("a", "One.")]).counts["duplicates"] == 1


def test_a_limit_of_none_is_an_error():
    with pytest.raises(UniversalNERError, match="U008.*limit"):
        sample(documents("One."), limit=0)


def test_the_script_counts_what_was_read_and_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_records(Path("data/d.jsonl"), documents("One.", "one.", "Two."))
    Path("data/README.md").write_text("Some text.")
    main = runpy.run_path(str(ROOT / "scripts" / "sample.py"))["main"]
    main(documents=Path("data"), config=ROOT / "configs" / "distil.cfg")
    assert [passage.text for passage in read_records(Path("corpus/passages.jsonl"), Passage)] == ["One.", "Two."]
    facts = read_json(Path("metrics/stages/sample.json"))
    names = ("files", "set_aside_files", "documents", "duplicates", "near_duplicates", "kept", "short")
    assert [facts[name] for name in names] == [1, 1, 3, 1, 0, 2, 0]
