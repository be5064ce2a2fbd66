"""Getting the benchmark's data sets: what is there, what is missing, and the downloads of what may be downloaded.

What is got is written under its name only when it is whole and checked; what is there is never written again.
"""

import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ..errors import Errors, UniversalNERError
from ..progress import show_progress
from ..records import open_rows, sha256_file, sha256_json
from .datasets import DataSet, Download, Source, load_registry

CHUNK = 1 << 20
PARTS = ".obtain"
"""The folder in the benchmark folder where downloads are kept until they are whole."""
SHOWN = 5
RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Status:
    """What there is of a data set.

    name, title, domain (str): the data set.
    state (str): "there", "part missing", "missing", or "changed" where a file has another sha256 than is known.
    missing (tuple): its files and folders that are not there.
    changed (tuple): those that have another sha256 than is known.
    how (str): how it is got, in a line.
    license, redistribute (str): what may be done with it.
    """

    name: str
    title: str
    domain: str
    state: Literal["there", "part missing", "missing", "changed"]
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    how: str
    license: str
    redistribute: str


def status(folder: Path, datasets: Iterable[DataSet] | None = None, *, check: bool = False) -> list[Status]:
    """Look which data sets there are.

    folder (Path): the benchmark folder.
    datasets (Iterable): the sets; None for all of the benchmark.
    check (bool): compare the sha256 of files with those that are known.
    RETURNS (list): a row a set, in order.
    """
    return [_look(dataset, folder, check) for dataset in (load_registry().values() if datasets is None else datasets)]


def obtain(dataset: DataSet, folder: Path, *, unverified: bool = False, timeout: float = 60.0) -> dict[str, str]:
    """Get what is missing of a data set.

    dataset (DataSet): the set.
    folder (Path): the benchmark folder.
    unverified (bool): take what cannot be checked: files without a known sha256, the newest version on the hub.
    timeout (float): seconds a server may take to answer.
    RETURNS (dict): the sha256 of what was got, by the name it has in the benchmark folder, or of an archive by its
        address; nothing if all was there.
    RAISES (UniversalNERError): it can only be got by hand; what would come cannot be checked; no answer, or an answer
        with another content than is known.
    """
    source = _source(dataset)
    missing = _missing(dataset, folder)
    if not missing:
        return {}
    if source.kind == "hand":
        raise UniversalNERError(Errors.U211.format(**_tell_steps(dataset, missing)))
    if source.kind == "hub":
        return _obtain_rows(dataset, folder, unverified)
    wanted = [file for file in source.files if any(not (folder / target).exists() for target in file.targets)]
    if not unverified and (unknown := [file.url for file in wanted if not file.sha256]):
        reason = f"no sha256 is known for {', '.join(unknown)}"
        raise UniversalNERError(Errors.U212.format(name=dataset.name, reason=reason, page=source.page))
    return {key: sha for file in wanted for key, sha in _obtain_file(file, folder, source.page, timeout).items()}


def tell_how(dataset: DataSet) -> str:
    """How a data set is got, in a line."""
    source = _source(dataset)
    if source.kind == "hand":
        return f"by hand: {source.page}"
    note = "" if source.verified else " (not verified: needs --unverified)"
    return (f"hub: {source.id}" if source.kind == "hub" else f"download: {source.page}") + note


def _source(dataset: DataSet) -> Source:
    # A set of one's own is read from where it is.
    return dataset.source or Source(kind="hand", page="", steps=("It is not in the registry: put its files there.",))


def _missing(dataset: DataSet, folder: Path) -> list[str]:
    return [path for path in dataset.paths if not (folder / path).exists()]


def _look(dataset: DataSet, folder: Path, check: bool) -> Status:
    missing = tuple(_missing(dataset, folder))
    changed = tuple(_changed(dataset, folder)) if check else ()
    state: Literal["there", "part missing", "missing", "changed"] = "there"
    if missing:
        state = "missing" if len(missing) == len(dataset.paths) else "part missing"
    elif changed:
        state = "changed"
    about = (dataset.name, dataset.title, dataset.domain, state, missing, changed)
    return Status(*about, tell_how(dataset), dataset.license, dataset.redistribute)


