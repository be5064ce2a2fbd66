"""Near duplicates: texts that share most of their runs of words."""

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from datasketch import LeanMinHash, MinHash, MinHashLSH

WORD = re.compile(r"\w+")
SHINGLE_WORDS = 5
PERMUTATIONS = 128
# Candidates are verified, one too many costs little: the index looks for less than the threshold, and finds 99.8% of
# the pairs at a threshold of 0.8 (its own choice for that, 9 bands of 13, would find 40%).
MARGIN = 0.875
WEIGHTS = (0.1, 0.9)  # of false positives and false negatives


def drop_near_duplicates(texts: Sequence[str], threshold: float) -> Iterator[int]:
    """Pass over texts that resemble one before them.

    texts (Sequence): texts, the ones to be preferred first.
    threshold (float): resemblance (Jaccard, of shingles of 5 words, estimated by MinHash) from which a text is dropped;
        0 drops none.
    YIELDS (int): the places of those that stay, in order.
    """
    if not threshold:
        yield from range(len(texts))
        return
    index = MinHashLSH(MARGIN * threshold, PERMUTATIONS, weights=WEIGHTS)
    signatures = _sign(texts)
    shared = _shared(signatures, index.hashranges)
    kept: dict[int, LeanMinHash] = {}
    for place in range(len(texts)):
        if shared[place]:
            minhash = LeanMinHash(seed=1, hashvalues=signatures[place], scheme="affine32")
            if any(minhash.jaccard(kept[other]) >= threshold for other in index.query(minhash)):
                continue
            index.insert(place, minhash)
            kept[place] = minhash
        yield place


def shingles(text: str) -> list[bytes]:
    """The runs of 5 words in a text, without case and punctuation; of a shorter text, all its words."""
    folded = text.casefold()
    words = WORD.findall(folded) or folded.split()
    starts = range(max(1, len(words) - SHINGLE_WORDS + 1))
    return [" ".join(words[i : i + SHINGLE_WORDS]).encode("utf8", "surrogatepass") for i in starts]


def _sign(texts: Sequence[str]) -> np.ndarray:
    signatures = np.empty((len(texts), PERMUTATIONS), np.uint32)
    minhashes = MinHash.generator(map(shingles, texts), num_perm=PERMUTATIONS, hashfunc=zlib.crc32, scheme="affine32")
    for place, minhash in enumerate(minhashes):
        signatures[place] = minhash.hashvalues
    return signatures


def _shared(signatures: np.ndarray, bands: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which texts have a band in common with another: only these need the index, which takes 5 KB a text."""
    shared = np.zeros(len(signatures), bool)
    weights = np.random.default_rng(0).integers(1 << 63, size=PERMUTATIONS, dtype=np.uint64)
    for start, end in bands:
        keys = signatures[:, start:end] @ weights[start:end]  # one number a band, equal for equal bands
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        shared |= counts[inverse] > 1
    return shared
