"""The records that stages hand on, and the files they stand in: JSON lines, written atomically."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

from .errors import Errors, UniversalNERError


@dataclass(frozen=True)
class Passage:
    """A piece of text to be labelled.

    id (str): unique in its file.
    text (str): the text, as it stands in its document.
    source (str): the document it was cut from.
    domain (str): the field it belongs to, for balance and reports.
    """

    id: str
    text: str
    source: str = ""
    domain: str = ""


@dataclass(frozen=True)
class Reply:
    """A teacher's answer to one passage, raw.

    passage_id (str): the passage it answers.
    text (str): the passage's text.
    raw (str): what the teacher said, never parsed here.
    model (str): the teacher's name.
    prompt_sha (str): sha256 of the task's prompt, hex.
    usage (dict): tokens used, as the teacher reports them.
    finish_reason (str): why the teacher stopped.
    """

    passage_id: str
    text: str
    raw: str
    model: str
    prompt_sha: str
    usage: dict[str, int] = field(default_factory=dict)
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Mention:
    """A surface form and its entity type, both as the teacher wrote them."""

    text: str
    type: str


@dataclass(frozen=True)
class Record:
    """A passage with the mentions that passed the filter, in reading order."""

    passage_id: str
    text: str
    mentions: tuple[Mention, ...]

    def __post_init__(self) -> None:
        mentions = tuple(m if isinstance(m, Mention) else Mention(**m) for m in self.mentions)
        object.__setattr__(self, "mentions", mentions)


@dataclass(frozen=True)
class Query:
    """One question about a passage: the entity type asked for, and the mentions that answer it (none: `()`)."""

    type: str
    mentions: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mentions", tuple(self.mentions))


@dataclass(frozen=True)
class Conversation:
    """A passage and all the questions asked about it.

    id (str): unique in its file.
    text (str): the passage.
    queries (tuple): the questions.
    dataset (str): the data set it comes from, where its labels follow that set's own rules; "" for none.
    """

    id: str
    text: str
    queries: tuple[Query, ...]
    dataset: str = ""

    def to_sharegpt(self) -> dict[str, Any]:
        """The form of the released Pile-NER-type data (reference: universal-ner/universal-ner, src/train).

        A data set is a field of its own, so that the text stays the text.
        """
        turns = [("human", f"Text: {self.text}"), ("gpt", "I've read this text.")]
        for query in self.queries:
            turns.append(("human", f"What describes {query.type} in the text?"))
            turns.append(("gpt", json.dumps(query.mentions)))  # in ASCII, as the released answers are
        row = {"id": self.id, "conversations": [{"from": who, "value": value} for who, value in turns]}
        return {**row, "dataset": self.dataset} if self.dataset else row


@dataclass(frozen=True)
class Prediction:
    """A student's answer about one type, placed in its text.

    type (str): the entity type asked for.
    mentions (tuple): the surface forms answered, as the student wrote them.
    spans (tuple): (start, end) character offsets of the mentions in the text.
    lost (tuple): the mentions that stand nowhere in the text.
    complete (bool): False if an answer was cut off or was no list.
    scores (tuple): confidence in each span, between 0 and 1; empty where the engine has none.
    """

    type: str
    mentions: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    lost: tuple[str, ...] = ()
    complete: bool = True
    scores: tuple[float, ...] = ()


RUN_FIRST = "Run the stage that writes it first."
R = TypeVar("R", Passage, Reply, Record)


@dataclass(frozen=True)
class Part:
    """Whole lines of a file, to be read apart from the others.

    path (Path): the file.
    start, end (int): offsets of the first byte and of the one after the last.
    """

    path: Path
    start: int
    end: int


def split_file(path: Path, size: int = 1 << 23, hint: str = RUN_FIRST) -> list[Part]:
    """Divide a file at line ends into parts of about so many bytes. RAISES (UniversalNERError): no such file."""
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint=hint))
    cuts = [0]
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        while cuts[-1] < length:
            file.seek(min(cuts[-1] + size, length) - 1)
            file.readline()
            cuts.append(file.tell())
    return [Part(path, start, end) for start, end in pairwise(cuts)]


def mend(text: str) -> str:
    """A text without halves of surrogate pairs, which escapes can spell and no file can hold: "\ufffd" for each."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_rows(source: Path | Part, hint: str = RUN_FIRST) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream the objects of a JSONL file, or a part of one, with their line numbers; of a part, counted in the part.

    RAISES (UniversalNERError): no such file, or a line that is no JSON object (a truncated file ends in one).
    """
    path = source.path if isinstance(source, Part) else source
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint=hint))
    with path.open("rb") as file:
        yield from parse_rows(_lines(file, source), path)


def parse_rows(lines: Iterable[bytes], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of the lines of a file, with their numbers; empty lines are left out.

    lines (Iterable[bytes]): bytes, so that a line in another encoding is an error of that line.
    path (Path): the file, for messages.
    RAISES (UniversalNERError): a line that is no JSON object.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as err:
            raise UniversalNERError(Errors.U002.format(path=path, line=number, reason=err)) from err
        if not isinstance(row, dict):
            raise UniversalNERError(Errors.U002.format(path=path, line=number, reason=f"a {type(row).__name__}"))
        yield number, row


def _lines(file: BinaryIO, source: Path | Part) -> Iterator[bytes]:
    if not isinstance(source, Part):
        yield from file
        return
    file.seek(source.start)
    left = source.end - source.start
    while left > 0 and (line := file.readline()):
        left -= len(line)
        yield line


def read_records(source: Path | Part, kind: type[R], *, unique: bool = True) -> Iterator[R]:
    """Stream the records of one kind from a JSONL file or a part of one.

    source (Path | Part): the file.
    kind (type): Passage, Reply or Record.
    unique (bool): look for an id used twice, which holds all ids in memory.
    RAISES (UniversalNERError): a missing file, a bad line, unknown or missing fields, an id used twice.
    """
    path = source.path if isinstance(source, Part) else source
    known = [f.name for f in fields(kind)]
    words = [f.name for f in fields(kind) if f.type is str]
    seen: set[str] = set()
    for number, row in read_rows(source):
        try:
            record = kind(**row)
        except TypeError as err:
            raise UniversalNERError(
                Errors.U003.format(path=path, line=number, kind=kind.__name__, expected=known, got=sorted(row))
            ) from err
        for name in words:
            if not isinstance(value := getattr(record, name), str):
                about = {"kind": kind.__name__, "field": name, "got": f"{value!r:.80}"}
                raise UniversalNERError(Errors.U009.format(path=path, line=number, **about))
        id_ = row[known[0]]
        if id_ in seen:
            raise UniversalNERError(Errors.U006.format(path=path, line=number, kind=kind.__name__, id=id_))
        if unique:
            seen.add(id_)
        yield record


def read_conversations(path: Path) -> Iterator[Conversation]:
    """Stream conversations from a ShareGPT file (one object a line), ours or the released one.

    RAISES (UniversalNERError): a missing file, a bad line, turns that are not a text followed by questions and lists.
    """
    for number, row in read_rows(path):
        try:
            yield _read_conversation(row)
        except (KeyError, TypeError, ValueError, IndexError) as err:
            raise UniversalNERError(
                Errors.U003.format(
                    path=path, line=number, kind="conversation", expected=["id", "conversations"], got=sorted(row)
                )
            ) from err


def _read_conversation(row: dict[str, Any]) -> Conversation:
    """RAISES (KeyError, TypeError, ValueError, IndexError): not a text followed by questions and lists of strings."""
    values = [turn["value"] for turn in row["conversations"]]
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a turn is no text")
    pairs = zip(values[2::2], values[3::2], strict=True)
    queries = tuple(
        Query(ask.removeprefix("What describes ").removesuffix(" in the text?"), _read_answer(answer))
        for ask, answer in pairs
    )
    dataset = row.get("dataset", "")
    if not isinstance(dataset, str):
        raise TypeError("a data set is no text")
    return Conversation(str(row["id"]), values[0].removeprefix("Text: "), queries, dataset)


def _read_answer(answer: str) -> tuple[str, ...]:
    mentions = json.loads(answer)
    if not isinstance(mentions, list) or not all(isinstance(mention, str) for mention in mentions):
        raise TypeError("an answer is no list of strings")
    return tuple(mentions)


@contextmanager
def atomic_write(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file, of text or of bytes, that appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") if binary else part.open("w", encoding="utf8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def open_rows(path: Path) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Open a JSONL file that is written object by object, atomically. YIELDS (Callable): writes one."""
    with atomic_write(path) as file:
        yield lambda row: file.write(json.dumps(row, ensure_ascii=False) + "\n")


