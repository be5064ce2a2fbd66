import random

import pytest

from spacy_universalner.corpus.duplicates import drop_near_duplicates, shingles

RNG = random.Random(0)
WORDS = [f"w{number}" for number in range(5000)]


def make_text(words=200):
    return RNG.choices(WORDS, k=words)


def change(words, count):
    """Change so many words, each in runs of its own."""
    changed = list(words)
    for place in range(5, 5 + 9 * count, 9):
        changed[place] = "changed"
    return changed


def kept(texts, threshold=0.8):
    return list(drop_near_duplicates([" ".join(words) for words in texts], threshold))


SHINGLES = {
    "six words": ("One two three, FOUR five six.", ["one two three four five", "two three four five six"]),
    "five words": ("a b c d e", ["a b c d e"]),
    "fewer than five": ("One two", ["one two"]),
    "no word": ("?! ...", ["?! ..."]),
}


@pytest.mark.parametrize(("text", "expected"), SHINGLES.values(), ids=SHINGLES)
def test_shingles(text, expected):
    assert [shingle.decode() for shingle in shingles(text)] == expected


def test_half_a_surrogate_pair_is_no_obstacle():
    assert len(shingles("x \ud83d y")) == 1


def jaccard(one, other):
    one, other = (set(shingles(" ".join(words))) for words in (one, other))
    return len(one & other) / len(one | other)


@pytest.mark.parametrize(("changes", "dropped"), [(1, 100), (2, 100), (10, 0), (20, 0)])
def test_texts_over_the_threshold_are_dropped(changes, dropped):
    texts = [make_text() for _ in range(100)]
    near = [change(words, changes) for words in texts]
    assert (jaccard(texts[0], near[0]) > 0.85) == (dropped == 100)
    assert kept(texts + near) == list(range(200 - dropped))


def test_the_first_of_near_duplicates_stays():
    text = make_text()
    assert kept([make_text(), change(text, 1), text, make_text(), change(text, 2)]) == [0, 1, 3]


def test_what_was_dropped_drops_nothing():
    text = make_text()
    chain = [change(text, count) for count in (0, 3, 6)]
    assert jaccard(chain[0], chain[2]) < 0.76 < 0.82 < min(jaccard(*chain[:2]), jaccard(*chain[1:]))
    assert kept(chain) == [0, 2]


def test_short_texts_of_the_same_words_are_near_duplicates():
    assert kept([["Rain", "again"], ["rain,", "again!"], ["again", "rain"], ["!!!"], ["???"]]) == [0, 2, 3, 4]


@pytest.mark.parametrize("threshold", [0.01, 0.5, 0.99, 1.0])
def test_any_threshold_can_be_asked(threshold):
    text = make_text()
    assert kept([text, make_text(), text], threshold) == [0, 1]


def test_no_threshold_drops_none():
    assert kept([["one"], ["one"]], 0) == [0, 1]


def test_of_no_text_there_is_nothing_to_drop():
    assert kept([]) == []
