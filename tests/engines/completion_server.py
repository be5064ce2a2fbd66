"""A stand-in for a server of completions, which computes with a real tiny student and writes as several servers do."""

import json
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

DIALECTS = ("vllm", "llama.cpp", "openai", "bare")
"""Whose words it speaks; "bare" is a server that tells nothing but the text."""


class CompletionServer(ThreadingHTTPServer):
    """Greedy completions of prompts of token ids.

    student (Path): whose weights compute the answers.
    dialect (str): one of DIALECTS.
    faults (deque): statuses to send instead of an answer, one a request; "drop" ends the connection, "page" sends HTML.
    requests (list): the bodies received.
    keys (set): the keys received.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, student: Path, dialect: str = "vllm", *, name: str = "tiny", context: int | None = None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.model = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(student)
        self.dialect = dialect
        self.name = name
        self.context = context
        self.faults: deque[int | str] = deque()
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.added: list[int] = []
        self.most = self.flying = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def models(self) -> dict[str, Any]:
        row = {"id": self.name, "owned_by": self.dialect}
        return {"data": [{**row, "max_model_len": self.context} if self.context else row]}

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = [*self.added, *body["prompt"]]
        stops = body.get("stop_token_ids", []) if self.dialect == "vllm" else []
        stops = stops if body.get("ignore_eos") else [*stops, self.tokenizer.eos_token_id]
        said: list[int] = []
        rows: list[dict[int, float]] = []
        with self.lock, torch.inference_mode():
            while len(said) < body["max_tokens"] and not (said and said[-1] in stops):
                logits = self.model(torch.tensor([[*prompt, *said]])).logits[0, -1]
                top = logits.log_softmax(-1).topk(body.get("logprobs") or 1)
                said.append(top.indices[0].item())
                rows.append(dict(zip(top.indices.tolist(), top.values.tolist(), strict=True)))
        ended = said[-1] in stops
        choice = {"index": 0, "text": self.decode(said[:-1] if ended else said), "logprobs": None}
        choice["finish_reason"] = "stop" if ended else "length"
        if self.dialect != "bare" and body.get("logprobs"):
            choice["logprobs"] = self.tell(said, rows)
        if self.dialect == "vllm" and body.get("return_token_ids"):
            choice["token_ids"] = said
        return {"object": "text_completion", "choices": [choice], "usage": {"prompt_tokens": len(prompt)}}

    def tell(self, said: list[int], rows: list[dict[int, float]]) -> dict[str, Any]:
        """The probabilities, in this server's words."""
        told = list(zip(said, rows, strict=True))
        if self.dialect == "llama.cpp":
            return {"content": [{"id": i, "logprob": row[i], "top_logprobs": tops(row)} for i, row in told]}
        write = (lambda i: f"token_id:{i}") if self.dialect == "vllm" else (lambda i: self.decode([i]))
        return {
            "tokens": [write(i) for i in said],
            "token_logprobs": [row[i] for i, row in told],
            "top_logprobs": [{write(i): value for i, value in row.items()} for row in rows],
        }

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def tops(row: dict[int, float]) -> list[dict[str, Any]]:
    return [{"id": i, "logprob": value} for i, value in row.items()]


class Handler(BaseHTTPRequestHandler):
    server: CompletionServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.keys.add(self.headers.get("authorization"))
        if not self.fail():
            self.reply(200, self.server.models())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        if self.fail():
            return
        if body["model"] != self.server.name:
            self.reply(404, {"error": {"message": f"The model {body['model']} does not exist."}})
        elif not isinstance(body["prompt"], list):
            self.reply(400, {"error": {"message": "prompt must be token ids."}})
        else:
            self.server.flying += 1
            self.server.most = max(self.server.most, self.server.flying)
            reply = self.server.complete(body)
            self.server.flying -= 1
            self.reply(200, reply)

    def fail(self) -> bool:
        """Do what the next fault says, if there is one."""
        if not self.server.faults:
            return False
        fault = self.server.faults.popleft()
        if fault == "drop":
            self.close_connection = True
            self.connection.close()
        elif fault == "page":
            self.write(200, "text/html", b"<html></html>")
        else:
            self.reply(int(fault), {"error": {"message": f"status {fault}"}})
        return True

    def reply(self, status: int, body: dict[str, Any]) -> None:
        self.write(status, "application/json", json.dumps(body).encode())

    def write(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(student: Path, dialect: str = "vllm", **options: Any):
    """A running server."""
    server = CompletionServer(student, dialect, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
