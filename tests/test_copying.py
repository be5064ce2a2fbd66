"""What answers may say: lists of mentions that stand in the passage."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spacy_universalner.align import edges, find_mentions
from spacy_universalner.copying import HALF, Copying
from spacy_universalner.parsing import parse_list
from spacy_universalner.prompts import ALL_IN_ONE_V1

PASSAGE = "Ada Lovelace met Grace in New York."
KEYS = ALL_IN_ONE_V1.literals(["city", 'a "type"'])
ALLOWED = {
    "nothing": (PASSAGE, ""),
    "white space before": (PASSAGE, " \n"),
    "a list begun": (PASSAGE, " ["),
    "no mention": (PASSAGE, " []"),
    "a mention begun": (PASSAGE, ' ["'),
    "a part of a word": (PASSAGE, '["Gra'),
    "a mention": (PASSAGE, '["Grace"'),
    "a comma": (PASSAGE, '["Grace",'),
    "a separator": (PASSAGE, '["Grace", '),
    "another begun": (PASSAGE, '["Grace", "Ada Lo'),
    "a whole answer": (PASSAGE, '["Grace", "Ada Lovelace"]'),
    "a mention twice": (PASSAGE, '["Ada", "Ada"]'),
    "the whole passage": (PASSAGE, f'["{PASSAGE}"]'),
    "the end of a word that is one elsewhere": ("cart art", '["art"]'),
    "punctuation": ("so C++.", '["C++."]'),
    "a quote": ('the "A" team', r'["\"A\" team"]'),
    "a half of an escaped quote": ('the "A" team', '["the \\'),
    "a backslash": ("in a\\b", r'["a\\b"]'),
    "a line break": ("New\nYork", r'["New\nYork"]'),
    "beyond ASCII": ("Zoë in Łódź", '["Zoë", "Łódź"]'),
    "a half character": ("Zoë", '["Zo\ufffd'),
    "a half emoji, byte by byte": ("a 👩‍🚀", '["a \ufffd\ufffd\ufffd'),
    "a replacement character": ("a\ufffdb", '["a\ufffdb"]'),
    "a half of many joined": ("a 👩‍🚀", '["a 👩\ufffd'),
    "joined emoji": ("a 👩‍🚀", '["👩‍🚀"]'),
    "a part of Chinese": ("我住在北京市", '["北京"]'),
}
REFUSED = {
    "no list": (PASSAGE, "A"),
    "an object": (PASSAGE, "{"),
    "a space in an empty list": (PASSAGE, "[ "),
    "no string": (PASSAGE, "[1"),
    "what is not in it": (PASSAGE, '["Eve'),
    "other case": (PASSAGE, '["ada'),
    "the middle of a word": (PASSAGE, '["race'),
    "a word that is not finished": (PASSAGE, '["Gra"'),
    "white space first": (PASSAGE, '[" '),
    "white space last": (PASSAGE, '["Ada "'),
    "an empty mention": (PASSAGE, '[""'),
    "no space after a comma": (PASSAGE, '["Ada","'),
    "two spaces after a comma": (PASSAGE, '["Ada",  '),
    "a comma at the end": (PASSAGE, '["Ada",]'),
    "text after the list": (PASSAGE, "[] "),
    "a list after the list": (PASSAGE, "[][]"),
    "a quote that is not escaped": ('the "A" team', '["the "'),
    "a line break that is not escaped": ("New\nYork", '["New\n'),
    "an escape where none is made": ("Zoë", '["Zo\\'),
    "a half character in ASCII": (PASSAGE, '["Ada\ufffd'),
    "more halves than there are bytes": ("Zoë", '["Zo\ufffd\ufffd'),
    "a half character in a finished mention": ("Zoë", '["Zo\ufffd"'),
    "white space at the end of the passage": ("Ada  ", '["Ada '),
    "a mention in an empty passage": ("", '["'),
    "a mention in white space": (" \n", '["'),
}


@pytest.mark.parametrize(("passage", "answer"), ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed(passage, answer):
    assert Copying(passage).allows(answer)


@pytest.mark.parametrize(("passage", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed(passage, answer):
    assert not Copying(passage).allows(answer)


ESCAPED = {
    "escaped": (r'["Zo\u00eb"]', True),
    "a part of an escape": (r'["Zo\u00', True),
    "not escaped": ('["Zoë', False),
    "a half character": ('["Zo\ufffd', False),
    "an emoji": (r'["\ud83d\ude00"]', True),
    "a half emoji": (r'["\ud83d"', False),
    "the second half of one": (r'["\ude00', False),
    "an escaped quote": (r'["\"a\""]', True),
}


@pytest.mark.parametrize(("answer", "allowed"), ESCAPED.values(), ids=ESCAPED)
def test_characters_beyond_ascii_are_escaped_where_the_template_does(answer, allowed):
    assert Copying('Zoë 😀 "a"', ascii=True).allows(answer) is allowed


OBJECTS = {
    "the first key": (' {"ci', True),
    "another first key": (' {"a', False),
    "a list": ('{"city": ["New York", "Grace"]', True),
    "the second key": (r'{"city": [], "a \"type\"": ["Ada"', True),
    "the first key again": ('{"city": [], "city"', False),
    "an end before the last key": ('{"city": []}', False),
    "no end": (r'{"city": [], "a \"type\"": []', True),
    "an end": (r'{"city": [], "a \"type\"": []}', True),
    "text after the end": (r'{"city": [], "a \"type\"": []}}', False),
    "what is not in it": ('{"city": ["Oslo', False),
    "a list alone": ("[]", False),
}


@pytest.mark.parametrize(("answer", "allowed"), OBJECTS.values(), ids=OBJECTS)
def test_an_object_has_its_keys_in_order(answer, allowed):
    assert Copying(PASSAGE).within(KEYS).allows(answer) is allowed


BEGUN = {
    "nothing": ("", None),
    "a list": (" [", None),
    "a quote": (' ["', ""),
    "a mention": (' ["New Yo', "New Yo"),
    "a finished one": (' ["Ada"', None),
    "the next one": (' ["Ada", "Gr', "Gr"),
    "what is not in it": (' ["Eve', "Eve"),
    "a whole answer": (' ["Ada"]', None),
    "an answer that may not go like this": (' ["Eve", "Ada', None),
}


@pytest.mark.parametrize(("answer", "expected"), BEGUN.values(), ids=BEGUN)
def test_what_was_begun(answer, expected):
    assert Copying(PASSAGE).begun(answer) == expected


FOLLOWS = {
    "every place": ("Ada Ash, Adam", '["A', ["da A", "sh, ", "dam"]),
    "not within words": ("cart art", '["a', ["rt"]),
    "what is spelled": ('a "b"', '["a', [' \\"b']),
    "after halves of a character": ("Zoë A", '["Zo\ufffd', ["ë A"]),
    "what is not in it": ("Ada", '["Eve', []),
    "between mentions": ("Ada", '["Ada",', [' "']),
    "the list": ("Ada", " ", ["["]),
}


@pytest.mark.parametrize(("passage", "answer", "expected"), FOLLOWS.values(), ids=FOLLOWS)
def test_what_may_follow(passage, answer, expected):
    assert list(Copying(passage).follows(answer, 4)) == expected


def test_what_may_follow_in_an_object():
    assert list(Copying(PASSAGE).within(KEYS).follows('{"ci', 5)) == ['ty": ']


def test_an_answer_is_one_list_but_for_words_around_it():
    assert Copying(PASSAGE).is_list
    assert not Copying(PASSAGE).within(KEYS).is_list


def test_the_same_words_around_lists_are_the_same_copying():
    copying = Copying(PASSAGE)
    assert copying.within(["", ""]) is copying


TEXTS = st.text('abÉë "\\\n.,[]{}_\u0301京👩\u200d🚀\ufffd', max_size=20)


@st.composite
def answers(draw):
    """A passage and some of the mentions that can be placed in it."""
    passage = draw(TEXTS)
    spans = [(i, j) for i in edges(passage) for j in range(i + 1, len(passage) + 1)]
    mentions = [passage[i:j] for i, j in spans if passage[i:j].strip() == passage[i:j]]
    placed = [mention for mention in mentions if find_mentions(passage, mention)]
    return passage, draw(st.lists(st.sampled_from(placed), max_size=4)) if placed else []


@given(answers(), st.booleans())
def test_every_prefix_of_a_list_of_spans_is_allowed(said, ascii):
    passage, mentions = said
    copying, answer = Copying(passage, ascii=ascii), " " + json.dumps(mentions, ensure_ascii=ascii)
    assert all(copying.allows(answer[:end]) for end in range(len(answer) + 1))


@given(TEXTS, st.booleans(), st.data())
def test_an_answer_that_says_what_follows_comes_to_an_end_and_is_placed(passage, ascii, data):
    """Character by character, at random. U+FFFD in a passage cannot be told from a character that is not finished."""
    assume(HALF not in passage)
    copying, answer = Copying(passage, ascii=ascii), ""
    for _ in range(30):
        following = {rest[:1] for rest in copying.follows(answer, 1)} | {*'",]['}
        allowed = sorted(char for char in following if char and copying.allows(answer + char))
        if not allowed:
            break
        answer += data.draw(st.sampled_from(allowed))
    assert len(answer) == 30 or answer.endswith("]")
    assert all(find_mentions(passage, mention) for mention in parse_list(answer) or ())
