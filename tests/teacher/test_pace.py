import asyncio
import email.utils
import time
from types import SimpleNamespace

import aiohttp
import httpx2
import openai
import pytest

from spacy_universalner.teacher import pace
from spacy_universalner.teacher.pace import (
    LONGEST_WAIT,
    Pace,
    Unreadable,
    is_hopeless,
    is_transient,
    may_be_billed,
    read_retry_after,
    wait_as_told,
)

REQUEST = httpx2.Request("POST", "http://localhost/v1/chat/completions")
CLIENT = openai.OpenAI(api_key="none")
TOO_LONG = "This model's maximum context length is 8 tokens. However, your request has 9 input tokens."


def refuse(status, message="no", headers=None, **error):
    """The error the client makes of an answer."""
    response = httpx2.Response(status, json={"error": {"message": message, **error}}, headers=headers, request=REQUEST)
    return CLIENT._make_status_error_from_response(response)


def lose(*causes):
    """A connection error with a chain of causes, as the client raises it."""
    error = openai.APIConnectionError(request=REQUEST)
    link = error
    for cause in causes:
        link.__cause__ = link = cause
    return error


def connector_error():
    return aiohttp.ClientConnectorError(SimpleNamespace(host="h", port=1, ssl=None), OSError(111, "refused"))


# which errors are worth another try

PLAIN = openai.OpenAIError("anything else")
ERRORS = {  # the error: worth another try, hopeless for all, may be billed
    "400": (refuse(400), False, False, False),
    "400 context": (refuse(400, TOO_LONG, code="context_length_exceeded", param="messages"), False, False, False),
    "400 message": (refuse(400, param="messages[1].content", code="string_above_max_length"), False, False, False),
    "400 old message": (refuse(400, param="messages.[0].content"), False, False, False),
    "400 prompt": (refuse(400, param="prompt", code="content_filter"), False, False, False),
    "400 vLLM input": (refuse(400, TOO_LONG, param="input_tokens", code=400), False, False, False),
    "400 vLLM limit": (refuse(400, f"'max_tokens' is too large. {TOO_LONG}", param="max_tokens"), False, False, False),
    "400 empty": (refuse(400, param=""), False, False, False),
    "400 odd": (refuse(400, param=["temperature"]), False, True, False),
    "400 parameter": (refuse(400, param="max_tokens", code="unsupported_parameter"), False, True, False),
    "422 parameter": (refuse(422, param="temperature"), False, True, False),
    "422": (refuse(422), False, False, False),
    "401": (refuse(401), False, True, False),
    "402": (refuse(402), False, True, False),
    "403": (refuse(403), False, True, False),
    "404": (refuse(404, code="model_not_found", param="model"), False, True, False),
    "408": (refuse(408), True, False, False),
    "409": (refuse(409), True, False, False),
    "413": (refuse(413), False, False, False),
    "429": (refuse(429, code="rate_limit_exceeded"), True, False, False),
    "429 no money": (refuse(429, code="insufficient_quota"), False, True, False),
    "429 hard limit": (refuse(429, code="billing_hard_limit_reached"), False, True, False),
    "500": (refuse(500), True, False, False),
    "502": (refuse(502), True, False, False),
    "503": (refuse(503), True, False, False),
    "504": (refuse(504), True, False, True),  # the gateway lost patience, not the model
    "524": (refuse(524), True, False, True),
    "529": (refuse(529), True, False, False),
    "timed out": (openai.APITimeoutError(REQUEST), True, False, True),
    "our timeout": (asyncio.TimeoutError(), True, False, True),
    "disconnected": (lose(httpx2.ReadError("x"), aiohttp.ServerDisconnectedError()), True, False, True),
    "half a body": (lose(httpx2.ReadError("x"), aiohttp.ClientPayloadError()), True, False, True),
    "refused": (lose(httpx2.ConnectTimeout("x"), connector_error(), OSError(111, "x")), True, False, False),
    "slow to connect": (lose(httpx2.ConnectTimeout("x"), aiohttp.ConnectionTimeoutError()), True, False, False),
    "no scheme": (lose(httpx2.UnsupportedProtocol("x"), aiohttp.InvalidUrlClientError("/v1")), False, True, False),
    "wrong scheme": (lose(httpx2.UnsupportedProtocol("x"), aiohttp.NonHttpUrlClientError("f:")), False, True, False),
    "unreadable": (Unreadable("<html>"), True, False, True),
    "unknown": (PLAIN, False, False, True),
    "ours": (KeyError("x"), False, False, True),
}


@pytest.mark.parametrize("error, transient, hopeless, billed", ERRORS.values(), ids=ERRORS)
def test_what_an_error_means(error, transient, hopeless, billed):
    assert (is_transient(error), is_hopeless(error), may_be_billed(error)) == (transient, hopeless, billed)


# how long to wait


