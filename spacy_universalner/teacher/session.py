"""Asking a server: requests in flight, another try where one may help, no reply handed on before it is stored."""

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAioHttpClient
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from ..errors import Errors, UniversalNERError
from .completion import FAILED, Completion
from .money import Budget, bound_tokens
from .pace import Pace, Unreadable, is_hopeless, is_of_one, is_transient, may_be_billed, read_retry_after, wait_as_told
from .rows import Messages, make_row, not_asked, read_reply, to_completion

if TYPE_CHECKING:
    from .chat import ChatSettings

logger = logging.getLogger("spacy_universalner")
NAME = "spacy-universalner"
"""Of a session's threads."""


class Session:
    """A client and its event loop, in a thread of its own, so that it works where a loop is running already.

    settings (ChatSettings): what to ask and how.
    keep (Callable): stores a row; called in a thread, before anyone is told of the reply.
    recall (Callable): gives the reply the store has under a key, None without one; it stands where no new one is had.
    spent (float): dollars spent before.
    answered (bool): whether the server has answered before.
    """

    def __init__(
        self,
        settings: "ChatSettings",
        *,
        keep: Callable[[dict[str, Any]], None],
        recall: Callable[[str], dict[str, Any] | None],
        spent: float,
        answered: bool,
    ) -> None:
        self.settings, self.keep, self.recall = settings, keep, recall
        self.key = read_key(self.settings.key_variable)
        self.client = make_client(self.settings, self.key)
        self.pace = Pace(self.settings.requests_per_minute, self.settings.tokens_per_minute)
        self.budget = Budget(self.settings.budget, spent)
        self.slots = asyncio.Semaphore(self.settings.concurrency)
        self.failed_in_a_row = 0
        self.answered, self.stopping = answered, False
        self.asked: dict[str, Future[Completion]] = {}
        self.idle: set[asyncio.Task[Any]] = set()
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix=NAME))
        self.thread = threading.Thread(target=self.loop.run_forever, name=NAME, daemon=True)
        self.thread.start()
        atexit.register(_close, weakref.ref(self))

    def submit(self, key: str, messages: Messages) -> Future[Completion]:
        """Ask; the future is in `asked` until its reply is stored."""
        self.asked[key] = future = asyncio.run_coroutine_threadsafe(self._complete(key, messages), self.loop)
        future.add_done_callback(lambda _: self.asked.pop(key, None))
        return future

    def drain(self, futures: Sequence[Future[Completion]]) -> None:
        """Send nothing more, and wait for what is in flight."""
        if not self.is_alive() or threading.current_thread().name.startswith(NAME):
            return  # a generator may be garbage collected in any thread: one of these would wait for itself
        waiting = [future for future in futures if not future.done()]
        try:
            if waiting:
                logger.warning("Waiting for the replies that are on their way.")
                self.loop.call_soon_threadsafe(self._stop)
                wait(waiting)
        finally:
            self.loop.call_soon_threadsafe(self._go_on)

    def is_alive(self) -> bool:
        """Whether it can be asked: it is not closed, and this is the process that opened it."""
        return self.thread.is_alive()

    def close(self) -> None:
        """Wait for what is in flight, and end."""
        if not self.is_alive():
            return
        self.drain(list(self.asked.values()))
        asyncio.run_coroutine_threadsafe(self.client.close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _complete(self, key: str, messages: Messages) -> Completion:
        async with self.slots:
            row = make_row(self.settings, key, messages)
            error = await self._fill(row, messages)
            if row["requests"]:
                await self._keep(row)
        self._check(error, row["error"])
        if error is not None and (before := self.recall(key)) is not None:
            return to_completion(before)
        return to_completion(row) if row["requests"] else not_asked(self.settings.name, row["error"])

    async def _keep(self, row: dict[str, Any]) -> None:
        """RAISES (UniversalNERError): the disk does not take the row; nothing more is sent."""
        try:
            try:
                kept = self.loop.run_in_executor(None, self.keep, row)
            except RuntimeError:  # the interpreter is ending: no more work for threads
                self.keep(row)
            else:
                await kept
        except OSError as err:
            self._stop()
            raise UniversalNERError(Errors.U139.format(reason=err)) from err

    async def _fill(self, row: dict[str, Any], messages: Messages) -> Exception | None:
        """Ask until there is a reply or no hope of one. RETURNS (Exception): why there is none."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: is_transient(error) and not self.stopping),
            wait=wait_as_told,
            stop=stop_after_attempt(self.settings.max_tries),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    await self._ask(row, messages)
        except Exception as err:  # whatever the client raises, the row says it
            row.update(kind=FAILED, error=put_in_words(err, self.key))
            return err
        return None

    async def _ask(self, row: dict[str, Any], messages: Messages) -> None:
        """Send one request, its cost set aside before, and write into the row what a whole reply says."""
        most = self.settings.most(messages)
        with self._idle():
            if not await self.budget.reserve(most):
                raise Withheld(f"the budget of ${self.settings.budget:g} does not allow it")
        spent = 0.0
        try:
            with self._idle():
                await self.pace.wait(bound_tokens(messages) / 4 + (self.settings.longest or 0))
            row["requests"] += 1
            row.update(await self._send(messages))
            spent = row["cost"] or most
            row["at_risk"] += spent - row["cost"]
        except Exception as err:
            if not isinstance(err, Withheld) and self._note(err):
                row["unanswered"] += 1
                row["at_risk"] += most
                spent = most
            raise
        finally:
            await self.budget.settle(most, spent)

    async def _send(self, messages: Messages) -> dict[str, Any]:
        # Not `chat.completions.create`, which spends a third of its time on checking bodies against type hints.
        request = self.client.post("/chat/completions", body=self.settings.body(messages), cast_to=object)
        try:
            return read_reply(await asyncio.wait_for(request, self.settings.timeout), self.settings.price)
        except UnicodeEncodeError:  # half a surrogate pair in the passage: it was not sent
            raise
        except ValueError as err:
            raise Unreadable(f"the reply is no chat completion: {err}") from err

    async def _sleep(self, seconds: float) -> None:
        with self._idle():
            await asyncio.sleep(seconds)

    @contextmanager
    def _idle(self) -> Iterator[None]:
        """Around waiting with nothing in flight, which need not go on when the run ends. RAISES (Withheld): it ends."""
        task = asyncio.current_task()
        try:
            if self.stopping:
                raise asyncio.CancelledError
            self.idle.add(task)
            yield
        except asyncio.CancelledError:
            raise Withheld("the run was stopped") from None
        finally:
            self.idle.discard(task)

    def _stop(self) -> None:
        self.stopping = True
        for task in self.idle:
            task.cancel()

    def _go_on(self) -> None:
        self.stopping, self.failed_in_a_row = False, 0

    def _note(self, error: Exception) -> bool:
        """Keep to what the server says about waiting. RETURNS (bool): whether the request may be billed."""
        if (seconds := read_retry_after(error)) is not None:
            self.pace.pause(seconds)
        return may_be_billed(error)

    def _check(self, error: Exception | None, words: str) -> None:
        """RAISES (UniversalNERError): there is no point in going on, and nothing more is sent."""
        if isinstance(error, Withheld):
            return
        if error is None:
            self.failed_in_a_row = 0
        elif is_transient(error) or not self.answered:  # else it is about one passage: many may be left of earlier runs
            self.failed_in_a_row += 1
        about = {"name": self.settings.name, "url": self.settings.base_url or "the vendor's server", "error": words}
        self.answered |= error is None
        if error is not None and is_hopeless(error) and not (self.answered and is_of_one(error)):
            self._stop()
            raise UniversalNERError(Errors.U036.format(**about))
        if self.failed_in_a_row >= self.settings.give_up_after and not self.stopping:
            self._stop()
            raise UniversalNERError(Errors.U037.format(count=self.failed_in_a_row, **about))


class Withheld(Exception):
    """A request that was not sent: the budget does not allow it, or the run is ending."""


def put_in_words(error: BaseException, key: str | None) -> str:
    """Say an error."""
    cause = f" ({error.__cause__})" if str(error.__cause__ or "") else ""
    name = "" if isinstance(error, Withheld) else type(error).__name__
    return mask(": ".join(filter(None, (name, f"{error}{cause}"))), key)


def mask(words: str, key: str | None) -> str:
    """Words of a server, cut to size and without the key."""
    return (words.replace(key, "***") if key else words)[:500]


def read_key(variable: str | None) -> str | None:
    """The key in an environment variable. RAISES (UniversalNERError): there is none."""
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise UniversalNERError(Errors.U038.format(variable=variable))
    return os.environ[variable]


def make_client(settings: "ChatSettings", key: str | None) -> AsyncOpenAI:
    """The SDK's client; retries are ours, since each must fit the budget and be counted."""
    options = {"api_key": key or "none", "max_retries": 0, "timeout": settings.timeout}
    options["http_client"] = DefaultAioHttpClient(timeout=settings.timeout)  # half the work of the other one
    if settings.azure_api_version:
        return AsyncAzureOpenAI(azure_endpoint=settings.base_url, api_version=settings.azure_api_version, **options)
    return AsyncOpenAI(base_url=settings.base_url, **options)


def _close(session: "weakref.ref[Session]") -> None:
    """At the end of the program, for a session that nobody has closed."""
    if (open_ := session()) is not None:
        open_.close()
