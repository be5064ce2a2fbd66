"""Extraction from a whole corpus into a folder, shard by shard: what is done is never done again."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..component import NAME
from ..corpus.documents import read_documents
from ..distributed import stream
from ..errors import Errors, UniversalNERError
from ..progress import show_progress, track
from ..records import read_json, sha256_file, sha256_json
from ..registry import Portable
from ..schemas import load_settings
from ..student import MANIFEST, find_student
from .annotator import Annotator, open_pipeline
from .output import SET_ASIDE, Output
from .shards import read_shards

CARDS = ("README.md",)
"""Files of a pipeline that say nothing of what it finds; `package` writes them anew."""


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
            load = partial(Annotator.load, find_pipeline(pipeline), labels, **work)
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
