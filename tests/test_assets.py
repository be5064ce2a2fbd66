"""The embedded corpus: passages of nine domains, and a recorded reply to each."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from spacy_universalner.align import find_mentions
from spacy_universalner.chunking import TOKEN
from spacy_universalner.corpus.conversations import read_absent
from spacy_universalner.corpus.documents import read_documents
from spacy_universalner.definitions import read_definitions
from spacy_universalner.parsing import parse_pairs
from spacy_universalner.prompts import TYPE_V1, messages_key
from spacy_universalner.records import Passage, read_rows, sha256_json

ASSETS = Path(__file__).parents[1] / "assets"
DOMAINS = {
    "general",
    "biomedicine",
    "clinics",
    "STEM",
    "programming",
    "social media",
    "law",
    "finance",
    "transport",
}


@cache
def passages() -> list[Passage]:
    return list(read_documents(ASSETS / "passages.jsonl"))


@cache
def replies() -> list[dict]:
    return [row for _, row in read_rows(ASSETS / "replies.jsonl")]


@cache
def labelled() -> list[tuple[str, str, str]]:
    """(text, entity, type) of every pair of every reply."""
    texts = {passage.id: passage.text for passage in passages()}
    return [
        (texts[row["passage_id"]], entity, type_)
        for row in replies()
        for entity, type_ in parse_pairs(row["reply"]) or ()
    ]


def eight_grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}


def test_there_are_enough_passages():
    assert len(passages()) >= 1500


def test_passages_are_neither_short_nor_long():
    lengths = {passage.id: len(TOKEN.findall(passage.text)) for passage in passages()}
    assert {id_: length for id_, length in lengths.items() if not 60 <= length <= 250} == {}


def test_every_domain_has_its_share():
    counts = Counter(passage.domain for passage in passages())
    assert set(counts) == DOMAINS
    assert min(counts.values()) >= 100


def test_registers_are_many_and_none_prevails():
    counts = Counter(passage.source for passage in passages())
    assert len(counts) >= 500
    assert max(counts.values()) <= 10


def test_passages_begin_differently():
    counts = Counter(tuple(passage.text.lower().split()[:3]) for passage in passages())
    assert max(counts.values()) <= 3


def test_some_passages_have_no_capitals():
    assert sum(passage.text == passage.text.lower() for passage in passages()) >= 50


def test_no_two_passages_share_eight_words_in_a_row():
    owner: dict[tuple[str, ...], str] = {}
    shared = []
    for passage in passages():
        for gram in eight_grams(passage.text):
            if owner.setdefault(gram, passage.id) != passage.id:
                shared.append((owner[gram], passage.id, " ".join(gram)))
    assert shared == []


def test_every_passage_has_one_reply_to_its_messages():
    keys = {passage.id: messages_key(TYPE_V1.messages(passage.text)) for passage in passages()}
    assert sorted((row["passage_id"], row["key"]) for row in replies()) == sorted(keys.items())


def test_replies_are_of_the_prompt_they_are_replayed_for():
    assert {row["prompt_sha"] for row in replies()} == {TYPE_V1.sha}


def test_every_reply_can_be_read():
    assert [row["passage_id"] for row in replies() if parse_pairs(row["reply"]) is None] == []


def test_entities_stand_in_their_passages():
    found = [bool(find_mentions(text, entity)) for text, entity, _ in labelled()]
    assert sum(found) >= 0.98 * len(found)


def test_passages_hold_many_entities():
    assert len(labelled()) >= 8 * len(passages())


def test_there_are_many_types():
    assert len({type_ for *_, type_ in labelled()}) >= 2000


@pytest.mark.parametrize("type_", ["person", "organization", "location", "date", "event", "product"])
def test_everyday_types_are_asked_in_many_passages(type_):
    assert len({text for text, _, found in labelled() if found == type_}) >= 150


def test_mentions_are_no_handful_of_names():
    mentions = [entity for _, entity, _ in labelled()]
    assert len(set(mentions)) >= 0.5 * len(mentions)


def test_every_type_is_defined_and_no_other():
    assert set(read_definitions(ASSETS / "definitions.jsonl")) == {type_ for *_, type_ in labelled()}


def test_absent_types_are_those_of_the_passages_and_not_in_their_replies():
    known = read_absent(ASSETS / "absent.jsonl")
    assert set(known) == {sha256_json(passage.text) for passage in passages()}
    present = {(sha256_json(text), found.casefold()) for text, _, found in labelled()}
    assert [(sha, name) for sha, names in known.items() for name in names if (sha, name.casefold()) in present] == []


def test_definitions_are_short_sentences():
    said = read_definitions(ASSETS / "definitions.jsonl").values()
    assert [one for one in said if not 4 <= len(one.split()) <= 20 or not one.endswith(".")] == []
