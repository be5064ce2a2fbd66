"""Files with a token a line and a blank line after each sentence."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import Errors, UniversalNERError
from .sentence import Sentence, SetAside, from_tokens, place, visible
from .tags import Scheme, find_runs

DOCUMENT = "-DOCSTART-"
Line = tuple[int, str]


def read_columns(
    path: Path,
    set_aside: SetAside,
    *,
    token: int = 0,
    tag: int | Sequence[int] = 1,
    count: int | None = None,
    separator: str | None = "\t",
    scheme: Scheme = "bio",
    skip: str = "",
    documents: bool = False,
) -> Iterator[Sentence]:
    """Read a column file; marks of documents are left out.

    path (Path): the file.
    set_aside (Counter): counts what is left out.
    token (int): the token's column, counted from 0, or from the last one with -1.
    tag (int | Sequence[int]): the tag's column; several where entities are nested, a level each.
    count (int): how many columns a line has; None for as many as are asked for, or more.
    separator (str): what stands between two columns; None for any white space.
    scheme (str): how tags spell entities (see `find_runs`).
    skip (str): a regular expression; sentences in which it is found are set aside.
    documents (bool): all sentences up to the next mark of a document are read as one.
    RAISES (UniversalNERError): a line with another number of columns, or a tag that spells nothing.
    """
    tags = [tag] if isinstance(tag, int) else list(tag)
    for block in _read_blocks(path, documents):
        rows = [_split(line, number, path, (token, *tags), count, separator) for number, line in block]
        sentence = _build(rows, block[0][0], path, scheme, set_aside)
        if skip and re.search(skip, sentence.text):
            set_aside["sentences skipped"] += 1
        else:
            yield from visible(sentence, set_aside)


def read_conllu(
    path: Path, set_aside: SetAside, *, token: int = 1, tag: int | str = 2, scheme: Scheme = "bio"
) -> Iterator[Sentence]:
    """Read a CoNLL-U file, with all its ten columns or with fewer.

    path (Path): the file.
    set_aside (Counter): counts what is left out.
    token (int): the token's column, counted from 0.
    tag (int | str): the tag's column, or the key it has in the last one (MISC).
    scheme (str): how tags spell entities (see `find_runs`).
    RAISES (UniversalNERError): a line with too few columns, or a tag that spells nothing.
    """
    column = -1 if isinstance(tag, str) else tag
    for block in _read_blocks(path):
        lines = [(number, line) for number, line in block if not line.startswith("#")]
        rows = [_split(line, number, path, (0, token, column), None, "\t") for number, line in lines]
        words = [row[1:] for row in rows if row[0].isdigit()]  # neither a contraction (1-2) nor an ellipsis (1.1)
        if isinstance(tag, str):
            words = [[word, _find_key(misc, tag)] for word, misc in words]
        comments = "\n".join(line for _, line in block if line.startswith("#"))
        name = re.search(r"^#\s*sent_id\s*=\s*(\S+)", comments, re.MULTILINE)
        sentence = _build(words, block[0][0], path, scheme, set_aside, name[1] if name else "")
        yield from visible(sentence, set_aside)


def _read_blocks(path: Path, documents: bool = False) -> Iterator[list[Line]]:
    """The lines between two blank ones or marks of documents, or between marks alone, with their numbers."""
    block: list[Line] = []
    # Only \n ends a line: a token may hold other characters that end one elsewhere.
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        try:
            for number, line in enumerate(file, 1):
                mark = line.startswith(DOCUMENT)
                if line.strip() and not mark:
                    block.append((number, line.rstrip("\r\n")))
                elif block and (mark or not documents):
                    yield block
                    block = []
        except UnicodeDecodeError as err:
            raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err
    if block:
        yield block


def _split(
    line: str, number: int, path: Path, wanted: Sequence[int], count: int | None, separator: str | None
) -> list[str]:
    cells = line.split(separator)
    least = max(i + 1 if i >= 0 else -i for i in wanted)
    if len(cells) != count if count is not None else len(cells) < least:
        about = {"expected": count or f"{least} or more", "got": line}
        form = "white space" if separator is None else repr(separator)
        raise UniversalNERError(Errors.U081.format(path=path, line=number, format=f"column ({form})", **about))
    return [cells[i].strip() if i != wanted[0] else cells[i] for i in wanted]


def _build(
    rows: Sequence[Sequence[str]], line: int, path: Path, scheme: Scheme, set_aside: SetAside, id: str = ""
) -> Sentence:
    where = place(path, line)
    tokens, *levels = zip(*rows, strict=True) if rows else ((), ())
    runs = (run for tags in levels for run in find_runs(tags, scheme=scheme, where=where))
    return from_tokens(tokens, runs, set_aside, id=id, where=where)


def _find_key(misc: str, key: str) -> str:
    pairs = (pair.partition("=") for pair in misc.split("|"))
    return next((value for name, _, value in pairs if name == key), "O")
