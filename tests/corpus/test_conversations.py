import json
import pickle
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.corpus.conversations import NegativeSampler, Survey, converse, read_absent, write_parts
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Mention, Query, Record, open_array, read_conversations, sha256_json, write_rows

TYPE_COUNTS = Counter({"person": 60, "city": 30, "date": 8, "enzyme": 1, "ship": 1})
TEXT = "Łuk met Zoë. Zoë left Paris for “Oslo”."
RECORD = Record(
    "p1", TEXT, (Mention("Zoë", "person"), Mention("Paris", "city"), Mention("Łuk", "person"), Mention("Zoë", "person"))
)


def records(count):
    return [Record(f"p{i}", f"Text {i}.", (Mention("Text", "noun"),)) for i in range(count)]


def survey(part, *, seed=0, dev_limit=5000):
    made = Survey(seed=seed, dev_limit=dev_limit)
    for record in part:
        made.add(record)
    return made


def ids(part):
    return [record.passage_id for record in part]


def sampler(strategy="frequency", counts=TYPE_COUNTS):
    return NegativeSampler(counts, strategy=strategy)


def conversation_of(record=RECORD, *, strategy="frequency", ratio=1.0, per="positive", seed=0, counts=TYPE_COUNTS):
    return converse(record, sampler(strategy, counts), number=ratio, per=per, seed=seed)


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
    dev = survey(records(count)).finish(dev_share=share).dev
    assert len(dev) == held_out
    assert dev <= set(ids(records(count)))


def test_no_more_than_the_limit_is_held_out():
    wide, narrow = (survey(records(100), dev_limit=limit).finish(dev_share=0.5).dev for limit in (50, 7))
    assert (len(wide), len(narrow)) == (50, 7)
    assert narrow < wide


def test_a_split_is_the_same_again_and_another_with_another_seed():
    first, again, other = (survey(records(100), seed=seed).finish(dev_share=0.2).dev for seed in (0, 0, 1))
    assert first == again != other


def test_what_is_held_out_is_no_run_of_the_file():
    places = sorted(ids(records(100)).index(id_) for id_ in survey(records(100)).finish(dev_share=0.3).dev)
    assert places[-1] - places[0] > 60


def test_a_passage_keeps_its_place_when_others_come_or_go():
    every = records(200)
    few = survey(every[:100]).finish(dev_share=0.2).dev
    many = survey(every).finish(dev_share=0.1).dev
    assert len(few) == len(many) == 20
    assert many & set(ids(every[:100])) <= few


def test_types_are_counted_by_mention_in_what_is_not_held_out():
    every = [Record("z", TEXT, RECORD.mentions), *records(20)]
    split = survey(every).finish(dev_share=0.3)
    kept = [mention.type for record in every if record.passage_id not in split.dev for mention in record.mentions]
    assert split.type_counts == Counter(kept)
    assert sum(survey(every).type_counts.values()) == 24


def test_a_type_of_the_dev_part_only_is_no_negative():
    rare = {record.passage_id: f"rare {record.passage_id}" for record in records(20)}
    every = [Record(id_, "Text.", (Mention("Text", name),)) for id_, name in rare.items()]
    split = survey(every).finish(dev_share=0.3)
    assert set(split.type_counts) == {name for id_, name in rare.items() if id_ not in split.dev}


NAMES = st.sampled_from(["person", "Person", "city", "a type of ship"])
PARTS = st.lists(
    st.tuples(st.lists(NAMES, max_size=4), st.integers(min_value=0, max_value=3)), max_size=30
)  # the types of each record, and which worker sees it


@given(rows=PARTS, order=st.permutations(range(4)), limit=st.integers(min_value=1, max_value=40))
def test_surveys_of_parts_give_the_split_of_the_whole(rows, order, limit):
    every = [Record(f"p{i}", "", tuple(Mention("x", name) for name in names)) for i, (names, _) in enumerate(rows)]
    whole = survey(every, dev_limit=limit)
    parts = [survey([r for r, (_, at) in zip(every, rows, strict=True) if at == w], dev_limit=limit) for w in range(4)]
    merged = survey([], dev_limit=limit)
    for worker in order:
        merged.merge(pickle.loads(pickle.dumps(parts[worker])))
    for share in (0.1, 0.5, 0.9):
        assert merged.finish(dev_share=share) == whole.finish(dev_share=share)
    assert (merged.count, merged.type_counts) == (whole.count, whole.type_counts)


