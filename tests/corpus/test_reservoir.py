import pickle
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.corpus.reservoir import Reservoir
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Passage

PASSAGES = st.lists(
    st.builds(
        Passage,
        id=st.sampled_from("abcdef"),
        text=st.sampled_from([*"0123456789xyz", "X", "Y ", " z"]),
        source=st.sampled_from("pqrs"),
        domain=st.just("d"),
    ),
    max_size=40,
)
SETTINGS = {"limit": st.integers(1, 12), "seed": st.integers(-3, 3), "strata": st.sampled_from(["", "source"])}


def fill(passages, limit=100, seed=0, strata=""):
    reservoir = Reservoir(limit, seed, strata)
    for passage in passages:
        reservoir.add(passage)
    return reservoir


def held(reservoir):
    """What is held, but for when it came."""
    return [(priority, copy[:4]) for priority, copy in reservoir]


def numbered(count, **fields):
    return [Passage(f"{number}", f"Text {number}.", **fields) for number in range(count)]


@given(passages=PASSAGES, shuffled=st.randoms(use_true_random=False), **SETTINGS)
def test_the_order_is_of_no_matter(passages, shuffled, limit, seed, strata):
    before = held(fill(passages, limit, seed, strata))
    shuffled.shuffle(passages)
    assert held(fill(passages, limit, seed, strata)) == before


@given(passages=PASSAGES, cuts=st.lists(st.integers(0, 40), max_size=4), **SETTINGS)
def test_parts_can_be_merged(passages, cuts, limit, seed, strata):
    edges = [0, *sorted(cuts), len(passages)]
    whole = Reservoir(limit, seed, strata)
    for start, end in zip(edges, edges[1:], strict=False):
        whole.merge(fill(passages[start:end], limit, seed, strata))
    assert held(whole) == held(fill(passages, limit, seed, strata))


@given(passages=PASSAGES, **SETTINGS)
def test_as_much_is_held_as_there_is_room(passages, limit, seed, strata):
    distinct = {(p.source if strata else "", p.text.casefold().strip()) for p in passages}
    reservoir = fill(passages, limit, seed, strata)
    assert len(reservoir) == len(list(reservoir)) == min(limit, len(distinct))
    assert reservoir.overflowed == (len(distinct) > limit)


@given(sizes=st.lists(st.integers(0, 15), min_size=1, max_size=8), limit=st.integers(1, 30), seed=st.integers(0, 9))
def test_strata_end_in_equal_shares_and_small_ones_whole(sizes, limit, seed):
    passages = [
        Passage(f"{name}-{i}", f"{name} {i}", source=str(name)) for name, size in enumerate(sizes) for i in range(size)
    ]
    kept = Counter(copy[2] for _, copy in fill(passages, limit, seed, "source"))
    most = max(kept.values(), default=0)
    assert all(kept[str(name)] == size or kept[str(name)] >= most - 1 for name, size in enumerate(sizes))


def test_of_a_stratum_the_smallest_priorities_are_held():
    everything = list(fill(numbered(50)))
    assert [priority for priority, _ in fill(numbered(50), 7)] == [priority for priority, _ in everything[:7]]


def test_of_more_strata_than_there_is_room_no_part_of_the_alphabet_is_preferred():
    passages = [Passage(f"{number:03}", f"Text {number}.", source=f"{number:03}") for number in range(1000)]
    random.Random(0).shuffle(passages)
    first = [copy[2] < "500" for _, copy in fill(passages, 200, strata="source")]
    assert len(first) == 200
    assert 70 < sum(first) < 130


COPIES = {
    "case": "one TWO",
    "white space": " One\n\ttwo ",
}


@pytest.mark.parametrize("text", COPIES.values(), ids=COPIES)
def test_copies_are_one_passage(text):
    reservoir = fill([Passage("b", "One two"), Passage("a", text), Passage("c", "One two")])
    assert reservoir.passages() == [Passage("a", text)]
    assert reservoir.counts == {"duplicates": 2}


def test_of_copies_with_one_id_the_first_text_is_held():
    assert fill([Passage("a", "one"), Passage("a", "One")]).passages() == [Passage("a", "One")]


def test_passages_stand_in_order_of_arrival():
    passages = numbered(50)[::-1]
    assert fill(passages).passages() == passages


def test_merged_passages_stand_in_order_of_their_ids():
    whole = fill(numbered(9)[5:])
    whole.merge(fill(numbered(9)[:5]))
    assert whole.passages() == numbered(9)


def test_counts_are_merged():
    whole, part = fill(numbered(3)), fill(numbered(4))
    whole.counts["documents"] = part.counts["documents"] = 2
    whole.merge(part)
    assert whole.counts == {"documents": 4, "duplicates": 3}


@pytest.mark.parametrize("other", [Reservoir(5, 0), Reservoir(4, 1), Reservoir(4, 0, "source")])
def test_only_reservoirs_of_the_same_settings_are_merged(other):
    with pytest.raises(UniversalNERError, match="U105.*same limit, seed and strata"):
        Reservoir(4, 0).merge(other)


def test_a_reservoir_can_be_sent():
    reservoir = fill(numbered(50, source="s"), 10, strata="source")
    sent = pickle.loads(pickle.dumps(reservoir))
    for one in (reservoir, sent):
        one.add(Passage("new", "A new text."))
    assert held(sent) == held(reservoir)


def test_what_is_noted_of_sizes_stays_small():
    passages = [Passage(f"{i}", f"Text {i}.", source=str(i % 7)) for i in range(20_000)]
    reservoir = fill(passages, 50, strata="source")
    assert len(reservoir._largest) < 200


def test_any_text_has_a_priority():
    assert len(fill([Passage("a", "x \ud83d y")])) == 1
