import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.teacher.completion import ANSWER, KINDS
from spacy_universalner.teacher.store import ReplyStore, repair

CHILD = """
import sys
from pathlib import Path
from spacy_universalner.teacher.store import ReplyStore
store = ReplyStore(Path(sys.argv[1]))
for number in range(10**6):
    store.append({"key": f"{number:064x}", "kind": "answer", "reply": "x" * 500})
    print(number, flush=True)
"""


def make_key(name):
    return hashlib.sha256(str(name).encode("utf8", "surrogatepass")).hexdigest()


def make_row(name, reply="[]", kind=ANSWER):
    return {"key": make_key(name), "kind": kind, "reply": reply}


def make_line(*args, **kwargs):
    return json.dumps(make_row(*args, **kwargs)).encode() + b"\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teacher" / "replies.jsonl"


@pytest.fixture
def opened(path):
    """Open the store once more; what was opened before is closed."""
    stores = []

    def open_store(data=None):
        for store in stores:
            store.close()
        if data is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        stores.append(ReplyStore(path))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def torn(path):
    file = path.with_name(f"{path.name}.torn")
    return file.read_bytes() if file.exists() else b""


# what goes in


def test_a_reply_comes_back_under_its_key(opened):
    store = opened()
    store.append(make_row("a", "one"))
    assert store.get(make_key("a")) == opened().get(make_key("a")) == make_row("a", "one")


