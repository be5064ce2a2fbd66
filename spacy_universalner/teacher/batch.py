"""The vendor's batch jobs: half the price, replies within a day. Every step can be killed and goes on where it was."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Errors, UniversalNERError
from ..records import read_json, read_rows, sha256_file, write_json, write_rows
from .chat import ChatModel
from .completion import FAILED
from .rows import Messages, make_row, read_reply

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

ENDPOINT = "/v1/chat/completions"
MARK = "spacy_universalner"
"""Names, in a job's metadata, the sha256 of its requests: a job that was made but not noted down is found again."""
MAX_REQUESTS = 10_000
MAX_BYTES = 150_000_000
ENDED = ("completed", "expired", "cancelled")


@dataclass
class Job:
    """A batch job, as far as it has got.

    requests (str): name of the file of its requests.
    sha (str): sha256 of this file, hex.
    count (int): requests in it.
    most (float): dollars it may cost.
    file_id (str): of the uploaded requests; empty before.
    batch_id (str): of the job at the vendor; empty before.
    status (str): as the vendor last said.
    collected (bool): whether its replies are in the store.
    """

    requests: str
    sha: str
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
    """

    def __init__(self, model: ChatModel, *, poll_seconds: float = 60.0) -> None:
        if model.path is None:
            raise UniversalNERError(Errors.U133)
        self.model, self.poll_seconds = model, poll_seconds
        self.folder = model.path.with_suffix(".batches")
        self.jobs = self._read()
        self._client: OpenAI | None = None

    def run(self, prompts: Iterable[Messages], advance: Callable[[int], object] = lambda count: None) -> None:
        """Bring the replies to all prompts into the store: prepare, upload, start, wait, collect.

        prompts (Iterable): chat messages, streamed.
        advance (Callable): told how many replies arrived since it was last called.
        RAISES (UniversalNERError): the vendor refuses the jobs. What was collected is in the store.
        """
        self.model.open()
        self.prepare(prompts)
        for job in self._open_jobs():
            self.submit(job)
        for job in self._open_jobs():
            self.wait(job, advance)
            self.collect(job)

    def prepare(self, prompts: Iterable[Messages]) -> None:
        """Write the requests that are neither answered nor in a job, as far as the budget allows."""
        taken = {row["custom_id"] for job in self._open_jobs() for row in self._requests(job)}
        settings, budget = self.model.settings, self.model.settings.budget
        left = budget - self.model.total.spent - sum(job.most for job in self._open_jobs()) if budget else float("inf")
        rows: list[dict[str, Any]] = []
        size = most = 0.0
        for messages in prompts:
            key, dollars = settings.key(messages), settings.most(messages, batch=True)
            if key in taken or self.model.has(messages) or dollars > left:
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
        client = self._connect()
        if not job.file_id:
            with (self.folder / job.requests).open("rb") as file:
                job.file_id = client.files.create(file=(job.requests, file, "application/jsonl"), purpose="batch").id
            self._write()
        if not job.batch_id:
            batch = self._find(job) or client.with_options(max_retries=0).batches.create(
                input_file_id=job.file_id, endpoint=ENDPOINT, completion_window="24h", metadata={MARK: job.sha}
            )
            job.batch_id, job.status = batch.id, batch.status
            self._write()

    def wait(self, job: Job, advance: Callable[[int], object] = lambda count: None) -> None:
        """Look at a job until it has ended. RAISES (UniversalNERError): it failed; its requests are free again."""
        seen = 0
        while job.status not in ENDED:
            batch = self._connect().batches.retrieve(job.batch_id)
            done = batch.request_counts.completed if batch.request_counts else 0
            advance(done - seen)
            seen, job.status = done, batch.status
            self._write()
            if job.status == "failed":
                self._drop(job)
                raise UniversalNERError(Errors.U134.format(batch=job.batch_id, reason=_read_errors(batch)))
            if job.status not in ENDED:
                time.sleep(self.poll_seconds)

    def collect(self, job: Job) -> None:
        """Bring what a job has said into the store; what is there already is left."""
        batch = self._connect().batches.retrieve(job.batch_id)
        requests = {row["custom_id"]: row["body"]["messages"] for row in self._requests(job)}
        for line in self._results(batch):
            messages = requests.pop(line["custom_id"], None)
            if messages is not None and not self.model.has(messages):
                self.model.keep(self._row(line, messages))
        job.collected = True
        self._write()
        (self.folder / job.requests).unlink()

    def _row(self, line: dict[str, Any], messages: Messages) -> dict[str, Any]:
        """A row of the store from a line of a result file."""
        from openai.types.chat import ChatCompletion
        from pydantic import ValidationError

        settings = self.model.settings
        row = {**make_row(settings, line["custom_id"], messages), "requests": 1}
        response, error = line.get("response") or {}, line.get("error")
        if error is None and response.get("status_code") == 200:
            try:
                completion = ChatCompletion.model_validate(response["body"])
                return {**row, **read_reply(completion, settings.price, batch=True)}
            except (KeyError, ValueError, ValidationError) as err:
                most = settings.most(messages, batch=True)
                return {**row, "unanswered": 1, "at_risk": most, "error": f"no chat completion: {err}"[:500]}
        reason = error or (response.get("body") or {}).get("error") or response
        return {**row, "kind": FAILED, "error": json.dumps(reason)[:500]}

    def _results(self, batch: "Batch") -> Iterator[dict[str, Any]]:
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            path = self.folder / f"{file_id}.jsonl"
            self._connect().files.content(file_id).write_to_file(path)
            yield from (row for _, row in read_rows(path))
            path.unlink()

    def _find(self, job: Job) -> "Batch | None":
        """The job at the vendor with the same requests, if it was started before."""
        return next((b for b in self._connect().batches.list(limit=100) if _is_same(b, job)), None)

    def _connect(self) -> "OpenAI":
        if self._client is None:
            from openai import AzureOpenAI, OpenAI

            from .session import read_key

            settings = self.model.settings
            options = {"api_key": read_key(settings.key_variable) or "none", "max_retries": 8}
            if settings.azure_api_version:
                endpoint, version = settings.base_url, settings.azure_api_version
                self._client = AzureOpenAI(azure_endpoint=endpoint, api_version=version, **options)
            else:
                self._client = OpenAI(base_url=settings.base_url, **options)
        return self._client

    def _open_jobs(self) -> list[Job]:
        return [job for job in self.jobs if not job.collected]

    def _requests(self, job: Job) -> Iterator[dict[str, Any]]:
        return (row for _, row in read_rows(self.folder / job.requests))

    def _add(self, rows: Sequence[dict[str, Any]], most: float) -> None:
        path = self.folder / f"{len(self.jobs) + 1:05}.jsonl"
        write_rows(path, rows)
        self.jobs.append(Job(path.name, sha256_file(path), len(rows), most))
        self._write()

    def _drop(self, job: Job) -> None:
        self.jobs = [other for other in self.jobs if other is not job]
        self._write()
        with suppress(FileNotFoundError):
            (self.folder / job.requests).unlink()

    def _read(self) -> list[Job]:
        path = self.folder / "jobs.json"
        return [Job(**job) for job in read_json(path)["jobs"]] if path.is_file() else []

    def _write(self) -> None:
        write_json(self.folder / "jobs.json", {"jobs": [asdict(job) for job in self.jobs]})


def _is_same(batch: "Batch", job: Job) -> bool:
    return (batch.metadata or {}).get(MARK) == job.sha and batch.status not in ("failed", "cancelled", "cancelling")


def _read_errors(batch: "Batch") -> str:
    errors = batch.errors.data if batch.errors and batch.errors.data else []
    return "; ".join(filter(None, (error.message for error in errors))) or "the vendor gives no reason"
