"""A stream of documents in shards: the pieces in which a corpus is worked through, and a stopped run goes on."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..corpus.documents import read_documents
from ..errors import Errors, UniversalNERError
from ..records import Passage, sha256_json

MAX_CHARS = 5_000_000
"""A shard ends here too, so that its memory is bounded whatever its documents are like."""


@dataclass(frozen=True)
class Shard:
    """Documents that follow each other.

    number (int): its place among the shards, from 0.
    documents (tuple): whole documents.
    digest (str): sha256 of their ids and texts, hex.
    """

    number: int
    documents: tuple[Passage, ...]
    digest: str


def cut(documents: Iterable[Passage], size: int) -> Iterator[Shard]:
    """Cut a stream into shards of so many documents, fewer where these are long.

    YIELDS (Shard): by the documents alone: the same for the same stream.
    """
    number, held, characters = 0, [], 0
    for document in documents:
        held.append(document)
        characters += len(document.text)
        if len(held) >= size or characters >= MAX_CHARS:
            yield _shard(number, held)
            number, held, characters = number + 1, [], 0
    if held:
        yield _shard(number, held)


def _shard(number: int, documents: list[Passage]) -> Shard:
    return Shard(number, tuple(documents), sha256_json([(document.id, document.text) for document in documents]))


def read_shards(source: Path, *, size: int, done: Mapping[int, str]) -> Iterator[Shard]:
    """Stream the shards that are not done. Those that are done are read too, to see that they are what they were.

    source (Path): what `read_documents` takes.
    size (int): documents in a shard.
    done (Mapping): the digests of the shards that are done, by number.
    RAISES (UniversalNERError): the documents are not those of the shards that are done; what `read_documents` raises.
    """
    left = dict(done)
    for shard in cut(read_documents(source), size):
        digest = left.pop(shard.number, None)
        if digest is None:
            yield shard
        elif digest != shard.digest:
            raise UniversalNERError(Errors.U198.format(path=source, number=shard.number, first=shard.documents[0].id))
    if left:
        raise UniversalNERError(Errors.U199.format(path=source, missing=len(left)))
