"""The form of the authors' released data (Pile-NER-type, Pile-NER-definition): read to train on, written to share."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from ..align import find_mentions
from ..errors import Errors, UniversalNERError
from ..records import Conversation, Mention, Query, Record, atomic_write, mend, sha256_json
from .conversations import Tally
from .origin import Embedded

REASONS = ("no object", "no id", "id used before", "other turns", "no text", "no question", "no list")
OPENING = "Text: "
QUESTION = re.compile(r"What describes (.*\S.*) in the text\?", re.DOTALL)
BLOCK = 1 << 20
"""Characters read at a time."""
LONGEST = 1 << 24
"""Characters of a row: more are no row, but what follows a place where the file is damaged."""
SENTENCE_WORDS = 4
"""From so many words on, in the median, types are definitions."""

DECODER = json.JSONDecoder()
SPACE = re.compile(r"[ \t\r\n]*")


class Variant(str, Enum):
    """What stands where a type is asked for: a name, or a definition in a short sentence."""

    GUESS = "guess"
    TYPE = "type"
    DEFINITION = "definition"


@dataclass(frozen=True)
class SetAside:
    """A row that is no conversation.

    row (int): its number in the file, from 1.
    id (str): its id, "" without one.
    reason (str): one of REASONS.
    start (str): how it begins.
    """

    row: int
    id: str
    reason: str
    start: str


@dataclass
class ImportReport:
    """Counts of what an import read, with examples of rows set aside and of answers that stand nowhere in the text."""

    kept: Tally = field(default_factory=Tally)
    not_in_text: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, row: Conversation | SetAside) -> None:
        """Count one row."""
        if isinstance(row, SetAside):
            self.set_aside[row.reason] += 1
            self._show(row.reason, asdict(row))
            return
        self.kept.add(row)
        for query in row.queries:
            lost = [mention for mention in query.mentions if not find_mentions(row.text, mention)]
            self.not_in_text += len(lost)
            for mention in lost:
                self._show("not in text", {"id": row.id, "type": query.type, "mention": mention})

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.kept.conversations + self.set_aside.total(),
            **asdict(self.kept),
            "mentions_not_in_text": self.not_in_text,
            "set_aside": {reason: self.set_aside[reason] for reason in REASONS},
            "examples": self.examples,
        }

    def _show(self, reason: str, example: dict[str, Any], most: int = 10) -> None:
        shown = self.examples.setdefault(reason, [])
        if len(shown) < most:
            shown.append(example)


def read_released(path: Path) -> Iterator[Conversation | SetAside]:
    """Stream a released file, a JSON array or JSON lines.

    Types keep their case; answers are kept whether or not they stand in the text, which the authors do not check.

    path (Path): the file.
    YIELDS (Conversation | SetAside): each row, in order.
    RAISES (UniversalNERError): a missing file, one that is no JSON.
    """
    seen: set[str] = set()
    for number, row in enumerate(read_values(path), 1):
        read = _read_row(row)
        if isinstance(read, Conversation) and read.id in seen:
            read = "id used before"
        if isinstance(read, Conversation):
            seen.add(read.id)
            yield read
        else:
            id_ = row.get("id", "") if isinstance(row, dict) else ""
            start = json.dumps(row, ensure_ascii=False)[:200]
            yield SetAside(number, mend(str(id_))[:200], read, mend(start))


def to_record(conversation: Conversation) -> Record:
    """The passage of a conversation with the mentions of its answers, for a survey."""
    mentions = (Mention(mention, query.type) for query in conversation.queries for mention in query.mentions)
    return Record(conversation.id, conversation.text, tuple(mentions))


def guess_variant(types: Collection[str]) -> Variant:
    """Whether types are names or definitions, by their length in words."""
    words = median(len(name.split()) for name in types) if types else 0
    return Variant.DEFINITION if words >= SENTENCE_WORDS else Variant.TYPE


def read_values(path: Path) -> Iterator[Any]:
    """Stream the items of a JSON array, or JSON values that follow one another. A block and one value are in memory.

    RAISES (UniversalNERError): a missing file, one that is no JSON or ends too early.
    """
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint="Name a released file in vars.released."))
    with path.open(encoding="utf-8-sig") as file:
        window = _Window(path, file)
        array = window.peek() == "["
        if array:
            window.expect("[")
        while window.peek() not in ("", "]"):
            if array and window.row:
                window.expect(",")
            yield window.take()
        if array:
            window.expect("]")
        window.expect("")


class _Window:
    """The part of a file of JSON values that has been read and not been used.

    path (Path): its name, for errors.
    file (TextIO): the file.
    """

    def __init__(self, path: Path, file: TextIO):
        self.path, self.file = path, file
        self.text, self.at, self.row = "", 0, 0

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            if self.at < len(self.text) or not self._read():
                return self.text[self.at : self.at + 1]

    def expect(self, char: str) -> None:
        """Pass over a character, or be at the end (""). RAISES (UniversalNERError): another one is next."""
        if self.peek() != char:
            raise self._damaged(f"expected {char or 'the end'}, got {self.text[self.at : self.at + 40]!r}")
        self.at += len(char)

    def take(self) -> Any:
        """The next value. RAISES (UniversalNERError): there is none."""
        self.row += 1
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as err:
                if len(self.text) - self.at > LONGEST or not self._read():
                    raise self._damaged(f"{err}: {self.text[self.at : self.at + 40]!r}") from err
            else:
                if end < len(self.text) or not self._read():  # a number may go on in the next block
                    self.at = end
                    return value

    def _read(self) -> bool:
        try:
            block = self.file.read(BLOCK)
        except UnicodeDecodeError as err:
            raise self._damaged(str(err)) from err
        self.text, self.at = self.text[self.at :] + block, 0
        return bool(block)

    def _damaged(self, reason: str) -> UniversalNERError:
        return UniversalNERError(Errors.U121.format(path=self.path, row=self.row, reason=reason))


def _read_row(row: Any) -> Conversation | str:
    """RETURNS (Conversation | str): what a row holds, or the reason why it is no conversation."""
    if not isinstance(row, dict):
        return "no object"
    id_ = row.get("id")
    if not isinstance(id_, (str, int)) or isinstance(id_, bool) or id_ == "":
        return "no id"
    values = _read_turns(row.get("conversations"))
    if values is None:
        return "other turns"
    text = values[0].removeprefix(OPENING)
    if text == values[0] or not text.strip():
        return "no text"
    queries = []
    for ask, answer in zip(values[2::2], values[3::2], strict=True):
        question, mentions = QUESTION.fullmatch(ask), _read_answer(answer)
        if question is None:
            return "no question"
        if mentions is None:
            return "no list"
        queries.append(Query(mend(question[1]), tuple(map(mend, mentions))))
    return Conversation(mend(str(id_)), mend(text), tuple(queries))


def _read_turns(turns: Any) -> list[str] | None:
    """What a human and a model say in turn, None if it is anything else."""
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        return None
    for turn, who in zip(turns, ("human", "gpt") * (len(turns) // 2), strict=True):
        if not isinstance(turn, dict) or turn.get("from") != who or not isinstance(turn.get("value"), str):
            return None
    return [turn["value"] for turn in turns]


def _read_answer(answer: str) -> list[str] | None:
    try:
        mentions = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(mentions, list) or not all(isinstance(mention, str) for mention in mentions):
        return None
    return mentions


# export


@dataclass
class Contents:
    """A part of what is exported: its counts, its types, and whether all its passages are part of the project."""

    tally: Tally = field(default_factory=Tally)
    types: set[str] = field(default_factory=set)
    embedded: bool = True


def describe(conversations: Iterable[Conversation], own: Embedded) -> Contents:
    """Count a part before it is written."""
    part = Contents()
    for conversation in conversations:
        part.tally.add(conversation)
        part.types.update(query.type for query in conversation.queries if query.mentions)
        part.embedded &= sha256_json([conversation.id, conversation.text]) in own.passages
    return part


def write_released(path: Path, conversations: Iterable[Conversation]) -> None:
    """Write conversations as the released files are: one JSON array in ASCII, on one line, atomically."""
    with atomic_write(path) as file:
        file.write("[")
        for number, conversation in enumerate(conversations):
            file.write((", " if number else "") + json.dumps(conversation.to_sharegpt()))
        file.write("]")
