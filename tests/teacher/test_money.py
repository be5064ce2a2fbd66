import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from spacy_universalner.teacher.completion import ANSWER, FAILED, REFUSAL
from spacy_universalner.teacher.money import ENOUGH, Budget, Ledger, Price, bound_tokens, estimate

PRICE = Price(input=2.0, output=8.0, cached_input=0.5)
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000, "cached_tokens": 400_000}


def make_messages(*texts):
    return [{"role": "user", "content": text} for text in texts]


def make_row(kind=ANSWER, usage=None, messages=(), **changes):
    row = {"kind": kind, "usage": usage or {}, "messages": list(messages), "requests": 1, "cost": 0.0}
    return {**row, "unanswered": 0, "at_risk": 0.0, **changes}


# prices


@pytest.mark.parametrize(
    "price, usage, batch, dollars",
    [
        (PRICE, USAGE, False, 0.6 * 2 + 0.4 * 0.5 + 0.5 * 8),
        (PRICE, USAGE, True, (0.6 * 2 + 0.4 * 0.5 + 0.5 * 8) / 2),
        (Price(2, 8), USAGE, False, 2 + 4),  # no price of its own for what was cached
        (Price(2, 8, cached_input=0.0), USAGE, False, 1.2 + 4),
        (Price(2, 8, batch=0.25), USAGE, True, 6 / 4),
        (PRICE, {"prompt_tokens": 1_000_000}, False, 2),
        (PRICE, {"completion_tokens": 1_000_000}, False, 8),
        (PRICE, {"total_tokens": 7}, False, 0),
        (PRICE, {}, False, 0),
        (PRICE, {"prompt_tokens": 1_000_000, "cached_tokens": 9_000_000}, False, 0.5),  # no more than all was cached
    ],
)
def test_what_tokens_cost(price, usage, batch, dollars):
    assert price.cost(usage, batch=batch) == pytest.approx(dollars)


# bounds


@given(st.lists(st.text(st.characters()), max_size=3))
def test_no_text_has_more_tokens_than_the_bound(texts):
    size = sum(len(text.encode("utf8", "surrogatepass")) for text in texts)
    assert bound_tokens(make_messages(*texts)) == size + 16 * len(texts)


@settings(max_examples=30)
@given(st.text())
def test_a_tokenizer_that_knows_only_bytes_keeps_to_the_bound(text):
    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert len(tokenizer.encode(text).ids) <= bound_tokens(make_messages(text))


# a budget

TASKS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5), st.integers(0, 3), st.floats(0, 1)), max_size=25)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 10), TASKS)
def test_a_budget_is_never_passed(limit, before, tasks):
    async def run():
        budget, flying, refused = Budget(limit, before), [], []

        async def ask(amount, delay, length, share):
            for _ in range(delay):
                await asyncio.sleep(0)
            if not await budget.reserve(amount):
                assert not flying
                assert budget.spent + budget.reserved + amount > limit
                refused.append(amount)
                return
            flying.append(amount)
            for _ in range(length):
                assert budget.spent + budget.reserved <= limit
                await asyncio.sleep(0)
            flying.remove(amount)
            await budget.settle(amount, round(amount * share))

        await asyncio.wait_for(asyncio.gather(*(ask(*task) for task in tasks)), 5)
        assert budget.reserved == 0
        assert budget.spent <= max(limit, before)
        if before + sum(amount for amount, *_ in tasks) <= limit:
            assert not refused

    asyncio.run(run())


def test_a_request_waits_for_what_others_may_give_back():
    async def run():
        budget = Budget(10)
        assert await budget.reserve(7)
        waiting = asyncio.create_task(budget.reserve(7))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await budget.settle(7, 1)
        return await waiting, budget.spent, budget.reserved

    assert asyncio.run(run()) == (True, 1, 7)


def test_a_request_is_refused_once_nobody_can_give_anything_back():
    async def run():
        budget = Budget(10)
        assert await budget.reserve(4)
        assert await budget.reserve(4)
        waiting = [asyncio.create_task(budget.reserve(5)) for _ in range(3)]
        await budget.settle(4, 4)
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        assert await budget.reserve(1)
        await budget.settle(1, 0)
        await budget.settle(4, 4)
        return [*await asyncio.gather(*waiting), await budget.reserve(2)]

    assert asyncio.run(asyncio.wait_for(run(), 5)) == [False, False, False, True]


def test_a_small_request_passes_a_large_one_that_waits():
    async def run():
        budget = Budget(10)
        assert await budget.reserve(6)
        large = asyncio.create_task(budget.reserve(9))
        await asyncio.sleep(0)
        assert await budget.reserve(3)
        await budget.settle(6, 0)
        await budget.settle(3, 0)
        return await asyncio.wait_for(large, 5)

    assert asyncio.run(run())


