"""Documents from files, folders and data sets, streamed."""

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from zstandard import ZstdDecompressor, ZstdError

from ..errors import Errors, UniversalNERError
from ..records import Passage, mend, parse_rows
from ..schemas import load_settings

ENDINGS = (".txt", ".txt.gz", ".txt.zst", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
BLOCK = 1 << 16
MAX_WINDOW = 1 << 31  # large archives are packed with `zstd --long=31`


@dataclass(frozen=True)
class Fields:
    """Where in a row the parts of a document stand: names, dotted where they are nested; None for nowhere."""

    text: str = "text"
    id: str | None = "id"
    source: str | None = "source"
    domain: str | None = "domain"


FIELDS = Fields()


def read_documents(source: Path, counts: Counter[str] | None = None) -> Iterator[Passage]:
    """Stream documents, each as one passage of any length.

    A text file is one document; the rows of JSONL and Parquet files are {"text", "id"?, "source"?, "domain"?}, other
    fields are left aside. A document without an id gets the name of its file and the number of its row: `a.jsonl#1`.

    source (Path): a file (.txt or .jsonl, also with .gz or .zst, or .parquet), a folder of such files, or a profile: a
        .cfg with a section [documents].
    counts (Counter): where files set aside are counted.
    YIELDS (Passage): the documents, by file name and row.
    RAISES (UniversalNERError): a missing or damaged file, a bad line, a field of another kind, a bad profile.
    """
    if source.suffix == ".cfg":
        yield from _read_profile(source, counts)
    else:
        yield from read_files(source, counts=counts)


@dataclass(frozen=True)
class Source:
    """A file of documents, as much as a worker must know to read it.

    path (Path): the file.
    root (Path): the folder it was found in, or itself.
    fields (Fields): where the parts of a document stand.
    """

    path: Path
    root: Path
    fields: Fields = FIELDS

    def read(self) -> Iterator[Passage]:
        return read_file(self.path, root=self.root, fields=self.fields)


def list_sources(source: Path, counts: Counter[str] | None = None) -> list[Source]:
    """The files behind what `read_documents` takes, for readers that share them.

    RAISES (UniversalNERError): a missing file, or a profile of a data set or of a part of its documents, which are
        streamed by one reader.
    """
    fields = FIELDS
    if source.suffix == ".cfg":
        settings = load_settings(source, "documents")
        if settings.path is None or settings.take:
            raise UniversalNERError(Errors.U106.format(path=source))
        fields = Fields(settings.text, settings.id, settings.source, settings.domain)
        source = Path(settings.path)
    return [Source(path, source, fields) for path in list_files(source, counts)]


def read_files(source: Path, *, fields: Fields = FIELDS, counts: Counter[str] | None = None) -> Iterator[Passage]:
    """Stream documents from a file or a folder. Arguments as of `read_documents`."""
    for path in list_files(source, counts):
        yield from read_file(path, root=source, fields=fields)


def stream_dataset(
    dataset: str,
    *,
    label: str,
    fields: Fields = FIELDS,
    name: str | None = None,
    revision: str | None = None,
    split: str = "train",
    shuffle_buffer: int = 0,
    seed: int = 0,
) -> Iterator[Passage]:
    """Stream documents from a data set, of the hub or in a folder, through the library datasets.

    dataset (str): its name on the hub, or a folder.
    label (str): what the ids of documents without one begin with.
    name, revision, split (str): which of its configurations, versions and splits.
    shuffle_buffer (int): rows drawn from at random; files are taken in random order as well. 0 leaves the order.
    seed (int): seed of that order.
    RAISES (UniversalNERError): it cannot be read, a field of another kind.
    """
    from datasets import load_dataset

    try:
        rows = load_dataset(dataset, name, split=split, revision=revision, streaming=True)
        if shuffle_buffer:
            rows = rows.shuffle(seed=seed, buffer_size=shuffle_buffer)
        yield from _documents(enumerate(rows, 1), Path(dataset), label, fields)
    except UniversalNERError:
        raise
    except (OSError, ValueError) as err:  # what the library raises for names, files, formats and the network
        raise UniversalNERError(Errors.U104.format(dataset=dataset, reason=err)) from err


def list_files(source: Path, counts: Counter[str] | None = None) -> list[Path]:
    """The files of documents in a folder, sorted; of a file, itself.

    RAISES (UniversalNERError): no such file or folder, a file of another kind, a folder without any of these kinds.
    """
    if not source.exists():
        hint = "Name a file of documents, like a JSONL file of {'text': ...} on every line, a folder or a profile."
        raise UniversalNERError(Errors.U001.format(path=source, hint=hint))
    found = sorted(path for path in source.rglob("*") if not path.is_dir()) if source.is_dir() else [source]
    files = [path for path in found if _ending(path)]
    if not files:
        message = Errors.U102 if source.is_dir() else Errors.U101
        raise UniversalNERError(message.format(path=source, others=len(found), kinds=", ".join(ENDINGS)))
    if counts is not None:
        counts["files"] += len(files)
        counts["set_aside_files"] += len(found) - len(files)
    return files


def read_file(path: Path, *, root: Path, fields: Fields = FIELDS) -> Iterator[Passage]:
    """Stream the documents of one file.

    path (Path): a file of one of the kinds.
    root (Path): the folder it was found in, or itself; ids begin with the path from there.
    fields (Fields): where the parts of a document stand.
    """
    ending = _ending(path)
    label = (path.relative_to(root) if path != root else Path(path.name)).as_posix()
    if ending.startswith(".txt"):
        yield _read_text(path, label)
    else:
        rows = _parquet_rows(path, fields) if ending == ".parquet" else parse_rows(_lines(path), path)
        yield from _documents(rows, path, label, fields)


def _read_profile(path: Path, counts: Counter[str] | None) -> Iterator[Passage]:
    settings = load_settings(path, "documents")
    fields = Fields(settings.text, settings.id, settings.source, settings.domain)
    if settings.path is not None:
        documents = read_files(Path(settings.path), fields=fields, counts=counts)
    else:
        documents = stream_dataset(
            settings.dataset,
            label=path.stem,
            fields=fields,
            name=settings.name,
            revision=settings.revision,
            split=settings.split,
            shuffle_buffer=settings.shuffle_buffer,
            seed=settings.seed,
        )
    yield from islice(documents, settings.take or None)


def _ending(path: Path) -> str:
    """By which of the endings a file is one of documents; "" if it is none."""
    return next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")


def _read_text(path: Path, label: str) -> Passage:
    try:
        text = b"".join(_lines(path)).decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err
    return Passage(label, text)


def _parquet_rows(path: Path, fields: Fields) -> Iterator[tuple[int, dict[str, Any]]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    known = [name for name in (fields.text, fields.id, fields.source, fields.domain) if name]
    wanted = {*known, *(name.partition(".")[0] for name in known)}
    number = 0
    try:
        with ParquetFile(path, buffer_size=BLOCK) as file:
            names = file.schema_arrow.names
            columns = [name for name in names if name in wanted] or names
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (ArrowException, OSError) as err:
        raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err


def _documents(
    rows: Iterator[tuple[int, Mapping[str, Any]]], path: Path, label: str, fields: Fields
) -> Iterator[Passage]:
    for number, row in rows:
        yield _document(row, path, number, label, fields)


def _document(row: Mapping[str, Any], path: Path, number: int, label: str, fields: Fields) -> Passage:
    found = {}
    for part, kinds, expected in (
        ("id", (str, int), "a string or a number"),
        ("text", str, "a string"),
        ("source", str, "a string"),
        ("domain", str, "a string"),
    ):
        name = getattr(fields, part)
        value = _look_up(row, name)
        if value is None and part != "text":
            continue
        if not isinstance(value, kinds):
            got = f"the fields {sorted(row)}" if value is None and name not in row else f"{value!r:.80}"
            raise UniversalNERError(Errors.U007.format(path=path, line=number, field=name, expected=expected, got=got))
        found[part] = mend(str(value))
    return Passage(**{"id": f"{label}#{number}", **found})


def _look_up(row: Mapping[str, Any], name: str | None) -> Any:
    """The value of a field, None where there is none."""
    if name is None or name in row:
        return row.get(name)
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked."""
    try:
        with path.open("rb") as file, _unpack(file, path.suffix.lower()) as lines:
            yield from lines
    except (OSError, EOFError, zlib.error, ZstdError) as err:
        raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err


def _unpack(file: BinaryIO, suffix: str) -> BinaryIO:
    if suffix == ".gz":
        return gzip.open(file)
    return io.BufferedReader(_ZstdFile(file), BLOCK) if suffix == ".zst" else file


class _ZstdFile(io.RawIOBase):
    """All frames of a packed file. zstandard's own reader takes a cut-off file for a whole one."""

    def __init__(self, file: BinaryIO) -> None:
        self.blocks = self._unpack(file)
        self.block = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.block:
            block = next(self.blocks, None)
            if block is None:
                return 0
            self.block = memoryview(block)
        count = min(len(buffer), len(self.block))
        buffer[:count] = self.block[:count]
        self.block = self.block[count:]
        return count

    def _unpack(self, file: BinaryIO) -> Iterator[bytes]:
        frame = None
        while packed := file.read(BLOCK):
            while packed:
                frame = frame or ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
                yield frame.decompress(packed)
                packed = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
        if frame:
            raise EOFError("the last frame is cut off")
