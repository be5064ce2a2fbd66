"""The questions of every engine are the same, and what a student says after its answer is not read."""

from math import log

import pytest
from transformers import AutoTokenizer

from spacy_universalner.asking import Asker, Question, chance
from spacy_universalner.encoding import Encoder
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import ALL_IN_ONE_V1, PLAIN_V1
from spacy_universalner.registry import Answer

from .conftest import make_llama_tokenizer


def make_asker(tokenizer, template=PLAIN_V1, **settings) -> Asker:
    return Asker(Encoder(tokenizer, template), **{"context": 512, "max_new_tokens": 16, **settings})


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture(scope="module")
def asker(tokenizer):
    return make_asker(tokenizer)


def ids_of(asker, text):
    return asker.encoder.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_the_questions_of_a_passage(asker):
    asked = asker.ask("Ada met Bob.", ["person", "city"])
    encoder = asker.encoder
    assert asked.passage == encoder.passage("Ada met Bob.")
    assert asked.prompts == [encoder.ask(("person",)), encoder.ask(("city",))]
    assert (asked.types, asked.limits) == ([["person"], ["city"]], [16, 16])


def test_one_question_has_room_for_each_of_its_types(tokenizer):
    asked = make_asker(tokenizer, ALL_IN_ONE_V1).ask("Ada.", ["person", "city"])
    assert (asked.types, asked.limits) == ([["person", "city"]], [32])
    long = len(asked.passage) + len(asked.prompts[0])
    assert make_asker(tokenizer, ALL_IN_ONE_V1, context=long + 20).ask("Ada.", ["person", "city"]).limits == [20]


def test_a_passage_that_does_not_fit(tokenizer):
    with pytest.raises(UniversalNERError, match=r"U052.*context of 80"):
        make_asker(tokenizer, context=80).ask("word " * 40, ["person"])


def test_no_types_no_question(asker):
    assert asker.ask("Ada.", []).passage == []
    assert asker.extract(["Ada."], [[]], "", lambda questions: pytest.fail("asked")) == [[]]


def test_each_type_has_its_answer_in_the_order_asked(asker):
    def answer(questions):
        for question in reversed(questions):
            question.ids += ids_of(asker, f' ["{question.index}{question.types[0]}"]')

    answers = asker.extract(["a", "b"], [["x", "y"], ["z"]], "", answer)
    assert answers == [[Answer(("0x",)), Answer(("0y",))], [Answer(("1z",))]]


# What a student says, and what is read of it.
SAID = {
    "a list": (' ["Ada"]', Answer(("Ada",))),
    "more after the list": (' ["Ada"] ["Bob"] and so on', Answer(("Ada",))),
    "a bracket in a mention": (' ["a[1]", "b"] x', Answer(("a[1]", "b"))),
    "a quote in a mention": (' ["a \\"b\\"] c"]]', Answer(('a "b"] c',))),
    "cut off": (' ["Ada", "Bo', Answer(("Ada",), complete=False)),
    "in circles": (' ["Ada", "Bob", "Ada", "Carl"]', Answer(("Ada", "Bob"), complete=False)),
    "no list": (" none", Answer(complete=False)),
    "nothing": ("", Answer(complete=False)),
}


@pytest.mark.parametrize(("text", "answer"), SAID.values(), ids=SAID)
def test_an_answer_is_read_up_to_its_end(asker, text, answer):
    assert asker.read(Question(0, ["x"], [], 64, ids_of(asker, text))) == [answer]


def test_nothing_is_read_after_the_end_token(asker):
    ids = [*ids_of(asker, ' ["Ada"'), asker.encoder.end, *ids_of(asker, ', "Bob"]')]
    assert asker.read(Question(0, ["x"], [], 64, ids)) == [Answer(("Ada",), complete=False)]


OPEN = {
    "a bracket in a mention": (' ["a[1]', 64, True),
    "a whole list": (' ["a[1]"]', 64, False),
    "no room": (' ["a[1]', 0, False),
    "in circles": (' ["a", "a", "b]', 64, False),
}


@pytest.mark.parametrize(("text", "room", "is_open"), OPEN.values(), ids=OPEN)
def test_an_answer_that_stopped_too_early_goes_on(asker, text, room, is_open):
    ids = ids_of(asker, text)
    assert asker.is_open(Question(0, ["x"], [], len(ids) + room, ids)) is is_open


@pytest.mark.parametrize(("template", "bracket"), [(PLAIN_V1, "]"), (ALL_IN_ONE_V1, "}")], ids=["list", "object"])
def test_the_stops_are_the_end_token_and_what_may_end_an_answer(tokenizer, template, bracket):
    stops = make_asker(tokenizer, template).stops
    written = [tokenizer.decode([i]) for i in stops if i != tokenizer.eos_token_id]
    assert len(written) == len(stops) - 1
    assert bracket in written and all(bracket in piece for piece in written)


TEXTS = (' ["Ada", "Paris"]', ' ["Zoë", "東京 🍕"]', ' ["👩‍🔬\ufffd"]', ' ["  a\\n"] ', "é", "")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "llama"])
def test_pieces_make_up_the_answer(asker, kind, text):
    asker = asker if kind == "bytes" else make_asker(make_llama_tokenizer())
    ids = ids_of(asker, text)
    pieces = asker.pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == asker.encoder.decode(ids)


def test_a_character_of_several_tokens_is_its_last_ones(asker):
    ids = ids_of(asker, '東"')
    assert asker.pieces(ids) == ["", "", "東", '"']


def test_the_score_of_a_mention(asker):
    """The probability that a mention begins, times those of its words, times that it closes."""
    ids = ids_of(asker, ' ["A"]')
    pieces = asker.pieces(ids)
    first = next(i for i, piece in enumerate(pieces) if "A" in piece)
    chances = [(0.5 if i == first else 1.0, 1.0 if i == first + 1 else 0.0) for i in range(len(ids))]
    (answer,) = asker.read(Question(0, ["x"], [], 64, ids, chances))
    assert answer == Answer(("A",), (0.5,))


def test_scores_need_a_chance_for_each_token(asker):
    ids = ids_of(asker, ' ["A"]')
    assert asker.read(Question(0, ["x"], [], 64, ids, [(1.0, 1.0)])) == [Answer(("A",))]


def test_the_chance_of_a_token():
    logprobs = {7: log(0.5), 8: log(0.25), 9: log(0.125)}
    assert chance(7, logprobs, {8, 9}.__contains__) == pytest.approx((0.5, 0.375))
    assert chance("a", {"a": 0.0, '"': 0.0, '",': 0.0}, lambda piece: piece.startswith('"')) == (1.0, 1.0)


CUTS = {"all are sure": (0.0, ("Ada", "Bob")), "the second is not": (0.4, ("Ada",)), "none is": (0.9, ())}


@pytest.mark.parametrize(("min_score", "expected"), CUTS.values(), ids=CUTS)
def test_an_answer_ends_before_what_is_unlikely(tokenizer, min_score, expected):
    asker = make_asker(tokenizer, min_score=min_score)
    ids = ids_of(asker, ' ["Ada", "Bob"]')
    chances = [(0.5, 0.5), *[(1.0, 1.0)] * (len(ids) - 2), (0.25, 0.25)]
    (answer,) = asker.read(Question(0, ["person"], [], 64, ids, chances))
    assert (answer.mentions, answer.complete) == (expected, True)