def _changed(dataset: DataSet, folder: Path) -> Iterator[str]:
    for file in _source(dataset).files:
        path = folder / file.path
        if file.path and file.sha256 and path.is_file() and sha256_file(path) != file.sha256:
            yield file.path


def _tell_steps(dataset: DataSet, missing: Iterable[str]) -> dict[str, str]:
    source = _source(dataset)
    steps = "\n".join(f"  {number}. {step}" for number, step in enumerate(source.steps, 1))
    files = "\n".join(f"  {path}" for path in missing)
    return {"name": dataset.name, "license": dataset.license, "steps": steps, "files": files, "page": source.page}


def _obtain_file(file: Download, folder: Path, page: str, timeout: float) -> dict[str, str]:
    """Fetch a file, check it, and move it, or what it holds, to its place."""
    part = folder / PARTS / f"{sha256_json(file.url)[:12]}-{PurePosixPath(file.url).name}"
    part.parent.mkdir(parents=True, exist_ok=True)
    _fetch(file, part, page, timeout)
    got = sha256_file(part)
    if file.sha256 and got != file.sha256:
        part.unlink()
        raise UniversalNERError(Errors.U214.format(url=file.url, got=got, expected=file.sha256, page=page))
    if file.unpack:
        _unpack(file, part, folder, page)
        part.unlink()
    else:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        part.replace(folder / file.path)
    if not any(part.parent.iterdir()):
        part.parent.rmdir()
    return {file.path or file.url: got}


def _fetch(file: Download, part: Path, page: str, timeout: float) -> None:
    """Download to a part, from where an earlier one was cut off if its sum will tell whether both belong together."""
    if not file.sha256:
        part.unlink(missing_ok=True)
    done = part.stat().st_size if part.is_file() else 0
    try:
        if done and sha256_file(part) == file.sha256:
            return
        with _answer(file.url, done, timeout) as response:
            resumed = response.status == 206
            left = response.headers.get("Content-Length")
            size = None if left is None else int(left) + (done if resumed else 0)
            with show_progress(size, f"fetch {PurePosixPath(file.url).name}", unit="B") as advance:
                advance(done if resumed else 0)
                _write(response, part, advance, append=resumed)
        if size is not None and part.stat().st_size < size:
            raise OSError(f"cut off after {part.stat().st_size} of {size} bytes")
    except (OSError, HTTPException, ValueError) as err:
        reason = f"{type(err).__name__}: {err}"
        raise UniversalNERError(Errors.U213.format(url=file.url, reason=reason, page=page)) from err


def _write(response: HTTPResponse, part: Path, advance: Callable[[int], object], *, append: bool) -> None:
    with part.open("ab" if append else "wb") as target:
        while chunk := response.read(CHUNK):
            target.write(chunk)
            advance(len(chunk))


@contextmanager
def _answer(url: str, done: int, timeout: float) -> Iterator[HTTPResponse]:
    """Ask for a file from a byte on, or for all of it where a server has nothing from there on."""
    headers = {"Range": f"bytes={done}-"} if done else {}
    try:
        response = urlopen(Request(url, headers=headers), timeout=timeout)
    except HTTPError as err:
        if err.code != RANGE_NOT_SATISFIABLE:
            raise
        response = urlopen(Request(url), timeout=timeout)
    with response:
        yield response


def _unpack(file: Download, archive: Path, folder: Path, page: str) -> None:
    """Move files and folders out of an archive, each to its place in one step."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as work, _open_archive(archive, file.url, page) as members:
        for number, (target, name) in enumerate(file.unpack.items()):
            ready = Path(work) / str(number)
            inside = {member: rest for member in members if (rest := _inside(member, name)) is not None}
            if not inside:
                shown = ", ".join(sorted(members)[:SHOWN]) or "nothing"
                about = {"expected": name, "reason": "there is no such file or folder", "names": shown}
                raise UniversalNERError(Errors.U215.format(url=file.url, page=page, **about))
            for member, rest in inside.items():
                path = ready / rest
                path.parent.mkdir(parents=True, exist_ok=True)
                with members[member]() as content, path.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / target).exists():
                ready.replace(folder / target)


def _inside(member: str, name: str) -> PurePosixPath | None:
    """Where in a folder of an archive a file is, "." for the file itself; None if it is elsewhere or leads out."""
    path = PurePosixPath(member)
    if ".." in path.parts or not path.is_relative_to(name):
        return None
    return path.relative_to(name)


@contextmanager
def _open_archive(path: Path, url: str, page: str) -> Iterator[Mapping[str, Callable[[], IO[bytes]]]]:
    """Open an archive. YIELDS (Mapping): what opens each of its files, by its name in it."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                names = [info.filename for info in packed.infolist() if not info.is_dir()]
                yield {name: lambda name=name: packed.open(name) for name in names}
        else:
            with tarfile.open(path) as tar:
                files = [member for member in tar if member.isfile()]
                yield {member.name: lambda member=member: tar.extractfile(member) for member in files}
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as err:
        about = {"expected": "files in it", "reason": f"{type(err).__name__}: {err}", "names": "nothing"}
        raise UniversalNERError(Errors.U215.format(url=url, page=page, **about)) from err


