"""From records to conversations: one question per type, and questions about types that do not occur."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from heapq import heappush, heappushpop, nlargest, nsmallest
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..align import find_mentions
from ..errors import Errors, UniversalNERError
from ..records import Conversation, Part, Query, Record, open_array, open_rows, read_records, read_rows, sha256_json

TRIES = 32
"""Draws for each negative wanted, before the types that are left are listed and drawn from."""

Candidate = tuple[int, str, tuple[tuple[str, int], ...]]
"""A passage that may be held out: its hash, negative, its id and its own type counts."""


@dataclass(frozen=True)
class Split:
    """What is held out, and what negatives are drawn from.

    dev (frozenset): ids of the passages held out.
    type_counts (Counter): mentions of each type in the other passages.
    """

    dev: frozenset[str]
    type_counts: Counter[str]


class Survey:
    """What a split must know of all records, gathered in one pass: parts surveyed apart can be merged in any order.

    The passages with the smallest hashes are the dev part, so a passage's place depends on no order and no list.

    seed (int): seed of the split.
    dev_limit (int): most passages that may be held out; as many are remembered.
    """

    def __init__(self, *, seed: int, dev_limit: int):
        self.seed = seed
        self.dev_limit = dev_limit
        self.count = 0
        self.type_counts: Counter[str] = Counter()
        self.smallest: list[Candidate] = []  # a heap, the largest of these hashes on top

    def add(self, record: Record) -> None:
        """Count one record."""
        counts = Counter(mention.type for mention in record.mentions)
        digest = hashlib.sha256(f"{self.seed}:{record.passage_id}".encode()).digest()
        self.count += 1
        self.type_counts.update(counts)
        self._remember((-int.from_bytes(digest, "big"), record.passage_id, tuple(sorted(counts.items()))))

    def merge(self, other: "Survey") -> None:
        """Take in what another survey counted, of other records.

        RAISES (UniversalNERError): its seed or limit is another.
        """
        if (self.seed, self.dev_limit) != (other.seed, other.dev_limit):
            got = f"seed {other.seed} and dev_limit {other.dev_limit}"
            raise UniversalNERError(Errors.U120.format(got=got, seed=self.seed, dev_limit=self.dev_limit))
        self.count += other.count
        self.type_counts.update(other.type_counts)
        for entry in other.smallest:
            self._remember(entry)

    def finish(self, *, dev_share: float) -> Split:
        """Hold out a share of the passages: at least one if there are two, at most `dev_limit`."""
        wanted = min(max(1, round(self.count * dev_share)), self.dev_limit, max(self.count - 1, 0))
        dev = nlargest(wanted, self.smallest)
        held_out: Counter[str] = Counter()
        for _, _, counts in dev:
            held_out.update(dict(counts))
        return Split(frozenset(id_ for _, id_, _ in dev), self.type_counts - held_out)

    def _remember(self, entry: Candidate) -> None:
        if len(self.smallest) < self.dev_limit:
            heappush(self.smallest, entry)
        else:
            heappushpop(self.smallest, entry)


def survey_part(source: Path | Part, *, seed: int, dev_limit: int) -> Survey:
    """Survey the records of a file or a part of one. RAISES (UniversalNERError): a bad line."""
    survey = Survey(seed=seed, dev_limit=dev_limit)
    for record in read_records(
        source, Record, unique=False
    ):  # `write_parts`, which sees all parts, finds ids used twice
        survey.add(record)
    return survey


class NegativeSampler:
    """Draws types that do not occur in a passage (paper, section 3.2, "negative sampling").

    type_counts (Counter): mentions per type in the training records.
    strategy (str): none; uniform over types; frequency, in proportion to a type's mentions; or verified, of those
        that are known to be absent, however few; by frequency for a passage of which none are known.
    absent (Mapping): types known not to occur, by the hash of a passage's text.
    """

    def __init__(self, type_counts: Counter[str], *, strategy: str, absent: Mapping[str, Sequence[str]] | None = None):
        self.strategy = strategy
        self.absent = absent or {}
        self.types = sorted(type_counts)
        self.weights = [1 if strategy == "uniform" else type_counts[name] for name in self.types]
        self.cumulative = list(accumulate(self.weights))
        self.spellings = Counter(name.casefold() for name in self.types)

    def choose(self, text: str, present: Sequence[str], count: int, rng: random.Random) -> list[str]:
        """Distinct types of the training records that are not among those present in a passage; at most so many."""
        barred = {name.casefold() for name in present}
        listed = self.absent.get(sha256_json(text), ()) if self.strategy == "verified" else ()
        known = [
            name for name in dict.fromkeys(listed) if self.spellings[name.casefold()] and name.casefold() not in barred
        ]
        return rng.sample(known, min(count, len(known))) if known else self.draw(present, count, rng)

    def draw(self, present: Sequence[str], count: int, rng: random.Random) -> list[str]:
        """Distinct types that are not among those present, compared without case; fewer if there are not enough."""
        barred = {name.casefold() for name in present}
        wanted = min(count, len(self.types) - sum(self.spellings[name] for name in barred))
        if self.strategy == "none" or wanted <= 0:
            return []
        drawn: dict[str, None] = {}
        for _ in range(TRIES * wanted):
            name = rng.choices(self.types, cum_weights=self.cumulative)[0]
            if name.casefold() not in barred:
                drawn[name] = None
            if len(drawn) == wanted:
                return list(drawn)
        return [*drawn, *self._draw_listed(barred, drawn, wanted - len(drawn), rng)]

    def _draw_listed(self, barred: set[str], drawn: Container[str], count: int, rng: random.Random) -> list[str]:
        """The next types of the same draw, where nearly every try gives a present one or one drawn before.

        Each type rings after an exponential time of its weight's rate; in the order they ring, they are drawn one after
        another by weight without being put back (Efraimidis and Spirakis, 2006).
        """
        left = [
            (rng.expovariate(weight), name)
            for name, weight in zip(self.types, self.weights, strict=True)
            if name not in drawn and name.casefold() not in barred
        ]
        return [name for _, name in nsmallest(count, left)]


def make_sampler(type_counts: Counter[str], *, strategy: str, absent: Path) -> NegativeSampler:
    """A sampler with what a file says is absent, which is read where the strategy asks for it; see `read_absent`."""
    return NegativeSampler(
        type_counts, strategy=strategy, absent=read_absent(absent) if strategy == "verified" else None
    )


def read_absent(path: Path) -> dict[str, list[str]]:
    """Types that somebody found not to occur in passages, by the hash of the passage's text.

    path (Path): JSONL rows with "text_sha" (see `sha256_json`) and "absent".
    RAISES (UniversalNERError): the file is missing or damaged, or a row is no such thing.
    """
    found: dict[str, list[str]] = {}
    for number, row in read_rows(path):
        match row:
            case {"text_sha": str(sha), "absent": list(names)} if all(isinstance(name, str) for name in names):
                found.setdefault(sha, []).extend(names)
            case _:
                raise UniversalNERError(Errors.U128.format(path=path, line=number))
    return found


def converse(record: Record, sampler: NegativeSampler, *, number: float, per: str, seed: int) -> Conversation:
    """One conversation about a passage, its questions in random order.

    record (Record): the passage and its mentions.
    number (float): how many questions about absent types, for each unit of `per`.
    per (str): "positive", for each present type, where a passage without entities gets as many as one with a single
        type; or "passage", whatever is in it.
    seed (int): with the passage's id, makes the draw; other passages do not change it.
    """
    rng = random.Random(f"{seed}:{record.passage_id}")
    answers: dict[str, list[str]] = {}
    for mention in record.mentions:
        found = answers.setdefault(mention.type, [])
        if mention.text not in found:
            found.append(mention.text)
    count = round(number * (max(1, len(answers)) if per == "positive" else 1))
    queries = [Query(name, tuple(_reading_order(record.text, mentions))) for name, mentions in answers.items()]
    queries += [Query(name, ()) for name in sampler.choose(record.text, list(answers), count, rng)]
    rng.shuffle(queries)
    return Conversation(record.passage_id, record.text, tuple(queries))


def converse_part(source: Path | Part, **settings: Any) -> list[Conversation]:
    """The conversations about the records of a file or a part of one. Settings as of `converse`."""
    return [converse(record, **settings) for record in read_records(source, Record, unique=False)]


@dataclass
class Tally:
    """Counts of conversations; negatives are the questions that nothing answers."""

    conversations: int = 0
    questions: int = 0
    negatives: int = 0
    mentions: int = 0

    def add(self, conversation: Conversation) -> None:
        """Count one conversation."""
        self.conversations += 1
        self.questions += len(conversation.queries)
        self.negatives += sum(not query.mentions for query in conversation.queries)
        self.mentions += sum(len(query.mentions) for query in conversation.queries)


def write_parts(
    conversations: Iterable[Conversation], dev_ids: Container[str], *, train: Path, dev: Path, array: Path | None = None
) -> dict[str, int]:
    """Write each conversation into its part as it comes.

    conversations (Iterable[Conversation]): streamed.
    dev_ids (Container[str]): ids of those held out.
    train (Path): JSONL file of the others.
    dev (Path): JSONL file of those held out.
    array (Path): the same as `train` as one JSON array; None writes none.
    RETURNS (dict): counts of either part, `train_conversations` and so on.
    RAISES (UniversalNERError): an id of two conversations.
    """
    seen: set[bytes] = set()
    tallies = {"train": Tally(), "dev": Tally()}
    with ExitStack() as files:
        writers: dict[str, list[Callable[[dict[str, Any]], object]]] = {
            "train": [files.enter_context(open_rows(train))],
            "dev": [files.enter_context(open_rows(dev))],
        }
        if array is not None:
            writers["train"].append(files.enter_context(open_array(array)))
        for conversation in conversations:
            digest = hashlib.blake2b(conversation.id.encode(), digest_size=8).digest()
            if digest in seen:
                raise UniversalNERError(Errors.U127.format(id=conversation.id))
            seen.add(digest)
            part = "dev" if conversation.id in dev_ids else "train"
            tallies[part].add(conversation)
            row = conversation.to_sharegpt()
            for add in writers[part]:
                add(row)
    return {f"{part}_{key}": count for part, tally in tallies.items() for key, count in asdict(tally).items()}


def _reading_order(text: str, mentions: Sequence[str]) -> list[str]:
    return sorted(mentions, key=partial(find_mentions, text))
