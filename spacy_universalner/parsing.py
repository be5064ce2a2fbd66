"""Reading what models say: a teacher's list of tuples, a student's JSON list or object. Nothing is ever evaluated."""

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from .records import mend

# One ("entity", "type") with any quoting. Neither part runs over the edge of a pair into the next one.
PAIR = re.compile(
    r"""[(\[]\s*
    (?P<q>["'])(?P<entity>(?:\\.|(?!(?P=q)\s*,\s*["']|[)\]]["']?\s*,?\s*[(\[]\s*["'])[^\\]){0,1000})(?P=q)\s*,\s*
    (?P<r>["'])(?P<type>(?:\\.|(?!(?P=r)\s*[)\]]|[)\]]["']?\s*,?\s*[(\[]\s*["'])[^\\]){0,1000})(?P=r)\s*[)\]]""",
    re.VERBOSE | re.DOTALL,
)
NOTHING = re.compile(r"\[\s*\]")
STRING = re.compile(r'[\[,]\s*("(?:\\.|[^"\\])*")\s*(?=[,\]]|$)', re.DOTALL)
KEY = re.compile(r'[{,]\s*("(?:\\.|[^"\\])*")\s*:\s*(?=\[)', re.DOTALL)
END = re.compile(r"\s*}")
JSON = json.JSONDecoder(strict=False)


def parse_pairs(reply: str) -> list[tuple[str, str]] | None:
    """Read a teacher's reply: a list of ("entity", "type") tuples, Python or JSON, text around it allowed.

    A whole literal is tried first; a cut-off or badly quoted list gives the pairs that can be read.

    reply (str): what the teacher said.
    RETURNS (list): (entity, type) pairs in order, [] for an empty list; None if there is no list to read.
    """
    literal = _literal(reply[reply.find("[") : reply.rfind("]") + 1])
    if isinstance(literal, list):
        pairs = [(clean(item[0]), clean(item[1])) for item in literal if _is_pair(item)]
        if pairs or not literal:
            return pairs
        if all(isinstance(item, str) for item in literal):
            return None
    pairs = [(_unquote(match["entity"]), _unquote(match["type"])) for match in PAIR.finditer(reply)]
    return pairs or ([] if NOTHING.search(reply) else None)


def parse_list(answer: str) -> list[str] | None:
    """Read a student's answer: a JSON list of strings, cut at the end of the list.

    A list cut off before its end gives the strings that were finished.

    answer (str): what the student said.
    RETURNS (list): the mentions in order, [] for an empty list; None if the answer is no list.
    """
    answer = answer.strip()
    if not answer.startswith("["):
        return None
    try:
        items, _ = JSON.raw_decode(answer)
    except (ValueError, RecursionError):
        return _finished_strings(answer) or None
    return _strings(items)


def parse_lists(answer: str) -> list[tuple[str, list[str], bool]]:
    """Read a student's answer about many types: a JSON object of lists of strings, cut at the end of the object.

    What was finished of a cut-off or badly written object is read.

    answer (str): what the student said.
    RETURNS (list): in order, each key, the mentions in its list, and whether the list came to its end. A key without a
        list is left out, one that is said twice is there twice.
    """
    answer = answer.strip()
    found: list[tuple[str, list[str], bool]] = []
    key = KEY.search(answer) if answer.startswith("{") else None
    while key:
        try:
            items, end = JSON.raw_decode(answer, key.end())
        except (ValueError, RecursionError):
            following = KEY.search(answer, key.end())
            rest = answer[key.end() : following.start() if following else None]
            found.append((_unescape(key[1]), _finished_strings(rest), False))
        else:
            following = None if END.match(answer, end) else KEY.search(answer, end)
            found.append((_unescape(key[1]), _strings(items), True))
        key = following
    return found


def parse_listing(answer: str, types: Sequence[str], *, ended: bool) -> tuple[list[tuple[str, str]], bool]:
    """Read an answer of the form "type: entity; type: entity".

    answer (str): what the model said.
    types (Sequence): the types asked, which may hold colons themselves.
    ended (bool): whether it came to its end; if not, its last entity is left out unless a semicolon follows.
    RETURNS (tuple): the (type, entity) pairs in order, with the types asked as they were asked; and whether the answer
        came to its end and each of its parts names a type.
    """
    parts = answer.split(";")
    if not ended:
        parts.pop()
    known = {clean(name).casefold(): clean(name) for name in sorted(types, key=len)}
    pairs, whole = [], ended
    for part in filter(None, map(str.strip, parts)):
        name, entity = _split_part(part, known)
        if entity:
            pairs.append((name, entity))
        else:
            whole = False
    return pairs, whole


def _split_part(part: str, known: Mapping[str, str]) -> tuple[str, str]:
    """The type and the entity of "type: entity", the longest type known; the entity is "" where there is no type."""
    for name in sorted(known, key=len, reverse=True):
        head = part[: len(name)]
        rest = part[len(name) :].lstrip()
        if head.casefold() == name and rest.startswith(":"):
            return known[name], clean(rest[1:])
    name, _, entity = part.partition(":")
    return clean(name), clean(entity)


def is_whole(answer: str) -> bool:
    """Whether an answer has come to the end of a JSON list or object: what follows is never read."""
    answer = answer.lstrip()
    if not answer.startswith(("[", "{")):
        return False
    try:
        JSON.raw_decode(answer)
    except (ValueError, RecursionError):
        return False
    return True


def clean(value: Any) -> str:
    """Without white space around it, and fit to be written."""
    return mend(str(value).strip())


def _literal(text: str) -> Any:
    """Read a JSON value or a Python literal. RETURNS: None if it is neither."""
    for read in (JSON.decode, _read_python):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _read_python(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a reply is no mistake of our code
        return ast.literal_eval(text)


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(x, (str, int, float)) for x in item)


def _unquote(text: str) -> str:
    """Resolve the backslashes of what stood between quotes."""
    quotes = "'''" if text.endswith('"') else '"""'
    value = _literal(f"{quotes}{text}{quotes}") if "\\" in text else text
    return clean(value if isinstance(value, str) else text)


def _unescape(key: str) -> str:
    """What stands between the double quotes of a JSON key."""
    try:
        return clean(JSON.decode(key))
    except ValueError:
        return clean(key[1:-1])


def _strings(items: list[Any]) -> list[str]:
    return [clean(item) if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items]


def _finished_strings(answer: str) -> list[str]:
    found = []
    for match in STRING.finditer(answer):
        try:
            found.append(clean(JSON.decode(match[1])))
        except ValueError:
            continue
    return found
