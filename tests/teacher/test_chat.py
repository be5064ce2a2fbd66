import asyncio
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

import pytest
import spacy
from tenacity import wait_random

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.teacher import chat, pace
from spacy_universalner.teacher.chat import AHEAD, make_chat_model
from spacy_universalner.teacher.completion import ANSWER, CUT_OFF, EMPTY, FAILED, NOT_ASKED, REFUSAL
from tests.chat_server import MODEL, ChatServer, Fault
from tests.teacher.conftest import PRICES, SECRET, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(pace, "BACKOFF", wait_random(0, 0.01))


def messages(text):
    return [{"role": "system", "content": "List the names."}, {"role": "user", "content": f"Passage: {text}"}]


def prompts(texts):
    return ([messages(text)] for text in texts)


def ask(model, texts):
    return [completion for of_doc in model(prompts(texts)) for completion in of_doc]


def names(number):
    return [f"Ada{n:03}" for n in range(number)]


def only_about(text, fault, times=10**9):
    """The fault for the first requests about one text."""
    left = count()
    return lambda _, body: fault if body["messages"][-1]["content"].endswith(text) and next(left) < times else None


def assert_the_bill_is_right(model, server):
    for ledger in (model.ledger, model.total):
        assert ledger.requests == len(server.requests)
        assert ledger.tokens["prompt_tokens"] == server.prompt_tokens
        assert ledger.tokens["completion_tokens"] == server.completion_tokens


def bill(server):
    return (server.prompt_tokens * PRICES[0]["input"] + server.completion_tokens * PRICES[0]["output"]) / 1e6


# one passage among others


HTML = {"content-type": "text/html"}
ENDLESS = ("hang", "slow")
# the kind it ends with, the requests it takes, and those of them that may be billed
FAULTS = {
    "408": (Fault(408), FAILED, 3, 0),
    "409": (Fault(409), FAILED, 3, 0),
    "429": (Fault(429), FAILED, 3, 0),
    "429 with a time": (Fault(429, headers={"retry-after": "0.05"}), FAILED, 3, 0),
    "429 with a bad time": (Fault(429, headers={"retry-after": "soon"}), FAILED, 3, 0),
    "500": (Fault(500), FAILED, 3, 0),
    "502 with HTML": (Fault(502, body="<html>Bad gateway</html>", headers=HTML), FAILED, 3, 0),
    "503": (Fault(503), FAILED, 3, 0),
    "200 with HTML": (Fault(body="<html>Log in</html>", headers=HTML), FAILED, 3, 3),
    "200 of other JSON": (Fault(body='{"detail": "hm"}'), FAILED, 3, 3),
    "no choices": (Fault(body='{"choices": []}'), FAILED, 3, 3),
    "reset": (Fault(action="reset"), FAILED, 3, 3),
    "hang": (Fault(action="hang"), FAILED, 3, 3),
    "slow body": (Fault(action="slow", delay=5), FAILED, 3, 3),
    "cut connection": (Fault(action="truncate"), FAILED, 3, 3),
    "bad JSON": (Fault(action="bad json"), FAILED, 3, 3),
    "null content": (Fault(action="null content"), EMPTY, 1, 0),
    "refusal": (Fault(action="refusal"), REFUSAL, 1, 0),
    "filtered reply": (Fault(action="content_filter"), REFUSAL, 1, 0),
    "cut off": (Fault(action="length"), CUT_OFF, 1, 0),
    "no usage": (Fault(action="no usage"), ANSWER, 1, 0),
    "filtered prompt": (Fault(400, code="content_filter"), FAILED, 1, 0),
    "too long": (Fault(400, code="context_length_exceeded", param="messages"), FAILED, 1, 0),
    "413": (Fault(413), FAILED, 1, 0),
}


