"""The stand-in server, asked by the vendor's own client, and by a bare socket where that client hides what arrives."""

import asyncio
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import openai
import pytest

from spacy_universalner.parsing import parse_pairs
from spacy_universalner.prompts import TYPE_V1, messages_key

from . import chat_server
from .chat_server import ChatServer, Fault

ROOT = Path(__file__).parents[1]
MESSAGES = TYPE_V1.messages("Ada met Élodie in Paris, and Ada left.")
TEXT = '[("Ada", "name"), ("Élodie", "name"), ("Paris", "name")]'
PROMPT = sum(len(message["content"]) for message in MESSAGES) // 4 + 3
COMPLETION = len(TEXT) // 4 + 1
BODY = json.dumps({"model": "m", "messages": MESSAGES}).encode()
PATIENCE = 20.0  # seconds until what has not come will not come, on a machine that is busy


def use(server, run, **options):
    """What `run` makes of the vendor's client for a server, which tries once."""

    async def main():
        settings = {"base_url": server.base_url, "api_key": "secret", "max_retries": 0, "timeout": PATIENCE, **options}
        settings["http_client"] = openai.DefaultAsyncHttpxClient(verify=False)  # loading certificates takes a while
        async with openai.AsyncOpenAI(**settings) as client:
            return await run(client)

    return asyncio.run(main())


def chat(client, messages=MESSAGES):
    return client.chat.completions.create(model="m", messages=messages)


def ask(server, **options):
    return use(server, chat, **options)


def ask_often(server, count, **options):
    """The outcomes of requests sent at once, in the order they were sent."""

    async def run(client):
        return await asyncio.gather(*(chat(client) for _ in range(count)), return_exceptions=True)

    return use(server, run, **options)


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def request(body=BODY, path="/v1/chat/completions", method="POST"):
    return f"{method} {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def receive(connection, count=1, data=b""):
    """A number of whole replies on a connection, as (head, body); data is what has been received of them."""
    replies, data = [], bytearray(data)
    for _ in range(count):
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += receive_some(connection)
        head = data[:end].decode("latin-1")
        whole = end + 4 + declared_length(head)
        while len(data) < whole:
            data += receive_some(connection)
        replies.append((head, bytes(data[end + 4 : whole])))
        del data[:whole]
    return replies


def receive_some(connection):
    received = connection.recv(1 << 20)
    assert received, "the connection ended before the reply did"
    return received


def declared_length(head):
    return int(re.search(r"content-length: (\d+)", head)[1])


def events(log):
    return [(row["n"], row["event"]) for row in map(json.loads, log.read_text(encoding="utf8").splitlines())]


