"""A sample of a stream in bounded memory, the same whatever the order of the stream and however it was split."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Literal

from ..errors import Errors, UniversalNERError
from ..records import Passage

Strata = Literal["", "source", "domain"]
# id, text, source, domain and when it came: plain tuples are half as large as passages, and cheap to send.
Copy = tuple[str, str, str, str, int]
STRATUM = {"source": 2, "domain": 3}


def fold(text: str) -> str:
    """What two copies of a text share: neither case nor white space tells them apart."""
    return " ".join(text.casefold().split())


class Reservoir:
    """The passages of smallest priority, where a passage's priority is a hash of its text.

    Over the limit, the largest stratum gives up its largest priority: strata end in equal shares, small ones whole.
    Copies of a text have one priority, so they are one in their stratum: the copy with the smallest id stays. Since no
    more than hashes decide, parts of a stream sampled apart and merged give what the whole stream would have given.

    limit (int): passages to hold.
    seed (int): seed of the sample.
    strata (str): the field whose values share the sample equally, "source" or "domain"; "" for none.
    counts (Counter): what those who fill the reservoir count, and the duplicates of passages held at that moment.
    merged (bool): it holds the passages of others, so that there is no order of arrival.
    overflowed (bool): it could not hold all.
    """

    def __init__(self, limit: int, seed: int, strata: Strata = "") -> None:
        """RAISES (UniversalNERError): limit is below 1."""
        if limit < 1:
            raise UniversalNERError(Errors.U008.format(name="limit", got=limit))
        self.limit, self.seed, self.strata = limit, seed, strata
        self.counts: Counter[str] = Counter()
        self.merged = self.overflowed = False
        self._arrived = self._size = 0
        self._held: dict[str, dict[int, Copy]] = {}  # stratum, priority
        self._worst: dict[str, list[int]] = {}  # a heap for each stratum, the largest priority first
        self._largest: list[tuple[int, int, str]] = []  # a heap of strata, the largest first; see _push

    def __len__(self) -> int:
        return self._size

    def add(self, passage: Passage) -> None:
        """Hold a passage, for as long as its priority lasts."""
        copy = (passage.id, passage.text, passage.source, passage.domain, self._arrived)
        self._arrived += 1
        self.hold(_hash(self.seed, fold(passage.text)), copy)

    def hold(self, priority: int, copy: Copy) -> None:
        """Hold a passage with the priority another reservoir of this seed gave it."""
        stratum = str(copy[STRATUM[self.strata]]) if self.strata else ""
        held = self._held.setdefault(stratum, {})
        if priority in held:
            self.counts["duplicates"] += 1
            held[priority] = min(held[priority], copy)
            return
        held[priority] = copy
        heappush(self._worst.setdefault(stratum, []), -priority)
        self._push(stratum)
        self._size += 1
        if self._size > self.limit:
            self._evict()

    def merge(self, other: "Reservoir") -> None:
        """Take over what another reservoir of the same settings holds and has counted.

        RAISES (UniversalNERError): its settings differ.
        """
        mine, others = ((part.limit, part.seed, part.strata) for part in (self, other))
        if mine != others:
            raise UniversalNERError(Errors.U105.format(got=others, expected=mine))
        self.counts.update(other.counts)
        self.merged = True
        self.overflowed |= other.overflowed
        for priority, copy in other:
            self.hold(priority, copy)

    def __iter__(self) -> Iterator[tuple[int, Copy]]:
        """YIELDS (tuple): (priority, copy), in order; two copies of a text may come from different strata."""
        return iter(sorted(pair for held in self._held.values() for pair in held.items()))

    def passages(self) -> list[Passage]:
        """RETURNS (list): what is held, in order of arrival, or of ids where reservoirs were merged."""
        copies = (copy for held in self._held.values() for copy in held.values())
        return [Passage(*copy[:4]) for copy in sorted(copies, key=None if self.merged else lambda copy: copy[4])]

    def _evict(self) -> None:
        self.overflowed = True
        stratum = self._pop()
        held, worst = self._held[stratum], self._worst[stratum]
        del held[-heappop(worst)]
        self._size -= 1
        if held:
            self._push(stratum)
        else:
            del self._held[stratum], self._worst[stratum]

    def _push(self, stratum: str) -> None:
        """Note a stratum's size. Sizes noted before are not looked for, they are passed over when they come up."""
        if len(self._largest) > 2 * len(self._held) + 100:
            self._largest = [self._note(name) for name in self._held]
            heapify(self._largest)
        heappush(self._largest, self._note(stratum))

    def _pop(self) -> str:
        while True:
            size, _, stratum = heappop(self._largest)
            if -size == len(self._held.get(stratum, ())):
                return stratum

    def _note(self, stratum: str) -> tuple[int, int, str]:
        # By name alone, of more strata than there is room for, the first in the alphabet would be the sample.
        return -len(self._held[stratum]), _hash(self.seed, stratum), stratum


def _hash(seed: int, text: str) -> int:
    digest = hashlib.blake2b(f"{seed}\n{text}".encode("utf8", "surrogatepass"), digest_size=16)
    return int.from_bytes(digest.digest(), "big")
