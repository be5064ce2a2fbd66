"""One answer, token by token, against plain computations over the whole vocabulary."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from spacy_universalner.answering import Answering, Vocabulary, keep_unclaimed
from spacy_universalner.copying import Copying
from spacy_universalner.decoding import Logits
from spacy_universalner.encoding import Encoder
from spacy_universalner.prompts import ALL_IN_ONE_V1, PLAIN_V1, UNINER_V1
from spacy_universalner.registry import Answer

from .conftest import make_llama_tokenizer, make_tiny_tokenizer

PASSAGE = "Ada met Grace in Zoë's Paris 👩‍🚀."


@pytest.fixture(scope="module", params=[make_tiny_tokenizer, make_llama_tokenizer])
def tokenizer(request):
    return request.param()


@pytest.fixture(scope="module")
def plain():
    return Vocabulary(Encoder(make_tiny_tokenizer(), PLAIN_V1))


def make_answering(
    vocabulary, *, types=("person",), passage=PASSAGE, limit=64, constrain=False, min_score=0.0, begin=0.5
):
    template = vocabulary.encoder.template
    copying = Copying(passage, template.literals(types), ascii=template.ascii)
    held = {"constrain": constrain, "min_score": min_score, "begin": begin}
    return Answering(vocabulary, types, limit=limit, copying=copying, **held)


def make_logits(vocabulary, values) -> Logits:
    return Logits(values, torch.tensor(vocabulary.closers))


def prefer(vocabulary, tokens, probability=0.9) -> Logits:
    """Logits of one token after the other, each so probable; the others are alike."""
    size = len(vocabulary.encoder.tokenizer)
    values = torch.full((len(tokens), size), math.log((1 - probability) / (size - 1)))
    values[range(len(tokens)), tokens] = math.log(probability)
    return make_logits(vocabulary, values)


def say(answering, text, sure=(), probability=0.9):
    """Say a text as far as it goes. sure (dict): the probability of some words' tokens."""
    ids = answering.encoder.go_on(text)
    for token in ids:
        chance = dict(sure).get(answering.encoder.decode([token]), probability)
        if not answering.take(prefer(answering.vocabulary, [token], chance), 0):
            break
    return answering


# What is said next


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("template", [PLAIN_V1, UNINER_V1, ALL_IN_ONE_V1], ids=lambda template: template.name)
def test_the_likeliest_token_that_may_be_said_is_said(tokenizer, template, seed):
    """Of all that may be said and are no white space or nothing before the answer, whatever comes first by chance."""
    vocabulary = Vocabulary(Encoder(tokenizer, template))
    answering = make_answering(vocabulary, types=["person", "größe"][: 1 + (template is ALL_IN_ONE_V1)], constrain=True)
    generator, more = torch.Generator().manual_seed(seed), True
    while more and len(answering.ids) < 24:
        values = torch.randn(1, len(tokenizer), generator=generator)
        allowed = [token for token in range(len(tokenizer)) if answering._allows(token)]
        before = len(answering.ids)
        more = answering.take(make_logits(vocabulary, values), 0)
        assert answering.ids[before:] == ([max(allowed, key=lambda i: float(values[0, i]))] if allowed else [])


def test_any_token_is_said_where_answers_are_not_held_to_the_passage(plain):
    assert [answer.mentions for answer in say(make_answering(plain), ' ["Eve"]').read()] == [("Eve",)]


def test_what_is_not_in_the_passage_is_not_said(plain):
    (answer,) = say(make_answering(plain, constrain=True), ' ["Eve"]').read()
    assert "Eve" not in answer.mentions


def test_the_end_token_ends_an_answer(plain):
    answering = make_answering(plain)
    assert not answering.take(prefer(plain, [plain.encoder.end]), 0)
    assert answering.read() == [Answer((), complete=False)]


def test_the_end_token_ends_no_answer_that_is_held_to_the_passage(plain):
    answering = make_answering(plain, constrain=True)
    answering.take(prefer(plain, [plain.encoder.end]), 0)
    assert plain.encoder.end not in answering.ids


def test_a_token_that_says_nothing_is_not_said_within_an_answer(plain):
    """Logits may be wider than the vocabulary."""
    answering = say(make_answering(plain, constrain=True), ' ["Ada')
    size = len(plain.encoder.tokenizer)
    values = torch.zeros(1, size + 3)
    values[0, size + 1] = 9
    answering.take(make_logits(plain, values), 0)
    assert answering.ids[-1] < size


def test_logits_narrower_than_the_vocabulary(plain):
    answering = make_answering(plain, constrain=True)
    size = max(plain.closers) + 1
    answering.take(make_logits(plain, torch.zeros(1, size)), 0)
    assert max(answering.ids) < size


