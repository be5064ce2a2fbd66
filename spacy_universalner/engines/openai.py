"""A student behind a server: whatever answers /v1/completions to prompts of token ids, as vLLM and llama.cpp do."""

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

from ..answering import LIKELIER, check_begin
from ..asking import Asker, Question
from ..choices import context_of
from ..encoding import Encoder
from ..errors import Errors, UniversalNERError
from ..prompts import load_template
from ..registry import Answer
from ..student import WORDS, check_manifest, copy_words, find_student

T = TypeVar("T")
NO_LIMIT = 1 << 62
NO_ENTRY = (401, 403)
"""Statuses that every request gets without the right key."""
PREFIX = "token_id:"
"""How vLLM writes a token if it is asked for its id."""


class OpenAIEngine:
    """See make_openai_engine for the arguments. Nothing is read or asked before the first use.

    name (str): the student's name at the server, which is `model` there.
    model (str | None): directory of the same student, of which the weights are not used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        name: str,
        model: str | None,
        api_key_env: str | None,
        concurrency: int,
        timeout: float,
        retries: int,
        logprobs: int,
        max_new_tokens: int,
        min_score: float = 0.0,
        begin: float = LIKELIER,
        dataset: str = "",
    ):
        check_begin(begin)
        for setting, value in (("concurrency", concurrency), ("max_new_tokens", max_new_tokens)):
            if value < 1:
                raise UniversalNERError(Errors.U008.format(name=setting, got=value))
        self.base_url = base_url
        self.name = name
        self.model = model
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.logprobs = logprobs
        self.max_new_tokens = max_new_tokens
        self.min_score = min_score
        self.begin = begin
        self.dataset = dataset

    @property
    def model(self) -> str | None:
        """Directory of the student. Naming another one lets go of what was loaded."""
        return self._model

    @model.setter
    def model(self, model: str | None) -> None:
        self._model = model
        self._encoder: Encoder | None = None
        self._context = NO_LIMIT
        self._served: Served | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was loaded: another process loads it itself."""
        return {**self.__dict__, "_encoder": None}

    def load(self) -> None:
        """Load the student's words and greet the server now. RAISES (UniversalNERError): see `encoder` and `served`."""
        _ = self.encoder, self.served

    def save_model(self, folder: str) -> None:
        """Copy the student without its weights into a folder."""
        copy_words(find_student(self.model), Path(folder))

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine.

        RAISES (UniversalNERError): a passage that does not fit the student's context, a data set its template does not
            tell, a server that is not there, does not answer or does not know what is asked of it.
        """
        if not any(types):
            return [[] for _ in passages]
        encoder, served = self.encoder, self.served
        asker = Asker(
            encoder,
            context=min(self._context, served.context),
            max_new_tokens=self.max_new_tokens,
            min_score=self.min_score,
            begin=self.begin,
        )

        def answer(questions: Sequence[Question]) -> None:
            run(self._answer(asker, questions, served))

        return asker.extract(passages, types, self.dataset, answer)

    @property
    def encoder(self) -> Encoder:
        """The student's tokenizer and template. RAISES (UniversalNERError): none found, not as its manifest says."""
        if self._encoder is None:
            from transformers import AutoConfig, AutoTokenizer

            folder = find_student(self.model)
            manifest = check_manifest(folder, WORDS, weights=False)
            if "config.json" in manifest["files"]:  # adapters have none: their server says what it sees
                self._context = context_of(AutoConfig.from_pretrained(folder))[0]
            self._encoder = Encoder(AutoTokenizer.from_pretrained(folder), load_template(folder))
        return self._encoder

    @property
    def served(self) -> "Served":
        """What the server says of itself. RAISES (UniversalNERError): it is not there, or wants another key."""
        if self._served is None:
            self._served = run(self._greet())
        return self._served

    def _client(self) -> Any:
        """The SDK's client, which tries again by itself where that may help."""
        openai = import_openai()
        return openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=read_key(self.api_key_env) or "none",
            timeout=self.timeout,
            max_retries=self.retries,
            http_client=openai.DefaultAioHttpClient(timeout=self.timeout),
        )

    async def _greet(self) -> "Served":
        async with self._client() as client:
            try:
                reply = await client.get("/models", cast_to=object)
            except Exception as err:
                if getattr(err, "status_code", None) in (None, *NO_ENTRY):
                    raise self._explain(err) from err
                reply = None  # a server may do without this list
        return read_models(reply, self.name)

    async def _answer(self, asker: Asker, questions: Sequence[Question], served: "Served") -> None:
        slots = asyncio.Semaphore(self.concurrency)
        async with self._client() as client:
            tasks = [asyncio.ensure_future(self._ask(client, slots, asker, each, served)) for each in questions]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()

    async def _ask(
        self, client: Any, slots: asyncio.Semaphore, asker: Asker, question: Question, served: "Served"
    ) -> None:
        """Fill in one answer. One that stops at a bracket in a mention goes on from there, and one of nothing from
        where a list is begun instead."""
        async with slots:
            more = True
            while more:
                body = self._body(asker, question, vllm=served.vllm)
                try:
                    reply = await client.post("/completions", body=body, cast_to=object)
                except Exception as err:  # whatever the client raises
                    raise self._explain(err, served.names) from err
                before = list(question.ids)
                try:
                    more = add_reply(asker, question, reply, vllm=served.vllm)
                except (ValueError, TypeError, LookupError, AttributeError) as err:
                    raise self._error(Errors.U174, reason=f"{type(err).__name__}: {err}") from err
                if more and question.ids == before:  # else it would be asked to go on for ever
                    raise self._error(Errors.U176)

    def _body(self, asker: Asker, question: Question, *, vllm: bool) -> dict[str, Any]:
        """A request, greedy whatever the server's defaults are."""
        body = {"model": self.name, "prompt": [*question.prompt, *question.ids], "max_tokens": question.room}
        body |= {"temperature": 0, "presence_penalty": 0, "frequency_penalty": 0}
        if self.logprobs:
            body["logprobs"] = self.logprobs
        if vllm:
            # The end token is among the stops; a configuration may name others, and penalties.
            body |= {"stop_token_ids": asker.stops, "ignore_eos": True, "repetition_penalty": 1}
            body |= {"return_token_ids": True, "return_tokens_as_token_ids": True}
        return body

    def _explain(self, error: Exception, names: Sequence[str] = ()) -> UniversalNERError:
        """An error of the client, in words that say what to do."""
        status = getattr(error, "status_code", None)
        reason = f"{type(error).__name__}: {error}"[:500]
        if status == 404:
            return self._error(Errors.U172, name=self.name, known=", ".join(names) or "not known", reason=reason)
        if status is None or status in (408, 409, 429) or status >= 500:
            cause = f" ({error.__cause__})" if error.__cause__ else ""
            return self._error(Errors.U171, reason=reason + cause, tries=self.retries + 1, timeout=self.timeout)
        return self._error(Errors.U173, reason=reason, variable=self.api_key_env)

    def _error(self, message: str, **facts: Any) -> UniversalNERError:
        return UniversalNERError(message.format(url=self.base_url, **facts))