def in_seconds(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    "headers, low, high",
    [
        ({"retry-after": "3"}, 3, 3),
        ({"Retry-After": "0.25"}, 0.25, 0.25),
        ({"retry-after": "0"}, 0, 0),
        ({"retry-after": "-5"}, 0, 0),
        ({"retry-after": "86400"}, LONGEST_WAIT, LONGEST_WAIT),
        ({"retry-after-ms": "1500"}, 1.5, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9, 9),
        ({"retry-after": 100}, 90, 100),
        ({"retry-after": -100}, 0, 0),
        ({"retry-after": 10**6}, LONGEST_WAIT, LONGEST_WAIT),
    ],
)
def test_the_server_says_how_long_to_wait(headers, low, high):
    # Numbers stand for dates, so many seconds from when the test runs.
    sent = {name: in_seconds(value) if isinstance(value, int) else value for name, value in headers.items()}
    assert low <= read_retry_after(refuse(429, headers=sent)) <= high


@pytest.mark.parametrize(
    "told", ["nan", "inf", "", "soon", "3 s", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 99 Foo 2026"]
)
def test_the_server_says_nothing_of_use(told):
    assert read_retry_after(refuse(503, headers={"retry-after": told})) is None


@pytest.mark.parametrize("error", [None, refuse(429), openai.APITimeoutError(REQUEST), Unreadable("x")], ids=repr)
def test_the_server_does_not_say(error):
    assert read_retry_after(error) is None


def make_state(tries, error):
    outcome = SimpleNamespace(exception=lambda: error)
    return SimpleNamespace(attempt_number=tries, outcome=outcome)


def test_another_try_waits_as_told_or_ever_longer():
    assert wait_as_told(make_state(9, refuse(429, headers={"retry-after": "2"}))) == 2
    assert all(0 <= wait_as_told(make_state(1, refuse(500))) <= 1 for _ in range(50))
    assert max(wait_as_told(make_state(20, refuse(500))) for _ in range(50)) > 1
    assert all(wait_as_told(make_state(200, refuse(500))) <= 60 for _ in range(50))


# the pace


class QuickLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next thing to do."""

    now = 1000.0

    def time(self):
        return self.now

    def _run_once(self):
        self.now += 1e-9  # else a wait shorter than the clock can tell would never end
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


@pytest.fixture
def measure(monkeypatch):
    """Run a coroutine function on a clock of its own, handed to it. Gives the seconds at which requests went."""
    loop = QuickLoop()
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=loop.time, time=time.time))

    def run(ask, count):
        went = []

        async def one(number):
            await ask(number)
            went.append(loop.now - 1000)

        async def all_():
            await asyncio.gather(*(one(number) for number in range(count)))

        loop.run_until_complete(all_())
        return went

    yield run
    loop.close()


def test_without_limits_nobody_waits(measure):
    limits = Pace()
    assert measure(lambda number: limits.wait(10**6), 50) == pytest.approx([0] * 50, abs=1e-3)


def test_requests_are_spread_evenly(measure):
    limits = Pace(requests_per_minute=120)
    went = measure(lambda number: limits.wait(1), 20)
    assert went == pytest.approx([number * 0.5 for number in range(20)], abs=1e-3)


def test_a_slow_limit_is_kept(measure):
    limits = Pace(requests_per_minute=0.5)
    assert measure(lambda number: limits.wait(1), 3) == pytest.approx([0, 120, 240], abs=1e-3)


@pytest.mark.parametrize("tokens", [1, 99, 100, 101, 450, 10_000])
def test_tokens_keep_to_their_limit_however_many_a_request_has(measure, tokens):
    limits = Pace(tokens_per_minute=600)
    went = measure(lambda number: limits.wait(tokens), 10)
    for number, seconds in enumerate(went, 1):
        assert number * tokens <= 600 / 60 * seconds + 100 + 1e-3  # ten seconds' worth at once
    assert went[-1] <= max(0, 10 * tokens - 100) / 10 + 10


def test_a_request_without_tokens_may_go(measure):
    limits = Pace(tokens_per_minute=600)
    assert measure(lambda number: limits.wait(0), 3) == pytest.approx([0, 0, 0], abs=1e-3)


def test_a_pause_stops_everyone(measure):
    limits = Pace()
    limits.pause(30)
    limits.pause(5)  # does not shorten it
    assert measure(lambda number: limits.wait(1), 5) == pytest.approx([30] * 5)


def test_a_pause_made_longer_while_one_waits(measure):
    limits = Pace()
    limits.pause(10)

    async def ask(number):
        if number:
            await asyncio.sleep(5)
            return limits.pause(20)
        await limits.wait(1)

    assert measure(ask, 2) == pytest.approx([5, 25])


def test_after_a_pause_requests_are_spread_as_before(measure):
    limits = Pace(requests_per_minute=60, tokens_per_minute=60_000)
    limits.pause(30)
    went = measure(lambda number: limits.wait(10), 5)
    assert went[0] > 30 - 1e-3
    assert all(late - early >= 1 - 1e-3 for early, late in zip(went, went[1:], strict=False))


def test_a_pause_that_is_over_delays_nobody(measure):
    limits = Pace()
    limits.pause(0)
    assert measure(lambda number: limits.wait(1), 1) == pytest.approx([0], abs=1e-3)
