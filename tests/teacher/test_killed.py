"""A run that is killed again and again: no reply in the store is lost, none is asked for twice but those in flight."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from spacy_universalner.prompts import messages_key
from spacy_universalner.records import Passage, Reply, read_records, write_records
from tests.chat_server import ChatServer

ROOT = Path(__file__).parents[2]
PASSAGES, KILLS, CONCURRENCY = 2000, 30, 16


def make_config(folder, server):
    text = (ROOT / "configs" / "local.cfg").read_text(encoding="utf8")
    text = text.replace("http://127.0.0.1:8000/v1", server.base_url).replace("concurrency = 32", "concurrency = 16")
    (folder / "teacher.cfg").write_text(text.replace("corpus/store.jsonl", "store.jsonl"), encoding="utf8")


def start(folder):
    options = ["--passages", "p.jsonl", "--config", "teacher.cfg", "--replies", "r.jsonl", "--unanswered", "u.jsonl"]
    command = [sys.executable, ROOT / "scripts" / "annotate.py", *options, "--ledger", "l.json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_requests(server, process, count):
    while len(server.requests) < count and process.poll() is None:
        time.sleep(0.01)


def whole_lines(path):
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def stored(data):
    return {messages_key(json.loads(line)["messages"]) for line in data.splitlines()}


@pytest.mark.slow
def test_a_run_killed_thirty_times(tmp_path):
    rng = random.Random(0)
    write_records(tmp_path / "p.jsonl", (Passage(f"p{n}", f"Ada met Bob in Oslo on day {n}.") for n in range(PASSAGES)))
    with ChatServer(delay=0.05, log=tmp_path / "log.jsonl") as server:
        make_config(tmp_path, server)
        before, in_flight = b"", Counter()
        for kill in range(KILLS):
            process = start(tmp_path)
            wait_for_requests(server, process, len(server.requests) + rng.randrange(1, PASSAGES // KILLS))
            time.sleep(rng.random() * 0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(0.1)  # what is on its way reaches the server's log
            after = whole_lines(tmp_path / "store.jsonl")
            assert after.startswith(before)
            asked = {messages_key(request["messages"]) for request in server.requests}
            lost = asked - stored(after)
            assert len(lost) <= CONCURRENCY, kill
            in_flight.update(lost)
            before = after
        process = start(tmp_path)
        said, _ = process.communicate(timeout=300)
        asked = Counter(messages_key(request["messages"]) for request in server.requests)
    assert process.returncode == 0, said
    assert len(stored((tmp_path / "store.jsonl").read_bytes())) == PASSAGES
    assert len(list(read_records(tmp_path / "r.jsonl", Reply))) == PASSAGES
    assert {sha: times for sha, times in asked.items() if times > 1 + in_flight[sha]} == {}
    assert sum(asked.values()) - PASSAGES <= KILLS * CONCURRENCY