@pytest.mark.parametrize(("fault", "kind", "requests", "unanswered"), FAULTS.values(), ids=FAULTS)
def test_a_fault_ends_in_a_reply_or_a_recorded_failure(make, server, fault, kind, requests, unanswered):
    server.faults = only_about("Ada002", fault)
    model = make(timeout=0.4 if fault.action in ENDLESS else 30)
    kinds = [completion.kind for completion in ask(model, names(5))]
    assert kinds == [ANSWER, ANSWER, kind, ANSWER, ANSWER]
    assert Counter(row["kind"] for row in rows(model)) == Counter(kinds)
    row = next(row for row in rows(model) if row["messages"] == messages("Ada002"))
    assert (row["requests"], row["unanswered"], bool(row["error"])) == (requests, unanswered, kind == FAILED)
    assert model.ledger.unanswered == unanswered
    assert_the_bill_is_right(model, server)


PASSING = [name for name, (_, kind, requests, _) in FAULTS.items() if kind == FAILED and requests > 1]


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_overcome(make, server, name):
    fault, _, requests, unanswered = FAULTS[name]
    server.faults = only_about("Ada001", fault, times=1)
    model = make(timeout=0.4 if fault.action in ENDLESS else 30)
    assert [completion.kind for completion in ask(model, names(3))] == [ANSWER] * 3
    assert model.ledger.unanswered == unanswered // requests
    assert_the_bill_is_right(model, server)


def test_a_server_that_is_not_there(make, server):
    server.stop()
    model = make()
    assert [completion.kind for completion in ask(model, names(2))] == [FAILED] * 2
    assert model.ledger.unanswered == 0, "what was never sent is not billed"
    server.start()
    assert [completion.kind for completion in ask(model, names(2))] == [ANSWER] * 2


BILLABLE = ("reset", "hang", "truncate", "bad json")


def test_a_mix_of_faults(make, server):
    chance = random.Random(7)
    faults = [fault for fault, *_ in FAULTS.values() if fault.action not in ENDLESS] + [None] * 15
    sent = [chance.choice([*faults, Fault(action="slow", delay=0.05)]) for _ in range(2000)]
    sent[20] = sent[90] = Fault(action="hang")
    server.faults, server.delay = sent, 0.001
    model = make(timeout=1.0, concurrency=32, give_up_after=1000)
    kinds = [completion.kind for completion in ask(model, names(300))]
    assert len(kinds) == 300
    assert Counter(row["kind"] for row in rows(model)) == Counter(kinds)
    assert len({row["key"] for row in rows(model)}) == 300
    billable = [f for f in sent[: len(server.requests)] if f and (f.action in BILLABLE or (f.status == 200 and f.body))]
    assert model.ledger.unanswered == len(billable)
    assert_the_bill_is_right(model, server)
    lost = kinds.count(FAILED)
    server.faults = ()
    assert FAILED not in [completion.kind for completion in ask(make(), names(300))]
    assert len(server.requests) - model.ledger.requests == lost


# order, concurrency, laziness


def test_replies_come_in_order(make, server):
    chance = random.Random(3)
    server.faults = lambda *_: Fault(delay=chance.random() * 0.02)
    assert [c.text for c in ask(make(), names(40))] == [f'[("{name}", "name")]' for name in names(40)]


def test_requests_in_flight_are_bounded(make, server):
    server.delay = 0.02
    ask(make(concurrency=5), names(30))
    assert server.in_flight_max == 5


def test_an_endless_stream_is_read_a_little_ahead(make, server):
    taken = []
    texts = (taken.append(n) or f"Ada{n}" for n in count())
    replies = make(concurrency=2)(prompts(texts))
    assert len(list(islice(replies, 10))) == 10
    assert len(taken) <= 10 + AHEAD * 2
    replies.close()


def test_a_doc_may_have_any_number_of_prompts(make):
    replies = list(make()([[], [messages("Ada"), messages("Bob")], [messages("Cid")]]))
    assert [[completion.text for completion in of_doc] for of_doc in replies] == [
        [],
        ['[("Ada", "name")]', '[("Bob", "name")]'],
        ['[("Cid", "name")]'],
    ]


def test_the_same_messages_are_asked_once(make, server):
    server.delay = 0.01
    assert len({completion.text for completion in ask(make(), ["Ada"] * 100)}) == 1
    assert len(server.requests) == 1


def test_it_works_inside_a_running_loop(make):
    async def main():
        return ask(make(), names(3))

    assert [completion.kind for completion in asyncio.run(main())] == [ANSWER] * 3


