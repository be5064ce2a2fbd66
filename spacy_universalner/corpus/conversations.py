"""From records to conversations: one question per type, and questions about types that do not occur."""

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from ..align import find_mentions
from ..records import Conversation, Query, Record


def split(records: Sequence[Record], *, dev_share: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Hold out a share of the passages, drawn at random, at least one if there are two.

    RETURNS (tuple): training and dev records, each in file order.
    """
    count = min(max(1, round(len(records) * dev_share)), len(records) - 1)
    held_out = set(random.Random(seed).sample(range(len(records)), max(count, 0)))
    train = [record for i, record in enumerate(records) if i not in held_out]
    return train, [record for i, record in enumerate(records) if i in held_out]


def count_types(records: Sequence[Record]) -> Counter[str]:
    """How many mentions each type has in all records: the distribution negatives are drawn from."""
    return Counter(mention.type for record in records for mention in record.mentions)


class NegativeSampler:
    """Draws types that do not occur in a passage (paper, section 3.2, "negative sampling").

    type_counts (Counter): mentions per type in the training records.
    strategy (str): none; uniform over types; or frequency, in proportion to a type's mentions.
    """

    def __init__(self, type_counts: Counter[str], *, strategy: str):
        self.strategy = strategy
        self.types = sorted(type_counts)
        weights = [1 if strategy == "uniform" else type_counts[name] for name in self.types]
        self.cumulative = list(accumulate(weights))

    def draw(self, present: Sequence[str], count: int, rng: random.Random) -> list[str]:
        """Distinct types that are not among those present, compared without case; fewer if there are not enough."""
        barred = {name.casefold() for name in present}
        candidates = sum(name.casefold() not in barred for name in self.types)
        if self.strategy == "none":
            return []
        drawn: dict[str, None] = {}
        while len(drawn) < min(count, candidates):
            name = rng.choices(self.types, cum_weights=self.cumulative)[0]
            if name.casefold() not in barred:
                drawn[name] = None
        return list(drawn)


def converse(record: Record, sampler: NegativeSampler, *, negatives_per_positive: float, seed: int) -> Conversation:
    """One conversation about a passage, its questions in random order.

    record (Record): the passage and its mentions.
    negatives_per_positive (float): questions about absent types for each present one; a passage without entities
        gets as many as one with a single type, at least one.
    seed (int): with the passage's id, makes the draw; other passages do not change it.
    """
    rng = random.Random(f"{seed}:{record.passage_id}")
    answers: dict[str, list[str]] = {}
    for mention in record.mentions:
        found = answers.setdefault(mention.type, [])
        if mention.text not in found:
            found.append(mention.text)
    count = round(max(1, len(answers)) * negatives_per_positive)
    queries = [Query(name, tuple(_reading_order(record.text, mentions))) for name, mentions in answers.items()]
    queries += [Query(name, ()) for name in sampler.draw(list(answers), count, rng)]
    rng.shuffle(queries)
    return Conversation(record.passage_id, record.text, tuple(queries))


def _reading_order(text: str, mentions: Sequence[str]) -> list[str]:
    return sorted(mentions, key=partial(find_mentions, text))
