import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.chunking import chunk, split_sentences
from spacy_universalner.errors import UniversalNERError

CUT = {
    "fits": ("One two.", 8, ["One two."]),
    "white space around": ("  One two. \n", 8, ["One two."]),
    "empty": ("", 8, []),
    "white space": (" \n\t", 8, []),
    "last sentence end": ("A b. C d. E f.", 8, ["A b. C d.", "E f."]),
    "closing quote": ('He "ran." She sat there.', 7, ['He "ran."', "She sat there."]),
    "closing bracket": ("He (ran.) She sat there.", 7, ["He (ran.)", "She sat there."]),
    "line break": ("one two\nthree four", 3, ["one two", "three four"]),
    "no sentence end inside a number": ("pi is 3.14 or so", 6, ["pi is 3.14 or", "so"]),
    "white space when no sentence fits": ("one two three four", 3, ["one two three", "four"]),
    "white space before a word of many tokens": ("one a-b-c", 4, ["one", "a-b-", "c"]),
    "anywhere": ("a-b-c-d", 4, ["a-b-", "c-d"]),
    "ideographic full stop": ("他来了。我走了。", 3, ["他来了。", "我走了。"]),
}


@pytest.mark.parametrize(("text", "max_tokens", "expected"), CUT.values(), ids=CUT)
def test_chunk(text, max_tokens, expected):
    assert [text[start:end] for start, end in chunk(text, max_tokens)] == expected


texts = st.text(st.sampled_from("ab.!\n \"')。-\u3000é") | st.characters(), max_size=300)


@given(texts, st.integers(1, 12), st.integers(0, 30))
def test_spans_cover_all_that_is_visible(text, max_tokens, max_chars):
    spans = chunk(text, max_tokens, max_chars=max_chars)
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())


@given(texts, st.integers(1, 12))
def test_spans_are_in_order_and_apart(text, max_tokens):
    spans = chunk(text, max_tokens)
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))


@given(texts, st.integers(1, 12), st.integers(1, 30))
def test_spans_are_within_both_limits(text, max_tokens, max_chars):
    for start, end in chunk(text, max_tokens, max_chars=max_chars):
        assert len(re.findall(r"\w+|[^\w\s]", text[start:end])) <= max_tokens
        assert end - start <= max_chars


@given(texts, st.integers(1, 12))
def test_spans_have_no_white_space_at_their_ends(text, max_tokens):
    assert all(text[start:end] == text[start:end].strip() for start, end in chunk(text, max_tokens))


def test_one_giant_word_is_cut():
    assert chunk("x" * 100, 4) == [(0, 24), (24, 48), (48, 72), (72, 96), (96, 100)]


CLUSTERS = {
    "an accent": ("e\u0301" * 5, 3, ["e\u0301", "e\u0301", "e\u0301", "e\u0301", "e\u0301"]),
    "a family": ("👩\u200d👧🍕👩\u200d👧", 4, ["👩\u200d👧🍕", "👩\u200d👧"]),
    "a skin tone": ("🍕👍🏽👍🏽", 2, ["🍕", "👍🏽", "👍🏽"]),
    "flags": ("🇫🇷🇯🇵🇫🇷", 3, ["🇫🇷", "🇯🇵", "🇫🇷"]),
    "what is longer than a piece": ("e" + "\u0301" * 4, 2, ["e\u0301", "\u0301\u0301", "\u0301"]),
}


@pytest.mark.parametrize(("text", "max_tokens", "expected"), CLUSTERS.values(), ids=CLUSTERS)
def test_characters_are_not_cut_where_they_fit(text, max_tokens, expected):
    assert [text[start:end] for start, end in chunk(text, max_tokens)] == expected


# Overlap

OVERLAP = {
    "fits": ("One two. Three.", 8, 2, ["One two. Three."]),
    "none": ("A b. C d. E f.", 8, 0, ["A b. C d.", "E f."]),
    "a sentence": ("A b. C. D e f. G h i.", 8, 2, ["A b. C.", "C. D e f.", "f. G h i."]),
    "the earliest sentence that fits": ("a b. C. D. E f g h i j.", 12, 3, ["a b. C. D.", "D. E f g h i j."]),
    "no more than a quarter": ("a b c d. E. F. G h i j k.", 12, 9, ["a b c d. E. F.", "F. G h i j k."]),
    "words of a sentence too long": ("a b c d e f g h i", 8, 2, ["a b c d e f g h", "g h i"]),
    "words of the last sentence": ("a b c d e f. G h i.", 8, 2, ["a b c d e f.", "f. G h i."]),
    "nothing where the next sentence would not fit": ("a b. C d e f g h i.", 8, 2, ["a b.", "C d e f g h i."]),
    "nothing where white space is not near": ("a-b-c d e", 4, 1, ["a-b-", "-c d e"]),
    "unspaced text": ("a-b-c-d-e-f", 8, 2, ["a-b-c-d-", "d-e-f"]),
    "a whole character": ("abcd🍕👍🏽🍕👍🏽🍕🍕🍕", 8, 2, ["abcd🍕👍🏽🍕👍🏽🍕", "🍕🍕🍕"]),
    "a giant word": ("x" * 60, 8, 2, ["x" * 48, "x" * 24]),
}


