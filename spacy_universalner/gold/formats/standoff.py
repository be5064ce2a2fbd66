"""Annotations in files of their own, beside the texts: brat, and the pipes of ShARe/CLEF."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import Errors, UniversalNERError
from .sentence import (
    Entity,
    Sentence,
    SetAside,
    as_published,
    find_beside,
    from_text,
    list_files,
    of_pieces,
    place,
    read_text,
    visible,
)

BRAT = re.compile(r"T[^\t]*\t(?P<tag>\S+) (?P<pieces>\d+ \d+(?:;\d+ \d+)*)(?:\t(?P<surface>.*))?")


def read_brat(path: Path, set_aside: SetAside) -> Iterator[Sentence]:
    """Read brat's annotations (.ann) of the texts (.txt) beside them, a document each.

    path (Path): a folder, with all in it, or one .ann file.
    set_aside (Counter): counts what is left out.
    RAISES (UniversalNERError): no text, a damaged line, an entity that does not fit its text.
    """
    files = list_files(path, ".ann", ".txt")
    if path.is_dir():
        stems = {file.with_suffix("") for file in files if file.suffix == ".ann"}
        set_aside["texts without annotations"] += sum(
            file.suffix == ".txt" and file.with_suffix("") not in stems for file in files
        )
    for file in files:
        if file.suffix != ".ann":
            continue
        texts = as_published(find_beside(file, f"{file.stem}.txt", ["."]))
        lines = enumerate(read_text(file).removeprefix("\ufeff").split("\n"), 1)
        # The rest are relations, events and notes.
        entities = [_read_brat(line.rstrip("\r"), place(file, n)) for n, line in lines if line.startswith("T")]
        yield from visible(from_text(texts, entities, set_aside, id=file.stem, where=str(file)), set_aside)


def read_pipes(
    path: Path, set_aside: SetAside, *, texts: Sequence[str] = (".",), tag: str = "Disease_Disorder"
) -> Iterator[Sentence]:
    """Read rows of a document's name, an entity's tag and its offsets, parted by pipes, a document each.

    Rows are `name||tag||concept||start||end…`, or `name|start-end,…|concept|…` without a tag.

    path (Path): a folder, with all in it, or one file of rows.
    set_aside (Counter): counts what is left out.
    texts (Sequence[str]): where the documents stand, as seen from the folder of the rows.
    tag (str): the tag of rows that have none.
    RAISES (UniversalNERError): no text, a damaged row, an entity that does not fit its text.
    """
    for file in list_files(path, ".pipe", ".pipe.txt"):
        entities: dict[str, list[Entity]] = defaultdict(list)
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if line.strip():
                name, entity = _read_pipe(line, tag, place(file, number))
                entities[name].append(entity)
        for name, found in entities.items():
            candidates = as_published(find_beside(file, name, texts))
            yield from visible(from_text(candidates, found, set_aside, id=name, where=str(file)), set_aside)


def _read_brat(line: str, where: str) -> Entity:
    match = BRAT.fullmatch(line)
    if match is None:
        expected = "ID<TAB>TYPE START END[;START END…]<TAB>TEXT"
        raise UniversalNERError(Errors.U220.format(where=where, expected=expected, got=f"{line!r:.80}"))
    pieces = [(int(start), int(end)) for start, end in re.findall(r"(\d+) (\d+)", match["pieces"])]
    return of_pieces(pieces, match["tag"], match["surface"], where)


def _read_pipe(line: str, tag: str, where: str) -> tuple[str, Entity]:
    double = "||" in line
    cells = line.rstrip().split("||" if double else "|")
    try:
        if double:
            numbers = [int(cell) for cell in cells[3:] if cell.strip()]
            pieces = list(zip(numbers[::2], numbers[1::2], strict=True))
            return cells[0], of_pieces(pieces, cells[1], None, where)
        pairs = [piece.split("-") for piece in cells[1].split(",")]
        return cells[0], of_pieces([(int(start), int(end)) for start, end in pairs], tag, None, where)
    except (ValueError, IndexError) as err:
        expected = "name||tag||concept||start||end… or name|start-end,…|concept…"
        raise UniversalNERError(Errors.U220.format(where=where, expected=expected, got=f"{line!r:.80}")) from err