def test_an_answer_ends_where_nothing_may_be_said(plain, monkeypatch):
    answering = say(make_answering(plain, constrain=True), ' ["Ada", "Gr')
    monkeypatch.setattr(Copying, "allows", lambda self, answer: False)
    before = list(answering.ids)
    assert not answering.take(prefer(plain, [5]), 0)
    assert answering.ids == before
    assert [(answer.mentions, answer.complete) for answer in answering.read()] == [(("Ada",), False)]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_an_answer_ends_at_its_limit(plain, limit):
    answering = say(make_answering(plain, limit=limit), ' ["Ada", "Grace"]')
    assert len(answering.ids) == limit
    assert not answering.read()[0].complete


# Scores


def test_scores_are_products_of_probabilities_over_the_whole_vocabulary(plain):
    generator = torch.Generator().manual_seed(0)
    ids = plain.encoder.go_on(' ["Ada", "Grace"]')
    values = torch.randn(len(ids), len(plain.encoder.tokenizer), generator=generator)
    values[range(len(ids)), ids] += 9
    answering, logits = make_answering(plain), make_logits(plain, values)
    for row in range(len(ids)):
        answering.take(logits, row)
    shares = values.double().softmax(-1)
    pieces = [plain.encoder.decode([token]) for token in ids]
    closes = [i for i, piece in enumerate(pieces) if piece.startswith('"')]
    said = [float(shares[row, token]) for row, token in enumerate(ids)]
    closing = [float(shares[row, plain.closers].sum()) for row in closes]
    first = math.prod(said[: closes[0]]) * closing[0]
    second = said[closes[0]] / closing[0] * math.prod(said[closes[0] + 1 : closes[1]]) * closing[1]
    assert answering.ids == ids
    assert answering.read()[0].scores == pytest.approx((first, second), rel=1e-5)


CUTS = {
    "sure of all": ({}, ("Ada", "Grace", "Paris")),
    "unsure of the first": ({"Ada": 0.04}, ()),
    "unsure of a later one": ({"G": 0.04}, ("Ada",)),
    "unsure of the last": ({"Paris": 0.04}, ("Ada", "Grace")),
}


@pytest.mark.parametrize(("begin", "begun"), [(0.5, False), (0.3, False), (0.2, True)])
@pytest.mark.parametrize("constrain", [True, False])
def test_a_list_is_begun_where_it_is_probable_enough(tokenizer, begin, begun, constrain):
    vocabulary = Vocabulary(Encoder(tokenizer, PLAIN_V1))
    before, none, some = vocabulary.fork
    answering = make_answering(vocabulary, constrain=constrain, begin=begin)
    for token in before:
        answering.take(prefer(vocabulary, [token]), 0)
    values = torch.full((1, len(tokenizer)), -99.0)
    values[0, none], values[0, some] = math.log(0.7), math.log(0.25)
    answering.take(make_logits(vocabulary, values), 0)
    assert (answering.ids[-1] == some) == answering.begun == begun
    assert answering.text.endswith(vocabulary.encoder.decode([some if begun else none]))


ANSWER = Answer(("Ada", "Grace"), (0.9, 0.8))
GRACE = Answer(("Grace",), (0.8,))
UNFINISHED = Answer(("Bo",), (), complete=False)
CLAIMS = {
    "claimed by the likelier": ((ANSWER, False), (ANSWER, True), [ANSWER, Answer((), ())]),
    "claimed in part": ((Answer(("Ada",), (0.9,)), False), (ANSWER, True), [Answer(("Ada",), (0.9,)), GRACE]),
    "both the likelier": ((ANSWER, False), (ANSWER, False), [ANSWER, ANSWER]),
    "both begun": ((ANSWER, True), (ANSWER, True), [ANSWER, ANSWER]),
    "without scores": ((Answer(("Ada",)), False), (Answer(("Ada", "Bo")), True), [Answer(("Ada",)), Answer(("Bo",))]),
    "not complete": ((Answer(("Ada",)), False), (UNFINISHED, True), [Answer(("Ada",)), UNFINISHED]),
}


@pytest.mark.parametrize(("first", "second", "kept"), CLAIMS.values(), ids=CLAIMS)
def test_a_list_that_was_not_the_likelier_names_what_no_other_does(first, second, kept):
    assert keep_unclaimed([first, second]) == kept
    assert keep_unclaimed([second, first]) == kept[::-1]


def test_an_object_has_no_list_to_begin():
    assert Vocabulary(Encoder(make_tiny_tokenizer(), ALL_IN_ONE_V1)).fork is None


@pytest.mark.parametrize(("sure", "mentions"), CUTS.values(), ids=CUTS)
def test_an_answer_ends_before_a_mention_the_student_is_not_sure_of(plain, sure, mentions):
    answering = make_answering(plain, min_score=0.05)
    (answer,) = say(answering, ' ["Ada", "Grace", "Paris"]', sure, probability=0.99).read()
    assert (answer.mentions, answer.complete) == (mentions, True)
    assert len(answer.scores) == len(mentions)
    assert all(score >= 0.05 for score in answer.scores)


def test_a_mention_is_cut_as_soon_as_its_score_is_too_low(plain):
    answering = say(make_answering(plain, min_score=0.05), ' ["Ada", "Grace"]', {"G": 0.04}, probability=0.99)
    assert answering.text == ' ["Ada", "G'


