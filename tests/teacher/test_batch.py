import json
import logging
import traceback
from collections import Counter

import pytest
from openai.resources.batches import Batches
from openai.resources.files import Files

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.teacher import batch
from spacy_universalner.teacher.batch import BatchRun
from spacy_universalner.teacher.chat import ChatModel
from spacy_universalner.teacher.completion import ANSWER, CUT_OFF, EMPTY, FAILED, NOT_ASKED, REFUSAL
from tests.chat_server import MODEL, Fault
from tests.teacher.conftest import PRICES, SECRET, rows


@pytest.fixture
def server(server):
    server.asked = []
    server.faults = lambda number, body: server.asked.append(body["messages"][-1]["content"])
    return server


@pytest.fixture
def make(make):
    return lambda **changes: make(**{"prices": PRICES, **changes})


def messages(text):
    return [{"role": "user", "content": f"Passage: {text}"}]


def names(number):
    return [f"Ada{n}" for n in range(number)]


def run(model, texts, **options):
    """Ask by batch jobs. RETURNS (list): the kinds of what the store has then."""
    BatchRun(model, poll_seconds=0.001).run((messages(text) for text in texts), **options)
    model.asking = False
    return [completion.kind for (completion,) in model([messages(text)] for text in texts)]


def left_over(model):
    return sorted(path.name for path in model.path.with_suffix(".batches").iterdir())


def assert_the_bill_is_right(model, server):
    assert model.total.tokens["prompt_tokens"] == server.prompt_tokens
    assert model.total.tokens["completion_tokens"] == server.completion_tokens
    dollars = server.prompt_tokens * PRICES[0]["input"] + server.completion_tokens * PRICES[0]["output"]
    assert model.total.cost == pytest.approx(dollars / 1e6 / 2), "batch jobs cost half"


def test_a_job_brings_every_reply(make, server):
    model, told = make(), []
    assert run(model, names(5), advance=told.append) == [ANSWER] * 5
    assert (server.files, server.batches, len(server.requests)) == (1, 1, 0)
    assert sum(told) == model.ledger.requests == 5
    assert_the_bill_is_right(model, server)
    assert left_over(model) == ["jobs.json"]


def test_what_is_asked(make, server):
    run(make(params={"max_completion_tokens": 9}), ["Ada"])
    assert server.asked == ["Passage: Ada"]
    row = rows(make())[0]
    assert (row["model"], row["params"], row["messages"]) == (MODEL, {"max_completion_tokens": 9}, messages("Ada"))


def test_a_second_run_asks_nothing(make, server):
    run(make(), names(3))
    assert run(make(), names(3)) == [ANSWER] * 3
    assert (server.files, server.batches) == (1, 1)


def test_the_same_messages_are_asked_once(make, server):
    assert run(make(), ["Ada"] * 3) == [ANSWER] * 3
    assert server.asked == ["Passage: Ada"]


LIMITS = {"requests": ("MAX_REQUESTS", 3), "bytes": ("MAX_BYTES", 500)}


@pytest.mark.parametrize(("limit", "value"), LIMITS.values(), ids=LIMITS)
def test_many_requests_make_several_jobs(make, server, monkeypatch, limit, value):
    monkeypatch.setattr(batch, limit, value)
    model = make()
    assert run(model, names(10)) == [ANSWER] * 10
    assert server.batches == server.files == 4
    assert_the_bill_is_right(model, server)


# killed and gone on with


class Killed(BaseException):
    pass


def kill_after(monkeypatch, owner, name, times):
    """Let a function do its work so many times, and end the program then."""
    done, work = [], getattr(owner, name)

    def call(*args, **kwargs):
        result = work(*args, **kwargs)
        done.append(name)
        if len(done) == times:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, call)


STEPS = {
    "requests written": (batch, "write_rows", 1),
    "requests noted": (BatchRun, "_add", 1),
    "second part noted": (BatchRun, "_add", 2),
    "uploaded": (Files, "create", 1),
    "upload noted": (BatchRun, "_write", 3),
    "started": (Batches, "create", 1),
    "start noted": (BatchRun, "submit", 1),
    "second part started": (Batches, "create", 2),
    "first look": (Batches, "retrieve", 1),
    "second look": (Batches, "retrieve", 2),
    "results read": (Files, "content", 1),
    "first reply": (ChatModel, "keep", 1),
    "second reply": (ChatModel, "keep", 2),
    "first job": (BatchRun, "collect", 1),
    "second job": (ChatModel, "keep", 5),
    "the end": (BatchRun, "collect", 2),
}


@pytest.mark.parametrize(("owner", "name", "times"), STEPS.values(), ids=STEPS)
def test_it_goes_on_where_it_was_killed(make, server, monkeypatch, owner, name, times):
    monkeypatch.setattr(batch, "MAX_REQUESTS", 4)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, owner, name, times)
        run(make(), names(6))
    model = make()
    assert run(model, names(6)) == [ANSWER] * 6
    assert set(Counter(server.asked).values()) == {1}
    assert len(server.asked) == len(rows(model)) == 6
    assert server.batches == 2
    assert_the_bill_is_right(model, server)
    assert left_over(model) == ["jobs.json"]


