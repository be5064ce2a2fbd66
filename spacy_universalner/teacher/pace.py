"""How fast a server may be asked, which of its errors are worth another try, and when."""

import asyncio
import email.utils
import math
import time
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

    def pause(self, seconds: float) -> None:
        """Let no request go for so long."""
        self._resume = max(self._resume, time.monotonic() + seconds)

    async def wait(self, tokens: float) -> None:
        """Wait until a request of so many tokens may go."""
        if self._requests:
            await self._requests.acquire()
        if self._tokens:
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))
        while (left := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(left)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        return (status in TRANSIENT or status >= 500) and error.code not in NO_MONEY
    return isinstance(error, (openai.APIConnectionError, TimeoutError, asyncio.TimeoutError, Unreadable))


def is_hopeless(error: BaseException) -> bool:
    """Whether every other request would fail in the same way: a wrong key, no money, an unknown model or parameter."""
    if not isinstance(error, openai.APIStatusError):
        return False
    wrong_parameter = error.status_code in (400, 422) and error.param not in (None, "", "messages", "prompt")
    return error.status_code in HOPELESS or error.code in NO_MONEY or wrong_parameter


def may_be_billed(error: BaseException) -> bool:
    """Whether the request may have been worked on, though no whole reply came."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, (openai.APIStatusError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return False  # refused, or never sent
        link = link.__cause__
    return True


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
    except (TypeError, ValueError):
        return None