def test_records_of_one_id_in_two_parts_are_counted_and_break_nothing():
    again = [Record("p1", "Text.", (Mention("Text", "verb"),)), Record("p1", "Text.", ())]
    assert survey([*records(3), *again]).count == 5


@pytest.mark.parametrize("other", [{"seed": 1}, {"dev_limit": 9}], ids=["seed", "limit"])
def test_surveys_with_other_settings_are_not_merged(other):
    with pytest.raises(UniversalNERError, match="U120"):
        survey([]).merge(survey([], **other))


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


SKEWED = Counter({"person": 10**9, "city": 10**9, "a": 6, "b": 3, "c": 1})


def test_rare_types_beside_a_present_one_that_is_nearly_all_are_drawn_at_once():
    start = time.process_time()
    drawn = sampler(counts=SKEWED).draw(["person"], 4, random.Random(0))
    assert sorted(drawn) == ["a", "b", "c", "city"]
    assert time.process_time() - start < 1


def test_what_is_listed_is_drawn_by_weight_too():
    drawing, rng = sampler(counts=SKEWED), random.Random(0)
    orders = Counter(tuple(drawing.draw(["person", "city"], 2, rng)) for _ in range(4000))
    expected = {("a", "b"): 0.45, ("a", "c"): 0.15, ("b", "a"): 0.3 * 6 / 7, ("c", "b"): 0.1 * 3 / 9}
    assert {pair: orders[pair] / 4000 for pair in expected} == pytest.approx(expected, abs=0.03)


