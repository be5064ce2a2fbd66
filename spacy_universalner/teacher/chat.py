"""A chat model behind any OpenAI-compatible server, as a model for spacy-llm."""

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, TypeAlias  # noqa: UP035 (spacy-llm looks for typing.Iterable in the hints)

from spacy_llm.registry import registry

from ..errors import Errors, UniversalNERError
from ..records import sha256_json
from .completion import FAILED, Completion
from .money import Ledger, Price, bound_tokens
from .rows import Messages, not_asked, to_completion
from .store import ReplyStore

if TYPE_CHECKING:
    from .session import Session

LIMITS = ("max_completion_tokens", "max_tokens")
"""Parameters that bound the length of a reply."""
OURS = ("model", "messages", "n", "stream")
"""Parameters that are not free: one whole reply is read, and a budget counts on that."""
AHEAD = 4
"""Prompts read ahead of the one whose reply is due, for each request in flight: one slow reply holds up no other."""
Asked: TypeAlias = "tuple[Future[Completion], bool]"
_counting = threading.Lock()


@registry.llm_models("spacy-universalner.Chat.v1")
def make_chat_model(
    name: str,
    store: str | None = None,
    base_url: str | None = None,
    key_variable: str | None = "OPENAI_API_KEY",
    azure_api_version: str | None = None,
    params: dict[str, Any] | None = None,
    concurrency: int = 16,
    requests_per_minute: float = 0,
    tokens_per_minute: float = 0,
    timeout: float = 120,
    max_tries: int = 8,
    give_up_after: int = 20,
    prices: list[dict[str, Any]] | None = None,
    budget: float = 0,
) -> "ChatModel":
    """Build the model. Nothing is read, written or asked before the first call.

    name (str): the model's name at the server.
    store (str | None): JSONL file that keeps every reply; None keeps none.
    base_url (str | None): the server, with the version ("http://localhost:8000/v1"); None for OpenAI.
    key_variable (str | None): the environment variable that holds the key; None for a server that wants none.
    azure_api_version (str | None): for Azure's deployments: base_url is then the endpoint, name the deployment.
    params (dict | None): sent with every request as they are: temperature, max_tokens or, for models that refuse
        these, max_completion_tokens, reasoning_effort and so on.
    concurrency (int): requests in flight.
    requests_per_minute, tokens_per_minute (float): 0 for no limit.
    timeout (float): seconds for a whole reply.
    max_tries (int): times a request is sent before it counts as failed.
    give_up_after (int): failed requests in a row after which the run stops.
    prices (list | None): a table, of each model its name and the arguments of money.Price.
    budget (float): US dollars for all replies of the store; 0 for no limit.
    RAISES (UniversalNERError): a wrong setting, or a budget without a price or a longest reply to keep to it.
    """
    settings = ChatSettings(
        name=name,
        base_url=base_url,
        key_variable=key_variable,
        azure_api_version=azure_api_version,
        params=params or {},
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        timeout=timeout,
        max_tries=max_tries,
        give_up_after=give_up_after,
        price=_read_price(prices or [], name),
        budget=budget,
    )
    return ChatModel(settings, Path(store) if store else None)


@dataclass(frozen=True)
class ChatSettings:
    """The arguments of make_chat_model, and what follows from them for a request."""

    name: str
    base_url: str | None
    key_variable: str | None
    azure_api_version: str | None
    params: dict[str, Any]
    concurrency: int
    requests_per_minute: float
    tokens_per_minute: float
    timeout: float
    max_tries: int
    give_up_after: int
    price: Price | None
    budget: float

    def __post_init__(self) -> None:
        for what in ("concurrency", "max_tries", "give_up_after"):
            if getattr(self, what) < 1:
                raise UniversalNERError(Errors.U008.format(name=what, got=getattr(self, what)))
        for what in filter(self.params.__contains__, OURS):
            raise UniversalNERError(Errors.U137.format(name=self.name, got=what))
        if self.budget and (self.price is None or self.longest is None):
            no_bound = f"none of {', '.join(LIMITS)} in its params: set one"
            missing = "no price: add it to the table prices" if self.price is None else no_bound
            raise UniversalNERError(Errors.U035.format(name=self.name, missing=missing))

    @property
    def longest(self) -> int | None:
        """Tokens a reply may have; None if nothing bounds it."""
        return next((self.params[name] for name in LIMITS if name in self.params), None)

    def key(self, messages: Messages) -> str:
        """What a reply is stored under: sha256 over model, parameters and messages, hex."""
        return sha256_json({"model": self.name, "params": self.params, "messages": messages})

    def body(self, messages: Messages) -> dict[str, Any]:
        return {"model": self.name, "messages": messages, **self.params}

    def most(self, messages: Messages, *, batch: bool = False) -> float:
        """What a request costs at most, in dollars; 0 without a price."""
        usage = {"prompt_tokens": bound_tokens(messages), "completion_tokens": self.longest or 0}
        return self.price.cost(usage, batch=batch) if self.price else 0.0