def test_a_request_that_is_cancelled_while_it_waits_takes_nothing():
    async def run():
        budget = Budget(10)
        await budget.reserve(9)
        waiting = asyncio.create_task(budget.reserve(9))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await budget.settle(9, 0)
        return budget.reserved, await budget.reserve(10)

    assert asyncio.run(run()) == (0, True)


def test_without_a_limit_everything_is_allowed():
    async def run():
        budget = Budget(0, 1e9)
        return await budget.reserve(1e9), await budget.reserve(1e9)

    assert asyncio.run(run()) == (True, True)


@pytest.mark.parametrize("before, amount, allowed", [(9, 1, True), (9, 1.01, False), (11, 0, False), (0, 10, True)])
def test_what_was_spent_before_counts(before, amount, allowed):
    assert asyncio.run(Budget(10, before).reserve(amount)) is allowed


# the ledger


def test_the_ledger_counts_rows():
    ledger = Ledger()
    ledger.add(make_row(usage={"prompt_tokens": 5, "completion_tokens": 2}, cost=0.25))
    ledger.add(make_row(usage={"prompt_tokens": 1, "cached_tokens": 1}, cost=0.5, requests=3, unanswered=2, at_risk=4))
    ledger.add(make_row(FAILED, requests=8))
    ledger.add(make_row(REFUSAL))
    assert ledger.spent == 4.75
    assert json.loads(json.dumps(ledger.to_json())) == {
        "requests": 13,
        "replies": {"answer": 2, "refusal": 1, "failed": 1},
        "tokens": {"prompt_tokens": 6, "completion_tokens": 2, "cached_tokens": 1},
        "cost": 0.75,
        "unanswered": 2,
        "at_risk": 4,
    }


def test_an_empty_ledger():
    assert Ledger().to_json()["replies"] == Ledger().to_json()["tokens"] == {}


# estimates

FRAME = "x" * 100


def make_estimate(passages=(), *, known=(), price=PRICE, longest=1000, answered=False):
    prompts = [(make_messages(FRAME, passage), answered) for passage in passages]
    return estimate(iter(prompts), frame=len(FRAME), known=iter(known), price=price, longest=longest)


def make_known(count):
    usage = {"prompt_tokens": 50, "completion_tokens": 30}
    return [make_row(usage=usage, messages=make_messages("y" * 60, "z" * 40)) for _ in range(count)]


def test_an_estimate_of_an_unknown_teacher():
    result = make_estimate(["a" * 400, "b" * 800])
    assert (result.passages, result.answered) == (2, 0)
    assert (result.input_tokens, result.output_tokens) == (1400 / 4, 1200 / 4 * 2)
    assert result.cost == pytest.approx((350 * 2 + 600 * 8) / 1e6)
    assert result.batch_cost == pytest.approx(result.cost / 2)
    assert result.most == pytest.approx((350 * 2 + 2 * 1000 * 8) / 1e6)
    assert result.basis.startswith("assumed")


def test_an_estimate_from_replies_of_the_same_teacher():
    result = make_estimate(["a" * 400, "b" * 800], known=make_known(ENOUGH))
    assert (result.input_tokens, result.output_tokens) == (1400 / 2, 2 * 30)
    assert result.basis == "the 20 replies of this teacher in the store"


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 9}, {"completion_tokens": 9}, {"total_tokens": 9}])
def test_too_few_known_replies_tell_nothing(usage):
    known = [*make_known(ENOUGH - 1), make_row(FAILED, usage)]
    assert make_estimate(["a" * 400], known=known) == make_estimate(["a" * 400])


def test_what_is_in_the_store_is_free():
    result = make_estimate(["a" * 400] * 3, answered=True)
    assert (result.passages, result.answered, result.input_tokens, result.output_tokens) == (3, 3, 0, 0)
    assert result.cost == result.batch_cost == result.most == 0


def test_no_reply_is_expected_to_be_longer_than_it_may_be():
    result = make_estimate(["a" * 40_000, "b"], longest=64)
    assert result.output_tokens <= 2 * 64
    assert result.cost <= result.most


def test_an_estimate_of_nothing():
    assert make_estimate().cost == 0


@pytest.mark.parametrize(
    "price, longest, shown",
    [
        (Price(1e6, 1e6), 1000, ("$800.00", "$400.00", "$2,300.00")),
        (Price(0, 0), 1000, ("$0.00", "$0.00", "$0.00")),
        (Price(1e6, 1e6), None, ("$800.00", "$400.00", "no longest reply")),
        (None, 1000, ("no price", "no price", "no price")),
        (None, None, ("no price", "no price", "no price")),
    ],
)
def test_an_estimate_is_shown_in_dollars(price, longest, shown):
    result = make_estimate(["a" * 500, "b" * 500], price=price, longest=longest).to_json()
    assert (result["cost"], result["batch_cost"], result["most"]) == shown
