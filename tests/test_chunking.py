import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.chunking import chunk
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


LONG = {
    "prose": "The cat sat on the mat. " * 42_000,
    "one word": "x" * 1_000_000,
    "dots": "." * 1_000_000,
    "closing brackets": "." + ")" * 1_000_000,
    "white space": "a" + " " * 1_000_000 + "b",
    "words without sentences": "word " * 200_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_million_characters_take_seconds(text):
    start = time.perf_counter()
    chunk(text, 256)
    assert time.perf_counter() - start < 20


def test_a_limit_of_nothing_is_an_error():
    with pytest.raises(UniversalNERError, match="U008"):
        chunk("a", 0)
