"""Definitions in place of types: a reply to the type prompt, said as the definition prompt asks for it.

What a type means hardly changes from passage to passage, so a definition is written once for each type, not once for
each mention. There is one of each: negatives are drawn by their words, so that another wording of a type that occurs
would be asked as one that does not.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from .errors import Errors, UniversalNERError
from .parsing import parse_pairs
from .records import read_rows

Definitions = Mapping[str, str]
"""A short sentence that defines a type, by the type."""
FIELDS = ["type", "definition"]
HINT = "Name the file of definitions in configs/definitions.cfg, [paths] definitions."


def read_definitions(path: Path) -> dict[str, str]:
    """Read a JSONL file of types with their definitions. RAISES (UniversalNERError): a missing or damaged file."""
    definitions: dict[str, str] = {}
    for line, row in read_rows(path, hint=HINT):
        said = row.get("definition")
        if not isinstance(row.get("type"), str) or not said or not isinstance(said, str):
            got = {"kind": "type with its definition", "expected": FIELDS, "got": sorted(row)}
            raise UniversalNERError(Errors.U003.format(path=path, line=line, **got))
        definitions[row["type"]] = said
    return definitions


def define_reply(raw: str, text: str, definitions: Definitions) -> str:
    """A recorded reply with each type said as its definition.

    raw (str): what was said to the type prompt; handed on as it is where it is no list.
    text (str): the passage.
    RAISES (UniversalNERError): a type that has no definition.
    """
    pairs = parse_pairs(raw)
    if pairs is None:
        return raw
    if unknown := sorted({type_ for _, type_ in pairs} - definitions.keys()):
        raise UniversalNERError(Errors.U258.format(types=", ".join(unknown[:5]), count=len(unknown), start=text[:60]))
    said = [[entity, definitions[type_]] for entity, type_ in pairs]
    return f"[{', '.join(f'({_quote(entity)}, {_quote(definition)})' for entity, definition in said)}]"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
