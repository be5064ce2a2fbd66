"""How fast a server may be asked, which of its errors are worth another try, and when."""

import asyncio
import email.utils
import math
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import openai
from aiolimiter import AsyncLimiter
from tenacity import RetryCallState, wait_random_exponential

TRANSIENT = (408, 409, 429)
"""Statuses worth another try, beside all from 500 on."""
HOPELESS = (401, 402, 403, 404)
"""Statuses that every other request would get too."""
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Codes of a 429 that no waiting helps."""
OF_ONE_PASSAGE = ("messages", "prompt", "input")
"""How the parameters begin that another request would have otherwise."""
GATEWAY_TIMEOUTS = (504, 524)
"""Statuses of a gateway that did not wait for the model, which may have gone on."""
NO_URL = (aiohttp.InvalidUrlClientError, aiohttp.NonHttpUrlClientError)
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, *NO_URL)
LONGEST_WAIT = 600.0
BACKOFF = wait_random_exponential(multiplier=0.5, max=60)


class Unreadable(Exception):
    """A reply with status 200 that is no chat completion."""


class Pace:
    """Keeps to limits per minute, spread evenly, and pauses everyone when the server asks one to wait.

    requests_per_minute (float): 0 for no limit.
    tokens_per_minute (float): of messages and replies; 0 for no limit.
    """

    def __init__(self, requests_per_minute: float = 0, tokens_per_minute: float = 0) -> None:
        self._requests = AsyncLimiter(1, 60 / requests_per_minute) if requests_per_minute else None
        # Ten seconds' worth at once at most: servers count in windows shorter than a minute.
        self._tokens = AsyncLimiter(tokens_per_minute / 6, 10) if tokens_per_minute else None
        self._resume = 0.0
        self._turn = asyncio.Lock()  # one after the other: the limiters let small requests pass large ones

    def pause(self, seconds: float) -> None:
        """Let no request go for so long."""
        self._resume = max(self._resume, time.monotonic() + seconds)

    async def wait(self, tokens: float) -> None:
        """Wait until a request of so many tokens may go."""
        async with self._turn:
            await self._line_up(tokens)
            while (left := self._resume - time.monotonic()) > 0:
                await asyncio.sleep(left)
                await self._line_up(tokens)  # once more: after a pause requests are spread as before

    async def _line_up(self, tokens: float) -> None:
        if self._requests:
            await self._requests.acquire()
        while self._tokens and tokens > 0:
            part = min(tokens, self._tokens.max_rate)
            await self._tokens.acquire(part)
            tokens -= part


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        return (status in TRANSIENT or status >= 500) and error.code not in NO_MONEY
    kinds = (openai.APIConnectionError, TimeoutError, asyncio.TimeoutError, Unreadable)
    return isinstance(error, kinds) and not is_hopeless(error)


def is_hopeless(error: BaseException) -> bool:
    """Whether every other request would fail in the same way: a wrong key, no money, an unknown model or parameter."""
    if not isinstance(error, openai.APIStatusError):
        return any(isinstance(cause, NO_URL) for cause in _causes(error))
    return error.status_code in HOPELESS or error.code in NO_MONEY or _is_wrong_parameter(error)


def is_of_one(error: BaseException) -> bool:
    """Whether it may be about one request, if others were answered: some servers refuse a passage with 403."""
    return isinstance(error, openai.APIStatusError) and error.status_code in (403, 404)


def may_be_billed(error: BaseException) -> bool:
    """Whether the request may have been worked on, though no whole reply came."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in GATEWAY_TIMEOUTS
    return not any(isinstance(cause, NEVER_SENT) for cause in _causes(error))


def _is_wrong_parameter(error: openai.APIStatusError) -> bool:
    """A parameter is named that is the same in every request; not where it is the passage that is too long for it."""
    parameter = str(error.param or "")
    of_all = bool(parameter) and not parameter.startswith(OF_ONE_PASSAGE)
    return error.status_code in (400, 422) and of_all and "context length" not in error.message


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def wait_as_told(state: RetryCallState) -> float:
    """Seconds before another try: what the server asks for, else a random time that grows."""
    error = state.outcome.exception() if state.outcome else None
    told = read_retry_after(error)
    return BACKOFF(state) if told is None else told


def read_retry_after(error: BaseException | None) -> float | None:
    """The seconds a server asks to wait, at most LONGEST_WAIT; None if it does not say."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    seconds = _number(headers.get("retry-after-ms"), 1e-3)
    if seconds is None:
        seconds = _number(headers.get("retry-after"), 1.0)
    if seconds is None and headers.get("retry-after"):
        seconds = _until(headers["retry-after"])
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT)


def _number(value: Any, unit: float) -> float | None:
    try:
        seconds = float(value) * unit
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None


def _until(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