def test_the_types_that_are_there_cost_no_time_by_their_number():
    counts = Counter({f"A kind of thing, number {i}": 1 + 10**5 // (i + 1) for i in range(50_000)})
    drawing, rng = sampler(counts=counts), random.Random(0)
    start = time.process_time()
    for _ in range(500):
        drawing.draw(["A kind of thing, number 3"], 5, rng)
    assert time.process_time() - start < 1  # a look at every type for each draw takes five seconds and more


def test_without_negatives_every_question_has_an_answer():
    assert negatives(conversation_of(strategy="none", ratio=5.0)) == []


RATIOS = {"none": (0.0, 0), "half": (0.5, 1), "one": (1.0, 2), "more than there are": (9.0, 3)}


@pytest.mark.parametrize(("ratio", "count"), RATIOS.values(), ids=RATIOS)
def test_negatives_are_counted_by_present_type(ratio, count):
    assert len(negatives(conversation_of(ratio=ratio))) == count


@pytest.mark.parametrize("record", [RECORD, Record("p1", TEXT, ())], ids=["two types", "none"])
def test_negatives_are_counted_by_passage(record):
    assert len(negatives(conversation_of(record, ratio=2.0, per="passage"))) == 2


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
    alone = [converse(record, sampler(), number=1.0, per="positive", seed=0) for record in every]
    backwards = [converse(record, drawing, number=1.0, per="positive", seed=0) for record in reversed(every)]
    assert backwards[::-1] == alone
    assert len({conversation.queries for conversation in alone}) > 1


def test_negatives_do_not_stand_at_the_end():
    orders = {tuple(bool(query.mentions) for query in conversation_of(seed=seed).queries) for seed in range(30)}
    assert len(orders) > 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_tiny_corpus_makes_conversations(count):
    drawing = NegativeSampler(survey(records(count)).finish(dev_share=0.1).type_counts, strategy="frequency")
    made = [converse(record, drawing, number=1.0, per="positive", seed=0) for record in records(count)]
    assert [conversation.queries for conversation in made] == [(Query("noun", ("Text",)),)] * count


def test_parts_are_written_in_order_in_one_pass(tmp_path):
    made = [conversation_of(record) for record in records(6)]
    files = {name: tmp_path / name for name in ("train", "dev", "array")}
    counts = write_parts(iter(made), {"p1", "p4"}, **files)
    assert [talk.id for talk in read_conversations(files["train"])] == ["p0", "p2", "p3", "p5"]
    assert list(read_conversations(files["dev"])) == [made[1], made[4]]
    assert json.loads(files["array"].read_text(encoding="utf8")) == [
        made[i].to_sharegpt() for i in range(6) if i not in (1, 4)
    ]
    assert counts == {
        **{"train_conversations": 4, "train_questions": 8, "train_negatives": 4, "train_mentions": 4},
        **{"dev_conversations": 2, "dev_questions": 4, "dev_negatives": 2, "dev_mentions": 2},
    }


def test_a_failure_leaves_no_part(tmp_path):
    def failing():
        yield conversation_of()
        raise RuntimeError("the reader's own")

    with pytest.raises(RuntimeError, match="the reader's own"):
        write_parts(failing(), set(), train=tmp_path / "train", dev=tmp_path / "dev", array=tmp_path / "array")
    assert list(tmp_path.iterdir()) == []


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
    with open_array(path) as add:
        add(conversation.to_sharegpt())
    [row] = json.loads(path.read_text(encoding="utf8"))
    assert row["conversations"][0]["from"] == "human"
    opening, *pairs = pair_turns(row["conversations"], random.Random(0))
    assert opening == (f"Text: {TEXT}", "I've read this text.")
    answers = {ask: tuple(json.loads(answer)) for ask, answer in pairs}
    assert answers == {f"What describes {query.type} in the text?": query.mentions for query in conversation.queries}


KNOWN = {
    "as many as are asked for": (["ship", "enzyme", "date"], 1.0, {"ship", "enzyme", "date"}, 2),
    "no more than are known": (["ship"], 2.0, {"ship"}, 1),
    "but for those that are present": (["City", "person", "ship", "enzyme"], 2.0, {"ship", "enzyme"}, 2),
    "each once": (["ship", "ship", "enzyme"], 2.0, {"ship", "enzyme"}, 2),
    "none that no training record has": (["lake", "date"], 1.0, {"date"}, 1),
    "of definitions, by frequency": (["lake", "river"], 1.0, {"date", "enzyme", "ship"}, 2),
}


@pytest.mark.parametrize(("known", "ratio", "those", "count"), KNOWN.values(), ids=KNOWN)
def test_negatives_of_those_known_to_be_absent(known, ratio, those, count):
    drawing = NegativeSampler(TYPE_COUNTS, strategy="verified", absent={sha256_json(TEXT): known})
    said = negatives(converse(RECORD, drawing, number=ratio, per="positive", seed=0))
    assert len(said) == len(set(said)) == count
    assert set(said) <= those


def test_none_of_those_known_to_be_absent_is_preferred():
    drawing = NegativeSampler(TYPE_COUNTS, strategy="verified", absent={sha256_json(TEXT): ["ship", "enzyme", "date"]})
    talks = [converse(RECORD, drawing, number=0.5, per="positive", seed=seed) for seed in range(60)]
    assert {name for talk in talks for name in negatives(talk)} == {"ship", "enzyme", "date"}


def test_nothing_is_known_of_another_text():
    drawing = NegativeSampler(TYPE_COUNTS, strategy="verified", absent={sha256_json("Another."): ["ship", "enzyme"]})
    assert converse(RECORD, drawing, number=1.0, per="positive", seed=0) == conversation_of()


def test_what_is_known_is_left_alone_by_other_strategies():
    drawing = NegativeSampler(TYPE_COUNTS, strategy="frequency", absent={sha256_json(TEXT): ["ship", "enzyme"]})
    assert converse(RECORD, drawing, number=1.0, per="positive", seed=0) == conversation_of()


def test_absent_types_are_read_by_text(tmp_path):
    rows = [("a", ["lake"]), ("b", []), ("a", ["river"])]
    write_rows(tmp_path / "absent.jsonl", [{"text_sha": sha, "absent": names, "note": 1} for sha, names in rows])
    assert read_absent(tmp_path / "absent.jsonl") == {"a": ["lake", "river"], "b": []}


BAD_ABSENT = {
    "no hash": {"absent": ["lake"]},
    "no list": {"text_sha": "a", "absent": "lake"},
    "no names": {"text_sha": "a", "absent": [1]},
}


@pytest.mark.parametrize("row", BAD_ABSENT.values(), ids=BAD_ABSENT)
def test_a_line_that_says_nothing_of_absent_types(tmp_path, row):
    write_rows(tmp_path / "absent.jsonl", [{"text_sha": "b", "absent": []}, row])
    with pytest.raises(UniversalNERError, match=r"U128.*Line 2 of .*absent\.jsonl"):
        read_absent(tmp_path / "absent.jsonl")
