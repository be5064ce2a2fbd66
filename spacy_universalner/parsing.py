"""Reading what models say: a teacher's list of tuples, a student's JSON list. Nothing is ever evaluated."""

import ast
import json
import re
from typing import Any

PAIR = re.compile(
    r"""[(\[]\s*
    (?P<q>["'])(?P<entity>(?:\\.|(?!(?P=q)\s*,).)*)(?P=q)\s*,\s*
    (?P<r>["'])(?P<type>(?:\\.|(?!(?P=r)\s*[)\]]).)*)(?P=r)\s*[)\]]""",
    re.VERBOSE | re.DOTALL,
)


def parse_pairs(reply: str) -> list[tuple[str, str]] | None:
    """Read a teacher's reply: a list of ("entity", "type") tuples, Python or JSON, text around it allowed.

    A whole literal is tried first; a cut-off or badly quoted list gives the pairs that can be read.

    reply (str): what the teacher said.
    RETURNS (list): (entity, type) pairs in order, [] for an empty list; None if there is no list to read.
    """
    start, end = reply.find("["), reply.rfind("]")
    if start < 0:
        return None
    literal = _literal(reply[start : end + 1]) if end > start else None
    if isinstance(literal, list) and all(_is_pair(item) for item in literal):
        return [(str(entity), str(type_)) for entity, type_ in literal]
    pairs = [(_unescape(m["entity"]), _unescape(m["type"])) for m in PAIR.finditer(reply[start:])]
    return pairs or None


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
        items, _ = json.JSONDecoder().raw_decode(answer)
    except ValueError:
        return [json.loads(item) for item in _finished_strings(answer)] or None
    return [item if isinstance(item, str) else json.dumps(item) for item in items]


def _literal(text: str) -> Any:
    for read in (ast.literal_eval, json.loads):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(x, (str, int, float)) for x in item)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text).strip()


def _finished_strings(answer: str) -> list[str]:
    found = []
    for match in re.finditer(r'[\[,]\s*("(?:\\.|[^"\\])*")\s*(?=[,\]]|$)', answer, re.DOTALL):
        try:
            json.loads(match[1])
        except ValueError:
            continue
        found.append(match[1])
    return found