def test_one_model_can_answer_two_streams_in_turn(make, server):
    server.delay = 0.005
    model = make(concurrency=2)
    first, second = model(prompts(names(20))), model(prompts(f"Bob{n}" for n in range(40)))
    kinds = [completion.kind for pair in zip(first, second, strict=False) for (completion,) in pair]
    kinds += [completion.kind for (completion,) in second]
    assert set(kinds) == {ANSWER}


def test_without_a_store(make, server):
    model = make(store=None)
    assert [completion.kind for completion in ask(model, names(2))] == [ANSWER] * 2
    assert model.ledger.requests == len(server.requests) == 2


# nothing is lost


def test_an_abandoned_stream_loses_nothing(make, server):
    server.delay = 0.05
    model = make(concurrency=8)
    next(iter(model(prompts(names(100)))))
    assert len(rows(model)) == server.answered == len(server.requests) < 30


def test_an_error_of_the_reader_loses_nothing(make, server):
    server.delay = 0.05
    model = make(concurrency=8)
    with pytest.raises(ZeroDivisionError):
        for _ in model(prompts(names(100))):
            raise ZeroDivisionError
    model.close()
    assert len(rows(model)) == server.answered == len(server.requests) < 30


def test_a_stream_left_open_is_finished_when_the_model_is_closed(make, server):
    server.delay = 0.1
    model = make(concurrency=8)
    replies = model(prompts(names(100)))
    next(replies)
    model.close()
    assert len(rows(model)) == server.answered == len(server.requests)
    replies.close()


def test_a_stream_that_goes_on_after_the_model_was_closed_opens_it_again(make, server):
    model = make(concurrency=2)
    replies = model(prompts(names(40)))
    next(replies)
    model.close()
    kinds = Counter(completion.kind for (completion,) in replies)
    assert kinds[ANSWER] + kinds[NOT_ASKED] == 39
    assert len(rows(model)) == server.answered == len(server.requests) >= 40 - AHEAD * 2


def test_stopping_waits_for_no_pause(make, server):
    server.faults, server.delay = [None, *[Fault(429, headers={"retry-after": "30"})] * 50], 0.02
    model = make(concurrency=4)
    replies = model(prompts(names(20)))
    next(replies)
    time.sleep(0.1)
    start, sent = time.monotonic(), len(server.requests)
    replies.close()
    assert time.monotonic() - start < 2
    assert len(server.requests) == sent == model.ledger.requests, "no other try is sent, and those that were are noted"


def test_stopping_waits_for_no_limit(make, server):
    model = make(concurrency=4, requests_per_minute=60)
    replies = model(prompts(names(20)))
    next(replies)
    start = time.monotonic()
    replies.close()
    assert time.monotonic() - start < 0.5
    assert len(server.requests) <= 2


def test_a_model_can_be_asked_again_after_a_stop(make, server):
    server.delay = 0.02
    model = make(concurrency=2)
    next(iter(model(prompts(names(20)))))
    assert [completion.kind for completion in ask(model, names(20))] == [ANSWER] * 20
    assert len(server.requests) == 20


