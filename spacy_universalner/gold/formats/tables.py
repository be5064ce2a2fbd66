"""Rows of JSON, JSON lines and CSV files, and sentences whose tokens have tags or ids of tags."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ...errors import Errors, UniversalNERError
from ...records import parse_rows
from .sentence import Sentence, SetAside, from_tokens, place, read_text, visible
from .tags import Scheme, find_runs

Row = dict[str, Any]
SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read_token_rows(
    path: Path,
    set_aside: SetAside,
    *,
    tokens: str = "tokens",
    tags: str | Sequence[str] = "tags",
    names: Sequence[str] | Mapping[Any, str] | None = None,
    scheme: Scheme = "bio",
    id: str | None = None,
    group: Sequence[str] = (),
    only: Mapping[str, Any] | None = None,
) -> Iterator[Sentence]:
    """Read rows of tokens and tags.

    path (Path): a JSON array, JSON lines, or a table (.csv, .tsv).
    set_aside (Counter): counts what is left out.
    tokens (str): the key of the tokens.
    tags (str | Sequence[str]): the key of their tags; several where entities are nested.
    names (Sequence | Mapping): the tag of each id; None where tags are spelled out.
    scheme (str): how tags spell entities (see `find_runs`).
    id (str): the key of a sentence's name; None for none.
    group (Sequence[str]): keys; neighbours that agree in all of them are one sentence, and each row is a token. None
        where each row is a sentence.
    only (Mapping): the values that rows must have under some keys; others belong to another data set.
    RAISES (UniversalNERError): a row without these keys, ids that have no tag, other numbers of tags than of tokens.
    """
    keys = [tags] if isinstance(tags, str) else list(tags)
    known = {str(i): name for i, name in (names.items() if isinstance(names, Mapping) else enumerate(names or ()))}
    for where, row in _join(_select(read_rows(path), only or {}), group, [tokens, *keys]):
        words = _get_list(row, tokens, where)
        if not all(isinstance(word, str) for word in words):
            words = ["" if word is None else str(word) for word in words]
        runs = []
        for key in keys:
            found = _get_list(row, key, where)
            if len(found) != len(words):
                raise UniversalNERError(Errors.U227.format(where=where, tags=len(found), tokens=len(words)))
            spelled = [_name(tag, known, where) for tag in found]
            runs += find_runs(spelled, scheme=scheme, where=where)
        sentence = from_tokens(words, runs, set_aside, id=str(get(row, id, where)) if id else "", where=where)
        yield from visible(sentence, set_aside)


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a file, each with its place.

    RAISES (UniversalNERError): a file that is damaged, or a row that is no object.
    """
    if path.suffix in SEPARATORS:
        yield from _read_table(path, SEPARATORS[path.suffix])
        return
    with path.open("rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        file.seek(0)
        if start.startswith(b"["):
            yield from _read_array(path)
        else:
            yield from ((place(path, number), row) for number, row in parse_rows(file, path))


def get(row: Any, key: str | int | None, where: str) -> Any:
    """What a row holds under a key, or at a place. RAISES (UniversalNERError): nothing."""
    try:
        return row[key]
    except (KeyError, IndexError, TypeError) as err:
        got = sorted(map(str, row)) if isinstance(row, Mapping) else f"{row!r:.80}"
        raise UniversalNERError(Errors.U220.format(where=where, expected=repr(key), got=got)) from err


def _read_table(path: Path, separator: str) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=separator, strict=True)
        try:
            line = 2
            for row in reader:
                yield place(path, line), row
                line = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError) as err:
            raise UniversalNERError(Errors.U100.format(path=path, reason=f"line {reader.line_num}: {err}")) from err


def _read_array(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        rows = json.loads(read_text(path).removeprefix("\ufeff"))
    except ValueError as err:
        raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _select(rows: Iterable[tuple[str, Row]], only: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    return ((where, row) for where, row in rows if all(get(row, key, where) == only[key] for key in only))


def _join(rows: Iterable[tuple[str, Row]], group: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Rows of a sentence each: of rows of a token each, a list for each column."""
    if not group:
        yield from rows
        return
    for _, members in groupby(rows, key=lambda member: [get(member[1], key, member[0]) for key in group]):
        places, parts = zip(*members, strict=True)
        lists = {key: [get(part, key, where) for where, part in zip(places, parts, strict=True)] for key in columns}
        yield places[0], {**parts[0], **lists}


def _get_list(row: Row, key: str, where: str) -> list[Any]:
    value = get(row, key, where)
    if not isinstance(value, list):
        raise UniversalNERError(Errors.U220.format(where=where, expected=f"a list in {key!r}", got=f"{value!r:.80}"))
    return value


def _name(tag: Any, known: Mapping[str, str], where: str) -> str:
    if not known:
        return str(tag)
    if str(tag) not in known:
        raise UniversalNERError(
            Errors.U220.format(where=where, expected=f"one of the ids {list(known)}", got=repr(tag))
        )
    return known[str(tag)]