@pytest.mark.parametrize(("text", "max_tokens", "overlap", "expected"), OVERLAP.values(), ids=OVERLAP)
def test_overlap(text, max_tokens, overlap, expected):
    assert [text[start:end] for start, end in chunk(text, max_tokens, overlap=overlap)] == expected


limits = {"max_tokens": st.integers(1, 12), "max_chars": st.integers(0, 30), "overlap": st.integers(0, 4)}


@given(text=texts, **limits)
def test_overlapping_spans_hold_all_that_is_visible(text, max_tokens, max_chars, overlap):
    held = set()
    for start, end in chunk(text, max_tokens, max_chars=max_chars, overlap=overlap):
        held.update(range(start, end))
    assert all(char.isspace() for place, char in enumerate(text) if place not in held)


@given(text=texts, **limits)
def test_every_span_goes_further(text, max_tokens, max_chars, overlap):
    spans = chunk(text, max_tokens, max_chars=max_chars, overlap=overlap)
    assert all(a < c and b < d for (a, b), (c, d) in zip(spans, spans[1:], strict=False))


@given(text=texts, **limits)
def test_overlaps_are_within_their_limit(text, max_tokens, max_chars, overlap):
    spans = chunk(text, max_tokens, max_chars=max_chars, overlap=overlap)
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):
        shared = text[start : max(start, end)]
        assert len(re.findall(r"\w+|[^\w\s]", shared)) <= min(overlap, max_tokens // 4)


@given(text=texts, **limits)
def test_overlapping_spans_are_within_both_limits(text, max_tokens, max_chars, overlap):
    for start, end in chunk(text, max_tokens, max_chars=max_chars, overlap=overlap):
        assert len(re.findall(r"\w+|[^\w\s]", text[start:end])) <= max_tokens
        assert end - start <= (max_chars or 6 * max_tokens)


def test_an_overlap_below_none_is_an_error():
    with pytest.raises(UniversalNERError, match=r"U190.*-1"):
        chunk("a", 8, overlap=-1)


# Length

LONG = {
    "prose": "The cat sat on the mat. " * 42_000,
    "one word": "x" * 1_000_000,
    "dots": "." * 1_000_000,
    "closing brackets": "." + ")" * 1_000_000,
    "white space": "a" + " " * 1_000_000 + "b",
    "line breaks": "\n" * 1_000_000,
    "words without sentences": "word " * 200_000,
    "accents": "e" + "\u0301" * 1_000_000,
    "flags": "🇫🇷" * 500_000,
    "joiners": "👩\u200d" * 500_000,
    "long words after short ones": ("a " * 100 + "b" * 1400 + " ") * 600,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_million_characters_take_seconds(text):
    start = time.process_time()
    spans = chunk(text, 256, overlap=32)
    assert time.process_time() - start < 30
    assert sum(end - start for start, end in spans) <= 1.15 * len(text)


def test_pieces_are_found_in_bounded_memory():
    tracemalloc.start()
    chunk("a. " * 10_000, 256, overlap=32)
    assert tracemalloc.get_traced_memory()[1] < 8e5
    tracemalloc.stop()


def test_a_limit_of_nothing_is_an_error():
    with pytest.raises(UniversalNERError, match="U008"):
        chunk("a", 0)


SENTENCES = {
    "one": ("Ada left", ["Ada left"]),
    "several": ('Ada left.  She said: "No!" Why?', ["Ada left.", 'She said: "No!"', "Why?"]),
    "lines": (" Ada\n\n left \n", ["Ada", "left"]),
    "numbers": ("It is 3.5 cm.", ["It is 3.5 cm."]),
    "nothing": (" \n ", []),
}


@pytest.mark.parametrize(("text", "expected"), SENTENCES.values(), ids=SENTENCES)
def test_sentences(text, expected):
    assert [text[start:end] for start, end in split_sentences(text)] == expected