@contextmanager
def open_array(path: Path) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Open one JSON array that is written object by object, one a line, atomically. YIELDS (Callable): writes one."""
    with atomic_write(path) as file:
        before = chain("[", repeat(","))
        yield lambda row: file.write(f"{next(before)}\n{json.dumps(row, ensure_ascii=False)}")
        file.write("\n]\n" if next(before) == "," else "[\n]\n")


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write objects as JSONL, atomically. RETURNS (int): how many."""
    count = 0
    with open_rows(path) as add:
        for row in rows:
            add(row)
            count += 1
    return count


def write_records(path: Path, records: Iterable[Passage | Reply | Record]) -> int:
    """Write records as JSONL, atomically. RETURNS (int): how many."""
    return write_rows(path, (asdict(record) for record in records))


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write one JSON document, atomically."""
    with atomic_write(path) as file:
        json.dump(data, file, ensure_ascii=False, indent=2)
        file.write("\n")


def read_json(path: Path, hint: str = RUN_FIRST) -> dict[str, Any]:
    """Read one JSON document.

    RAISES (UniversalNERError): no such file, or not a JSON object.
    """
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint=hint))
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except ValueError as err:
        raise UniversalNERError(Errors.U002.format(path=path, line=1, reason=err)) from err
    if not isinstance(data, dict):
        raise UniversalNERError(Errors.U002.format(path=path, line=1, reason=f"a {type(data).__name__}"))
    return data


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(data: Any) -> str:
    """sha256 of a JSON value in its canonical form, hex."""
    return hashlib.sha256(
        json.dumps(data, ensure_ascii=False, sort_keys=True).encode("utf8", "surrogatepass")
    ).hexdigest()
