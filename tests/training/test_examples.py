import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from spacy_universalner.encoding import Encoder
from spacy_universalner.prompts import ALL_IN_ONE_V1, PLAIN_V1, TEMPLATES, UNINER_V1
from spacy_universalner.records import Conversation, Query
from spacy_universalner.training.examples import Row, collate, draw_queries, make_row, plan_epoch, split_rows

from ..conftest import CONVERSATIONS

ODD = Conversation("odd", 'A "quoted" <|im_end|> 🛰 text', (Query("größe", ('"quoted"', "🛰")), Query("a\\b", ())))
PAD = 0


@pytest.fixture(scope="module")
def encoder(tiny_base) -> Encoder:
    return Encoder(AutoTokenizer.from_pretrained(tiny_base), PLAIN_V1)


@pytest.fixture(scope="module")
def rows(encoder) -> list[Row]:
    return [make_row(encoder, conversation, conversation.queries) for conversation in (*CONVERSATIONS, ODD)]


def runs(positions):
    """Consecutive positions put together."""
    found = []
    for position in positions:
        if found and found[-1][-1] == position - 1:
            found[-1].append(position)
        else:
            found.append([position])
    return found


# Rows


@pytest.mark.parametrize("conversation", [*CONVERSATIONS, ODD], ids=lambda c: c.id)
def test_learnt_are_the_answers_and_their_end_tokens(encoder, conversation):
    row = make_row(encoder, conversation, conversation.queries)
    learnt = [[row.ids[position] for position in run] for run in runs(row.learnt)]
    assert all(ids[-1] == encoder.end and encoder.end not in ids[:-1] for ids in learnt)
    assert [encoder.decode(ids) for ids in learnt] == [PLAIN_V1.answer([query]) for query in conversation.queries]


@pytest.mark.parametrize("conversation", [*CONVERSATIONS, ODD], ids=lambda c: c.id)
def test_a_row_is_what_the_engine_asks_and_the_answers(encoder, conversation):
    row = make_row(encoder, conversation, conversation.queries)
    assert list(row.ids[: row.starts[0]]) == encoder.passage(conversation.text)
    parts = [row.ids[start:end] for start, end in pairwise((*row.starts, len(row.ids)))]
    for part, query in zip(parts, conversation.queries, strict=True):
        asked = encoder.ask((query.type,))
        assert part[: len(asked)] == asked
        assert part == encoder.exchange([query]).ids


def test_all_types_in_one_question_are_one_exchange(tiny_base):
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), ALL_IN_ONE_V1)
    queries = CONVERSATIONS[0].queries
    row = make_row(encoder, CONVERSATIONS[0], queries)
    assert row.starts == (len(encoder.passage(CONVERSATIONS[0].text)),)
    assert row.ids[row.starts[0] :] == encoder.exchange(queries).ids
    assert encoder.decode([row.ids[i] for i in row.learnt]) == ALL_IN_ONE_V1.answer(queries)


def test_types_of_one_question_are_divided_among_rows(tiny_base):
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), ALL_IN_ONE_V1)
    queries = CONVERSATIONS[0].queries
    whole, *parts = (make_row(encoder, CONVERSATIONS[0], part) for part in (queries, queries[:2], queries[2:]))
    assert split_rows(encoder, CONVERSATIONS[0], queries, len(whole.ids) - 1) == (parts, [])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_row_names_its_data_set_where_the_template_does(tiny_base, name):
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), TEMPLATES[name])
    conversation = CONVERSATIONS[0]
    rows = [make_row(encoder, c, c.queries) for c in (conversation, replace(conversation, dataset="conllpp"))]
    assert (rows[0] != rows[1]) is name.startswith("dataset")
    assert ("Dataset: conllpp\nText: Ada met" in encoder.decode(rows[1].ids)) is name.startswith("dataset")


def test_the_reply_to_the_passage_is_learnt_as_the_authors_do(tiny_base):
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), UNINER_V1)
    row = make_row(encoder, CONVERSATIONS[0], CONVERSATIONS[0].queries[:1])
    said = [encoder.tokenizer.decode([row.ids[i] for i in run]) for run in runs(row.learnt)]
    assert said == ["I've read this text.<|im_end|>", '["Ada", "Grace"]<|im_end|>']


def test_questions_are_drawn_in_a_new_order_each_time():
    queries = tuple(Query(f"type {i}", ()) for i in range(20))
    conversation = Conversation("many", "text", queries)
    rng = random.Random(0)
    first, second = (draw_queries(conversation, most=0, rng=rng) for _ in range(2))
    assert first != second
    assert set(first) == set(second) == set(queries)
    assert len(draw_queries(conversation, most=3, rng=rng)) == 3


LONG = Conversation(
    "long", "Ada met Grace.", tuple(Query(f"type {i} of {'x' * i}", ("Ada",) * (i % 2)) for i in range(9))
)


@pytest.mark.parametrize("questions", [1, 2, 3, 4, 9])
def test_a_long_conversation_becomes_rows_that_hold_all_its_questions(encoder, questions):
    longest = len(make_row(encoder, LONG, LONG.queries[:questions]).ids)
    rows, left = split_rows(encoder, LONG, LONG.queries, longest)
    assert left == ([] if questions > 1 else list(LONG.queries[1:]))
    assert [len(row.ids) <= longest for row in rows] == [True] * len(rows)
    passage = encoder.passage(LONG.text)
    assert all(list(row.ids[: row.starts[0]]) == passage for row in rows)
    asked = [row.ids[start:end] for row in rows for start, end in pairwise((*row.starts, len(row.ids)))]
    whole = make_row(encoder, LONG, [query for query in LONG.queries if query not in left])
    assert asked == [whole.ids[start:end] for start, end in pairwise((*whole.starts, len(whole.ids)))]


