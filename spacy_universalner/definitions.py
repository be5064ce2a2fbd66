"""Definitions in place of types: a reply to the type prompt, said as the definition prompt asks for it.

What a type means hardly changes from passage to passage, so definitions are written once for each type, not once for
each mention.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import Errors, UniversalNERError
from .parsing import parse_pairs
from .records import read_rows, sha256_json

Definitions = Mapping[str, Sequence[str]]
"""Short sentences that define a type, by the type."""
FIELDS = ["type", "definitions"]
HINT = "Name the file of definitions in configs/definitions.cfg, [paths] definitions."


def read_definitions(path: Path) -> dict[str, list[str]]:
    """Read a JSONL file of types and their definitions. RAISES (UniversalNERError): a missing or damaged file."""
    definitions: dict[str, list[str]] = {}
    for line, row in read_rows(path, hint=HINT):
        said = row.get("definitions")
        if not isinstance(row.get("type"), str) or not said or not all(isinstance(one, str) for one in said):
            got = {"kind": "type with its definitions", "expected": FIELDS, "got": sorted(row)}
            raise UniversalNERError(Errors.U003.format(path=path, line=line, **got))
        definitions[row["type"]] = list(said)
    return definitions


def define_reply(raw: str, text: str, definitions: Definitions) -> str:
    """A recorded reply with each type said as its definition; of several, a passage uses one throughout.

    raw (str): what was said to the type prompt; handed on as it is where it is no list.
    text (str): the passage.
    RAISES (UniversalNERError): a type that has no definition.
    """
    pairs = parse_pairs(raw)
    if pairs is None:
        return raw
    if unknown := sorted({type_ for _, type_ in pairs} - definitions.keys()):
        raise UniversalNERError(Errors.U258.format(types=", ".join(unknown[:5]), count=len(unknown), start=text[:60]))
    said = [[entity, _choose(definitions[type_], text)] for entity, type_ in pairs]
    return f"[{', '.join(f'({_quote(entity)}, {_quote(definition)})' for entity, definition in said)}]"


def _choose(definitions: Sequence[str], text: str) -> str:
    return definitions[int(sha256_json([text, *definitions]), 16) % len(definitions)]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
