"""The folder of an extraction: parts, and a journal of those that are done."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import Errors, UniversalNERError
from ..records import atomic_write, read_json, read_rows, write_json, write_rows
from ..teacher.store import repair
from .annotator import Result

PARTS = "parts"
SETTINGS = "settings.json"
JOURNAL = "journal.jsonl"
SET_ASIDE = "set_aside.jsonl"
SUMMARY = "summary.json"


class Output:
    """The folder of an extraction: `parts/part-00000.jsonl` and so on, and what is known of them.

    A part is written whole, then a line of the journal says that it is done: after a crash, parts without a line are
    done again, under the same names. One process writes at a time.

    folder (Path): the folder.
    form (str): ending of the parts.
    """

    def __init__(self, folder: Path, form: str) -> None:
        self.folder = folder
        self.form = form
        self.journal = folder / JOURNAL

    @contextmanager
    def open(self, settings: Mapping[str, Any]) -> Iterator["Output"]:
        """Begin an extraction, or go on with one.

        settings (Mapping): what it must agree in with the one that was begun.
        RAISES (UniversalNERError): another process writes there, the settings differ, or the journal is damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{self.folder.resolve()}/.lock", timeout=0):
                self.journal.touch()
                repair(self.journal)
                self._check(settings)
                yield self
        except Timeout as err:
            raise UniversalNERError(Errors.U201.format(path=self.folder)) from err

    def _check(self, settings: Mapping[str, Any]) -> None:
        path = self.folder / SETTINGS
        if not self.journal.stat().st_size:  # nothing is done yet
            write_json(path, dict(settings))
            return
        begun = read_json(path)
        differ = [name for name in {**begun, **settings} if begun.get(name) != settings.get(name)]
        if differ:
            lines = "\n".join(f"  {name}: {begun.get(name)} then, {settings.get(name)} now" for name in differ)
            raise UniversalNERError(Errors.U197.format(path=self.folder, differences=lines))

    def part(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / PARTS / f"part-{number:05}.{self.form}"

    def add(self, result: Result) -> None:
        """Write a part, and that it is done; both are on the disk when this returns."""
        with atomic_write(self.part(result.row["part"]), binary=True) as file:
            file.write(result.data)
        with self.journal.open("ab") as file:
            file.write(json.dumps(result.row).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> Iterator[dict[str, Any]]:
        """What the journal says of each part; of one that was done again, the last time."""
        last = {row["part"]: number for number, row in read_rows(self.journal)}
        return (row for number, row in read_rows(self.journal) if last[row["part"]] == number)

    def done(self, *, again: bool = False) -> dict[int, str]:
        """The digests of the parts that are done, by number.

        again (bool): take those in which documents failed as not done.
        RAISES (UniversalNERError): a part that is done is not there.
        """
        digests = {row["part"]: row["digest"] for row in self.rows() if not (again and _failures(row))}
        for path in map(self.part, digests):
            if not path.is_file():
                raise UniversalNERError(Errors.U202.format(path=path, folder=self.folder))
        return digests

    def sum_up(self) -> dict[str, Any]:
        """Write which documents were set aside and what was found.

        RETURNS (dict): the summary: parts, documents and their characters, spans and the spans of each label, what the
            component could not use, the documents set aside, and the seconds, those of all workers together.
        """
        totals: Counter[str] = Counter()
        spans: Counter[str] = Counter()
        unused: Counter[str] = Counter()
        set_aside: list[tuple[int, list[dict[str, Any]]]] = []
        for row in self.rows():
            totals.update({"parts": 1, **{name: row[name] for name in ("documents", "characters", "seconds")}})
            spans.update(row["spans"])
            unused.update(row["unused"])
            set_aside.append((row["part"], row["set_aside"]))
        rows = [{**entry, "part": part} for part, entries in sorted(set_aside) for entry in entries]
        write_rows(self.folder / SET_ASIDE, rows)
        summary = {
            **{name: totals[name] for name in ("parts", "documents", "characters")},
            "spans": spans.total(),
            "spans_per_label": dict(spans.most_common()),
            "unused": dict(unused.most_common()),
            "set_aside": len(rows),
            "set_aside_reasons": dict(Counter(row["reason"] for row in rows)),
            "seconds": round(totals["seconds"], 2),
        }
        write_json(self.folder / SUMMARY, summary)
        return summary


def _failures(row: Mapping[str, Any]) -> bool:
    return any("error" in entry for entry in row["set_aside"])
