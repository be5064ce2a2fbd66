"""Entities become tags and are read back; windows hold every word."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_universalner.systems.tagging import (
    choose_windows,
    cut_words,
    read_tags,
    tag_labels,
    write_tags,
)

TAGS = {
    "none": ("O O", []),
    "one": ("B-a I-a O", [(0, 2, "a")]),
    "side by side": ("B-a B-a", [(0, 1, "a"), (1, 2, "a")]),
    "to the end": ("O B-a I-a", [(1, 3, "a")]),
    "begun inside": ("O I-a I-a", [(1, 3, "a")]),
    "another type inside": ("B-a I-b", [(0, 1, "a"), (1, 2, "b")]),
    "a hyphen in a type": ("B-a-b I-a-b", [(0, 2, "a-b")]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("tags", "entities"), TAGS.values(), ids=TAGS)
def test_tags_are_read(tags, entities):
    assert list(read_tags(tags.split())) == entities


@given(st.lists(st.sampled_from(["person", "city", "a-b"]), max_size=4), st.randoms())
def test_entities_survive_their_tags(types, random):
    entities, end = [], 0
    for name in types:
        start = end + random.randrange(3)
        end = start + random.randrange(1, 4)
        entities.append((start, end, name))
    tags = write_tags(end + 2, entities)
    assert set(tags) <= set(tag_labels(types))
    assert list(read_tags(tags)) == entities


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), max_size=40), st.integers(6, 20), st.integers(0, 8))
def test_windows_hold_every_word_and_fit(sizes, room, overlap):
    windows = cut_words(sizes, room, overlap)
    assert {i for first, last in windows for i in range(first, last)} == set(range(len(sizes)))
    assert all(sum(sizes[first:last]) <= room for first, last in windows)
    assert all(left < right and stop < end for (left, stop), (right, end) in pairwise(windows))
    assert all(stop - right <= overlap for (_, stop), (right, _) in pairwise(windows))


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), max_size=40), st.integers(6, 20), st.integers(0, 8))
def test_every_word_has_a_window_that_holds_it(sizes, room, overlap):
    windows = cut_words(sizes, room, overlap)
    chosen = choose_windows(windows, len(sizes))
    assert all(windows[number][0] <= i < windows[number][1] for i, number in enumerate(chosen))


def test_a_word_is_taken_from_the_window_it_stands_most_within():
    assert choose_windows([(0, 6), (2, 8)], 8) == [0, 0, 0, 0, 1, 1, 1, 1]
