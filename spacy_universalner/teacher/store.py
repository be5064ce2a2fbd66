"""Every reply a teacher ever gave, in one file: a line each, on the disk before anyone reads it."""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import Errors, UniversalNERError
from ..records import read_rows
from .completion import ANSWER, FAILED

logger = logging.getLogger("spacy_universalner")


class ReplyStore:
    """An append-only JSONL file of replies under their keys. Of two lines with one key the later one counts, unless it
    is a failure and the other is none.

    One process writes at a time, under a lock the system releases if that process dies. Only the keys and the places of
    their lines are held in memory, about 250 bytes a reply.

    path (Path): the file; made when it is opened.
    count (Callable): told of every row the file holds, while it is opened.
    RAISES (UniversalNERError): another process is writing to it, or a line before the last is damaged.
    """

    def __init__(self, path: Path, count: Callable[[dict[str, Any]], object] = lambda row: None) -> None:
        self.path = path
        self._lock = FileLock(f"{path.resolve()}.lock", thread_local=False)  # one lock, whatever links lead here
        self._places: dict[bytes, int] = {}
        self._kinds: dict[bytes, str] = {}
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as err:
            raise UniversalNERError(Errors.U032.format(path=path)) from err
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._end = self._synced = repair(path)
            for key, kind, place in _read_places(path, count):
                self._note(key, kind, place)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def kind(self, key: str) -> str | None:
        """The kind of the reply under a key; None if there is none."""
        id_ = bytes.fromhex(key)
        return self._kinds.get(id_, ANSWER) if id_ in self._places else None

    def get(self, key: str) -> dict[str, Any]:
        """The row under a key, from the disk. RAISES (KeyError): there is none."""
        return json.loads(_read_line(self._file, self._places[bytes.fromhex(key)]))

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows in the order they came, earlier ones of a key included."""
        return (row for _, row in read_rows(self.path))

    def append(self, row: dict[str, Any]) -> None:
        """Write a row, and return when it is on the disk. Threads that write at once share one sync.

        row (dict): JSON values, with a `key` in hex and a `kind`.
        RAISES (OSError): the disk does not take it; the file is left as it was. After a sync that failed the store is
            closed: nobody knows what is on the disk.
        """
        key, kind = bytes.fromhex(row["key"]), row["kind"]
        line = json.dumps(row).encode("ascii") + b"\n"  # ASCII: even half a surrogate pair comes back as it was
        with self._writing:
            place = self._end
            self._write(line)
            self._end = end = place + len(line)
            self._note(key, kind, place)
        with self._syncing:
            if self._synced < end:
                written = self._end
                self._sync()
                self._synced = written

    def close(self) -> None:
        """Let another process write. A closed store is not used again."""
        file, self._file = self._file, -1  # a late write must not land in the next file that gets this number
        if file >= 0:
            os.close(file)
        self._lock.release()

    def _note(self, key: bytes, kind: str, place: int) -> None:
        if kind == FAILED and key in self._places and self._kinds.get(key) != FAILED:
            return
        self._places[key] = place
        if kind == ANSWER:
            self._kinds.pop(key, None)
        else:
            self._kinds[key] = kind

    def _write(self, line: bytes) -> None:
        rest = line
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException:  # Ctrl-C too
            os.ftruncate(self._file, self._end)
            raise

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError:
            self.close()  # the system tells it once: the next sync would succeed without these lines
            raise


def repair(path: Path) -> int:
    """Bring a file that a crash left in the middle of a line back to whole lines.

    A last line that only lacks its line break gets it; a torn one is moved to the file `{path}.torn`.

    RETURNS (int): the size of the file.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = _last_line(file, size)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n") and _is_row(tail):
            file.write(b"\n")
            size += 1
        elif tail and not _is_row(tail):
            with Path(f"{path}.torn").open("ab") as torn:
                torn.write(tail.rstrip(b"\n") + b"\n")
            file.truncate(start)
            size = start
            logger.warning(
                "%s: the last line was cut off by a crash (%d bytes), moved to %s.torn", path, len(tail), path
            )
        file.flush()
        os.fsync(file.fileno())
    return size


def _last_line(file: Any, size: int, block: int = 1 << 16) -> int:
    """Where the last line of an open file begins."""
    end = size - 1  # a line break there ends the last line
    while end > 0:
        begin = max(0, end - block)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _read_places(path: Path, count: Callable[[dict[str, Any]], object]) -> Iterator[tuple[bytes, str, int]]:
    """The keys and kinds of the rows of a file, with the offsets of their lines; each row is counted."""
    place = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                key, kind = bytes.fromhex(row["key"]), row["kind"]
                count(row)
            except (ValueError, KeyError, TypeError) as err:
                raise UniversalNERError(Errors.U034.format(path=path, line=number, reason=err)) from err
            yield key, kind, place
            place += len(line)


def _read_line(file: int, place: int, block: int = 1 << 13) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = os.pread(file, block, place + len(line))
        end = part.find(b"\n")
        line += part if end < 0 else part[: end + 1]
        if not part:
            break
    return line