def test_a_failure_is_stored_once_however_often_it_is_killed(make, server, monkeypatch):
    server.faults = lambda *_: Fault(500)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, ChatModel, "keep", 3)
        run(make(), names(5))
    model = make()
    assert run(model, names(5)) == [FAILED] * 5
    assert len(rows(model)) == model.total.requests == 5


def test_a_failure_does_not_hide_a_reply_that_came_meanwhile(make, server, monkeypatch):
    server.faults = lambda *_: Fault(500)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, Batches, "create", 1)
        run(make(), ["Ada"])
    server.faults = ()
    assert [completion.kind for (completion,) in make()([[messages("Ada")]])] == [ANSWER]
    server.faults = lambda *_: Fault(500)
    assert run(make(), ["Ada"]) == [ANSWER]


def test_a_config_changed_meanwhile_leaves_the_rows_as_they_were_asked(make, server, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, BatchRun, "submit", 1)
        run(make(params={"temperature": 0}), names(2))
    run(make(params={"temperature": 1}), names(2))
    model = make(params={"temperature": 0})
    assert [row["params"] for row in rows(model)] == [{"temperature": 0}] * 2 + [{"temperature": 1}] * 2
    assert all(row["key"] == model.settings.key(row["messages"]) for row in rows(model)[:2])


# what goes wrong


def test_an_expired_job(make, server):
    server.batch_expires = 3
    model = make()
    assert run(model, names(5)) == [ANSWER] * 3 + [FAILED] * 2
    assert "batch_expired" in rows(model)[-1]["error"]
    assert_the_bill_is_right(model, server)
    server.batch_expires = None
    assert run(make(), names(5)) == [ANSWER] * 5
    assert set(Counter(server.asked).values()) == {1}


def test_a_job_that_expires_with_the_same_requests_is_made_again(make, server):
    server.batch_expires = 0
    assert run(make(), names(2)) == [FAILED] * 2
    server.batch_expires = None
    assert run(make(), names(2)) == [ANSWER] * 2
    assert server.batches == 2


def test_a_cancelled_job(make, server):
    model = make()
    jobs = BatchRun(model)
    jobs.prepare([messages("Ada")])
    jobs.submit(jobs.jobs[0])
    jobs._connect().batches.cancel(jobs.jobs[0].batch_id)
    assert run(model, ["Ada"]) == [FAILED]
    assert run(make(), ["Ada"]) == [ANSWER]


def test_a_failed_job_frees_its_requests(make, server, monkeypatch):
    monkeypatch.setattr(batch, "MAX_REQUESTS", 2)
    server.batch_fails = "The enqueued token limit is reached."
    with pytest.raises(UniversalNERError, match="U134.*batch_1.*enqueued token limit"):
        run(make(), names(6))
    server.batch_fails = ""
    model = make()
    assert run(model, names(6)) == [ANSWER] * 6
    assert len(server.asked) == len(set(server.asked)) == 6
    assert server.batches == 4
    assert left_over(model) == ["jobs.json"]


def test_jobs_wait_for_one_another_where_the_queue_is_full(make, server, monkeypatch):
    monkeypatch.setattr(batch, "MAX_REQUESTS", 2)
    server.batch_queue = 2
    model = make()
    assert run(model, names(6)) == [ANSWER] * 6
    assert len(server.asked) == len(set(server.asked)) == 6
    assert (server.files, server.batches) == (3, 3 + 2 + 1)
    assert_the_bill_is_right(model, server)


def test_a_queue_that_others_fill_ends_the_run(make, server):
    server.batch_queue = 1
    with pytest.raises(UniversalNERError, match="U134.*Enqueued token limit"):
        run(make(), names(2))


FAULTS = {
    "error": (Fault(500), FAILED, 0),
    "HTML": (Fault(502, body="<html>Bad gateway</html>"), FAILED, 0),
    "filtered prompt": (Fault(400, code="content_filter"), FAILED, 0),
    "torn line": (Fault(action="bad json"), FAILED, 1),
    "no completion": (Fault(body='{"choices": []}'), FAILED, 1),
    "text": (Fault(body="Hello"), FAILED, 1),
    "reset": (Fault(action="reset"), FAILED, 0),
    "refusal": (Fault(action="refusal"), REFUSAL, 0),
    "null content": (Fault(action="null content"), EMPTY, 0),
    "cut off": (Fault(action="length"), CUT_OFF, 0),
    "unknown reason": (
        Fault(body=json.dumps({"choices": [{"message": {"content": "[]"}, "finish_reason": "eos"}]})),  # and no usage
        ANSWER,
        0,
    ),
}