def test_a_program_that_ends_early_loses_nothing(server, tmp_path):
    server.delay = 0.2
    code = f"""
        from spacy_universalner.teacher.chat import make_chat_model
        store, url = {str(tmp_path / "store.jsonl")!r}, {server.base_url!r}
        model = make_chat_model("m", store=store, base_url=url, key_variable=None, concurrency=8)
        replies = model([[{{"role": "user", "content": f"Passage: Ada {{n}}"}}]] for n in range(100))
        next(replies)
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    stored = (tmp_path / "store.jsonl").read_text(encoding="utf8").splitlines()
    assert len(stored) == server.answered < 100


def test_the_ledger_is_kept_by_many_threads(make):
    model = make(store=None)
    row = {"requests": 1, "kind": ANSWER, "usage": {"a": 1}, "cost": 1.0, "unanswered": 1, "at_risk": 1.0}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(model.keep, [row] * 5000))
    finally:
        sys.setswitchinterval(interval)
    assert (model.ledger.requests, model.ledger.tokens["a"], model.ledger.cost) == (5000, 5000, 5000.0)


# what is in the store is not asked again


def test_a_second_run_asks_nothing(make, server):
    first = ask(make(), names(5))
    model = make()
    assert ask(model, names(5)) == first
    assert len(server.requests) == model.total.requests == 5
    assert model.ledger.requests == 0


CHANGES = {"parameter": {"params": {"temperature": 1}}, "model": {"name": "other"}}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_question_is_asked(make, server, change):
    ask(make(), names(2))
    ask(make(**change), names(2))
    assert len(server.requests) == 4


def test_another_prompt_is_asked(make, server):
    ask(make(), names(2))
    list(make()([[messages("Ada000")[1:]]]))
    assert len(server.requests) == 3


def mixed_kinds(server):
    actions = ["", "refusal", "null content", "length", "content_filter"]
    server.faults = [Fault(action=action) for action in actions]


def test_what_is_no_answer_is_asked_again_on_request_only(make, server):
    mixed_kinds(server)
    kinds = [completion.kind for completion in ask(make(concurrency=1), names(5))]
    assert kinds == [ANSWER, REFUSAL, EMPTY, CUT_OFF, REFUSAL]
    assert [completion.kind for completion in ask(make(), names(5))] == kinds
    model = make()
    model.again = frozenset({"refusal"})
    assert [completion.kind for completion in ask(model, names(5))] == [ANSWER, ANSWER, EMPTY, CUT_OFF, ANSWER]
    assert len(server.requests) == 7


def test_a_renewed_refusal_is_asked_once_a_run(make, server):
    server.faults = lambda *_: Fault(action="refusal")
    ask(make(), ["Ada"])
    model = make(concurrency=1)
    model.again = frozenset({"refusal"})
    ask(model, ["Ada"] * 20)
    assert len(server.requests) == 2


def test_failures_are_asked_again(make, server):
    server.faults = lambda *_: Fault(500)
    ask(make(max_tries=1), names(2))
    server.faults = ()
    assert [completion.kind for completion in ask(make(), names(2))] == [ANSWER] * 2


def test_many_failures_of_earlier_runs_do_not_stop_a_run(make, server):
    server.faults = lambda _, body: Fault(400) if body["messages"][-1]["content"][-1] in "159" else None
    for _ in range(2):
        completions = ask(make(concurrency=4, give_up_after=5), names(60))
        assert [c.kind for c in completions].count(FAILED) == 18
    assert len(server.requests) == 60 + 18


def test_a_passage_refused_in_an_earlier_run_stops_no_run(make, server):
    server.faults = only_about("Ada001", Fault(403))
    for _ in range(2):
        assert [c.kind for c in ask(make(concurrency=1), names(3))] == [ANSWER, FAILED, ANSWER]


def test_a_reply_asked_again_in_vain_stands(make, server):
    server.faults = [Fault(action="length")]
    first = ask(make(), names(1))
    server.faults = lambda *_: Fault(400)
    model = make()
    model.again = frozenset({CUT_OFF})
    assert ask(model, names(1)) == first
    assert ask(make(), names(1)) == first
    assert [row["kind"] for row in rows(model)] == [CUT_OFF, FAILED]


def test_a_reply_the_budget_does_not_renew_stands(make, server):
    server.faults = [Fault(action="length")]
    price = {"prices": [{"model": MODEL, "input": 1, "output": 1}], "params": {"max_tokens": 9}}
    first = ask(make(**price), names(1))
    model = make(**price, budget=1e-9)
    model.again = frozenset({CUT_OFF})
    assert ask(model, names(1)) == first
    assert len(server.requests) == 1


def test_a_store_that_cannot_be_written_stops_the_run(make, server, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    server.delay = 0.02
    model = make(concurrency=4)
    model.open()
    monkeypatch.setattr(model._store, "append", fail)
    with pytest.raises(UniversalNERError, match="U139.*No space left"):
        ask(model, names(200))
    assert len(server.requests) <= 8


# hopeless


HOPELESS = {
    "401": Fault(401, code="invalid_api_key"),
    "no money": Fault(429, code="insufficient_quota"),
    "parameter": Fault(400, param="temperature", code="unsupported_value"),
}


@pytest.mark.parametrize("fault", HOPELESS.values(), ids=HOPELESS)
def test_what_cannot_succeed_stops_the_run(make, server, fault):
    server.faults = lambda number, _: fault if number == 6 else None
    server.delay = 0.03
    model = make(concurrency=4)
    with pytest.raises(UniversalNERError, match="U036.*stand-in.*127.0.0.1.*told to answer.*key_variable and params"):
        ask(model, names(200))
    assert len(server.requests) <= 6 + 4 + 1, "nothing is sent after it"
    assert len(rows(model)) == len(server.requests)
    assert_the_bill_is_right(model, server)


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_of_the_first_request_is_of_all(make, server, status):
    server.faults = lambda *_: Fault(status)
    with pytest.raises(UniversalNERError, match="U036"):
        ask(make(concurrency=1), names(20))
    assert len(server.requests) <= 2


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_after_answers_is_of_one_passage(make, server, status):
    server.faults = lambda number, _: Fault(status) if number == 3 else None
    kinds = [completion.kind for completion in ask(make(concurrency=1), names(6))]
    assert kinds == [ANSWER] * 3 + [FAILED] + [ANSWER] * 2


def test_a_slow_reply_holds_up_no_stop(make, server):
    server.faults = lambda number, _: Fault(delay=0.5) if number == 0 else Fault(401)
    with pytest.raises(UniversalNERError, match="U036"):
        ask(make(concurrency=4), names(200))
    assert len(server.requests) <= 8


def test_a_model_that_was_refused_can_be_asked_again(make, server):
    server.faults = [Fault(401)]
    model = make(concurrency=1)
    with pytest.raises(UniversalNERError, match="U036"):
        ask(model, names(1))
    assert [completion.kind for completion in ask(model, names(3))] == [ANSWER] * 3


def test_many_failures_in_a_row_stop_the_run(make, server):
    server.faults = lambda number, _: Fault(503) if number >= 3 else None
    model = make(concurrency=2, max_tries=2, give_up_after=4)
    with pytest.raises(UniversalNERError, match="U037.*4 requests in a row.*503"):
        ask(model, names(100))
    assert len(server.requests) <= 3 + 2 * (4 + 2)
    assert_the_bill_is_right(model, server)


def test_failures_between_answers_do_not_stop_the_run(make, server):
    server.faults = lambda number, _: Fault(503) if number % 3 else None
    kinds = Counter(completion.kind for completion in ask(make(max_tries=1, concurrency=1, give_up_after=3), names(30)))
    assert kinds == {FAILED: 20, ANSWER: 10}


# the key


def test_a_missing_key_is_told_before_anything_is_sent(make, server, monkeypatch):
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    model = make(key_variable="TEACHER_KEY")
    with pytest.raises(UniversalNERError, match="U038.*TEACHER_KEY"):
        ask(model, names(1))
    assert server.requests == []


def test_the_key_is_read_at_the_first_call(make, server, monkeypatch):
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    model = make(key_variable="TEACHER_KEY")
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    ask(model, names(1))
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"


def test_what_the_store_holds_needs_no_key(make, server, monkeypatch):
    ask(make(), names(2))
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    assert len(ask(make(key_variable="TEACHER_KEY"), names(2))) == 2


def test_the_key_is_written_nowhere(make, server, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    echo = json.dumps({"choices": [], "key": SECRET})
    server.faults = [Fault(body=echo), Fault(500, body=SECRET), Fault(400, body=SECRET), Fault(action="echo auth")]
    config = {
        "task": {"@llm_tasks": "spacy-universalner.OpenNER.v1"},
        "model": {
            "@llm_models": "spacy-universalner.Chat.v1",
            "name": MODEL,
            "store": str(tmp_path / "store.jsonl"),
            "base_url": server.base_url,
            "key_variable": "TEACHER_KEY",
            "concurrency": 1,
        },
    }
    with caplog.at_level(logging.DEBUG):
        for name in ("httpx", "httpcore", "openai", "aiohttp", "asyncio", "spacy_llm", "spacy_universalner"):
            caplog.set_level(logging.DEBUG, name)
        nlp = spacy.blank("en")
        nlp.add_pipe("llm", config=config)
        model = nlp.get_pipe("llm")._model
        with pytest.raises(UniversalNERError, match="U036") as raised:
            ask(model, names(5))
        nlp.to_disk(tmp_path / "nlp")
        (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
        (tmp_path / "ledger.json").write_text(json.dumps(model.ledger.to_json()))
        model.close()
    errors, error = [], raised.value
    while error is not None:
        errors.append(f"{error!r} {error.__dict__}")
        error = error.__cause__ or error.__context__
    assert len(server.requests) == 4
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) > 5
    assert [path for path, content in written.items() if SECRET.encode() in content] == []
    assert SECRET not in caplog.text
    assert SECRET not in "".join(errors)
    assert "***" in raised.value.args[0]


# what is sent


def test_messages_and_parameters_arrive_as_they_are(make, server):
    ask(make(params={"max_completion_tokens": 99, "reasoning_effort": "low"}), ["Ada"])
    assert server.requests == [
        {"model": MODEL, "messages": messages("Ada"), "max_completion_tokens": 99, "reasoning_effort": "low"}
    ]


class Noting(ChatServer):
    def __init__(self):
        super().__init__()
        self.targets = []

    def serve(self, connection, request):
        self.targets.append((request.path, request.query))
        super().serve(connection, request)


def test_azure(make, monkeypatch):
    monkeypatch.setenv("AZURE_KEY", SECRET)
    with Noting() as server:
        model = make(base_url=server.url, azure_api_version="2024-10-21", key_variable="AZURE_KEY", name="my-gpt")
        assert [completion.model for completion in ask(model, ["Ada"])] == ["my-gpt-2026-01-01"]
    assert server.targets == [("/openai/deployments/my-gpt/chat/completions", {"api-version": "2024-10-21"})]
    assert server.headers[0]["api-key"] == SECRET
    assert "authorization" not in server.headers[0]


def test_the_reply_is_kept_with_what_came_with_it(make, server):
    completion = ask(make(), ["Ada"])[0]
    assert (completion.model, completion.finish_reason) == (f"{MODEL}-2026-01-01", "stop")
    assert completion.usage["completion_tokens"] == server.completion_tokens


def test_half_a_surrogate_pair_survives(make, server):
    server.reply = lambda _: '[("Ada \ud83d", "name")]'
    first = ask(make(), ["Ada"])
    assert first[0].text == '[("Ada \ud83d", "name")]'
    assert ask(make(), ["Ada"]) == first


def test_nothing_happens_at_construction(tmp_path):
    make_chat_model("m", store=str(tmp_path / "a" / "store.jsonl"), base_url="http://nowhere.invalid/v1")
    assert list(tmp_path.iterdir()) == []


# pace


def test_everyone_waits_as_long_as_one_is_told(make, server):
    server.faults, server.delay = [Fault(429, headers={"retry-after": "0.4"})], 0.05
    ask(make(concurrency=4), names(12))
    start, late = server.times[0], server.times[4:]
    assert min(late) - start >= 0.4
    assert max(late) - start < 1.5
    assert len(server.times) == 13


def test_requests_per_minute(make, server):
    ask(make(requests_per_minute=1200), names(8))
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps) > 0.03
    assert server.times[-1] - server.times[0] >= 0.05 * 7 - 0.02


# money


@pytest.mark.parametrize("faulty", [False, True], ids=["sound", "faulty"])
@pytest.mark.parametrize("concurrency", [1, 16])
def test_the_budget_is_never_passed(make, server, concurrency, faulty):
    if faulty:
        server.faults = lambda number, _: Fault(action="truncate") if number % 5 == 2 else None
    server.delay = 0.002
    options = {"params": {"max_tokens": 50}, "prices": PRICES, "concurrency": concurrency}
    model = make(budget=1, max_tries=8, give_up_after=1, **options)
    kinds = [completion.kind for completion in ask(model, names(90))]
    left = kinds.count(NOT_ASKED)
    assert left > 20
    assert 1 - 0.4 < model.total.spent <= 1
    assert bill(server) == pytest.approx(model.total.cost)
    assert len(rows(model)) == 90 - left
    before = len(server.requests)
    server.faults = ()
    model = make(budget=100, **options)
    assert {completion.kind for completion in ask(model, names(90))} == {ANSWER}
    assert len(server.requests) - before == left + kinds.count(FAILED)


def test_a_spent_budget_sends_nothing(make, server):
    model = make(budget=0.001, prices=PRICES, params={"max_tokens": 5})
    replies = ask(model, names(30))
    assert {completion.kind for completion in replies} == {NOT_ASKED}
    assert replies[0].error == "the budget of $0.001 does not allow it"
    assert server.requests == []


def test_a_reply_without_usage_counts_as_dear_as_it_may_be(make, server):
    server.faults = lambda *_: Fault(action="no usage")
    model = make(budget=2, prices=PRICES, params={"max_tokens": 500}, concurrency=4)
    kinds = [completion.kind for completion in ask(model, names(10))]
    assert kinds.count(ANSWER) == 1
    assert model.total.at_risk > 1


WRONG = {
    "concurrency": ({"concurrency": 0}, "U008.*concurrency"),
    "tries": ({"max_tries": 0}, "U008.*max_tries"),
    "stream": ({"params": {"stream": True}}, "U137.*stream"),
    "several replies": ({"params": {"n": 2}}, "U137.*sets? n,"),
    "no price": ({"budget": 1, "params": {"max_tokens": 5}}, "U035.*no price"),
    "no longest reply": ({"budget": 1, "prices": PRICES}, "U035.*max_completion_tokens"),
    "bad price": ({"prices": [{"model": MODEL, "input": "dear", "output": 1}]}, "U039.*dear"),
    "strange price": ({"prices": [{"model": MODEL, "input": 1, "output": 1, "tax": 1}]}, "U039.*tax"),
}


@pytest.mark.parametrize(("change", "match"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting(make, change, match):
    with pytest.raises(UniversalNERError, match=match):
        make(**change)


# processes


def test_a_pickled_model_opens_its_own_store(make, server):
    model = make()
    ask(model, names(2))
    data = pickle.dumps(model)
    model.close()
    copy = pickle.loads(data)
    assert len(ask(copy, names(2))) == 2
    assert len(server.requests) == 2
    copy.close()


def test_two_models_do_not_share_a_store(make, server):
    model = make()
    ask(model, names(1))
    with pytest.raises(UniversalNERError, match="U032"):
        ask(chat.ChatModel(model.settings, model.path), names(1))


def in_a_child(call):
    """What a forked process makes of a call."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            said = str(call())
        except BaseException as err:
            said = str(err)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    killer = threading.Timer(10, os.kill, (child, 9))
    killer.start()
    os.waitpid(child, 0)
    killer.cancel()
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


