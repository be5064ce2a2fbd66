import json
import random
from collections import Counter

import pytest

from spacy_universalner.corpus.conversations import NegativeSampler, converse, count_types, split
from spacy_universalner.records import Mention, Query, Record, write_array

TYPE_COUNTS = Counter({"person": 60, "city": 30, "date": 8, "enzyme": 1, "ship": 1})
TEXT = "Łuk met Zoë. Zoë left Paris for “Oslo”."
RECORD = Record(
    "p1", TEXT, (Mention("Zoë", "person"), Mention("Paris", "city"), Mention("Łuk", "person"), Mention("Zoë", "person"))
)


def records(count):
    return [Record(f"p{i}", f"Text {i}.", (Mention("Text", "noun"),)) for i in range(count)]


def ids(part):
    return [record.passage_id for record in part]


def sampler(strategy="frequency", counts=TYPE_COUNTS):
    return NegativeSampler(counts, strategy=strategy)


def conversation_of(record=RECORD, *, strategy="frequency", ratio=1.0, seed=0, counts=TYPE_COUNTS):
    return converse(record, sampler(strategy, counts), negatives_per_positive=ratio, seed=seed)


def negatives(conversation):
    return [query.type for query in conversation.queries if not query.mentions]


SPLITS = {
    "none": (0, 0.1, 0),
    "one": (1, 0.9, 0),
    "two": (2, 0.01, 1),
    "two, most held out": (2, 0.99, 1),
    "three": (3, 0.1, 1),
    "hundred": (100, 0.1, 10),
    "rounded": (96, 0.1, 10),
}


@pytest.mark.parametrize(("count", "share", "held_out"), SPLITS.values(), ids=SPLITS)
def test_a_share_of_the_passages_is_held_out(count, share, held_out):
    train, dev = split(records(count), dev_share=share, seed=0)
    assert (len(train), len(dev)) == (count - held_out, held_out)
    assert not set(ids(train)) & set(ids(dev))


def test_both_parts_are_in_file_order():
    every = records(50)
    train, dev = split(every, dev_share=0.3, seed=1)
    assert train == [record for record in every if record in train]
    assert dev == [record for record in every if record in dev]
    assert dev != every[-len(dev) :]


def test_a_split_is_the_same_again_and_another_with_another_seed():
    first, again, other = (ids(split(records(100), dev_share=0.2, seed=seed)[1]) for seed in (0, 0, 1))
    assert first == again != other


def test_types_are_counted_by_mention():
    assert count_types([RECORD, *records(2)]) == {"person": 3, "city": 1, "noun": 2}


@pytest.mark.parametrize("strategy", ["uniform", "frequency"])
@pytest.mark.parametrize("count", [0, 1, 3, 99])
def test_negatives_are_absent_and_distinct(strategy, count):
    drawn = sampler(strategy).draw(["person", "city"], count, random.Random(0))
    assert len(drawn) == len(set(drawn)) == min(count, 3)
    assert set(drawn) <= {"date", "enzyme", "ship"}


@pytest.mark.parametrize("present", ["PERSON", "Person", "person"])
def test_a_present_type_is_never_a_negative_whatever_its_case(present):
    counts = Counter({"person": 9, "Person": 9, "PERSON": 9, "city": 1})
    assert sampler(counts=counts).draw([present], 4, random.Random(0)) == ["city"]


def test_no_absent_type_means_no_negative():
    assert sampler().draw(list(TYPE_COUNTS), 5, random.Random(0)) == []
    assert sampler(counts=Counter()).draw([], 5, random.Random(0)) == []


def shares(strategy):
    """How often each type comes first in many draws from a passage that holds a city."""
    rng, drawing = random.Random(0), sampler(strategy)
    first = Counter(drawing.draw(["city"], 1, rng)[0] for _ in range(4000))
    return {name: first[name] / 4000 for name in ("person", "date", "enzyme", "ship")}


def test_uniform_negatives_are_equally_likely():
    assert shares("uniform") == pytest.approx(dict.fromkeys(["person", "date", "enzyme", "ship"], 0.25), abs=0.03)


def test_frequency_negatives_follow_the_mentions():
    assert shares("frequency") == pytest.approx(
        {"person": 60 / 70, "date": 8 / 70, "enzyme": 1 / 70, "ship": 1 / 70}, abs=0.02
    )


def test_without_negatives_every_question_has_an_answer():
    assert negatives(conversation_of(strategy="none", ratio=5.0)) == []


RATIOS = {"none": (0.0, 0), "half": (0.5, 1), "one": (1.0, 2), "more than there are": (9.0, 3)}


@pytest.mark.parametrize(("ratio", "count"), RATIOS.values(), ids=RATIOS)
def test_negatives_are_counted_by_present_type(ratio, count):
    assert len(negatives(conversation_of(ratio=ratio))) == count


def test_a_passage_without_entities_gets_the_negatives_of_one_type():
    assert len(negatives(conversation_of(Record("p1", TEXT, ()), ratio=2.0))) == 2


def test_a_type_is_asked_once_and_answered_in_reading_order_without_repeats():
    asked = {query.type: query.mentions for query in conversation_of(ratio=0.0).queries}
    assert asked == {"person": ("Łuk", "Zoë"), "city": ("Paris",)}


def test_a_draw_is_the_same_again_and_another_with_another_seed():
    drawn = [conversation_of(seed=seed).queries for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_a_passages_draw_does_not_depend_on_the_others():
    every = [Record(f"p{i}", TEXT, RECORD.mentions) for i in range(20)]
    drawing = sampler()
    alone = [converse(record, sampler(), negatives_per_positive=1.0, seed=0) for record in every]
    backwards = [converse(record, drawing, negatives_per_positive=1.0, seed=0) for record in reversed(every)]
    assert backwards[::-1] == alone
    assert len({conversation.queries for conversation in alone}) > 1


def test_negatives_do_not_stand_at_the_end():
    orders = {tuple(bool(query.mentions) for query in conversation_of(seed=seed).queries) for seed in range(30)}
    assert len(orders) > 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_tiny_corpus_makes_conversations(count):
    train, dev = split(records(count), dev_share=0.1, seed=0)
    drawing = NegativeSampler(count_types(train), strategy="frequency")
    made = [converse(record, drawing, negatives_per_positive=1.0, seed=0) for record in (*train, *dev)]
    assert [conversation.queries for conversation in made] == [(Query("noun", ("Text",)),)] * count


def pair_turns(source, rng):
    """The steps of the authors' training code on one conversation, up to the tokenizer (src/train: preprocess2)."""
    if source[0]["from"] != "human":
        source = source[1:]
    assert len(source) % 2 == 0
    assert [turn["from"] for turn in source] == ["human", "gpt"] * (len(source) // 2)
    first, *rest = [(source[i]["value"], source[i + 1]["value"]) for i in range(0, len(source), 2)]
    rng.shuffle(rest)
    return [first, *rest]


def test_the_authors_training_code_reads_what_is_written(tmp_path):
    conversation = conversation_of()
    path = tmp_path / "train.json"
    write_array(path, [conversation.to_sharegpt()])
    [row] = json.loads(path.read_text(encoding="utf8"))
    assert row["conversations"][0]["from"] == "human"
    opening, *pairs = pair_turns(row["conversations"], random.Random(0))
    assert opening == (f"Text: {TEXT}", "I've read this text.")
    answers = {ask: tuple(json.loads(answer)) for ask, answer in pairs}
    assert answers == {f"What describes {query.type} in the text?": query.mentions for query in conversation.queries}
