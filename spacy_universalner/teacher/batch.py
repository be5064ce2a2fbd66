"""The vendor's batch jobs: half the price, replies within a day. Every step can be killed and goes on where it was."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Errors, UniversalNERError
from ..records import read_json, read_rows, write_json, write_rows
from .chat import ChatModel
from .completion import FAILED
from .rows import Messages, make_row, read_reply

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

ENDPOINT = "/v1/chat/completions"
JOBS = "jobs.json"
MAX_REQUESTS = 10_000
MAX_BYTES = 150_000_000
RETRIES = 8
ENDED = ("completed", "expired", "cancelled")


@dataclass
class Job:
    """A batch job, as far as it has got.

    requests (str): name of the file of its requests.
    count (int): requests in it.
    most (float): dollars it may cost.
    file_id (str): of the uploaded requests; empty before.
    batch_id (str): of the job at the vendor; empty before.
    status (str): as the vendor last said.
    collected (bool): whether its replies are in the store.
    """

    requests: str
    count: int
    most: float
    file_id: str = ""
    batch_id: str = ""
    status: str = ""
    collected: bool = False


class BatchRun:
    """Asks by batch jobs what the store of a chat model lacks.

    model (ChatModel): with a store; `folder` keeps the requests and how far each job has got, beside the store.
    poll_seconds (float): between two looks at a job.
    RAISES (UniversalNERError): it has no store, or another process is writing to it.
    """

    def __init__(self, model: ChatModel, *, poll_seconds: float = 60.0) -> None:
        if model.path is None:
            raise UniversalNERError(Errors.U133)
        self.model, self.poll_seconds = model, poll_seconds
        self.store = model.open()
        self.folder = model.path.with_suffix(".batches")
        self.jobs = _read_jobs(self.folder)
        self._client: OpenAI | None = None

    def run(self, prompts: Iterable[Messages], advance: Callable[[int], object] = lambda count: None) -> None:
        """Bring the replies to all prompts into the store: prepare, upload, start, wait, collect.

        prompts (Iterable): chat messages, streamed.
        advance (Callable): told how many replies arrived since it was last called.
        RAISES (UniversalNERError): the vendor refuses the jobs. What was collected is in the store.
        """
        self.prepare(prompts)
        with self._in_our_words():
            while jobs := self._open_jobs():
                for job in jobs:
                    self.submit(job)
                for job in jobs:
                    refusal = self.wait(job, advance)
                    if not refusal:
                        self.collect(job)
                if all(not job.collected for job in jobs):
                    raise UniversalNERError(Errors.U134.format(batch=jobs[-1].requests, reason=refusal))

    def prepare(self, prompts: Iterable[Messages]) -> None:
        """Write the requests that are neither answered nor in a job, as far as the budget allows."""
        taken = {row["custom_id"] for job in self._open_jobs() for row in self._requests(job)}
        settings, budget = self.model.settings, self.model.settings.budget
        left = budget - self.model.total.spent - sum(job.most for job in self._open_jobs()) if budget else float("inf")
        rows: list[dict[str, Any]] = []
        size = most = 0.0
        for messages in prompts:
            key, dollars = settings.key(messages), settings.most(messages, batch=True)
            if key in taken or self.model.has(key) or dollars > left:
                continue
            taken.add(key)
            left -= dollars
            row = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": settings.body(messages)}
            rows.append(row)
            size, most = size + len(json.dumps(row)), most + dollars
            if len(rows) >= MAX_REQUESTS or size >= MAX_BYTES:
                self._add(rows, most)
                rows, size, most = [], 0.0, 0.0
        if rows:
            self._add(rows, most)

    def submit(self, job: Job) -> None:
        """Upload a job's requests and start it, each once."""
        if job.batch_id:
            return
        client = self._connect()
        batch = self._find(job) if job.file_id else None
        if not job.file_id:
            with (self.folder / job.requests).open("rb") as file:
                job.file_id = client.files.create(file=(job.requests, file, "application/jsonl"), purpose="batch").id
            self._write()
        batch = batch or client.with_options(max_retries=0).batches.create(
            input_file_id=job.file_id, endpoint=ENDPOINT, completion_window="24h"
        )
        job.batch_id, job.status = batch.id, batch.status
        self._write()

    def wait(self, job: Job, advance: Callable[[int], object] = lambda count: None) -> str:
        """Look at a job until it has ended.

        RETURNS (str): empty, or what the vendor says if its queue was full: to be started again after others.
        RAISES (UniversalNERError): it failed; its requests are free again.
        """
        seen = 0
        while job.status not in ENDED:
            batch = self._connect().batches.retrieve(job.batch_id)
            done = batch.request_counts.completed if batch.request_counts else 0
            advance(done - seen)
            seen, job.status = done, batch.status
            self._write()
            if job.status == "failed" and _is_queue_full(batch):
                job.batch_id = job.status = ""
                self._write()
                return self._mask(_read_errors(batch))
            if job.status == "failed":
                self._drop(job)
                raise UniversalNERError(Errors.U134.format(batch=job.batch_id, reason=self._mask(_read_errors(batch))))
            if job.status not in ENDED:
                time.sleep(self.poll_seconds)
        return ""

    def collect(self, job: Job) -> None:
        """Bring what a job has said into the store: a row for each of its requests, once."""
        batch = self._connect().batches.retrieve(job.batch_id)
        bodies = {row["custom_id"]: row["body"] for row in self._requests(job)}
        for line in self._results(batch):
            key = line.get("custom_id")
            if key in bodies:
                body = bodies.pop(key)
                self._keep(self._row(job, key, body, self._read_line(line, body)))
        for key, body in bodies.items():
            error = f"the job is {batch.status} and has no readable reply to this request"
            self._keep(self._row(job, key, body, self._unread(body, error)))
        job.collected = True
        self._write()
        (self.folder / job.requests).unlink()

    def _keep(self, row: dict[str, Any]) -> None:
        """Store a row, unless it came before collecting was broken off, or is a failure where there is a reply now."""
        key = row["key"]
        was_kept = key in self.store and self.store.get(key).get("batch") == row["batch"]
        if not was_kept and not (row["kind"] == FAILED and self.model.recall(key) is not None):
            self.model.keep(row)

    def _row(self, job: Job, key: str, body: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
        """A row of the store. The request tells what was asked: the config may have changed since."""
        asked = {name: value for name, value in body.items() if name != "messages"}
        row = make_row(self.model.settings, key, body["messages"])
        return {**row, "model": asked.pop("model"), "params": asked, "requests": 1, "batch": job.batch_id, **said}

    def _read_line(self, line: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        """What a line of a result file says, as a part of a row."""
        response, error = line.get("response") or {}, line.get("error")
        if error is not None or response.get("status_code") != 200:
            return {"error": self._mask(json.dumps(error or response))}
        try:
            said = read_reply(response.get("body"), self.model.settings.price, batch=True)
        except ValueError as err:
            return self._unread(body, f"no chat completion: {err}")
        return said if said["usage"] else {**said, "at_risk": self.model.settings.most(body["messages"], batch=True)}

    def _unread(self, body: dict[str, Any], error: str) -> dict[str, Any]:
        """A part of a row for a reply that can't be read, and may be billed."""
        most = self.model.settings.most(body["messages"], batch=True)
        return {"unanswered": 1, "at_risk": most, "error": self._mask(error)}

    def _mask(self, words: str) -> str:
        from .session import mask, read_key

        return mask(words, read_key(self.model.settings.key_variable))

    def _results(self, batch: "Batch") -> Iterator[dict[str, Any]]:
        """The lines of a job's files; one that is cut off is left out."""
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            for line in self._connect().files.content(file_id).content.splitlines():
                with suppress(ValueError):
                    if isinstance(row := json.loads(line), dict):
                        yield row

    def _find(self, job: Job) -> "Batch | None":
        """The job at the vendor with the uploaded requests, if it was started but not noted down."""
        return next((b for b in self._connect().batches.list(limit=100) if _is_same(b, job)), None)

    def _connect(self) -> "OpenAI":
        if self._client is None:
            from openai import AzureOpenAI, OpenAI

            from .session import read_key

            settings = self.model.settings
            options = {"api_key": read_key(settings.key_variable) or "none", "max_retries": RETRIES}
            if settings.azure_api_version:
                endpoint, version = settings.base_url, settings.azure_api_version
                self._client = AzureOpenAI(azure_endpoint=endpoint, api_version=version, **options)
            else:
                self._client = OpenAI(base_url=settings.base_url, **options)
        return self._client

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """RAISES (UniversalNERError): what the client raises, without the key, which a server may echo."""
        from openai import OpenAIError

        from .pace import is_hopeless
        from .session import put_in_words, read_key

        try:
            yield
        except OpenAIError as err:
            settings = self.model.settings
            words = put_in_words(err, read_key(settings.key_variable))
            about = {"name": settings.name, "url": settings.base_url or "the vendor's server", "error": words}
            raise UniversalNERError((Errors.U036 if is_hopeless(err) else Errors.U135).format(**about)) from None

    def _open_jobs(self) -> list[Job]:
        return [job for job in self.jobs if not job.collected]

    def _requests(self, job: Job) -> Iterator[dict[str, Any]]:
        return (row for _, row in read_rows(self.folder / job.requests))

    def _add(self, rows: Sequence[dict[str, Any]], most: float) -> None:
        number = max((int(Path(job.requests).stem) for job in self.jobs), default=0) + 1
        path = self.folder / f"{number:05}.jsonl"
        write_rows(path, rows)
        self.jobs.append(Job(path.name, len(rows), most))
        self._write()

    def _drop(self, job: Job) -> None:
        self.jobs = [other for other in self.jobs if other is not job]
        self._write()
        with suppress(FileNotFoundError):
            (self.folder / job.requests).unlink()

    def _write(self) -> None:
        write_json(self.folder / JOBS, {"jobs": [asdict(job) for job in self.jobs]})


def _is_same(batch: "Batch", job: Job) -> bool:
    return batch.input_file_id == job.file_id and batch.status not in ("failed", "cancelled", "cancelling")


def _is_queue_full(batch: "Batch") -> bool:
    """Whether a job failed for the tokens that others have waiting at the vendor."""
    return any(error.code == "token_limit_exceeded" for error in (batch.errors and batch.errors.data) or ())


def check_no_open_jobs(store: Path) -> None:
    """See that no batch jobs are out for a store. RAISES (UniversalNERError): there are some."""
    folder = store.with_suffix(".batches")
    count = sum(not job.collected for job in _read_jobs(folder))
    if count:
        raise UniversalNERError(Errors.U138.format(count=count, path=store, folder=folder))


def _read_jobs(folder: Path) -> list[Job]:
    path = folder / JOBS
    try:
        return [Job(**job) for job in read_json(path)["jobs"]] if path.is_file() else []
    except (KeyError, TypeError) as err:
        known = {"kind": "list of jobs", "expected": [f.name for f in fields(Job)], "got": err}
        raise UniversalNERError(Errors.U003.format(path=path, line=1, **known)) from err


def _read_errors(batch: "Batch") -> str:
    errors = batch.errors.data if batch.errors and batch.errors.data else []
    return "; ".join(filter(None, (error.message for error in errors))) or "the vendor gives no reason"
