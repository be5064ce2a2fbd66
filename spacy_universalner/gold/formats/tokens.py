"""Annotations that count lines and tokens of texts beside them: i2b2's concepts, EBM-NLP, SOFC-Exp."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import Errors, UniversalNERError
from .sentence import (
    Entity,
    Sentence,
    SetAside,
    find_beside,
    from_text,
    from_tokens,
    list_files,
    place,
    read_text,
)
from .tags import find_runs

CONCEPT = re.compile(r'c="(?P<surface>.*)" (\d+):(\d+) (\d+):(\d+)\|\|t="(?P<tag>[^"]*)".*')
TEXTS = ("../txt", "../../test_data", ".")
ELEMENTS = ("participants", "interventions", "outcomes")


def read_concepts(path: Path, set_aside: SetAside, *, texts: Sequence[str] = TEXTS) -> Iterator[Sentence]:
    """Read i2b2's concepts (.con), which name their first and last token by line and place, a line of the text each.

    path (Path): a folder, with all in it, or one .con file.
    set_aside (Counter): counts what is left out.
    texts (Sequence[str]): where the texts stand, as seen from the folder of the concepts.
    RAISES (UniversalNERError): no text, a damaged row, a concept that does not fit its line.
    """
    for file in list_files(path, ".con"):
        lines = read_text(find_beside(file, f"{file.stem}.txt", texts)).removeprefix("\ufeff").split("\n")
        concepts: dict[int, list[Entity]] = defaultdict(list)
        for number, row in enumerate(read_text(file).splitlines(), 1):
            if row.strip():
                line, entity = _read_concept(row.strip(), lines, place(file, number))
                if entity is None:
                    set_aside["entities across a sentence boundary"] += 1
                else:
                    concepts[line].append(entity)
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{file.stem}.txt, line {number}"
                name = f"{file.stem}.{number}"
                yield from_text(line.rstrip("\r"), concepts[number], set_aside, id=name, where=where)


def read_ebmnlp(path: Path, set_aside: SetAside, *, elements: Sequence[str] = ELEMENTS) -> Iterator[Sentence]:
    """Read EBM-NLP: abstracts of tokens, and for each element a file of numbers, 0 where a token is none of it.

    Neighbours that have the same number are one entity; its tag is the element, or with several numbers in use (those
    of `hierarchical_labels`) element:number.

    path (Path): the folder of one of the elements' annotations (annotations/aggregated/…/participants/train).
    set_aside (Counter): counts what is left out.
    elements (Sequence[str]): the elements; an abstract that lacks one of them is set aside.
    RAISES (UniversalNERError): no documents, or other numbers of labels than of tokens.
    """
    element = next((part for part in path.parts if part in elements), None)
    if element is None:
        expected = f"a folder of one of {', '.join(elements)}"
        raise UniversalNERError(Errors.U220.format(where=path, expected=expected, got=path.name))
    detailed = "hierarchical_labels" in path.parts
    for file in list_files(path, "AGGREGATED.ann"):
        name = re.split(r"[._]", file.name)[0]
        files = [Path(*(other if part == element else part for part in file.parts)) for other in elements]
        if not all(other.is_file() for other in files):
            set_aside["texts without annotations"] += 1
            continue
        tokens = read_text(_find_documents(file) / f"{name}.tokens").split()
        runs = []
        for other, labels in zip(elements, files, strict=True):
            numbers = [number for number in re.split(r"[\s,]+", read_text(labels).strip()) if number]
            if len(numbers) != len(tokens):
                raise UniversalNERError(Errors.U227.format(where=labels, tags=len(numbers), tokens=len(tokens)))
            tags = ["O" if n == "0" else f"{other}:{n}" if detailed else other for n in numbers]
            runs += find_runs(tags, scheme="io")
        yield from_tokens(tokens, runs, set_aside, id=name, where=str(file))


def read_sofc(path: Path, set_aside: SetAside, *, column: int = 4) -> Iterator[Sentence]:
    """Read SOFC-Exp: tags of tokens by their offsets in the sentences of a text, for sentences about experiments.

    path (Path): the folder annotations/entity_types_and_slots, or one file in it.
    set_aside (Counter): counts what is left out.
    column (int): of the tag: 4 for entity types, 5 for slots.
    RAISES (UniversalNERError): no text or sentences, or a damaged row.
    """
    for file in list_files(path, ".csv"):
        text = read_text(find_beside(file, f"{file.stem}.txt", ["../../texts"]))
        bounds = {row[0]: row for _, row in _read_cells(find_beside(file, file.name, ["../sentences"]), 4)}
        rows: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
        for number, row in _read_cells(file, column + 1):
            rows[row[0]].append((number, row))
        for name, tokens in rows.items():
            where = place(file, tokens[0][0])
            if name not in bounds:
                raise UniversalNERError(Errors.U220.format(where=where, expected="a known sentence", got=name))
            sentence = text[int(bounds[name][2]) : int(bounds[name][3])].strip()
            runs = find_runs([row[column] for _, row in tokens], where=where)
            entities = [
                Entity(int(tokens[first][1][2]), int(tokens[stop - 1][1][3]), tag, None, where)
                for first, stop, tag in runs
            ]
            yield from_text(sentence, entities, set_aside, id=f"{file.stem}.{name}", where=where)


def _read_concept(row: str, lines: Sequence[str], where: str) -> tuple[int, Entity | None]:
    """The line of a concept, and its offsets there; None where it goes on in another line."""
    match = CONCEPT.fullmatch(row)
    if match is None:
        expected = 'c="text" line:token line:token||t="type"'
        raise UniversalNERError(Errors.U220.format(where=where, expected=expected, got=f"{row!r:.80}"))
    line, first, last_line, last = map(int, match.groups()[1:5])
    if line != last_line:
        return line, None
    words = [word.span() for word in re.finditer(r"\S+", lines[line - 1])] if 0 < line <= len(lines) else []
    if not first <= last < len(words):
        about = {"tag": match["tag"], "start": first, "end": last, "reason": f"line {line} has {len(words)} tokens"}
        raise UniversalNERError(Errors.U222.format(where=where, **about))
    return line, Entity(words[first][0], words[last][1], match["tag"], match["surface"], where)


def _find_documents(path: Path) -> Path:
    for folder in path.parents:
        if (folder / "documents").is_dir():
            return folder / "documents"
    raise UniversalNERError(Errors.U223.format(path=path, looked="a folder `documents` above it"))


def _read_cells(path: Path, least: int) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(read_text(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    for number, row in enumerate(rows, 1):
        if row and (len(row) < least or not all(cell.strip().isdigit() for cell in row[:4])):
            expected = f"{least} columns, the first four numbers"
            raise UniversalNERError(Errors.U220.format(where=place(path, number), expected=expected, got=row))
        if row:
            yield number, [cell.strip() for cell in row]
