"""Scores of mentions from the probabilities of an answer's tokens."""

import pytest

from spacy_universalner.scoring import Said, score_mentions

CASES = {
    "no mention": ([(" []", 0.9, 0.0)], []),
    "one": ([(' ["', 0.8, 0), ("Ada", 0.5, 0), ('"]', 0.7, 0.9)], [0.8 * 0.5 * 0.9]),
    "two": (
        [(' ["', 0.8, 0), ("Ada", 0.5, 0), ('",', 0.6, 0.8), (' "', 0.9, 0.1), ("Bob", 0.4, 0), ('"]', 0.2, 0.3)],
        [0.8 * 0.5 * 0.8, 0.6 / 0.8 * 0.9 * 0.4 * 0.3],
    ),
    "an unfinished one": ([(' ["', 0.8, 0), ("Ada", 0.5, 0), ('",', 0.6, 0.8), (' "', 0.9, 0), ("Bo", 0.1, 0)], [0.32]),
    "a token that ends a word and the mention": ([(' ["', 1, 0), ("J", 0.5, 0), ('."', 0.6, 0), ("]", 1, 0)], [0.3]),
    "an escaped quote": ([(' ["', 1, 0), ('\\"', 0.5, 0.5), ("x", 0.5, 0), ('"]', 0.5, 0.5)], [0.125]),
    "keys": (
        [(' {"', 1, 0), ("city", 0.1, 0), ('":', 0.5, 0.5), (' ["', 0.6, 0), ("Rome", 0.5, 0), ('"]}', 0.5, 0.5)],
        [0.6 * 0.5 * 0.5],
    ),
    "a mention no token could close": ([(' ["', 1, 0), ("a", 1, 0), ('"]', 0, 0)], [0]),
}


@pytest.mark.parametrize(("tokens", "expected"), CASES.values(), ids=CASES)
def test_score_mentions(tokens, expected):
    assert score_mentions([Said(*token) for token in tokens]) == pytest.approx(expected)