@pytest.mark.parametrize("store", [{}, {"store": None}], ids=["with a store", "without"])
def test_a_model_in_use_is_not_used_by_a_forked_process(make, server, store):
    model = make(**store)
    ask(model, names(1))
    assert "U136" in in_a_child(lambda: ask(model, names(2)))
    assert [completion.kind for completion in ask(model, names(3))] == [ANSWER] * 3
    assert len(rows(model)) == 3 if model.path else True


def test_a_model_can_be_used_by_a_forked_process_first(make, server):
    model = make()
    assert in_a_child(lambda: [completion.kind for completion in ask(model, names(2))]) == str([ANSWER] * 2)
    assert len(rows(model)) == 2


# the plain strings of spacy-llm's own tasks


def test_a_plain_string_is_what_a_user_says_and_its_reply_a_string(make, server):
    server.reply = lambda messages: f"heard {messages}"
    assert list(make()([["Find Ada."], ["Find Bob."]])) == [
        [f"heard {[{'role': 'user', 'content': text}]}"] for text in ("Find Ada.", "Find Bob.")
    ]


def test_a_plain_string_that_cannot_be_answered(make, server):
    server.faults = lambda number, body: Fault(400)
    with pytest.raises(UniversalNERError, match=r"U036|U130"):
        list(make()([["Find Ada."]]))