def test_rows_are_as_few_as_can_be(encoder):
    whole = make_row(encoder, LONG, LONG.queries)
    assert split_rows(encoder, LONG, LONG.queries, len(whole.ids)) == ([whole], [])
    assert len(split_rows(encoder, LONG, LONG.queries, len(whole.ids) - 1)[0]) == 2


def test_a_question_too_long_is_given_back_and_the_others_are_kept(encoder):
    queries = (Query("city", ()), Query("x " * 200, ()), Query("date", ()))
    rows, left = split_rows(encoder, LONG, queries, 120)
    assert left == [queries[1]]
    assert sum(len(row.starts) for row in rows) == 2


def test_a_passage_too_long_makes_no_row(encoder):
    assert split_rows(encoder, LONG, LONG.queries, 10) == ([], list(LONG.queries))


def test_no_question_makes_no_row(encoder):
    assert split_rows(encoder, CONVERSATIONS[0], (), 10_000) == ([], [])


# An epoch


def made_up(count, seed=0):
    rng = random.Random(seed)
    return [Row(str(i), tuple(range(rng.randint(5, 60))), (4,), (2,)) for i in range(count)]


PLANS = {"small batches": (80, 200), "a row a batch": (1, 1), "one step": (500, 10**6), "big batches": (1000, 100)}


@pytest.mark.parametrize(("batch_tokens", "step_tokens"), PLANS.values(), ids=PLANS)
def test_a_plan(batch_tokens, step_tokens):
    rows = made_up(200)
    steps = list(plan_epoch(rows, batch_tokens=batch_tokens, step_tokens=step_tokens, rng=random.Random(1)))
    batches = [batch for step in steps for batch in step]
    assert sorted(row.id for batch in batches for row in batch) == sorted(row.id for row in rows)
    assert all(len(batch) == 1 or len(batch) * max(len(row.ids) for row in batch) <= batch_tokens for batch in batches)
    tokens = [[sum(len(row.ids) for row in batch) for batch in step] for step in steps]
    assert all(sum(step) >= step_tokens > sum(step[:-1]) for step in tokens[:-1])


def ids_of(steps):
    return [[[row.id for row in batch] for batch in step] for step in steps]


def test_a_plan_follows_from_its_seed():
    plans = [
        ids_of(plan_epoch(made_up(200), batch_tokens=80, step_tokens=200, rng=random.Random(seed)))
        for seed in (1, 1, 2)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_rows_of_a_batch_are_of_like_length():
    rows = made_up(640)
    steps = list(plan_epoch(rows, batch_tokens=400, step_tokens=10**6, rng=random.Random(0), pool=64))
    padded = sum(len(batch) * max(len(row.ids) for row in batch) for step in steps for batch in step)
    assert padded < 1.15 * sum(len(row.ids) for row in rows)


def test_a_plan_of_nothing():
    assert list(plan_epoch([], batch_tokens=80, step_tokens=200, rng=random.Random(0))) == []


# Batches


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "multi-turn"])
def test_padding_is_never_learnt(rows, isolated):
    batch = collate(rows, PAD, isolated=isolated)
    width = batch.layout.ids.shape[1]
    learnt = [divmod(flat + 1, width) for flat in batch.predict.tolist()]
    assert learnt == [(i, position) for i, row in enumerate(rows) for position in row.learnt]
    assert batch.targets.tolist() == [rows[i].ids[position] for i, position in learnt]
    assert all(position < len(rows[i].ids) for i, position in learnt)


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "multi-turn"])
def test_padding_is_never_seen(rows, isolated):
    batch = collate(rows, PAD, isolated=isolated)
    for i, row in enumerate(rows):
        length = len(row.ids)
        assert not batch.layout.mask[i, 0, :length, length:].any()
        assert batch.layout.mask[i, 0].any(dim=1).all(), "a token that sees nothing gives NaN"


def test_a_batch(rows):
    batch = collate(rows, PAD, isolated=False)
    assert batch.conversations == tuple(row.id for row in rows)
    for i, row in enumerate(rows):
        assert tuple(batch.layout.ids[i].tolist()) == row.ids + (PAD,) * (batch.layout.ids.shape[1] - len(row.ids))


def test_multi_turn_sees_everything_before(rows):
    batch = collate(rows[:1], PAD, isolated=False)
    width = len(rows[0].ids)
    assert torch.equal(batch.layout.mask[0, 0], torch.ones(width, width, dtype=torch.bool).tril())
    assert batch.layout.positions[0].tolist() == list(range(width))


def logits(tiny_base, batch):
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.no_grad():
        output = model(
            input_ids=batch.layout.ids,
            position_ids=batch.layout.positions,
            attention_mask=batch.layout.mask,
            use_cache=False,
        )
    return output.logits.flatten(0, 1)[batch.predict]


def test_isolated_questions_are_seen_as_they_are_asked(tiny_base, encoder, rows):
    """In a batch, each question gets the logits it gets as the only one about its passage."""
    together = logits(tiny_base, collate(rows, PAD, isolated=True))
    alone = [
        logits(tiny_base, collate([make_row(encoder, conversation, [query])], PAD, isolated=False))
        for conversation in (*CONVERSATIONS, ODD)
        for query in conversation.queries
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_multi_turn_questions_are_not(tiny_base, rows):
    together, isolated = (logits(tiny_base, collate(rows, PAD, isolated=isolated)) for isolated in (False, True))
    assert not torch.allclose(together, isolated, atol=1e-4)
