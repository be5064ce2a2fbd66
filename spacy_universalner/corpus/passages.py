"""From documents to passages: cut to size, without duplicates, sampled."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..chunking import chunk
from ..errors import Errors, UniversalNERError
from ..records import Passage, read_rows

T = TypeVar("T")


@dataclass
class Sample:
    """Passages in file order, and what became of the documents.

    counts (Counter): documents and passages read; of these the empty documents, the duplicate passages, the kept ones.
    """

    passages: list[Passage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def read_documents(path: Path) -> Iterator[Passage]:
    """Stream documents, each as one passage of any length, from a JSONL file of {"id", "text", "domain"?, "source"?}.

    Other fields are left aside.

    RAISES (UniversalNERError): a missing file, a bad line, a field of another kind, an id used twice.
    """
    seen: set[str] = set()
    for line, row in read_rows(path, hint="Name a JSONL file of documents: {'id': ..., 'text': ...} on every line."):
        document = _document(path, line, row)
        if document.id in seen:
            raise UniversalNERError(Errors.U006.format(path=path, line=line, kind="document", id=document.id))
        seen.add(document.id)
        yield document


def sample(documents: Iterable[Passage], *, max_tokens: int = 256, limit: int = 0, seed: int = 0) -> Sample:
    """Cut documents into passages and keep a sample of them.

    A document within the limit stays one passage, unchanged; a longer one becomes `{id}-1`, `{id}-2` and so on.

    documents (Iterable[Passage]): whole documents; they are streamed, only what is kept is held.
    max_tokens (int): longest passage, in words and punctuation marks.
    limit (int): passages to keep, 0 for all.
    seed (int): seed of the sample.
    RETURNS (Sample): the passages in file order, and counts.
    """
    result = Sample()
    passages = _cut(documents, max_tokens, result.counts)
    distinct = _drop_duplicates(passages, result.counts)
    result.passages = _reservoir(distinct, limit, random.Random(seed)) if limit else list(distinct)
    result.counts["kept"] = len(result.passages)
    return result


def _document(path: Path, line: int, row: dict[str, Any]) -> Passage:
    for name, kinds, expected in (
        ("id", (str, int), "a string or a number"),
        ("text", str, "a string"),
        ("source", str, "a string"),
        ("domain", str, "a string"),
    ):
        value = row.get(name, "" if name in ("source", "domain") else None)
        if not isinstance(value, kinds):
            raise UniversalNERError(
                Errors.U007.format(path=path, line=line, field=name, expected=expected, got=_show(row, name))
            )
    text = row["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a pair fits in no file
    return Passage(str(row["id"]), text, source=row.get("source", ""), domain=row.get("domain", ""))


def _show(row: dict[str, Any], name: str) -> str:
    return f"{row[name]!r:.80}" if name in row else f"the fields {sorted(row)}"


def _cut(documents: Iterable[Passage], max_tokens: int, counts: Counter[str]) -> Iterator[Passage]:
    for document in documents:
        counts["documents"] += 1
        spans = chunk(document.text, max_tokens)
        counts["empty"] += not spans
        counts["passages"] += len(spans)
        if len(spans) == 1:
            yield document
            continue
        for number, (start, end) in enumerate(spans, 1):
            source = document.source or document.id
            yield Passage(f"{document.id}-{number}", document.text[start:end], source=source, domain=document.domain)


def _drop_duplicates(passages: Iterable[Passage], counts: Counter[str]) -> Iterator[Passage]:
    seen: set[bytes] = set()
    for passage in passages:
        folded = " ".join(passage.text.casefold().split())
        digest = hashlib.sha256(folded.encode("utf8")).digest()
        counts["duplicates"] += digest in seen
        if digest not in seen:
            seen.add(digest)
            yield passage


def _reservoir(items: Iterable[T], size: int, rng: random.Random) -> list[T]:
    """A uniform sample of a stream, in its order (Vitter's algorithm R)."""
    kept: list[tuple[int, T]] = []
    for number, item in enumerate(items):
        place = number if number < size else rng.randrange(number + 1)
        if place < size:
            kept[place : place + 1] = [(number, item)]
    return [item for _, item in sorted(kept, key=lambda pair: pair[0])]
