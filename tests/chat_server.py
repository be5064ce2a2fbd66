"""A stand-in for a vendor's chat and batch service: what tests and benchmarks ask instead of the paid one.

    python -m tests.chat_server --port 0 --delay 0.2

One thread with one event loop and HTTP/1.1 by hand, because it has to be much faster than the clients it measures. It
prints its base URL on the first line and, when it is ended by SIGINT or SIGTERM, its counts on the last.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from http.client import responses
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MODEL = "stand-in"
SUFFIX = "-2026-01-01"  # what a vendor's reply adds to the model's name
REFUSAL = "I'm sorry, but I can't help with that."
CHAT = ("POST", "chat", "completions")
CONNECTION = ("reset", "hang", "slow", "truncate")
ACTIONS = ("", *CONNECTION, "bad json", "null content", "refusal", "length", "content_filter", "no usage", "echo auth")
WORD = re.compile(r"[^\W\d_]\w*")
PREFIX = re.compile(r"/v1|/openai(?:/v1|/deployments/[^/]+)?")  # the vendor's paths, Azure's new ones, Azure's old ones
OUTCOMES = ("completed", "expired", "failed", "cancelled")
DAY = 24 * 60 * 60
BATCH_REQUESTS = 50_000
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Fault:
    """What to do instead of a good answer.

    status (int): the HTTP status; 200 with no body is a good answer, but for the action.
    body (str): sent as it is; None for a JSON error as the vendor sends it.
    code (str): error code in that JSON.
    param (str): parameter named in that JSON.
    headers (dict): added to the reply's, or in place of them.
    action (str): one of ACTIONS. "reset": an RST before the answer. "hang": no answer. "slow": half of the body, the
        rest after `delay`. "truncate": half of the body and the end of the connection. "bad json": a whole reply of
        half a JSON. "null content", "refusal" and "content_filter": content is null. "length": half of the text.
        "no usage": no usage in the reply. "echo auth": 401 with the key that was sent in the message.
    delay (float): seconds to wait before the answer besides the server's own; for "slow", the stall.
    """

    status: int = 200
    body: str | None = None
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    action: str = ""
    delay: float = 0.0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"A fault's action is {self.action!r}, none of {ACTIONS}.")


Faults = Sequence[Fault | None] | Callable[[int, dict[str, Any]], Fault | None]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What goes back to a request.

    good (bool): whether it is a completion, whole and of status 200, and so on the bill.
    tokens (tuple): those of the prompt and of the completion, as its usage says.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    good: bool = False
    tokens: tuple[int, int] = (0, 0)

    def head(self) -> bytes:
        headers = {"content-type": "application/json", "content-length": str(len(self.body))}
        headers |= {name.lower(): value for name, value in self.headers.items()}
        status = f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"
        lines = [status, *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class ChatServer:
    """A chat and batch service on this machine, in a thread of its own. Use it as a context manager.

    A count that is read waits for the step under way, so a reply that a client has read is counted (and logged). An
    exception of `reply` or `faults` ends the client's connection and is raised by `stop`.

    delay (float): seconds before each chat reply. With none, a request is answered before the next one is looked at, so
        that never more than one is in flight.
    reply (Callable): from the messages to the text; None for a list of tuples of the passage's capitalised words.
    faults (Faults): a fault or None for each of the first requests in order of arrival, or a function of the request's
        number, from 0, and its body. The requests of a batch have numbers too, given when it is finished.
    log (Path): gets a JSON line for each chat request when it arrives, {"n", "sha", "event": "asked"}, and another when
        its good reply has been handed to the socket whole, "answered". The sha is the `messages_key` of the messages.
    port (int): 0 for any; kept when the server is started again.
    keep (bool): whether to keep `requests`, `headers` and `times`; a long benchmark does without.
    batch_polls (int): retrievals until a batch is finished; listing batches does not count.
    batch_expires (int): requests of a batch that are answered before it expires; None for all.
    batch_fails (str): why batches fail; empty for they don't.
    batch_queue (int): requests that may wait at once; a batch that makes it more fails. 0 for any number.

    The delay, the reply, the faults and the batch options may be changed between requests.
    """

    def __init__(
        self,
        *,
        delay: float = 0.0,
        reply: Callable[[list[dict[str, Any]]], str] | None = None,
        faults: Faults = (),
        log: Path | None = None,
        port: int = 0,
        keep: bool = True,
        batch_polls: int = 2,
        batch_expires: int | None = None,
        batch_fails: str = "",
        batch_queue: int = 0,
    ) -> None:
        self.delay = delay
        self.reply = reply or capitalised_words
        self.faults = faults
        self.port = port
        self.batch_polls = batch_polls
        self.batch_expires = batch_expires
        self.batch_fails = batch_fails
        self.batch_queue = batch_queue
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self._keep = keep
        self._log_path = log
        self._log = -1
        self._numbers = 0
        self._counts = {"answered": 0, "prompt_tokens": 0, "completion_tokens": 0, "in_flight_max": 0}
        self._batches = Batches(self)
        self._clients: set[Connection] = set()
        self._working: set[Connection] = set()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port: what Azure calls the endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def counts(self) -> dict[str, int]:
        """The counts, all at the same moment."""
        if self._thread in (None, threading.current_thread()):
            return self._count()
        counted: Future[dict[str, int]] = Future()
        self._loop.call_soon_threadsafe(lambda: counted.set_result(self._count()))
        return counted.result(STOP_SECONDS)

    @property
    def answered(self) -> int:
        """Good chat replies handed to the socket whole."""
        return self.counts["answered"]

    @property
    def prompt_tokens(self) -> int:
        """The bill: usage of the good chat replies and of the finished batches."""
        return self.counts["prompt_tokens"]

    @property
    def completion_tokens(self) -> int:
        """The bill: usage of the good chat replies and of the finished batches."""
        return self.counts["completion_tokens"]

    @property
    def in_flight_max(self) -> int:
        """The most chat requests being worked on at once."""
        return self.counts["in_flight_max"]

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._clients)

    @property
    def batches(self) -> int:
        """Batches made."""
        return self.counts["batches"]

    @property
    def files(self) -> int:
        """Files uploaded."""
        return self.counts["files"]

    def __enter__(self) -> "ChatServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. RAISES (OSError): the port is taken, or the log cannot be written."""
        if self._thread is not None:
            raise RuntimeError("The stand-in server has been started.")
        if self._log_path is not None:
            self._log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="chat server", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._clean_up()
            raise

    def stop(self) -> None:
        """Close every connection and end the thread; what was counted and stored stays.

        RAISES: what `reply` or `faults` raised meanwhile.
        """
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._clean_up()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def serve(self, connection: "Connection", request: Request) -> None:
        """Answer a request, now or later. Called in the loop's thread, for one request of a connection at a time."""
        route = read_route(request)
        asked = read_json(request.body) if route == CHAT else None
        answer = check_chat(asked) if route == CHAT else self._batches.serve(route, request)
        if answer is None:
            self._chat(connection, asked, request.headers)
        else:
            connection.send(answer.head() + answer.body, connection.finish)

    def left(self, connection: "Connection") -> None:
        """A connection has ended."""
        self._clients.discard(connection)
        self._working.discard(connection)

    def failed(self, failure: BaseException) -> None:
        """Keep the first thing that went wrong inside for `stop`."""
        self._failure = self._failure or failure

    def complete(self, asked: dict[str, Any], headers: Mapping[str, str]) -> tuple[Answer, Fault]:
        """The answer to the body of a chat request, and the fault it was made with."""
        number = self._numbers
        self._numbers += 1
        fault = self._fault(number, asked) or Fault()
        extra = {"x-request-id": f"req_{number}", **fault.headers}
        if fault.action == "echo auth":
            key = headers.get("authorization") or headers.get("api-key", "")
            answer = make_error(401, f"Incorrect API key provided: {key}.", "invalid_api_key", headers=extra)
        elif fault.body is not None:
            answer = Answer(fault.status, fault.body.encode(), extra)
        elif fault.status != 200:
            message = f"The stand-in was told to answer {fault.status}."
            answer = make_error(fault.status, message, fault.code, fault.param, headers=extra)
        else:
            answer = self._completion(number, asked, fault.action, extra)
        return answer, fault

    def bill(self, answer: Answer) -> None:
        self._counts["prompt_tokens"] += answer.tokens[0]
        self._counts["completion_tokens"] += answer.tokens[1]

    def _chat(self, connection: "Connection", asked: dict[str, Any], headers: dict[str, str]) -> None:
        if self._keep:
            self.times.append(time.monotonic())
            self.headers.append(headers)
            self.requests.append(asked)
        self._working.add(connection)
        self._counts["in_flight_max"] = max(self._counts["in_flight_max"], len(self._working))
        sha = messages_sha(asked["messages"]) if self._log >= 0 else ""
        number = self._numbers
        self._write_log(number, sha, "asked")
        answer, fault = self.complete(asked, headers)

        def done() -> None:
            if answer.good:
                self._counts["answered"] += 1
                self.bill(answer)
                self._write_log(number, sha, "answered")
            self._working.discard(connection)
            connection.finish()

        wait = self.delay if fault.action == "slow" else self.delay + fault.delay
        connection.later(wait, partial(deliver, connection, answer, fault, done))

    def _fault(self, number: int, asked: dict[str, Any]) -> Fault | None:
        if callable(self.faults):
            return self.faults(number, asked)
        return self.faults[number] if number < len(self.faults) else None

    def _completion(self, number: int, asked: dict[str, Any], action: str, headers: Mapping[str, str]) -> Answer:
        text = self.reply(asked["messages"])
        made = make_completion(number, asked, text, action)
        body = json.dumps(made).encode()
        if action == "bad json":
            return Answer(200, body[: len(body) // 2], headers)
        usage = made.get("usage", {"prompt_tokens": 0, "completion_tokens": 0})
        tokens = (usage["prompt_tokens"], usage["completion_tokens"])
        return Answer(200, body, headers, good=True, tokens=tokens)

    def _write_log(self, number: int, sha: str, event: str) -> None:
        if self._log >= 0:
            os.write(self._log, (json.dumps({"n": number, "sha": sha, "event": event}) + "\n").encode())

    def _count(self) -> dict[str, int]:
        return {**self._counts, "batches": len(self._batches.batches), "files": self._batches.uploads}

    def _clean_up(self) -> None:
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError("The stand-in server does not stop: `reply` or `faults` has not returned.")
        self._thread = None
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _run(self, ready: "Future[None]") -> None:
        try:
            asyncio.run(self._listen(ready))
        except BaseException as err:  # carried to the thread that can raise it
            if not ready.done():
                ready.set_exception(err)
            else:
                self.failed(err)

    async def _listen(self, ready: "Future[None]") -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(
            lambda _, context: self.failed(context.get("exception") or RuntimeError(context["message"]))
        )
        self._stopping = asyncio.Event()
        listener = await self._loop.create_server(
            lambda: Connection(self, self._clients), "127.0.0.1", self.port, backlog=4096
        )
        self.port = listener.sockets[0].getsockname()[1]
        ready.set_result(None)
        await self._stopping.wait()
        listener.close()
        await asyncio.sleep(0)  # connections that are being accepted
        for connection in tuple(self._clients):
            connection.abort()
        while self._clients:
            await asyncio.sleep(0)
        await listener.wait_closed()


class Connection(asyncio.Protocol):
    """A client: reads its requests, hands them over one at a time and sends what comes back.

    server (ChatServer): what is asked.
    clients (set): the open connections; this one adds itself.
    """

    def __init__(self, server: ChatServer, clients: "set[Connection]") -> None:
        self._server = server
        self._clients = clients
        self._buffer = bytearray()
        self._head: Request | None = None
        self._busy = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._sent: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=0)  # resume_writing is called when everything has been sent
        self._clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._sent = None
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def resume_writing(self) -> None:
        if (sent := self._sent) is not None:
            self._sent = None
            sent()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in a while, unless the client has gone by then; at once for 0 seconds."""
        if seconds > 0:
            self._timer = asyncio.get_running_loop().call_later(seconds, call)
        else:
            call()

    def send(self, data: bytes, sent: Callable[[], None]) -> None:
        """Write, and call when all of it has been handed to the socket."""
        if self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size():
            self._sent = sent
        elif not self._transport.is_closing():
            sent()

    def finish(self) -> None:
        """A request is done with: on to the next one."""
        if self._closing:
            self.close()
            return
        self._busy = False
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._next)

    def close(self) -> None:
        """End the connection in a moment: not from resume_writing, after which asyncio looks at the transport."""
        asyncio.get_running_loop().call_soon(self._transport.close)

    def abort(self) -> None:
        self._transport.abort()

    def reset(self) -> None:
        """End the connection with an RST."""
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def _next(self) -> None:
        while not (self._busy or self._transport.is_closing()) and (request := self._take()) is not None:
            self._busy = True
            try:
                self._server.serve(self, request)
            except Exception as err:  # `reply` and `faults` are the caller's
                self._server.failed(err)
                self.abort()

    def _take(self) -> Request | None:
        """The next request, once all of it is there."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._head = self._read_head(head)
            if self._head is None:
                return None
        length = int(self._head.headers.get("content-length", "0"))
        if len(self._buffer) < length:
            return None
        head, self._head = self._head, None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return Request(head.method, head.path, head.query, head.headers, body)

    def _read_head(self, head: bytes) -> Request | None:
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
        words = line.split(" ")
        if len(words) != 3 or not headers.get("content-length", "0").isdecimal():
            return self._turn_away(make_error(400, "This is no HTTP request."))
        if "transfer-encoding" in headers:
            return self._turn_away(make_error(411, "The stand-in needs a Content-Length."))
        self._closing = words[2] == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        url = urlsplit(words[1])
        return Request(words[0], url.path, dict(parse_qsl(url.query)), headers)

    def _turn_away(self, answer: Answer) -> None:
        self._busy = self._closing = True
        self.send(answer.head() + answer.body, self.finish)


@dataclass
class Batch:
    """A batch as the vendor shows it, its requests, whether the queue was full, and how often it was asked for."""

    shown: dict[str, Any]
    lines: list[Any]
    headers: Mapping[str, str]
    crowded: bool
    polls: int = 0


class Batches:
    """Files and batches, and the list of models: all that is answered at once.

    Lines of an output file stand in reverse, as a vendor promises no order.

    server (ChatServer): answers the requests, and holds the options.
    """

    def __init__(self, server: ChatServer) -> None:
        self._server = server
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._made = 0
        self.batches: dict[str, Batch] = {}
        self.uploads = 0

    def serve(self, route: tuple[str, ...], request: Request) -> Answer:
        """The answer to anything but a chat request."""
        match route:
            case ("GET", "models"):
                return make_answer({"object": "list", "data": [MODEL_OBJECT]})
            case ("GET", "models", name) if name == MODEL:
                return make_answer(MODEL_OBJECT)
            case ("POST", "files"):
                return self._upload(request)
            case ("GET" | "DELETE", "files", name, *rest) if name in self._files and rest in ([], ["content"]):
                return self._file(route[0], name, content=bool(rest))
            case ("POST", "batches"):
                return self._create(request)
            case ("GET", "batches"):
                return self._list(request.query)
            case ("GET", "batches", name) if name in self.batches:
                return make_answer(self._retrieve(self.batches[name]))
            case ("POST", "batches", name, "cancel") if name in self.batches:
                return self._cancel(self.batches[name])
        return make_error(404, f"There is no {request.method} {request.path} here.", "not_found")

    def _upload(self, request: Request) -> Answer:
        parts = read_parts(request)
        if "file" not in parts or parts.get("purpose", ("", b""))[1] != b"batch":
            return make_error(400, "The stand-in takes a file of purpose batch.", param="file")
        self.uploads += 1
        return make_answer(self._files[self._store(*parts["file"], purpose="batch")][0])

    def _store(self, filename: str, content: bytes, *, purpose: str) -> str:
        self._made += 1
        name = f"file-{self._made}"
        shown = {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[name] = (shown, content)
        return name

    def _file(self, method: str, name: str, *, content: bool) -> Answer:
        shown, held = self._files[name]
        if method == "DELETE":
            del self._files[name]
            return make_answer({"id": name, "object": "file", "deleted": True})
        return Answer(200, held, {"content-type": "application/octet-stream"}) if content else make_answer(shown)

    def _create(self, request: Request) -> Answer:
        asked = read_json(request.body)
        if not isinstance(asked, dict):
            return make_error(400, "The body is no JSON object.")
        source, endpoint = asked.get("input_file_id"), asked.get("endpoint")
        if source not in self._files:
            return make_error(400, f"There is no file {source!r}.", param="input_file_id")
        if endpoint not in ("/v1/chat/completions", "/chat/completions"):
            return make_error(400, f"The stand-in has no endpoint {endpoint!r}.", param="endpoint")
        if asked.get("completion_window") != "24h":
            return make_error(400, "The completion window is '24h'.", param="completion_window")
        name = f"batch_{len(self.batches) + 1}"
        shown = make_batch(name, source, endpoint, asked.get("metadata"))
        lines = [read_json(line) for line in self._files[source][1].splitlines() if line.strip()]
        waiting = sum(len(batch.lines) for batch in self.batches.values() if batch.shown["status"] not in OUTCOMES)
        crowded = 0 < self._server.batch_queue < waiting + len(lines)
        self.batches[name] = Batch(shown, lines, request.headers, crowded)
        return make_answer(shown)

    def _list(self, query: dict[str, str]) -> Answer:
        names = list(reversed(self.batches))
        after = query.get("after")
        if after is not None and after not in names:
            return make_error(400, f"There is no batch {after!r}.", param="after")
        start = 0 if after is None else names.index(after) + 1
        end = start + int(query.get("limit", "20"))
        data = [self.batches[name].shown for name in names[start:end]]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return make_answer({"object": "list", "data": data, **ends, "has_more": end < len(names)})

    def _cancel(self, batch: Batch) -> Answer:
        if batch.shown["status"] == "validating":
            self._validate(batch)
        if batch.shown["status"] in OUTCOMES:
            return make_error(409, f"A batch that is {batch.shown['status']} cannot be cancelled.")
        self._become(batch, "cancelling")
        return make_answer(batch.shown)

    def _retrieve(self, batch: Batch) -> dict[str, Any]:
        """Go on with a batch, as one retrieval does, and show it."""
        batch.polls += 1
        if batch.shown["status"] == "validating":
            self._validate(batch)
        if batch.shown["status"] == "cancelling":
            self._finish(batch, "cancelled", answered=0)
        elif batch.shown["status"] == "in_progress" and batch.polls >= self._server.batch_polls:
            limit = self._server.batch_expires
            expires = limit is not None and limit < len(batch.lines)
            self._finish(batch, "expired" if expires else "completed", answered=limit if expires else len(batch.lines))
        return batch.shown

    def _validate(self, batch: Batch) -> None:
        problems = list(find_problems(batch.lines, batch.shown["endpoint"]))
        if self._server.batch_fails:
            problems = [{"code": "batch_failed", "message": self._server.batch_fails, "line": None, "param": None}]
        if batch.crowded:
            message = "Enqueued token limit reached. Try again once some in_progress batches have been completed."
            problems.append({"code": "token_limit_exceeded", "message": message, "line": None, "param": None})
        if problems:
            batch.shown["errors"] = {"object": "list", "data": problems}
            self._become(batch, "failed")
            return
        batch.shown["model"] = batch.lines[0]["body"].get("model")
        batch.shown["request_counts"]["total"] = len(batch.lines)
        self._become(batch, "in_progress")

    def _finish(self, batch: Batch, status: str, *, answered: int) -> None:
        """Answer the first requests, and put down the others as not executed."""
        output, errors = [], []
        for line in batch.lines[:answered]:
            row, answer = self._answer(line, batch.headers)
            (output if answer.status < 400 else errors).append(row)
            self._server.bill(answer)
            add_usage(batch.shown["usage"], answer)
        errors += [json.dumps(not_executed(line, status)) for line in batch.lines[answered:]]
        counts = {"completed": len(output), "failed": len(batch.lines) - len(output), "total": len(batch.lines)}
        batch.shown["request_counts"] = counts
        batch.shown["output_file_id"] = self._store_rows("output", output)
        batch.shown["error_file_id"] = self._store_rows("error", errors)
        self._become(batch, status)

    def _answer(self, line: dict[str, Any], headers: Mapping[str, str]) -> tuple[str, Answer]:
        """A line of the output or of the error file, and what it came from."""
        answer, fault = check_chat(line["body"]), Fault()
        if answer is None:
            answer, fault = self._server.complete(line["body"], headers)
        if fault.action in CONNECTION:
            answer = make_error(500, "The server had an error.")
        body = read_json(answer.body)
        response = {
            "status_code": answer.status,
            "request_id": f"req_{line['custom_id']}",
            "body": answer.body.decode() if body is None else body,
        }
        row = json.dumps({**identify(line), "response": response, "error": None})
        return row[: len(row) // 2] if fault.action == "bad json" else row, answer

    def _store_rows(self, kind: str, rows: list[str]) -> str | None:
        if not rows:
            return None
        content = "".join(f"{row}\n" for row in reversed(rows)).encode()
        return self._store(f"batch_{kind}.jsonl", content, purpose="batch_output")

    def _become(self, batch: Batch, status: str) -> None:
        batch.shown["status"] = status
        batch.shown[f"{status}_at"] = int(time.time())


def deliver(connection: Connection, answer: Answer, fault: Fault, done: Callable[[], None]) -> None:
    """Send an answer as a fault has it; `done` is called only when all of it has been sent."""
    data = answer.head() + answer.body
    half = len(data) - len(answer.body) + len(answer.body) // 2
    if fault.action == "reset":
        connection.reset()
    elif fault.action == "truncate":
        connection.send(data[:half], connection.close)
    elif fault.action == "slow":
        rest = partial(connection.send, data[half:], done)
        connection.send(data[:half], partial(connection.later, fault.delay, rest))
    elif fault.action != "hang":
        connection.send(data, done)


def capitalised_words(messages: list[dict[str, Any]]) -> str:
    """The reply of a teacher who takes capitalised words for names: [("Ada", "name"), ...]."""
    _, _, passage = messages[-1]["content"].rpartition("Passage: ")
    words = [word for word in dict.fromkeys(WORD.findall(passage)) if word[0].isupper()]
    return "[" + ", ".join(f'("{word}", "name")' for word in words) + "]"


def messages_sha(messages: list[dict[str, Any]]) -> str:
    """What a reply is stored under; in words of its own, so that the server starts without spaCy."""
    return hashlib.sha256(json.dumps(messages, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def read_json(text: bytes) -> Any:
    """A JSON value; None if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def check_chat(asked: Any) -> Answer | None:
    """What to answer to something that is no request for one chat reply; None if it is one."""
    if not isinstance(asked, dict):
        return make_error(400, "The body is no JSON object.")
    messages = asked.get("messages")
    if not isinstance(asked.get("model"), str):
        return make_error(400, "You must provide a model.", param="model")
    if not (messages and isinstance(messages, list) and all(is_message(message) for message in messages)):
        return make_error(400, "Messages are a role and a text each.", param="messages")
    for name, expected in (("stream", False), ("n", 1)):
        if asked.get(name) not in (None, expected):
            return make_error(400, f"The stand-in cannot do {name}={asked[name]!r}.", param=name)
    return None


def is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))


def make_answer(body: Any) -> Answer:
    return Answer(200, json.dumps(body).encode())


def make_error(
    status: int,
    message: str,
    code: str | None = None,
    param: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An error as the vendor words it."""
    kind = "invalid_request_error"
    if status == 429:
        kind = "insufficient_quota" if code == "insufficient_quota" else "requests"
    elif status >= 500:
        kind = "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Answer(status, json.dumps({"error": error}).encode(), headers or {})


def make_completion(number: int, asked: dict[str, Any], text: str, action: str) -> dict[str, Any]:
    """A chat completion as the vendor sends it, but for the action."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    reason = action if action in ("length", "content_filter") else "stop"
    if action == "length":
        message["content"] = text = text[: len(text) // 2]
    elif action in ("null content", "content_filter"):
        message["content"], text = None, ""
    elif action == "refusal":
        message["content"], message["refusal"], text = None, REFUSAL, REFUSAL
    prompt = sum(len(each["content"]) for each in asked["messages"]) // 4 + 3
    completion = len(text) // 4 + 1
    made = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked["model"] + SUFFIX,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
    }
    if action == "no usage":
        return made
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**made, "usage": {**usage, "prompt_tokens_details": {"cached_tokens": 0}}}


def make_batch(name: str, source: str, endpoint: str, metadata: Any) -> dict[str, Any]:
    """A batch that was made just now, as the vendor shows it."""
    now = int(time.time())
    moments = ("in_progress", "finalizing", *OUTCOMES, "cancelling")
    return {
        "id": name,
        "object": "batch",
        "endpoint": endpoint,
        "model": None,
        "errors": None,
        "input_file_id": source,
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": now,
        "expires_at": now + DAY,
        **{f"{moment}_at": None for moment in moments},
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
        "metadata": metadata,
    }


def add_usage(usage: dict[str, Any], answer: Answer) -> None:
    """Add what an answer took to the usage of its batch."""
    for name, tokens in (("input", answer.tokens[0]), ("output", answer.tokens[1]), ("total", sum(answer.tokens))):
        usage[f"{name}_tokens"] += tokens


def find_problems(lines: list[Any], endpoint: str) -> Iterator[dict[str, Any]]:
    """What a vendor finds wrong with an input file before it starts: a batch error for each line that has to go."""
    seen: set[str] = set()
    model = None
    if not lines:
        yield {"code": "empty_file", "message": "The file has no requests.", "line": None, "param": None}
    if len(lines) > BATCH_REQUESTS:
        message = f"The file has {len(lines)} requests, more than {BATCH_REQUESTS}."
        yield {"code": "too_many_tasks", "message": message, "line": None, "param": None}
    for number, line in enumerate(lines, start=1):
        code, message, param = "", "", None
        if not (isinstance(line, dict) and isinstance(line.get("custom_id"), str)):
            code, message = "invalid_json_line", "This line is no request with a custom_id."
        elif line["custom_id"] in seen:
            code, message, param = "duplicate_custom_id", f"{line['custom_id']!r} stands above.", "custom_id"
        elif (line.get("method"), line.get("url")) != ("POST", endpoint):
            code, message, param = "url_mismatch", f"This line is no POST to {endpoint}.", "url"
        elif not isinstance(line.get("body"), dict):
            code, message, param = "invalid_json_line", "This line has no body.", "body"
        elif model not in (None, line["body"].get("model")):
            code, message, param = "model_mismatch", f"The lines above are for {model}.", "body.model"
        else:
            seen.add(line["custom_id"])
            model = line["body"].get("model")
        if code:
            yield {"code": code, "message": message, "line": number, "param": param}


def not_executed(line: dict[str, Any], status: str) -> dict[str, Any]:
    """What stands in the error file for a request that a batch which ended early did not come to."""
    error = {"code": f"batch_{status}", "message": f"This request was not executed: the batch is {status}."}
    return {**identify(line), "response": None, "error": error}


def identify(line: dict[str, Any]) -> dict[str, str]:
    return {"id": f"batch_req_{line['custom_id']}", "custom_id": line["custom_id"]}


def read_parts(request: Request) -> dict[str, tuple[str, bytes]]:
    """The file name and the content of each part of a multipart form."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if boundary is None:
        return {}
    parts = {}
    for part in (b"\r\n" + request.body).split(b"\r\n--" + boundary[1].encode("latin-1"))[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        said = dict(re.findall(r'\b(name|filename)="([^"]*)"', head.decode("utf8")))
        parts[said.get("name", "")] = (said.get("filename", ""), content)
    return parts


def read_route(request: Request) -> tuple[str, ...]:
    """Method and path in words, without what stands in front of the path; () for a path of no vendor."""
    prefix = PREFIX.match(request.path)
    if prefix is None or not (prefix[0].endswith("/v1") or "api-version" in request.query):
        return ()
    return (request.method, *request.path[prefix.end() :].strip("/").split("/"))


MODEL_OBJECT = {"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A stand-in for a vendor's chat service.")
    parser.add_argument("--port", type=int, default=0, help="0 for any")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--log", type=Path, default=None, help="file that gets a line for each request and each reply")
    options = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before there is a second thread, which would get them
    with ChatServer(delay=options.delay, log=options.log, port=options.port, keep=False) as server:
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        signal.sigwait(ends)
        sys.stdout.write(json.dumps(server.counts) + "\n")


if __name__ == "__main__":
    main()