def test_an_object_is_not_cut():
    vocabulary = Vocabulary(Encoder(make_tiny_tokenizer(), ALL_IN_ONE_V1))
    for types in (["person"], ["person", "city"]):
        answering = make_answering(vocabulary, types=types, min_score=0.9)
        lists = ', "city": ["Paris"]' if "city" in types else ""
        text = ' {"person": ["Ada"]' + lists + "}"
        answers = say(answering, text, probability=0.5).read()
        assert [answer.mentions for answer in answers] == [("Ada",), ("Paris",)][: len(types)]
        assert all(answer.complete and 0 < answer.scores[0] < 0.9 for answer in answers)


def test_a_key_that_ends_a_token_has_no_score():
    """Its quote may be a token of its own, when it looks like a mention's."""
    encoder = Encoder(make_tiny_tokenizer(), ALL_IN_ONE_V1)
    answering = make_answering(Vocabulary(encoder), types=["a"])
    ids = [token for piece in ('{"', "a", '"', ": [", '"', "Ada", '"', "]}") for token in encoder.go_on(piece)]
    for token, chance in zip(ids, [0.5] * 4 + [0.9] * len(ids), strict=False):
        answering.take(prefer(answering.vocabulary, [token], chance), 0)
    assert answering.text == '{"a": ["Ada"]}'
    (answer,) = answering.read()
    assert answer.scores[0] > 0.9 ** len(ids)


def test_one_token_may_end_a_mention_and_begin_another(plain):
    """Then a cut leaves no half of a string."""
    answering = say(make_answering(plain, min_score=0.05), ' ["Ada"', probability=0.99)
    answering._said[-1] = type(answering._said[-1])('","', 0.9, 0.9)
    answering._cut = True
    assert [(answer.mentions, answer.complete) for answer in answering.read()] == [(("Ada",), True)]


@pytest.mark.parametrize("word", ["éè", "東京", "👩‍🚀é", "aé東b", "\ufffd", "a\ufffdb"])
def test_pieces_make_up_what_was_said(tokenizer, word):
    answering = say(make_answering(Vocabulary(Encoder(tokenizer, PLAIN_V1)), passage=word), f'["{word}"]')
    assert "".join(token.piece for token in answering._said) == answering.text
    assert answering.read()[0].mentions == (word,)


# Guesses

GUESSES = {
    "outside": ("", "["),
    "a mention that was not begun": (' ["', ""),
    "a mention": (' ["Gra', "ce in"),
    "the next one": (' ["Ada",', ' "'),
    "half a character": (' ["Zo\ufffd', ""),
    "what is not in it": (' ["Eve', ""),
}


@pytest.mark.parametrize(("text", "begins"), GUESSES.values(), ids=GUESSES)
def test_what_is_guessed(plain, text, begins):
    answering = make_answering(plain)
    answering.text = text
    guess = plain.encoder.decode(answering.guess(100))
    assert guess.startswith(begins)
    assert bool(guess) is bool(begins)


def test_keys_are_guessed():
    answering = make_answering(Vocabulary(Encoder(make_tiny_tokenizer(), ALL_IN_ONE_V1)), types=["person", "city"])
    answering.text = ' {"person": []'
    assert answering.encoder.decode(answering.guess(100)) == ', "city": ['


@pytest.mark.parametrize(("limit", "most"), [(64, 3), (4, 2), (2, 0), (1, 0)])
def test_no_more_is_guessed_than_asked_for_or_may_be_said(plain, limit, most):
    answering = make_answering(plain, limit=limit)
    answering.text, answering.ids = ' ["Ada', [5]
    assert len(answering.guess(3)) == most


# Vocabularies


def test_pieces_are_those_of_tokens_within_an_answer(tokenizer):
    encoder = Encoder(tokenizer, PLAIN_V1)
    for text in ('"Ada met Grace"', '" Paris"', '"[]}"'):
        ids = encoder.go_on(text)
        assert "".join(encoder.pieces[i] for i in ids).lstrip() == text


def test_ids_with_holes():
    tokenizer = make_tiny_tokenizer()
    encoder = Encoder(tokenizer, PLAIN_V1)
    vocab = {**tokenizer.get_vocab(), "far": len(tokenizer) + 5}
    encoder.tokenizer.get_vocab = lambda: vocab
    assert len(encoder.pieces) == len(tokenizer) + 6


@pytest.mark.parametrize("mark", '"]}')
def test_marks_spelled_as_bytes_are_marks(mark):
    tokenizer = make_llama_tokenizer()
    vocabulary = Vocabulary(Encoder(tokenizer, PLAIN_V1))
    token = tokenizer.convert_tokens_to_ids(f"<0x{ord(mark):02X}>")
    assert token in vocabulary.marks
    assert (token in vocabulary.closers) is (mark == '"')


def test_a_saved_tokenizer_is_the_same(tiny_base):
    assert Vocabulary(Encoder(AutoTokenizer.from_pretrained(tiny_base), PLAIN_V1)).closers