def _obtain_rows(dataset: DataSet, folder: Path, unverified: bool) -> dict[str, str]:
    """Write the splits of a set of the hub as JSON lines, a file each."""
    source = _source(dataset)
    if not source.verified and not unverified:
        reason = f"{source.revision or 'the newest version'} of {source.id} on the hub may change"
        raise UniversalNERError(Errors.U212.format(name=dataset.name, reason=reason, page=source.page))
    sums = {}
    for split, parts in source.splits.items():
        file = dataset.hub_file(split)
        if not (folder / file).exists():
            with open_rows(folder / file) as add:
                for part in parts:
                    for row in _hub_rows(dataset, part):
                        add(row)
            sums[file] = sha256_file(folder / file)
    return sums


def _hub_rows(dataset: DataSet, split: str) -> Iterator[dict[str, Any]]:
    """The rows of a split of the hub that belong to the set, a row a sentence, with names in place of label ids."""
    source, only = _source(dataset), dataset.options.get("only", {})
    needed = {*only, *dataset.options.get("group", ()), dataset.options["tokens"], dataset.options["tags"]}
    rows = _load(dataset, split)
    if lacking := sorted(needed - set(rows.column_names)):
        about = {"got": f"the columns {rows.column_names}", "expected": f"also {', '.join(lacking)}"}
        raise UniversalNERError(Errors.U217.format(name=dataset.name, split=split, page=source.page, **about))
    names = {column: _label_names(rows.features[column]) for column in rows.column_names if column not in only}
    count = 0
    for row in rows:
        for sentence in _unroll(row, source.unroll):
            if all(sentence[key] == value for key, value in only.items()):
                count += 1
                yield {key: _spell(value, names.get(key)) for key, value in sentence.items()}
    if not count:
        about = {"got": f"{len(rows)} rows", "expected": f"some with {dict(only)}" if only else "some"}
        raise UniversalNERError(Errors.U217.format(name=dataset.name, split=split, page=source.page, **about))


def _load(dataset: DataSet, split: str) -> Any:
    from datasets import load_dataset

    source = _source(dataset)
    try:
        return load_dataset(source.id, source.config, split=split, revision=source.revision)
    except Exception as err:  # each kind of repository has its own ways to fail
        reason = f"{type(err).__name__}: {(str(err).strip().splitlines() or [''])[0].rstrip('.')}"
        about = {"id": source.id, "config": source.config, "revision": source.revision, "split": split}
        raise UniversalNERError(
            Errors.U216.format(name=dataset.name, reason=reason, page=source.page, **about)
        ) from err


def _unroll(row: Mapping[str, Any], columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The sentences of a document, each with its item of these columns; a row of a sentence as it is."""
    if not columns:
        yield dict(row)
        return
    yield from (dict(zip(columns, items, strict=True)) for items in zip(*(row[key] for key in columns), strict=True))


def _label_names(feature: Any) -> list[str] | None:
    """The names of a column of ids, or of lists of them; None for another column."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    if isinstance(feature, list):
        return _label_names(feature[0])
    names = getattr(feature, "names", None)
    return list(names) if names else None


def _spell(value: Any, names: list[str] | None) -> Any:
    if names is None:
        return value
    return [_spell(item, names) for item in value] if isinstance(value, list) else names[value]