@dataclass(frozen=True)
class Served:
    """What a server says of itself.

    names (tuple): the models it has.
    vllm (bool): whether it is vLLM, which has parameters of its own.
    context (int): most tokens it sees.
    """

    names: tuple[str, ...] = ()
    vllm: bool = False
    context: int = NO_LIMIT


def read_models(reply: Any, name: str) -> Served:
    """What a server's list of models says; nothing if it has none.

    name (str): the model that will be asked.
    """
    rows = reply.get("data") if isinstance(reply, dict) else None
    models = {str(row.get("id")): row for row in rows or () if isinstance(row, dict)}
    model = models.get(name, {})
    context = model.get("max_model_len")
    return Served(tuple(models), model.get("owned_by") == "vllm", context if isinstance(context, int) else NO_LIMIT)


def add_reply(asker: Asker, question: Question, reply: Any, *, vllm: bool) -> bool:
    """Put what a server has said into a question.

    reply (Any): the body of its reply.
    vllm (bool): whether it was told where to stop; others go on to the end of their own accord.
    RETURNS (bool): whether the answer is to go on.
    RAISES (ValueError, TypeError, LookupError, AttributeError): it is no completion of the ids that were sent.
    """
    choice, sent = reply["choices"][0], len(question.prompt) + len(question.ids)
    read = (reply.get("usage") or {}).get("prompt_tokens", sent)
    if read != sent:
        raise ValueError(f"it has read {read} tokens where {sent} ids were sent")
    if asker.hear(question, *read_choice(asker, choice)):
        return True
    return vllm and choice.get("finish_reason") == "stop" and asker.is_open(question)


def read_choice(asker: Asker, choice: Mapping[str, Any]) -> tuple[list[int], list[dict[int, float]]]:
    """The tokens of an answer, and for each the logarithms of its probability and of those of others, by their ids and
    where they are told: as vLLM, llama.cpp or OpenAI write them."""
    told = choice.get("logprobs") or {}
    if choice.get("token_ids") is not None:
        ids = list(choice["token_ids"])
        rows = [{int(key.removeprefix(PREFIX)): value for key, value in row.items()} for row in read_rows(told)]
    elif told.get("content"):
        ids = [row["id"] for row in told["content"]]
        rows = [{other["id"]: other["logprob"] for other in (*row["top_logprobs"], row)} for row in told["content"]]
    else:
        return read_text(asker, choice["text"], told)
    return ids, rows


def read_text(asker: Asker, text: str, told: Mapping[str, Any]) -> tuple[list[int], list[dict[int, float]]]:
    """As `read_choice`, of an answer whose ids are not told; without probabilities where the server has cut it in
    another way."""
    ids = asker.encoder.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    pieces = asker.pieces(ids)
    if pieces != (told.get("tokens") or [])[: len(ids)]:
        return ids, []
    rows = zip(ids, pieces, read_rows(told), strict=False)
    return ids, [{**asker.vocabulary.spell(row), token: row[piece]} for token, piece, row in rows]


def read_rows(told: Mapping[str, Any]) -> list[dict[str, float]]:
    """For each token said, the logarithms of its probability and of those of others, as OpenAI writes them."""
    said = zip(told.get("tokens") or (), told.get("token_logprobs") or (), strict=False)
    others = told.get("top_logprobs") or repeat(None)
    return [{**(row or {}), token: value} for (token, value), row in zip(said, others, strict=False)]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; in a thread of its own where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def read_key(variable: str | None) -> str | None:
    """The key in an environment variable. RAISES (UniversalNERError): there is none."""
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise UniversalNERError(Errors.U175.format(variable=variable))
    return os.environ[variable]


def import_openai() -> Any:
    """RAISES (UniversalNERError): it is not installed."""
    try:
        import aiohttp  # noqa: F401  (the client's transport, an extra of its own)
        import openai
    except ImportError as err:
        reason = {"engine": "OpenAI", "package": "openai", "extra": "openai", "reason": err}
        raise UniversalNERError(Errors.U170.format(**reason)) from err
    return openai
