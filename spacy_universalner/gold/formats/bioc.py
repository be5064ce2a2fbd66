"""Abstracts with entities, in the two forms of PubMed's own corpora."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import Errors, UniversalNERError
from .markup import parse
from .sentence import Entity, Sentence, SetAside, from_text, of_pieces, place, read_text, visible
from .tables import get


def read_bioc(path: Path, set_aside: SetAside) -> Iterator[Sentence]:
    """Read BioC, in XML or in JSON, a passage each.

    path (Path): the file, which ends in .xml or .json.
    set_aside (Counter): counts what is left out.
    RAISES (UniversalNERError): a damaged file, or an entity that does not fit its passage.
    """
    documents = _from_xml(path) if path.suffix == ".xml" else _from_json(path)
    for name, passage in documents:
        where = f"{path}, document {name}"
        base = int(get(passage, "offset", where))
        entities = []
        for annotation in passage.get("annotations", ()):
            starts = [int(get(p, "offset", where)) - base for p in get(annotation, "locations", where)]
            sizes = [int(get(p, "length", where)) for p in annotation["locations"]]
            pieces = [(start, start + size) for start, size in zip(starts, sizes, strict=True)]
            if not pieces:
                set_aside["entities without a place"] += 1
                continue
            tag = get(get(annotation, "infons", where), "type", where)
            entities.append(of_pieces(pieces, tag, annotation.get("text"), where))
        if text := passage.get("text"):
            yield from visible(from_text(text, entities, set_aside, id=name, where=where), set_aside)


def read_pubtator(path: Path, set_aside: SetAside) -> Iterator[Sentence]:
    """Read PubTator, an abstract each: its title, a line end, and its text. Lines of relations are left out.

    path (Path): the file.
    set_aside (Counter): counts what is left out.
    RAISES (UniversalNERError): a damaged line, or an entity that does not fit its abstract.
    """
    texts: list[str] = []
    entities: list[Entity] = []
    name = ""
    for number, line in enumerate([*read_text(path).removeprefix("\ufeff").split("\n"), ""], 1):
        line, where = line.rstrip("\r"), place(path, number)
        head, _, rest = line.partition("|")
        if not line.strip():
            if texts:
                yield from_text("\n".join(texts), entities, set_aside, id=name, where=f"{path}, document {name}")
            texts, entities = [], []
        elif rest[:2] in ("t|", "a|") and "\t" not in head:
            name = head
            texts.append(rest[2:])
        else:
            entities += _read_mention(line, where)


def _read_mention(line: str, where: str) -> list[Entity]:
    cells = line.split("\t")
    if len(cells) > 1 and not cells[1].isdigit():
        return []
    if len(cells) < 5 or not cells[2].isdigit():
        expected = "PMID<TAB>start<TAB>end<TAB>text<TAB>type"
        raise UniversalNERError(Errors.U220.format(where=where, expected=expected, got=f"{line!r:.80}"))
    return [Entity(int(cells[1]), int(cells[2]), cells[4], cells[3], where)]


def _from_json(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        collection = json.loads(read_text(path).removeprefix("\ufeff"))
    except ValueError as err:
        raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err
    for document in get(collection, "documents", str(path)):
        yield from ((str(document.get("id", "")), passage) for passage in get(document, "passages", str(path)))


def _from_xml(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for document in parse(path).iter("document"):
        for passage in document.iter("passage"):
            annotations = [
                {
                    "infons": {infon.get("key"): infon.text for infon in annotation.iter("infon")},
                    "text": annotation.findtext("text"),
                    "locations": [location.attrib for location in annotation.iter("location")],
                }
                for annotation in passage.iter("annotation")
            ]
            fields = {"offset": passage.findtext("offset"), "text": passage.findtext("text")}
            yield document.findtext("id") or "", {**fields, "annotations": annotations}