class ChatModel:
    """Asks a chat server: many requests in flight, replies in order, each stored before it is handed on.

    What the store holds is not asked again, except the kinds in `again`. A passage that can't be answered gives a
    Completion of the kind "failed" or, past the budget, "not asked"; the run stops only where every other request would
    fail too.

    settings (ChatSettings): what to ask and how.
    path (Path | None): the reply store.
    """

    streams = True
    """One call can take any number of prompts, and answers them while they are read."""

    def __init__(self, settings: ChatSettings, path: Path | None = None) -> None:
        self.settings = settings
        self.path = path
        self.again: frozenset[str] = frozenset()
        self.asking = True
        self.ledger, self.total = Ledger(), Ledger()
        self._renewed: set[str] = set()
        self._store: ReplyStore | None = None
        self._process = 0
        self._session: Session | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None, "_session": None, "_process": 0}  # another process opens its own

    def __call__(self, prompts: Iterable[Iterable[Any]]) -> Iterable[Iterable[Any]]:
        """Answer the prompts of each doc.

        prompts (Iterable): chat messages, or strings as spacy-llm's own tasks write them, each what a user says; in a
            list for each doc, and read a little ahead of the replies.
        YIELDS (list): in order, Completions; to strings, strings.
        RAISES (UniversalNERError): the server refuses every request, or too many in a row fail. Requests in flight are
            waited for first, so that no reply is lost. A string that could not be answered, too: no string says that.
        """
        self.open()
        pending: deque[list[Asked]] = deque()
        try:
            for of_doc in prompts:
                pending.append([self._ask(prompt) for prompt in of_doc])
                if len(pending) >= AHEAD * self.settings.concurrency:
                    yield _take_first(pending)
            while pending:
                yield _take_first(pending)
        except BaseException:
            if self._session is not None:
                self._session.drain([future for of_doc in pending for future, _ in of_doc])
            raise

    def open(self) -> ReplyStore | None:
        """Open the store, if one is named, and count what it holds.

        RAISES (UniversalNERError): another process has it, or this one was forked off while the model was in use.
        """
        if self._process not in (0, os.getpid()):
            raise UniversalNERError(Errors.U136)
        self._process = os.getpid()
        if self._store is None and self.path is not None:
            self.total = Ledger()
            self._store = ReplyStore(self.path, count=self.total.add)
        return self._store

    def close(self) -> None:
        """Wait for the replies on their way, and let another process have the store."""
        if self._process != os.getpid():
            return  # what is open, if anything, is another process's
        if self._session is not None:
            self._session.close()
        if self._store is not None:
            self._store.close()
        self._session = self._store = None
        self._process = 0
        self._renewed.clear()

    def has(self, key: str) -> bool:
        """Whether the store holds a reply that is good enough."""
        kind = self._store.kind(key) if self._store else None
        return kind is not None and kind != FAILED and (kind not in self.again or key in self._renewed)

    def recall(self, key: str) -> dict[str, Any] | None:
        """The row of the reply the store has, be it of a kind that was to be asked again; None without one."""
        if self._store is None or self._store.kind(key) in (None, FAILED):
            return None
        return self._store.get(key)

    def keep(self, row: dict[str, Any]) -> None:
        """Store and count a row."""
        if self._store is not None:
            self._store.append(row)
        with _counting:
            if row["kind"] in self.again:
                self._renewed.add(row["key"])
            for ledger in (self.ledger, self.total):
                ledger.add(row)

    def _ask(self, prompt: Messages | str) -> "Asked":
        plain = isinstance(prompt, str)
        return self._submit([{"role": "user", "content": prompt}] if plain else prompt), plain

    def _submit(self, messages: Messages) -> "Future[Completion]":
        self.open()
        key = self.settings.key(messages)
        if self._session is not None and (future := self._session.asked.get(key)) is not None:
            return future  # the same messages are on their way; looked up before the store, where they go next
        if self._store is not None and self.has(key):
            return _done(to_completion(self._store.get(key)))
        if not self.asking:
            return _done(self._explain(key))
        if self._session is None:
            from .session import Session

            self._session = Session(
                self.settings,
                keep=self.keep,
                recall=self.recall,
                spent=self.total.spent,
                answered=any(kind != FAILED for kind in self.total.replies),
            )
        return self._session.submit(key, messages)

    def _explain(self, key: str) -> Completion:
        """Why there is no reply where none may be asked for."""
        if self._store is not None and key in self._store:
            return to_completion(self._store.get(key))
        return not_asked(self.settings.name, "it is in no batch job: the budget does not allow it")


def _take_first(pending: "deque[list[Asked]]") -> list[Completion | str]:
    """The replies for the first doc, once they are all there."""
    replies = [_in_words(future.result()) if plain else future.result() for future, plain in pending[0]]
    pending.popleft()
    return replies


def _in_words(completion: Completion) -> str:
    """What was said to a plain string. RAISES (UniversalNERError): it could not be answered."""
    if not completion.given:
        raise UniversalNERError(Errors.U130.format(kind=completion.kind, error=completion.error))
    return completion.text


def _done(completion: Completion) -> "Future[Completion]":
    future: Future[Completion] = Future()
    future.set_result(completion)
    return future


def _read_price(table: Sequence[Mapping[str, Any]], name: str) -> Price | None:
    """The price of a model. RAISES (UniversalNERError): its row has something else than prices."""
    for row in table:
        if row.get("model") == name:
            try:
                return Price(
                    **{key: float(value) for key, value in row.items() if key != "model" and value is not None}
                )
            except (TypeError, ValueError) as err:
                raise UniversalNERError(Errors.U039.format(name=name, got=dict(row))) from err
    return None
