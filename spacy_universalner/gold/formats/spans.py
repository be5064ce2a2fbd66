"""Rows whose entities are given by offsets: of characters in a text, or of tokens in a sentence or a document."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

from ...errors import Errors, UniversalNERError
from .sentence import Entity, Sentence, SetAside, from_text, from_tokens, visible
from .sentence import Span as Run
from .tables import Row, get, read_rows

Key = str | int


def read_span_rows(
    path: Path,
    set_aside: SetAside,
    *,
    text: str | None = None,
    tokens: str | None = None,
    sentences: str | None = None,
    spans: str = "entities",
    start: Key = "start",
    end: Key = "end",
    label: Key = "label",
    surface: Key | None = None,
    inclusive: bool = False,
    whole: bool = False,
    id: str | None = None,
) -> Iterator[Sentence]:
    """Read rows of a text, or of tokens, with entities by offsets; lists in a table's cells are JSON.

    path (Path): a JSON array, JSON lines, or a table (.csv, .tsv).
    set_aside (Counter): counts what is left out.
    text (str): the key of the text; None where there are tokens.
    tokens (str): the key of the tokens; None where each sentence has its own.
    sentences (str): the key of a document's sentences: lists of tokens, each beside a list of its entities, or pairs
        of offsets into the tokens. None where a row is a sentence.
    spans (str): the key of the entities.
    start, end, label (str | int): the keys, or the places, of an entity's offsets and tag.
    surface (str | int): of the text it marks, to be compared; None where there is none.
    inclusive (bool): an entity's end is its last token or character, not the one after it.
    whole (bool): a document is not taken apart into its sentences.
    id (str): the key of a row's name; None for none.
    RAISES (UniversalNERError): a row without these keys, or an entity that does not fit its text.
    """
    for where, row in read_rows(path):
        name = str(get(row, id, where)) if id else ""
        found = list(_flatten(_decode(get(row, spans, where), where), nested=tokens is None and sentences is not None))
        marked = [_read_entity(span, where, start, end, label, surface, inclusive) for span in found]
        if text is not None:
            parts = [from_text(str(get(row, text, where)), marked, set_aside, id=name, where=where)]
        else:
            words, bounds = _read_tokens(row, where, tokens, sentences)
            parts = _cut(words, [(0, len(words))] if whole else bounds, marked, set_aside, name, where)
        for part in parts:
            yield from visible(part, set_aside)


def _decode(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as err:
        raise UniversalNERError(Errors.U220.format(where=where, expected="JSON", got=f"{value!r:.80}")) from err


def _flatten(value: Any, nested: bool) -> Iterable[Any]:
    return chain.from_iterable(value) if nested else value


def _read_entity(
    span: Any, where: str, start: Key, end: Key, label: Key, surface: Key | None, inclusive: bool
) -> Entity:
    first, last = get(span, start, where), get(span, end, where)
    if not isinstance(first, int) or not isinstance(last, int):
        raise UniversalNERError(Errors.U220.format(where=where, expected="two numbers", got=f"{span!r:.80}"))
    claimed = None if surface is None else get(span, surface, where)
    return Entity(first, last + inclusive, str(get(span, label, where)), claimed, where)


def _read_tokens(
    row: Row, where: str, tokens: str | None, sentences: str | None
) -> tuple[list[str], list[tuple[int, int]]]:
    """The tokens of a row, and the first one and the one after the last of each of its sentences."""
    if tokens is None:
        lists = get(row, sentences, where)
        edges = accumulate(map(len, lists), initial=0)
        return list(chain.from_iterable(lists)), list(pairwise(edges))
    words = get(row, tokens, where)
    return words, [tuple(pair) for pair in get(row, sentences, where)] if sentences else [(0, len(words))]


def _cut(
    words: Sequence[str],
    bounds: Sequence[tuple[int, int]],
    entities: Sequence[Entity],
    set_aside: SetAside,
    name: str,
    where: str,
) -> list[Sentence]:
    """Sentences of a document's tokens, each with the entities it holds."""
    runs: list[list[Run]] = [[] for _ in bounds]
    for entity in entities:
        if not 0 <= entity.start < entity.end <= len(words):
            about = {"tag": entity.tag, "start": entity.start, "end": entity.end}
            raise UniversalNERError(Errors.U222.format(where=where, reason=f"there are {len(words)} tokens", **about))
        homes = [i for i, (first, stop) in enumerate(bounds) if first <= entity.start and entity.end <= stop]
        for i in homes:
            runs[i].append((entity.start - bounds[i][0], entity.end - bounds[i][0], entity.tag))
        set_aside["entities across a sentence boundary"] += not homes
    names = [name] if len(bounds) == 1 else [f"{name}.{i}" for i in range(len(bounds))]
    return [
        from_tokens(words[first:stop], found, set_aside, id=id_, where=where)
        for id_, (first, stop), found in zip(names, bounds, runs, strict=True)
    ]
