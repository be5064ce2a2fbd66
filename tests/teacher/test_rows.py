import json

import pytest

from spacy_universalner.teacher.chat import ChatSettings
from spacy_universalner.teacher.completion import ANSWER, CUT_OFF, EMPTY, FAILED, NOT_ASKED, REFUSAL, Completion
from spacy_universalner.teacher.money import Ledger, Price
from spacy_universalner.teacher.rows import make_row, not_asked, read_reply, read_usage, to_completion

MESSAGES = ({"role": "system", "content": "Find."}, {"role": "user", "content": "Ada met Grace."})
PRICE = Price(input=1e6, output=2e6)
SETTINGS = ChatSettings(
    name="gpt",
    base_url=None,
    key_variable=None,
    azure_api_version=None,
    params={"max_tokens": 9},
    concurrency=1,
    requests_per_minute=0,
    tokens_per_minute=0,
    timeout=1,
    max_tries=1,
    give_up_after=1,
    price=PRICE,
    budget=0,
)


def make_body(content="[]", finish_reason="stop", usage=None, **message):
    message = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "finish_reason": finish_reason, "message": message}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-1", "choices": [choice], "usage": usage}


def test_a_row_says_what_was_asked_before_anything_came():
    row = make_row(SETTINGS, "ab", MESSAGES)
    assert (row["key"], row["kind"], row["reply"], row["cost"]) == ("ab", FAILED, None, 0)
    assert (row["model"], row["params"], row["messages"]) == ("gpt", {"max_tokens": 9}, list(MESSAGES))
    assert json.loads(json.dumps(row)) == row
    Ledger().add(row)


@pytest.mark.parametrize(
    "body, kind, reply, refusal, finish_reason",
    [
        (make_body(), ANSWER, "[]", None, "stop"),
        (make_body(None), EMPTY, None, None, "stop"),
        (make_body(" "), EMPTY, " ", None, "stop"),
        (make_body("[(", "length"), CUT_OFF, "[(", None, "length"),
        (make_body(None, refusal="No."), REFUSAL, None, "No.", "stop"),
        (make_body(None, "content_filter"), REFUSAL, None, None, "content_filter"),
        (make_body(finish_reason=None), ANSWER, "[]", None, "stop"),
    ],
)
def test_what_a_reply_says(body, kind, reply, refusal, finish_reason):
    row = read_reply(body, None)
    assert (row["kind"], row["reply"], row["refusal"], row["finish_reason"]) == (kind, reply, refusal, finish_reason)
    assert (row["answered_by"], row["usage"], row["cost"], row["error"]) == ("gpt-1", {}, 0, "")


def test_a_reply_costs_what_its_tokens_cost():
    completion = make_body(usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    assert read_reply(completion, PRICE)["cost"] == 7
    assert read_reply(completion, PRICE, batch=True)["cost"] == 3.5


def test_a_server_that_says_only_the_words():
    row = read_reply({"choices": [{"message": {"content": "[]"}}]}, PRICE)
    assert (row["kind"], row["finish_reason"], row["answered_by"], row["usage"]) == (ANSWER, "stop", None, {})


@pytest.mark.parametrize(
    "body",
    ["<html>", None, {}, [], {"error": "busy"}, {"choices": []}, {"choices": None}, {"choices": [{"message": None}]}],
    ids=repr,
)
def test_what_is_no_reply_is_an_error(body):
    with pytest.raises(ValueError):
        read_reply(body, PRICE)


@pytest.mark.parametrize(
    "usage, expected",
    [
        (None, {}),
        ({}, {}),
        ({"prompt_tokens": 1, "completion_tokens": 0}, {"prompt_tokens": 1, "completion_tokens": 0}),
        ({"prompt_tokens": None, "completion_tokens": "7"}, {}),
        ({"total_tokens": 7}, {}),
        ({"prompt_tokens": 5, "total_tokens": 7}, {}),
        ({"prompt_tokens_details": None, "completion_tokens_details": {}}, {}),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 4,
                "total_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            {
                "prompt_tokens": 5,
                "completion_tokens": 4,
                "total_tokens": 9,
                "cached_tokens": 2,
                "reasoning_tokens": 3,
            },
        ),
    ],
)
def test_the_tokens_a_server_reports(usage, expected):
    assert read_usage(usage) == expected


ROW = {**make_row(SETTINGS, "ab", MESSAGES), "finish_reason": "stop", "usage": {"total_tokens": 1}}


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"kind": ANSWER, "reply": "[]", "answered_by": "gpt-1"}, Completion("[]", "gpt-1", ROW["usage"])),
        ({"kind": CUT_OFF, "reply": "[(", "finish_reason": "length"}, ("[(", "length")),
        ({"kind": EMPTY}, ("", "stop")),
        ({"kind": REFUSAL, "refusal": "No."}, ("No.", "content_filter")),
        ({"kind": REFUSAL, "reply": "Half", "refusal": "No."}, ("Half", "content_filter")),
        ({"kind": FAILED, "finish_reason": None, "error": "busy"}, ("", "")),
    ],
)
def test_what_the_task_is_told(changes, expected):
    row = {**ROW, **changes}
    if isinstance(expected, tuple):
        text, finish_reason = expected
        expected = Completion(text, "gpt", row["usage"], finish_reason, row["kind"], row["error"])
    assert to_completion(row) == expected


def test_a_passage_that_was_not_sent():
    expected = Completion("", "gpt", {}, "", NOT_ASKED, "no money")
    assert not_asked("gpt", "no money") == expected
