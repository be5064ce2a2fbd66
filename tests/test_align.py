import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.align import choose_flat, edges, find_mentions, place

FOUND = {
    "once": ("in Berlin", "Berlin", [(3, 9)]),
    "twice": ("Berlin, Berlin", "Berlin", [(0, 6), (8, 14)]),
    "not inside a word": ("the artist's art", "art", [(13, 16)]),
    "not before an underscore": ("art_2 art", "art", [(6, 9)]),
    "not before a digit": ("F1 F16", "F1", [(0, 2)]),
    "before a possessive": ("Berlin's", "Berlin", [(0, 6)]),
    "other case": ("berlin", "Berlin", []),
    "longer when lower-cased": ("İstanbul and Berlin", "Berlin", [(13, 19)]),
    "dotted capital": ("İstanbul", "İstanbul", [(0, 8)]),
    "handle": ("ask @user, now", "@user", [(4, 9)]),
    "not a longer handle": ("ask @user2", "@user", []),
    "ends in punctuation": ("C++ and C++.", "C++", [(0, 3), (8, 11)]),
    "not another's end": ("VC++ C++", "C++", [(5, 8)]),
    "pattern characters": ("a (b|c)* d", "(b|c)*", [(2, 8)]),
    "money": ("for $4.3 million", "$4.3 million", [(4, 16)]),
    "white space around": ("in Berlin", " Berlin\n", [(3, 9)]),
    "white space inside": ("New\nYork", "New York", []),
    "overlapping itself": ("na na na", "na na", [(0, 5)]),
    "place found after one inside a word": ("ba a a", "a a", [(3, 6)]),
    "empty": ("in Berlin", "", []),
    "white space": ("in Berlin", " ", []),
    "whole text": ("Berlin", "Berlin", [(0, 6)]),
    "longer than the text": ("Ber", "Berlin", []),
    "accent as a mark": ("cafe\u0301 cafe", "cafe", [(6, 10)]),
    "Hindi vowel sign": ("रामायण राम", "राम", [(7, 10)]),
    "Chinese": ("我住在北京市", "北京", [(3, 5)]),
    "Japanese": ("私は東京に住む", "東京", [(2, 4)]),
    "emoji": ("I 😀 Berlin", "Berlin", [(4, 10)]),
}


@pytest.mark.parametrize(("text", "mention", "expected"), FOUND.values(), ids=FOUND)
def test_find_mentions(text, mention, expected):
    assert find_mentions(text, mention) == expected


@given(st.text("abİ +.@\n\u0301京"), st.text("abİ +.@\n\u0301京", max_size=4))
def test_every_span_holds_the_mention(text, mention):
    assert all(text[start:end] == mention.strip() for start, end in find_mentions(text, mention))


@given(st.text("ab "), st.text("ab ", min_size=1, max_size=3))
def test_spans_are_in_order_and_apart(text, mention):
    spans = find_mentions(text, mention)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))


@given(st.lists(st.text("abc+@", min_size=1), min_size=1), st.data())
def test_a_word_of_the_text_is_found(words, data):
    assert find_mentions(" ".join(words), data.draw(st.sampled_from(words)))


EDGES = {
    "words": ("Ada met", [0, 4]),
    "punctuation": ("so C++.", [0, 3, 4, 5, 6]),
    "Chinese": ("北京a", [0, 1, 2]),
    "an accent as a mark": ("e\u0301a", [0]),
    "white space": (" \n", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), EDGES.values(), ids=EDGES)
def test_edges(text, expected):
    assert edges(text) == expected


@given(st.text("abİ_ +.@\n\u0301京", max_size=12), st.text("abİ_ +.@\n\u0301京", min_size=1, max_size=3))
def test_every_mention_begins_at_an_edge(text, mention):
    assert {start for start, _ in find_mentions(text, mention)} <= set(edges(text))


@given(st.text("abİ_ +.@\n\u0301京", max_size=12))
def test_what_stands_behind_an_edge_can_be_placed(text):
    assert all(find_mentions(text, text[start:]) for start in edges(text))


def test_place_sorts_and_merges():
    assert place("Bob met Ann, Bob", ["Ann", "Bob", "Bob ", "Ann"]) == ([(0, 3), (8, 11), (13, 16)], [])


def test_place_names_what_is_lost_once():
    assert place("Bob", ["Eve", "Bob", "Eve", ""]) == ([(0, 3)], ["Eve", ""])


FLAT = {
    "the highest score": ({(0, 3, "a"): 0.5, (2, 5, "b"): 0.9}, [(2, 5, "b")]),
    "then the longest": ({(0, 3, "a"): 0.5, (0, 5, "b"): 0.5}, [(0, 5, "b")]),
    "then the first": ({(2, 4, "a"): 0.5, (1, 3, "b"): 0.5}, [(1, 3, "b")]),
    "then by type": ({(0, 3, "b"): 0.5, (0, 3, "a"): 0.5}, [(0, 3, "a")]),
    "neighbours": ({(0, 3, "a"): 0.1, (3, 5, "b"): 0.9}, [(3, 5, "b"), (0, 3, "a")]),
    "one that gave way holds no place": (
        {(0, 3, "a"): 0.9, (2, 6, "b"): 0.5, (5, 8, "c"): 0.1},
        [(0, 3, "a"), (5, 8, "c")],
    ),
    "no scores": ({(0, 3, "a"): None, (0, 5, "b"): None}, [(0, 5, "b")]),
    "no scores, crossing": ({(0, 3, "a"): None, (2, 6, "b"): None}, [(2, 6, "b")]),
    "none": ({}, []),
}


@pytest.mark.parametrize(("scores", "chosen"), FLAT.values(), ids=FLAT)
def test_choose_flat(scores, chosen):
    assert choose_flat(scores) == chosen
