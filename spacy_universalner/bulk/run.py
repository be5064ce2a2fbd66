"""Extraction from a whole corpus into a folder, shard by shard: what is done is never done again."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..component import NAME
from ..corpus.documents import read_documents
from ..distributed import stream
from ..errors import Errors, UniversalNERError
from ..progress import show_progress, track
from ..records import atomic_write, read_json, read_rows, sha256_file, sha256_json, write_json, write_rows
from ..registry import Portable
from ..schemas import load_settings
from ..student import MANIFEST, find_student
from ..teacher.store import repair
from .annotator import Annotator, Result, open_pipeline
from .shards import read_shards

PARTS = "parts"
SETTINGS = "settings.json"
JOURNAL = "journal.jsonl"
SET_ASIDE = "set_aside.jsonl"
SUMMARY = "summary.json"
CARDS = ("README.md",)
"""Files of a pipeline that say nothing of what it finds; `package` writes them anew."""


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
                self._check(settings)
                self.journal.touch()
                repair(self.journal)
                yield self
        except Timeout as err:
            raise UniversalNERError(Errors.U201.format(path=self.folder)) from err

    def _check(self, settings: Mapping[str, Any]) -> None:
        path = self.folder / SETTINGS
        if not path.exists():
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


def extract(
    documents: Path,
    folder: Path,
    *,
    pipeline: str,
    labels: Sequence[str] = (),
    form: str = "jsonl",
    size: int = 500,
    batch_size: int = 32,
    again: bool = False,
    ray: str = "",
    cpus: int = 1,
    gpus: int = 0,
    progress: str | None = None,
) -> dict[str, Any]:
    """Find the entities of a corpus, or go on with it: the same command after a stop does what is missing.

    documents (Path): what `read_documents` takes; streamed.
    folder (Path): where the results go.
    pipeline (str): a folder or a package; every machine of a cluster must have it.
    labels (Sequence[str]): the types to ask for; none for those of the pipeline.
    form (str): "spacy", "jsonl" or "parquet".
    size (int): documents in a part; a stop loses the parts at work.
    batch_size (int): documents the pipeline is given at a time.
    again (bool): do the parts again in which documents failed.
    ray (str): address of a cluster, see `stream`; empty to work in this process.
    cpus, gpus (int): what a worker of the cluster takes of its machine; it has as many workers as have room.
    progress (str | None): what to call it in the progress, None shows none.
    RETURNS (dict): see Output.sum_up.
    RAISES (UniversalNERError): documents, pipeline or labels that cannot be used, an output that was begun with others,
        or no document that can be used.
    """
    for name, value in (("size", size), ("batch_size", batch_size), ("cpus", cpus)):
        if value < 1:
            raise UniversalNERError(Errors.U008.format(name=name, got=value))
    settings = {**identify(pipeline, labels), "format": form, "size": size}
    with Output(folder, form).open(settings) as output:
        done = output.done(again=again)
        total = count_documents(documents, progress)
        work = {"form": form, "batch_size": batch_size}
        read = partial(read_shards, documents.resolve(), size=size, done=done)
        left = None if total is None else total - _count_done(output, done)
        with show_progress(left, progress) as advance:
            if not ray:  # in this process, progress is told document by document
                work["advance"] = advance
            load = partial(Annotator.load, find_pipeline(pipeline), settings["labels"], **work)
            for result in stream(load, read, ray, cpus=cpus, gpus=gpus):
                output.add(result)
                if ray:
                    advance(result.row["documents"] + len(result.row["set_aside"]))
        summary = output.sum_up()
    if not summary["documents"]:
        about = {"path": documents, "reasons": summary["set_aside_reasons"], "set_aside": folder / SET_ASIDE}
        raise UniversalNERError(Errors.U203.format(**about))
    return summary


def find_pipeline(pipeline: str) -> str:
    """A folder by its whole path, since workers run elsewhere; the name of a package as it is."""
    return str(Path(pipeline).resolve()) if Path(pipeline).exists() else pipeline


def identify(pipeline: str, labels: Sequence[str] = ()) -> dict[str, Any]:
    """What decides which entities are found.

    RETURNS (dict): "pipeline", sha256 of its files and of its student, wherever that is; "labels", those asked for.
    RAISES (UniversalNERError): see open_pipeline.
    """
    nlp = open_pipeline(pipeline, labels)
    component = nlp.get_pipe(NAME)
    known = {
        manifest.parent / name: sha256
        for manifest in nlp.path.rglob(MANIFEST)
        for name, sha256 in read_json(manifest).get("files", {}).items()
    }  # a student's files are compared with its manifest when it is loaded
    paths = sorted(path for path in nlp.path.rglob("*") if path.is_file() and path.name not in CARDS)
    files = {path.relative_to(nlp.path).as_posix(): known.get(path) or sha256_file(path) for path in paths}
    if isinstance(component.engine, Portable):
        student = find_student(component.engine.model) / MANIFEST
        files[""] = read_json(student).get("files") if student.is_file() else component.engine.model
    return {"pipeline": sha256_json(files), "labels": list(component.labels)}


def count_documents(source: Path, progress: str | None = None) -> int | None:
    """How many documents there are; a damaged file is found here, before the work. None for a data set, which is not
    read twice.

    RAISES (UniversalNERError): there is none, and what `read_documents` raises.
    """
    if source.suffix == ".cfg" and load_settings(source, "documents").path is None:
        return None
    count = sum(1 for _ in track(read_documents(source), progress and f"{progress}, reading"))
    if not count:
        hint = "Name a file, folder or profile that holds some."
        raise UniversalNERError(Errors.U004.format(path=source, kind="document", hint=hint))
    return count


def _count_done(output: Output, done: Mapping[int, str]) -> int:
    return sum(row["documents"] + len(row["set_aside"]) for row in output.rows() if row["part"] in done)
