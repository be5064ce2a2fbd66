"""From gold sentences to conversations: up to so many of each set, a question for every type the set knows."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..records import Conversation, Query, sha256_file, sha256_json
from .readers import Example
from .sources import Source


@dataclass(frozen=True)
class Split:
    """The conversations of a data set: those to learn from, and those held out."""

    train: list[Conversation]
    dev: list[Conversation]


def make_split(source: Source, *, limit: int, dev_share: float, seed: int) -> Split:
    """Draw sentences of a set, hold out a share, and ask about all of them.

    Both go by a hash of the text, so that no order of sentences matters and one that stands in several sets is held out
    in all of them, or nearly: a set's share is exact.

    source (Source): the data set.
    limit (int): sentences at most, held out ones included; 0 for all.
    dev_share (float): share held out: at least one sentence if there are two.
    seed (int): of both draws.
    """
    drawn = draw(source.examples, limit=limit, seed=seed)
    wanted = min(max(1, round(len(drawn) * dev_share)), max(len(drawn) - 1, 0))
    ranked = sorted(drawn, key=lambda example: _rank(f"{seed}:dev", example.text))
    talks = [converse(example, source.name) for example in ranked]
    return Split(talks[wanted:], talks[:wanted])


def draw(examples: Iterable[Example], *, limit: int, seed: int) -> list[Example]:
    """At most so many sentences of distinct text, those with and those without entities in the proportion they have.

    limit (int): 0 for all.
    """
    first: dict[str, Example] = {}
    for example in examples:
        first.setdefault(example.text, example)
    ranked = sorted(first.values(), key=lambda example: _rank(f"{seed}:draw", example.text))
    if not limit or limit >= len(ranked):
        return ranked
    full = [example for example in ranked if example.spans]
    bare = [example for example in ranked if not example.spans]
    wanted = round(limit * len(full) / len(ranked))
    return full[:wanted] + bare[: limit - wanted]


def converse(example: Example, dataset: str) -> Conversation:
    """One conversation about a sentence: a question for each type of its set, answered in reading order."""
    found: dict[str, dict[str, None]] = {type_: {} for type_ in example.types}
    for start, end, type_ in sorted(example.spans):
        found[type_][example.text[start:end]] = None
    queries = tuple(Query(type_, tuple(mentions)) for type_, mentions in found.items())
    return Conversation(example.id, example.text, queries, dataset)


def mix(conversations: Iterable[Conversation], *, seed: int) -> list[Conversation]:
    """The conversations of all sets in an order that depends on each one alone: any first part holds all sets."""
    return sorted(conversations, key=lambda talk: _rank(f"{seed}:order", talk.id))


def describe(source: Source, split: Split) -> dict[str, Any]:
    """Where a set comes from and what became of it, for the record beside the conversations."""
    files = {name: sha256_file(path) for name, path in source.files.items()}
    texts = {example.text for example in source.examples}
    return {
        "name": source.name,
        "license": source.license,
        "files": files,
        "sha256": sha256_json(files),
        "types": list(source.examples[0].types),
        "sentences": source.sentences,
        "set_aside": {**source.set_aside, "repeated sentences": len(source.examples) - len(texts)},
        "train": count(split.train),
        "dev": count(split.dev),
    }


def count(conversations: Sequence[Conversation]) -> dict[str, int]:
    """Counts of conversations; negatives are the questions that nothing answers."""
    answers = [[query.mentions for query in talk.queries] for talk in conversations]
    return {
        "sentences": len(answers),
        "without_entity": sum(not any(mentions) for mentions in answers),
        "questions": sum(map(len, answers)),
        "negatives": sum(not found for mentions in answers for found in mentions),
        "mentions": sum(len(found) for mentions in answers for found in mentions),
    }


def _rank(salt: str, text: str) -> bytes:
    return hashlib.sha256(f"{salt}:{text}".encode("utf8", "surrogatepass")).digest()