def wait_until(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_good_reply():
    with ChatServer() as server:
        reply = ask(server)
    choice = reply.choices[0]
    assert (reply.model, choice.message.content, choice.finish_reason) == ("m-2026-01-01", TEXT, "stop")
    assert parse_pairs(TEXT) == [("Ada", "name"), ("Élodie", "name"), ("Paris", "name")]
    assert reply.usage.to_dict() == {
        "prompt_tokens": PROMPT,
        "completion_tokens": COMPLETION,
        "total_tokens": PROMPT + COMPLETION,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def test_what_was_asked_is_kept():
    with ChatServer() as server:
        before = time.monotonic()
        ask(server)
        assert server.requests == [{"model": "m", "messages": MESSAGES}]
        assert server.headers[0]["authorization"] == "Bearer secret"
        assert before <= server.times[0] <= time.monotonic()


def test_every_reply_that_was_read_is_counted():
    with ChatServer() as server, connect(server) as connection:
        for number in range(1, 200):
            connection.sendall(request())
            receive(connection)
            expected = {"answered": number, "prompt_tokens": number * PROMPT, "completion_tokens": number * COMPLETION}
            assert server.counts == {**expected, "in_flight_max": 1, "batches": 0, "files": 0}


def test_the_reply_can_be_made_from_the_messages():
    with ChatServer(reply=lambda messages: messages[0]["role"] * 2) as server:
        assert ask(server).choices[0].message.content == "systemsystem"


def test_the_delay_is_kept_and_requests_overlap():
    with ChatServer(delay=0.25) as server:
        start = time.monotonic()
        ask_often(server, 8)
        assert time.monotonic() - start >= 0.25
        assert (server.in_flight_max, server.answered) == (8, 8)


def test_azure_is_asked_at_its_own_path():
    async def run(server):
        options = {"azure_endpoint": server.url, "api_key": "secret", "api_version": "2024-10-21", "max_retries": 0}
        async with openai.AsyncAzureOpenAI(**options) as client:
            return await chat(client)

    with ChatServer() as server:
        assert asyncio.run(run(server)).choices[0].message.content == TEXT
        assert server.headers[0]["api-key"] == "secret"


def test_models_are_listed():
    async def run(client):
        return [model.id for model in (await client.models.list()).data]

    with ChatServer() as server:
        assert use(server, run) == [chat_server.MODEL]


STATUSES = {
    "bad request": (400, None, openai.BadRequestError, "invalid_request_error"),
    "no access": (403, None, openai.PermissionDeniedError, "invalid_request_error"),
    "unknown model": (404, "model_not_found", openai.NotFoundError, "invalid_request_error"),
    "rate limit": (429, "rate_limit_exceeded", openai.RateLimitError, "requests"),
    "quota": (429, "insufficient_quota", openai.RateLimitError, "insufficient_quota"),
    "broken": (500, None, openai.InternalServerError, "server_error"),
    "overloaded": (529, None, openai.InternalServerError, "server_error"),
}


@pytest.mark.parametrize(("status", "code", "error", "kind"), STATUSES.values(), ids=STATUSES)
def test_an_error_status(status, code, error, kind):
    fault = Fault(status=status, code=code, param="p", headers={"Retry-After": "0.2"})
    with ChatServer(faults=[fault]) as server:
        with pytest.raises(error) as raised:
            ask(server)
        assert (raised.value.status_code, raised.value.code, raised.value.param) == (status, code, "p")
        assert (raised.value.type, raised.value.response.headers["retry-after"]) == (kind, "0.2")
        assert (server.answered, server.prompt_tokens, server.completion_tokens) == (0, 0, 0)


def test_an_error_can_be_any_text():
    fault = Fault(status=502, body="<html>Bad Gateway</html>", headers={"Content-Type": "text/html"})
    with ChatServer(faults=[fault]) as server, pytest.raises(openai.InternalServerError) as raised:
        ask(server)
    assert (raised.value.response.text, raised.value.body) == ("<html>Bad Gateway</html>", "<html>Bad Gateway</html>")


def test_the_key_is_echoed_in_the_message():
    with (
        ChatServer(faults=[Fault(action="echo auth")]) as server,
        pytest.raises(openai.AuthenticationError, match="Bearer secret"),
    ):
        ask(server)


ODD = {
    "null content": (None, None, "stop", 1),
    "refusal": (None, chat_server.REFUSAL, "stop", len(chat_server.REFUSAL) // 4 + 1),
    "length": (TEXT[: len(TEXT) // 2], None, "length", len(TEXT) // 2 // 4 + 1),
    "content_filter": (None, None, "content_filter", 1),
}


@pytest.mark.parametrize(("action", "expected"), ODD.items(), ids=ODD)
def test_an_odd_reply_is_billed(action, expected):
    with ChatServer(faults=[Fault(action=action)]) as server:
        reply = ask(server)
        choice = reply.choices[0]
        got = (choice.message.content, choice.message.refusal, choice.finish_reason, reply.usage.completion_tokens)
        assert got == expected
        assert (server.answered, server.completion_tokens) == (1, expected[3])


def test_a_reply_without_usage_is_answered_but_adds_nothing_to_the_bill():
    with ChatServer(faults=[Fault(action="no usage")]) as server:
        assert ask(server).usage is None
        assert (server.answered, server.prompt_tokens) == (1, 0)


def test_half_a_json_is_no_answer():
    with ChatServer(faults=[Fault(action="bad json")]) as server:
        with pytest.raises(json.JSONDecodeError):
            ask(server)
        assert server.answered == 0


BROKEN = {
    "reset": (Fault(action="reset"), openai.APIConnectionError),
    "truncate": (Fault(action="truncate"), openai.APIConnectionError),
    "hang": (Fault(action="hang"), openai.APITimeoutError),
    "slow": (Fault(action="slow", delay=5), openai.APITimeoutError),
}


@pytest.mark.parametrize(("fault", "error"), BROKEN.values(), ids=BROKEN)
def test_a_broken_connection_is_no_answer(fault, error):
    with ChatServer(faults=[fault]) as server:
        with pytest.raises(error) as raised:
            ask(server, timeout=0.3)
        assert type(raised.value) is error
        assert (server.answered, server.prompt_tokens, len(server.requests)) == (0, 0, 1)


def test_a_reset_is_an_rst():
    with ChatServer(faults=[Fault(action="reset")]) as server, connect(server) as connection:
        connection.sendall(request())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_truncated_reply_says_its_whole_length():
    with ChatServer(faults=[Fault(action="truncate")]) as server, connect(server) as connection:
        connection.sendall(request())
        head, _, half = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert declared_length(head.decode()) // 2 == len(half) > 0


def test_a_slow_reply_comes_in_two_halves():
    with ChatServer(faults=[Fault(action="slow", delay=0.2)]) as server, connect(server) as connection:
        start = time.monotonic()
        connection.sendall(request())
        half = connection.recv(65536)
        head, _, rest = half.partition(b"\r\n\r\n")
        assert 0 < len(rest) == declared_length(head.decode()) // 2
        [(_, body)] = receive(connection, data=half)
        assert time.monotonic() - start >= 0.2
        assert json.loads(body)["object"] == "chat.completion"
        assert server.answered == 1


def test_a_fault_delays_beside_the_server():
    with ChatServer(delay=0.1, faults=[Fault(delay=0.1)]) as server:
        start = time.monotonic()
        ask(server)
        assert time.monotonic() - start >= 0.2
        assert server.answered == 1


def test_faults_hit_the_first_to_arrive():
    with ChatServer(faults=[Fault(status=500), None, Fault(status=500)]) as server:
        outcomes = ask_often(server, 5)
        assert sum(isinstance(outcome, openai.InternalServerError) for outcome in outcomes) == 2
        assert server.answered == 3
        ask(server)


def test_faults_can_depend_on_the_request():
    seen = []

    def fault(number, body):
        seen.append(number)
        return Fault(status=400) if "Bob" in body["messages"][-1]["content"] else None

    async def run(client):
        asked = [TYPE_V1.messages(f"{name} left.") for name in ("Ada", "Bob", "Eve")]
        return await asyncio.gather(*(chat(client, messages) for messages in asked), return_exceptions=True)

    with ChatServer(faults=fault) as server:
        kinds = [type(outcome).__name__ for outcome in use(server, run)]
    assert (kinds, sorted(seen)) == (["ChatCompletion", "BadRequestError", "ChatCompletion"], [0, 1, 2])


def test_the_client_tries_again_and_succeeds():
    fault = Fault(status=429, headers={"Retry-After-Ms": "1"})
    with ChatServer(faults=[fault, fault]) as server:
        assert ask(server, max_retries=2).choices[0].message.content == TEXT
        assert (len(server.requests), server.answered) == (3, 1)


def test_an_unknown_action_is_an_error():
    with pytest.raises(ValueError, match="'explode'.*'hang'"):
        Fault(action="explode")


def test_an_exception_of_the_reply_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), ChatServer(reply=lambda messages: 1 / 0) as server:
        with pytest.raises(openai.APIConnectionError):
            ask(server)


def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order():
    with ChatServer(reply=lambda messages: messages[0]["content"], delay=0.01) as server:
        bodies = [json.dumps({"model": "m", "messages": [{"role": "user", "content": str(i)}]}) for i in range(20)]
        with connect(server) as connection:
            connection.sendall(b"".join(request(body.encode()) for body in bodies))
            texts = [json.loads(body)["choices"][0]["message"]["content"] for _, body in receive(connection, 20)]
    assert texts == [str(number) for number in range(20)]


def test_a_request_may_come_in_bits():
    with ChatServer() as server, connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = request()
        for start in range(0, len(data), 100):
            connection.sendall(data[start : start + 100])
            time.sleep(0.001)
        assert receive(connection)[0][0].startswith("HTTP/1.1 200 OK")


def test_a_connection_that_is_to_be_closed_is_closed():
    with ChatServer() as server, connect(server) as connection:
        connection.sendall(request().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        assert json.loads(receive(connection)[0][1])["object"] == "chat.completion"
        assert connection.recv(1) == b""


def chat_body(**changes):
    return json.dumps({"model": "m", "messages": MESSAGES, **changes}).encode()


UNFIT = {
    "no json": (request(b"{"), 400, "no JSON object"),
    "no model": (request(chat_body(model=None)), 400, "a model"),
    "no messages": (request(chat_body(messages=[])), 400, "a role and a text"),
    "parts": (request(chat_body(messages=[{"role": "user", "content": []}])), 400, "a role and a text"),
    "stream": (request(chat_body(stream=True)), 400, "stream=True"),
    "n": (request(chat_body(n=2)), 400, "n=2"),
    "path": (request(path="/v2/chat/completions"), 404, "/v2/chat/completions"),
    "azure without a version": (request(path="/openai/deployments/m/chat/completions"), 404, "/openai"),
    "method": (request(method="GET"), 404, "GET"),
    "no http": (b"Hello.\r\n\r\n", 400, "no HTTP request"),
    "chunks": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411, "Content-Length"),
}


@pytest.mark.parametrize(("data", "status", "message"), UNFIT.values(), ids=UNFIT)
def test_what_it_cannot_answer_is_refused_and_not_counted(data, status, message):
    with ChatServer() as server, connect(server) as connection:
        connection.sendall(data)
        [(head, body)] = receive(connection)
        assert head.startswith(f"HTTP/1.1 {status} ")
        assert message in json.loads(body)["error"]["message"]
        assert server.requests == []


LARGE = 20_000_000  # more than the buffers of two sockets take


def test_a_large_reply_is_counted_when_the_last_of_it_is_sent():
    with ChatServer(reply=lambda messages: "x" * LARGE) as server, connect(server) as connection:
        connection.sendall(request())
        beginning = connection.recv(10)
        assert server.answered == 0
        assert len(json.loads(receive(connection, data=beginning)[0][1])["choices"][0]["message"]["content"]) == LARGE
        assert (server.answered, server.completion_tokens) == (1, LARGE // 4 + 1)


def test_a_large_reply_that_is_not_taken_is_no_answer():
    with ChatServer(reply=lambda messages: "x" * LARGE) as server:
        with connect(server) as connection:
            connection.sendall(request())
            connection.recv(10)
        wait_until(lambda: not server.connections)
        assert server.answered == 0


def test_a_client_that_leaves_is_not_answered():
    with ChatServer(delay=0.25) as server:
        with connect(server) as connection:
            connection.sendall(request())
            wait_until(lambda: server.requests)
        wait_until(lambda: not server.connections)
        assert (server.answered, server.in_flight_max) == (0, 1)
        ask_often(server, 3)
        assert (server.answered, server.in_flight_max) == (3, 3)


def test_the_log_says_what_was_asked_and_what_was_answered(tmp_path):
    log = tmp_path / "log.jsonl"
    faults = [None, Fault(status=500), Fault(action="bad json"), Fault(action="hang"), Fault(action="refusal")]
    with ChatServer(faults=faults, log=log) as server, connect(server) as connection:
        for number in range(5):
            with connect(server) as connection:
                connection.sendall(request())
                wait_until(lambda: len(server.requests) == number + 1)  # noqa: B023
                if number != 3:
                    receive(connection)
        assert server.answered == 2
        asked = [(number, "asked") for number in range(5)]
        assert sorted(events(log)) == sorted([*asked, (0, "answered"), (4, "answered")])
    rows = [json.loads(line) for line in log.read_text(encoding="utf8").splitlines()]
    assert {row["sha"] for row in rows} == {messages_key(MESSAGES)}


def test_a_client_that_is_killed_leaves_its_questions_in_the_log(tmp_path):
    log = tmp_path / "log.jsonl"
    ask_and_wait = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
    ask_and_wait += f"; s.sendall({request()!r}); s.recv(9)"
    with ChatServer(log=log, delay=1) as server:
        with subprocess.Popen([sys.executable, "-c", ask_and_wait, str(server.port)]) as client:
            wait_until(lambda: server.requests)
            client.kill()
        wait_until(lambda: not server.connections)
        assert server.answered == 0
        assert events(log) == [(0, "asked")]


def test_it_can_be_started_again_on_its_port(tmp_path):
    server = ChatServer(log=tmp_path / "log.jsonl")
    with server:
        ask(server)
        url = server.base_url
    with pytest.raises(openai.APIConnectionError):
        ask(server)
    with server:
        ask(server)
    assert (server.base_url, server.answered, len(events(tmp_path / "log.jsonl"))) == (url, 2, 4)


def test_a_port_that_is_taken_is_an_error():
    with ChatServer() as server, pytest.raises(OSError, match="in use"):
        ChatServer(port=server.port).start()


def test_nothing_is_left_of_it(tmp_path):
    def held():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = held()
    for faults in ([], [Fault(action="hang")], [Fault(action="slow", delay=9)], [Fault(action="reset")]):
        with ChatServer(faults=faults, log=tmp_path / "log.jsonl") as server, connect(server) as connection:
            connection.sendall(request())
            wait_until(lambda: server.requests)  # noqa: B023
    assert held() == before


def test_a_client_sees_the_end_of_the_server():
    server = ChatServer(faults=[Fault(action="hang")])
    with server, connect(server) as connection:
        connection.sendall(request())
        wait_until(lambda: server.requests)
        server.stop()
        assert connection.recv(1) == b""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_is_and_what_it_did(end, tmp_path):
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "tests.chat_server", "--port", "0", "--delay", "0.01", "--log", str(log)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()

        async def run():
            async with openai.AsyncOpenAI(base_url=url, api_key="secret", max_retries=0) as client:
                return await chat(client)

        assert asyncio.run(run()).choices[0].message.content == TEXT
        process.send_signal(end)
        assert json.loads(process.stdout.read())["answered"] == 1
    assert (process.returncode, events(log)) == (0, [(0, "asked"), (0, "answered")])


NAMES = ("Ada", "Bob", "Eve", "Ida")
ENDPOINT = "/v1/chat/completions"


def make_line(name, **changes):
    body = {"model": "m", "messages": TYPE_V1.messages(f"{name} left.")}
    return {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body, **changes}


LINES = tuple(make_line(name) for name in NAMES)


def submit(client, lines=LINES, **metadata):
    """Upload requests and make a batch of them."""

    async def run():
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        source = await client.files.create(file=("in.jsonl", content), purpose="batch")
        assert (source.bytes, source.filename, source.status) == (len(content), "in.jsonl", "processed")
        assert (await client.files.content(source.id)).content == content
        options = {"endpoint": ENDPOINT, "completion_window": "24h", "metadata": metadata}
        return await client.batches.create(input_file_id=source.id, **options)

    return run()


async def download(client, name):
    """The lines of a batch's file by their custom_id; {} where there is no file."""
    if name is None:
        return {}
    rows = map(json.loads, (await client.files.content(name)).text.splitlines())
    return {row["custom_id"]: row for row in rows}


async def finish(client, batch, polls=2):
    """A batch at its end, its output and its errors."""
    for _ in range(polls):
        batch = await client.batches.retrieve(batch.id)
    return batch, await download(client, batch.output_file_id), await download(client, batch.error_file_id)


def test_a_batch_is_completed_after_so_many_retrievals():
    async def run(client):
        batch = await submit(client)
        statuses = [batch.status]
        for _ in range(4):
            statuses.append((await client.batches.retrieve(batch.id)).status)
        return statuses

    with ChatServer(batch_polls=3) as server:
        assert use(server, run) == ["validating", "in_progress", "in_progress", "completed", "completed"]
        assert (server.batches, server.files, server.answered) == (1, 1, 0)


def test_a_batch_is_answered_as_a_chat_is():
    async def run(client):
        alone = (await chat(client, LINES[1]["body"]["messages"])).to_dict()
        return alone, *await finish(client, await submit(client))

    with ChatServer() as server:
        alone, batch, output, errors = use(server, run)
        bodies = {name: row["response"]["body"] for name, row in output.items()}
        assert {key: bodies["Bob"][key] for key in ("model", "choices", "usage")} == {
            key: alone[key] for key in ("model", "choices", "usage")
        }
        assert {name: body["choices"][0]["message"]["content"] for name, body in bodies.items()} == {
            name: f'[("{name}", "name")]' for name in NAMES
        }
        assert {(row["response"]["status_code"], row["error"]) for row in output.values()} == {(200, None)}
        assert errors == {}
        spent = [body["usage"]["total_tokens"] for body in (*bodies.values(), alone)]
        assert server.prompt_tokens + server.completion_tokens == sum(spent)
        assert batch.usage.total_tokens == sum(spent[:-1])
    assert (batch.model, batch.request_counts.to_dict()) == ("m", {"total": 4, "completed": 4, "failed": 0})


def test_the_lines_come_in_another_order():
    async def run(client):
        return (await finish(client, await submit(client)))[1]

    with ChatServer() as server:
        assert list(use(server, run)) == list(reversed(NAMES))


def test_failed_requests_of_a_batch_are_in_the_error_file():
    async def run(client):
        return await finish(client, await submit(client))

    faults = [None, Fault(status=400, code="bad"), Fault(action="hang"), Fault(action="refusal")]
    with ChatServer(faults=faults) as server:
        batch, output, errors = use(server, run)
    assert (batch.status, batch.request_counts.to_dict()) == ("completed", {"total": 4, "completed": 2, "failed": 2})
    assert output["Ida"]["response"]["body"]["choices"][0]["message"]["refusal"] == chat_server.REFUSAL
    assert {name: row["response"]["status_code"] for name, row in errors.items()} == {"Bob": 400, "Eve": 500}
    assert (errors["Bob"]["response"]["body"]["error"]["code"], errors["Bob"]["error"]) == ("bad", None)


def test_a_batch_of_failed_requests_has_no_output_file():
    async def run(client):
        return await finish(client, await submit(client))

    with ChatServer(faults=lambda number, body: Fault(status=429)) as server:
        batch, _, errors = use(server, run)
        assert (batch.status, batch.output_file_id, len(errors)) == ("completed", None, 4)
        assert server.prompt_tokens == 0


def test_half_a_line_can_stand_in_an_output_file():
    async def run(client):
        batch = await submit(client, LINES[:2])
        for _ in range(2):
            batch = await client.batches.retrieve(batch.id)
        return (await client.files.content(batch.output_file_id)).text.splitlines()

    with ChatServer(faults=[Fault(action="bad json")]) as server:
        whole, half = use(server, run)
    assert json.loads(whole)["custom_id"] == "Bob"
    with pytest.raises(json.JSONDecodeError):
        json.loads(half)


def test_a_batch_that_expires_keeps_what_was_answered():
    async def run(client):
        return await finish(client, await submit(client))

    with ChatServer(batch_expires=3) as server:
        batch, output, errors = use(server, run)
        assert server.completion_tokens == batch.usage.output_tokens > 0
    assert (batch.status, list(output)) == ("expired", ["Eve", "Bob", "Ada"])
    assert batch.request_counts.to_dict() == {"total": 4, "completed": 3, "failed": 1}
    assert (errors["Ida"]["response"], errors["Ida"]["error"]["code"]) == (None, "batch_expired")


def test_a_batch_within_the_limit_does_not_expire():
    async def run(client):
        return await finish(client, await submit(client))

    with ChatServer(batch_expires=4) as server:
        assert use(server, run)[0].status == "completed"


def test_a_batch_that_fails_says_why():
    async def run(client):
        return await finish(client, await submit(client), polls=1)

    with ChatServer(batch_fails="Enqueued token limit reached.") as server:
        batch, output, errors = use(server, run)
        assert server.prompt_tokens == 0
    assert (batch.status, output, errors) == ("failed", {}, {})
    assert batch.errors.data[0].message == "Enqueued token limit reached."


INPUTS = {
    "empty": ([], ("empty_file", None)),
    "no json": (["{"], ("invalid_json_line", 1)),
    "no id": ([LINES[0], make_line(None)], ("invalid_json_line", 2)),
    "one id twice": ([LINES[0], LINES[1], LINES[0]], ("duplicate_custom_id", 3)),
    "other url": ([make_line("Ada", url="/v1/embeddings")], ("url_mismatch", 1)),
    "no body": ([make_line("Ada", body=None)], ("invalid_json_line", 1)),
    "two models": ([LINES[0], make_line("Bob", body={"model": "n"})], ("model_mismatch", 2)),
    "too many": ([*LINES, make_line("Zoe")], ("too_many_tasks", None)),
}


@pytest.mark.parametrize(("lines", "expected"), INPUTS.values(), ids=INPUTS)
def test_an_input_file_that_will_not_do_fails_the_batch(lines, expected, monkeypatch):
    async def run(client):
        return await finish(client, await submit(client, lines), polls=1)

    monkeypatch.setattr(chat_server, "BATCH_REQUESTS", 4)
    with ChatServer() as server:
        batch, *_ = use(server, run)
    assert batch.status == "failed"
    assert [(error.code, error.line) for error in batch.errors.data] == [expected]


def test_an_unfit_request_is_an_error_of_its_line():
    async def run(client):
        return await finish(client, await submit(client, [make_line("Ada", body={"model": "m"}), LINES[1]]))

    with ChatServer() as server:
        batch, output, errors = use(server, run)
    assert (batch.status, list(output), errors["Ada"]["response"]["status_code"]) == ("completed", ["Bob"], 400)


def test_a_batch_can_be_cancelled():
    async def run(client):
        batch = await submit(client)
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        return await finish(client, batch, polls=1)

    with ChatServer() as server:
        batch, output, errors = use(server, run)
        assert server.prompt_tokens == 0
    assert (batch.status, output, sorted(errors)) == ("cancelled", {}, sorted(NAMES))
    assert errors["Ada"]["error"]["code"] == "batch_cancelled"


def test_a_finished_batch_cannot_be_cancelled():
    async def run(client):
        batch, *_ = await finish(client, await submit(client))
        await client.batches.cancel(batch.id)

    with ChatServer() as server, pytest.raises(openai.ConflictError, match="completed"):
        use(server, run)


def test_batches_are_listed_newest_first_in_pages():
    async def run(client):
        for number in range(5):
            await submit(client, run=str(number))
        page = await client.batches.list(limit=2)
        everything = [batch async for batch in client.batches.list(limit=2)]
        return page, [batch.metadata["run"] for batch in everything], {batch.status for batch in everything}

    with ChatServer() as server:
        page, runs, statuses = use(server, run)
    assert ([batch.metadata["run"] for batch in page.data], page.has_more) == (["4", "3"], True)
    assert (runs, statuses) == (["4", "3", "2", "1", "0"], {"validating"})


def test_a_file_can_be_deleted():
    async def run(client):
        batch = await submit(client)
        assert (await client.files.delete(batch.input_file_id)).deleted
        await client.files.retrieve(batch.input_file_id)

    with ChatServer() as server, pytest.raises(openai.NotFoundError):
        use(server, run)


WRONG = {
    "file": {"input_file_id": "file-9"},
    "endpoint": {"endpoint": "/v1/embeddings"},
    "window": {"completion_window": "1h"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_batch_that_cannot_be_made(changes):
    async def run(client):
        batch = await submit(client)
        made = {"input_file_id": batch.input_file_id, "endpoint": ENDPOINT, "completion_window": "24h", **changes}
        await client.batches.create(**made)

    with ChatServer() as server:
        with pytest.raises(openai.BadRequestError):
            use(server, run)
        assert server.batches == 1


def test_a_file_of_any_bytes_comes_back_as_it_was():
    content = b"\r\n--\x00\xff\r\n\r\n" * 1000

    async def run(client):
        source = await client.files.create(file=("in.jsonl", content), purpose="batch")
        return (await client.files.content(source.id)).content

    with ChatServer() as server:
        assert use(server, run) == content