@pytest.mark.parametrize(("fault", "kind", "unanswered"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_one_request(make, server, fault, kind, unanswered):
    server.faults = lambda number, body: fault if body["messages"][-1]["content"].endswith("Ada1") else None
    model = make()
    assert run(model, names(3)) == [ANSWER, kind, ANSWER]
    row = next(row for row in rows(model) if row["messages"] == messages("Ada1"))
    assert (row["requests"], row["unanswered"], bool(row["error"])) == (1, unanswered, kind == FAILED)
    assert (row["at_risk"] > 0) == (bool(unanswered) or not row["usage"] and kind != FAILED)
    assert len(rows(model)) == 3
    assert_the_bill_is_right(model, server)


def test_kinds_are_asked_again_on_request(make, server):
    server.faults = lambda number, _: [Fault(action="refusal"), Fault(action="length"), None][number]
    assert run(make(), names(3)) == [REFUSAL, CUT_OFF, ANSWER]
    server.faults = ()
    assert run(make(), names(3)) == [REFUSAL, CUT_OFF, ANSWER]
    model = make()
    model.again = frozenset({"refusal"})
    assert run(model, names(3)) == [ANSWER, CUT_OFF, ANSWER]
    assert_the_bill_is_right(model, server)


def test_a_kind_can_be_asked_again_more_than_once(make, server):
    server.faults = lambda *_: Fault(action="refusal")
    for runs in range(1, 4):
        model = make()
        model.again = frozenset({"refusal"})
        assert run(model, names(2)) == [REFUSAL] * 2
        assert len(rows(model)) == 2 * runs
        assert server.batches == runs


def test_renewed_replies_are_kept_by_a_run_that_goes_on_without_the_option(make, server, monkeypatch):
    server.faults = lambda *_: Fault(action="refusal")
    run(make(), names(2))
    server.faults = ()
    model = make()
    model.again = frozenset({"refusal"})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, BatchRun, "submit", 1)
        run(model, names(2))
    model = make()
    assert run(model, names(2)) == [ANSWER] * 2
    assert_the_bill_is_right(model, server)


def test_the_budget_limits_what_is_prepared(make, server):
    options = {"params": {"max_tokens": 50}}
    model = make(budget=1, **options)
    kinds = run(model, names(50))
    assert 10 < kinds.count(NOT_ASKED) < 48
    assert 0 < model.total.spent < 1
    assert len(server.asked) == kinds.count(ANSWER)
    assert run(make(budget=100, **options), names(50)) == [ANSWER] * 50
    assert len(server.asked) == 50


def test_open_jobs_count_against_the_budget(make, server):
    options = {"params": {"max_tokens": 50}, "budget": 1}
    BatchRun(make(**options)).prepare(messages(text) for text in names(50))
    jobs = BatchRun(make(**options))
    jobs.prepare(messages(text) for text in names(100))
    assert len(jobs.jobs) == 1


def test_without_a_store(make):
    with pytest.raises(UniversalNERError, match="U133"):
        BatchRun(make(store=None))


def test_two_runs_on_a_store(make):
    model = make()
    BatchRun(model)
    with pytest.raises(UniversalNERError, match="U032"):
        BatchRun(ChatModel(model.settings, model.path))


def test_a_server_without_batches(make, server):
    with pytest.raises(UniversalNERError, match="U036.*NotFoundError"):
        run(make(base_url=f"{server.url}/nowhere"), names(1))


def test_a_server_that_is_not_there(make, server, monkeypatch):
    monkeypatch.setattr(batch, "RETRIES", 0)
    server.stop()
    with pytest.raises(UniversalNERError, match="U135.*Run the command again"):
        run(make(), names(1))
    server.start()
    assert run(make(), names(1)) == [ANSWER]


def test_azure(make, server, monkeypatch):
    monkeypatch.setenv("AZURE_KEY", SECRET)
    model = make(base_url=server.url, azure_api_version="2024-10-21", key_variable="AZURE_KEY")
    assert run(model, names(2)) == [ANSWER] * 2


def test_the_key_is_written_nowhere(make, server, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    server.faults = lambda *_: Fault(action="echo auth")
    server.batch_fails = f"Your key {SECRET} has expired."
    model = make(key_variable="TEACHER_KEY")
    with caplog.at_level(logging.DEBUG):
        for name in ("httpx", "httpcore", "openai"):
            caplog.set_level(logging.DEBUG, name)
        with pytest.raises(UniversalNERError, match=r"U134.*\*\*\*") as failed:
            run(model, names(1))
        server.batch_fails = ""
        assert run(model, names(1)) == [FAILED]
        monkeypatch.setattr(Batches, "retrieve", raise_key)
        with pytest.raises(UniversalNERError, match=r"U135.*\*\*\*") as stopped:
            run(model, names(1))
    assert "invalid_api_key" in rows(model)[0]["error"]
    assert SECRET not in caplog.text
    assert SECRET not in "".join(traceback.format_exception(failed.value) + traceback.format_exception(stopped.value))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 2
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def raise_key(*_):
    from openai import OpenAIError

    raise OpenAIError(SECRET)
