"""Where conversations come from: who said it, in answer to what, and under which terms it may be used."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..definitions import define_reply, read_definitions
from ..prompts import TEACHER_PROMPTS
from ..records import Part, Passage, Reply, read_records, read_rows, sha256_file, sha256_json

ORIGIN = "origin.json"
"""Stands beside the conversations it tells of."""
EMBEDDED_TERMS = ("cc0-1.0", "en")
"""Licence and language of the passages and replies in assets/, as assets/README.md says."""
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Embedded:
    """The passages and replies that are part of the project, whose licence is known.

    passages (frozenset): digests of (id, text).
    replies (frozenset): digests of (id, text, reply).
    """

    passages: frozenset[str] = frozenset()
    replies: frozenset[str] = frozenset()


@dataclass
class Origin:
    """Who said what the conversations were made of.

    replies (int): how many there are.
    models (Counter): replies by the teacher's name.
    prompts (Counter): replies by the sha256 of the prompt.
    embedded (bool): whether all of them are part of the project.
    """

    replies: int = 0
    models: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    embedded: bool = True

    def merge(self, other: "Origin") -> None:
        """Add what was found in another part of the replies."""
        self.replies += other.replies
        self.models.update(other.models)
        self.prompts.update(other.prompts)
        self.embedded &= other.embedded

    def to_json(self, files: Mapping[str, Path]) -> dict[str, Any]:
        """What origin.json says of replies.

        files (Mapping): the files of passages and replies, by the name to show.
        """
        known = {prompt.sha: prompt.name for prompt in TEACHER_PROMPTS.values()}
        license, language = EMBEDDED_TERMS if self.embedded else (NOT_STATED, NOT_STATED)
        return {
            "replies": self.replies,
            "teachers": dict(self.models.most_common()),
            "prompts": {known.get(sha, f"unknown, sha256 {sha}"): count for sha, count in self.prompts.most_common()},
            "embedded": self.embedded,
            "license": license,
            "language": language,
            "files": {name: sha256_file(path) for name, path in files.items()},
        }


def know_embedded(passages: Iterable[Passage], replies: Iterable[tuple[str, str]]) -> Embedded:
    """What the project's own passages and the (id, reply) pairs recorded for them are known by."""
    texts = {passage.id: passage.text for passage in passages}
    return Embedded(
        frozenset(sha256_json([id_, text]) for id_, text in texts.items()),
        frozenset(sha256_json([id_, texts.get(id_), reply]) for id_, reply in replies),
    )


def read_embedded(assets: Path) -> Embedded:
    """The project's own passages and replies, in types and in definitions; none in a folder that has no such files."""
    passages, replies = assets / "passages.jsonl", assets / "replies.jsonl"
    if not passages.is_file() or not replies.is_file():
        return Embedded()
    own = list(read_records(passages, Passage))
    recorded = [(row["passage_id"], row["reply"]) for _, row in read_rows(replies)]
    if (assets / "definitions.jsonl").is_file():
        definitions = read_definitions(assets / "definitions.jsonl")
        texts = {passage.id: passage.text for passage in own}
        recorded += [(id_, define_reply(raw, texts[id_], definitions)) for id_, raw in recorded]
    return know_embedded(own, recorded)


def trace(replies: Iterable[Reply], own: Embedded) -> Origin:
    """Look through the replies for teachers and prompts."""
    source = Origin()
    for reply in replies:
        source.replies += 1
        source.models[reply.model] += 1
        source.prompts[reply.prompt_sha] += 1
        source.embedded &= sha256_json([reply.passage_id, reply.text, reply.raw]) in own.replies
    return source


def trace_part(source: Path | Part, *, own: Embedded) -> Origin:
    """Look through a file of replies or a part of one; what is found in all parts can be merged."""
    return trace(read_records(source, Reply, unique=False), own)


def describe_import(source: Path, *, dataset: str, license: str, language: str, variant: str) -> dict[str, Any]:
    """What origin.json says of data in the form of the released files. The file itself states none of it.

    source (Path): the file.
    dataset, license, language (str): as the user names them, as the hub spells them; "" for what is not named.
    variant (str): what its types are.
    """
    return {
        "dataset": dataset or NOT_STATED,
        "license": license or NOT_STATED,
        "language": language or NOT_STATED,
        "variant": variant,
        "files": {source.name: sha256_file(source)},
    }
