"""A real chat server with a real model on this machine: the replies are poor, the path is whole."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from spacy_universalner.records import Passage, Reply, read_records, write_records

ROOT = Path(__file__).parents[2]
TEXTS = ("Ada met Bob in Oslo.", "The river Rhine runs to Rotterdam.", "Marie Curie won two prizes.")


@pytest.fixture
def served(base, tmp_path):
    """The address of `transformers serve`, which has the base student loaded at its first request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve = [Path(sys.executable).with_name("transformers"), "serve", str(base), "--port", port]
    options = ["--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
    with (tmp_path / "server.log").open("w") as log:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen([*serve, *options], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait()


def wait_for(url, server, seconds=120):
    for _ in range(seconds):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert server.poll() is None, "the server has ended"
            time.sleep(1)
    pytest.fail(f"nothing answers at {url}")


def run(folder, *options):
    files = ["--passages", "p.jsonl", "--config", "teacher.cfg", "--replies", "r.jsonl", "--unanswered", "u.jsonl"]
    command = [sys.executable, ROOT / "scripts" / "annotate.py", *files, "--ledger", "ledger.json", *options]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.slow
def test_a_model_behind_transformers_serve_is_a_teacher(served, base, tmp_path):
    config = (ROOT / "configs" / "local.cfg").read_text(encoding="utf8").replace("http://127.0.0.1:8000/v1", served)
    config = config.replace('name = "local"', f'name = "{base}"').replace('"max_tokens": 2048', '"max_tokens": 16')
    (tmp_path / "teacher.cfg").write_text(config, encoding="utf8")
    write_records(tmp_path / "p.jsonl", (Passage(f"p{n}", text) for n, text in enumerate(TEXTS)))
    run(tmp_path)
    replies = list(read_records(tmp_path / "r.jsonl", Reply))
    assert [reply.text for reply in replies] == list(TEXTS)
    assert all(reply.raw and reply.usage["completion_tokens"] <= 16 for reply in replies)
    run(tmp_path)
    ledger = json.loads((tmp_path / "ledger.json").read_text(encoding="utf8"))
    assert (ledger["this_run"]["requests"], ledger["store"]["requests"]) == (0, len(TEXTS))