def test_what_was_never_asked_is_not_there(opened):
    store = opened()
    assert (make_key("a") in store, store.kind(make_key("a")), len(store)) == (False, None, 0)
    with pytest.raises(KeyError):
        store.get(make_key("a"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    store = ReplyStore(tmp_path_factory.mktemp("shared") / "r.jsonl")
    yield store
    store.close()


@given(st.text(st.characters()) | st.sampled_from(["\0", "\u2028\u2029\x85", "\r\n", "\ud800", "\udfff!", '"\\\ufeff']))
def test_any_text_comes_back_as_it_was(shared, text):
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # two halves side by side are one
    shared.append(make_row(text, text))
    assert shared.get(make_key(text))["reply"] == whole
    assert list(shared.rows())[-1]["reply"] == whole


@pytest.mark.parametrize("size", [8150, 1 << 13, (1 << 13) + 1, 1 << 16, 300_000])
def test_a_long_reply_comes_back_whole(opened, size):
    store = opened()
    rows = [make_row(name, name * size) for name in "abc"]
    for row in rows:
        store.append(row)
    assert [store.get(row["key"]) for row in rows] == rows
    assert list(opened().rows()) == rows


def test_the_later_line_of_a_key_counts(opened):
    store = opened()
    for row in (make_row("a", None, "failed"), make_row("b"), make_row("a", "new")):
        store.append(row)
    for _ in range(2):
        assert (len(store), store.kind(make_key("a")), store.get(make_key("a"))["reply"]) == (2, ANSWER, "new")
        assert [row["kind"] for row in store.rows()] == ["failed", ANSWER, ANSWER]
        store = opened()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_reply_is_kept(opened, kind):
    opened().append(make_row("a", kind=kind))
    assert opened().kind(make_key("a")) == kind


@pytest.mark.parametrize(
    "row", [{"key": "no hex", "kind": ANSWER}, {"kind": ANSWER}, {"key": make_key("a")}, {**make_row("a"), "x": object}]
)
def test_a_row_that_could_not_be_read_again_is_not_written(opened, path, row):
    store = opened()
    with pytest.raises((KeyError, TypeError, ValueError)):
        store.append(row)
    assert path.read_bytes() == b""


def test_a_reply_takes_little_memory(opened):
    data = b"".join(make_line(number, "x" * 300) for number in range(20_000))
    tracemalloc.start()
    try:
        opened(data)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (taken - len(data)) / 20_000 < 400  # `data` itself was there before


# threads and the disk


def test_threads_share_syncs_and_each_returns_after_one_that_covers_its_line(opened, path, monkeypatch):
    store, synced, late, real = opened(), [0], [], os.fsync

    def fsync(file):
        size = os.fstat(file).st_size
        time.sleep(0.002)
        real(file)
        synced.append(max(size, synced[-1]))

    def work(name):
        for number in range(20):
            key = make_key((name, number))
            store.append({"key": key, "kind": ANSWER, "reply": "x" * number})
            covered = synced[-1]
            data = path.read_bytes()
            if data.index(b"\n", data.index(key.encode())) >= covered:
                late.append(key)

    monkeypatch.setattr(os, "fsync", fsync)
    threads = [threading.Thread(target=work, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert not late
    assert len(synced) - 1 < 320
    assert {row["key"] for row in store.rows()} == {make_key((a, b)) for a in range(16) for b in range(20)}
    assert all(store.get(row["key"]) == row for row in store.rows())
    assert len(opened()) == 320


def test_lines_that_wait_for_the_disk_share_one_sync(opened, path, monkeypatch):
    store, real, calls, written = opened(), os.fsync, [], threading.Event()

    def fsync(file):
        calls.append(file)
        assert written.wait(5)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    threads = [threading.Thread(target=store.append, args=(make_row(name),)) for name in range(16)]
    for thread in threads:
        thread.start()
    while path.read_bytes().count(b"\n") < 16:
        time.sleep(0.001)
    written.set()
    for thread in threads:
        thread.join()
    assert len(calls) == 2


@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_stops_in_the_middle_leaves_the_file_whole(opened, path, monkeypatch, stop):
    store, real, calls = opened(), os.write, []
    store.append(make_row("a"))
    before = path.read_bytes()

    def write(file, data):
        calls.append(data)
        if len(calls) > 1:
            raise stop
        return real(file, data[:10])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(type(stop)):
        store.append(make_row("b"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert (make_key("b") in store, len(store)) == (False, 1)
    store.append(make_row("c", "after"))
    assert opened().get(make_key("c"))["reply"] == "after"
    assert path.read_bytes() == before + make_line("c", "after")


def test_a_write_in_pieces_is_whole(opened, monkeypatch):
    store, real = opened(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:7]))
    store.append(make_row("a"))
    store.append(make_row("b"))
    assert list(opened().rows()) == [make_row("a"), make_row("b")]


def test_after_a_sync_that_failed_nothing_counts_as_stored(opened, monkeypatch):
    def fail(file):
        raise OSError(errno.EIO, "Input/output error")

    store = opened()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        store.append(make_row("a"))
    monkeypatch.undo()
    with pytest.raises(OSError):
        store.append(make_row("b"))
    opened().append(make_row("c"))


# after a crash


def test_a_line_torn_anywhere_is_set_aside(opened, path):
    whole, last = make_line("a", "one"), make_line("b", "zwölf \ud800 \U0001f600", "cut off")
    for cut in range(1, len(last) - 1):
        path.with_name(f"{path.name}.torn").unlink(missing_ok=True)
        store = opened(whole + last[:cut])
        assert (len(store), make_key("b") in store, torn(path)) == (1, False, last[:cut] + b"\n"), cut
        store.append(make_row("c"))
        assert path.read_bytes() == whole + make_line("c"), cut
        assert store.get(make_key("c")) == make_row("c"), cut


def test_a_last_line_that_lacks_only_its_break_is_kept(opened, path):
    lines = make_line("a") + make_line("b", "two")
    store = opened(lines[:-1])
    assert (store.get(make_key("b"))["reply"], torn(path), path.read_bytes()) == ("two", b"", lines)
    store.append(make_row("c"))
    assert len(opened()) == 3


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 4096,
        make_line("b")[:20] + b"\0" * 70_000,
        b"\0" * 100 + make_line("b"),
        b"\n",
        b"\xff\xfe",
        b"[1]\n",
        b"x" * 200_000,
    ],
    ids=["zeros", "torn, then zeros", "zeros, then torn", "empty", "no text", "no object", "long"],
)
@pytest.mark.parametrize("head", [b"", make_line("a", "x" * 70_000)], ids=["alone", "after a row"])
def test_a_tail_that_is_no_row_is_set_aside(opened, path, head, tail):
    store = opened(head + tail)
    assert (path.read_bytes(), torn(path), len(store)) == (head, tail.rstrip(b"\n") + b"\n", bool(head))
    store.append(make_row("c"))
    assert path.read_bytes() == head + make_line("c")


def test_torn_lines_are_collected(opened, path):
    opened(b'{"key')
    opened(make_line("a") + b'{"ki')
    assert torn(path) == b'{"key\n{"ki\n'


def test_a_repair_is_told(opened, caplog):
    opened(make_line("a") + b'{"key"')
    assert "6 bytes" in caplog.text and "replies.jsonl.torn" in caplog.text


@pytest.mark.parametrize("data", [b"", make_line("a"), make_line("a") * 2])
def test_a_whole_file_is_left_as_it_is(opened, path, data):
    opened(data)
    assert (path.read_bytes(), torn(path), repair(path)) == (data, b"", len(data))


@pytest.mark.parametrize("bad", [b"\n", b"\0\n", b'{"key": "ab\n', b"[]\n", b'"key"\n', b'{"key": "ab"}\n', b"\xff\n"])
def test_a_damaged_line_in_the_middle_is_an_error(opened, path, bad):
    with pytest.raises(UniversalNERError, match=r"U034.*replies.jsonl, line 2"):
        opened(make_line("a") + bad + make_line("b"))
    assert path.read_bytes() == make_line("a") + bad + make_line("b")


@pytest.mark.parametrize("key", ["xyz", 5, None])
def test_a_line_with_another_key_is_an_error(opened, key):
    with pytest.raises(UniversalNERError, match="U034.*line 1"):
        opened(json.dumps({"key": key, "kind": ANSWER}).encode() + b"\n" + make_line("b"))


def test_a_store_that_could_not_be_opened_holds_nothing(opened):
    opened().close()
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with pytest.raises(UniversalNERError, match="U034"):
            opened(b"damaged\n" + make_line("a"))
    assert len(os.listdir("/dev/fd")) == before
    assert len(opened(make_line("a"))) == 1


# one at a time


def test_another_store_of_the_same_file_cannot_be_opened(opened, path):
    store = opened()
    with pytest.raises(UniversalNERError, match="U032"):
        ReplyStore(path)
    store.append(make_row("a"))
    assert len(opened()) == 1


def test_another_name_of_the_file_is_no_way_in(opened, path):
    opened()
    path.with_name("link.jsonl").symlink_to(path)
    with pytest.raises(UniversalNERError, match="U032"):
        ReplyStore(path.with_name("link.jsonl"))


def test_a_closed_store_writes_to_no_other_file(opened, tmp_path):
    store = opened()
    store.close()
    store.close()
    with (tmp_path / "other").open("wb") as file:  # may get the number the store's file had
        with pytest.raises(OSError):
            store.append(make_row("a"))
        assert os.fstat(file.fileno()).st_size == 0


def test_another_process_waits_and_goes_on_after_one_that_was_killed(opened, path):
    with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True) as child:
        told = [int(child.stdout.readline()) for _ in range(30)]
        with pytest.raises(UniversalNERError, match="U032"):
            opened()
        child.send_signal(signal.SIGKILL)
        told += [int(line) for line in child.stdout if line.endswith("\n")]
    store = opened()
    assert told == list(range(len(told)))
    assert all(f"{number:064x}" in store for number in told)


def test_another_process_is_told(opened, path):
    opened()
    child = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True)
    assert child.returncode and "U032" in child.stderr
