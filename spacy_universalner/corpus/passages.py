"""From documents to passages: cut to size, without duplicates, sampled."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..chunking import chunk
from ..errors import Errors, UniversalNERError
from ..records import Passage
from .documents import Source
from .duplicates import drop_near_duplicates
from .reservoir import Reservoir, Strata


@dataclass
class Sample:
    """Passages, and what became of the documents.

    counts (Counter): documents and passages read; of these the empty documents, the duplicates and near duplicates met
        among the passages held, the kept ones; short, how many are missing to the limit although there were more.
    """

    passages: list[Passage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def sample(
    documents: Iterable[Passage],
    *,
    max_tokens: int,
    limit: int,
    seed: int,
    strata: Strata,
    near_duplicates: float,
    spare: float,
) -> Sample:
    """Cut documents into passages and keep a sample of them, without duplicates.

    documents (Iterable[Passage]): whole documents; they are streamed, only what is kept is held.
    max_tokens (int): longest passage, in words and punctuation marks.
    limit (int): passages to keep.
    seed (int): seed of the sample.
    strata (str): the field whose values share the sample equally, "source" or "domain"; "" for none.
    near_duplicates (float): resemblance from which one of two passages is dropped, 0 for never.
    spare (float): share of the limit that is held in addition, to make up for near duplicates.
    RETURNS (Sample): the passages in file order, and counts.
    RAISES (UniversalNERError): a limit below 1, an id of two passages.
    """
    reservoir = draw(documents, max_tokens=max_tokens, limit=limit, seed=seed, strata=strata, spare=spare)
    return finish(reservoir, limit=limit, near_duplicates=near_duplicates)


def draw(
    documents: Iterable[Passage], *, max_tokens: int, limit: int, seed: int, strata: Strata, spare: float
) -> Reservoir:
    """Cut documents, or a part of them, into passages and hold a sample. Arguments as of `sample`.

    RETURNS (Reservoir): the passages and counts; those of several parts can be merged.
    """
    reservoir = Reservoir(math.ceil(limit * (1 + spare)), seed, strata)
    reservoir.counts.update(dict.fromkeys(("documents", "empty", "passages", "duplicates"), 0))
    for document in documents:
        passages = list(cut(document, max_tokens))
        reservoir.counts["documents"] += 1
        reservoir.counts["empty"] += not passages
        reservoir.counts["passages"] += len(passages)
        for passage in passages:
            reservoir.add(passage)
    return reservoir


def draw_file(source: Source, **settings: Any) -> Reservoir:
    """Hold a sample of the passages of one file. Settings as of `draw`."""
    return draw(source.read(), **settings)


def merge(reservoirs: Iterable[Reservoir]) -> Reservoir:
    """One reservoir of what several hold, taken in one by one; at least one."""
    rest = iter(reservoirs)
    merged = next(rest)
    merged.merged = True
    for reservoir in rest:
        merged.merge(reservoir)
    return merged


def finish(reservoir: Reservoir, *, limit: int, near_duplicates: float) -> Sample:
    """Drop the near duplicates a reservoir holds, and its passages over the limit. Arguments as of `sample`.

    RETURNS (Sample): the passages in order of arrival, or of their ids if reservoirs were merged; counts.
    RAISES (UniversalNERError): an id of two passages.
    """
    counts, held = Counter(reservoir.counts), list(reservoir)
    distinct = [pair for number, pair in enumerate(held) if not number or pair[0] != held[number - 1][0]]
    final = Reservoir(limit, reservoir.seed, reservoir.strata)
    final.merged = reservoir.merged
    places = list(drop_near_duplicates([copy[1] for _, copy in distinct], near_duplicates))
    for place in places:
        final.hold(*distinct[place])
    passages = final.passages()
    _check_ids(passages)
    counts["duplicates"] += len(held) - len(distinct)
    counts["near_duplicates"] = len(distinct) - len(places)
    counts["kept"] = len(passages)
    counts["short"] = limit - len(passages) if reservoir.overflowed else 0
    return Sample(passages, counts)


def cut(document: Passage, max_tokens: int) -> Iterator[Passage]:
    """Cut a document into passages.

    A document within the limit stays one passage, unchanged; a longer one becomes `{id}#1`, `{id}#2` and so on.

    document (Passage): a text of any length.
    max_tokens (int): longest passage, in words and punctuation marks.
    YIELDS (Passage): its passages, none if it is empty.
    """
    spans = chunk(document.text, max_tokens)
    if len(spans) == 1:
        yield document
        return
    source = document.source or document.id
    for number, (start, end) in enumerate(spans, 1):
        yield Passage(f"{document.id}#{number}", document.text[start:end], source=source, domain=document.domain)


def _check_ids(passages: Iterable[Passage]) -> None:
    texts: dict[str, str] = {}
    for passage in passages:
        if passage.id in texts:
            shown = f"{texts[passage.id]!r:.60}", f"{passage.text!r:.60}"
            raise UniversalNERError(Errors.U103.format(id=passage.id, first=shown[0], second=shown[1]))
        texts[passage.id] = passage.text
