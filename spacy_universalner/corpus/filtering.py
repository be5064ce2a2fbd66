"""From what the teacher said to what a student can learn from. Nothing is dropped without a counted reason."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..align import find_mentions
from ..parsing import parse_pairs
from ..records import Mention, Record, Reply

REASONS = ("unparseable", "empty", "else type", "not english letters", "not in text", "duplicate")


@dataclass(frozen=True)
class Rejection:
    """A pair of a reply that was dropped, or the whole reply (entity and type empty)."""

    passage_id: str
    reason: str
    entity: str = ""
    type: str = ""


@dataclass
class FilterReport:
    """Counts of what a filter kept and dropped, with examples of each reason."""

    replies: int = 0
    records: int = 0
    mentions: int = 0
    type_counts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, record: Record | None, rejections: Iterable[Rejection], *, max_examples: int = 10) -> None:
        """Count one reply's outcome."""
        self.replies += 1
        if record is not None:
            self.records += 1
            self.mentions += len(record.mentions)
            self.type_counts.update(mention.type for mention in record.mentions)
        for rejection in rejections:
            self.rejected[rejection.reason] += 1
            examples = self.examples.setdefault(rejection.reason, [])
            if len(examples) < max_examples:
                examples.append(
                    {"passage_id": rejection.passage_id, "entity": rejection.entity, "type": rejection.type}
                )

    def to_json(self) -> dict[str, Any]:
        return {
            "replies": self.replies,
            "records": self.records,
            "mentions": self.mentions,
            "types": len(self.type_counts),
            "rejected": {reason: self.rejected[reason] for reason in REASONS},
            "examples": self.examples,
            "type_counts": dict(self.type_counts.most_common()),
        }


def filter_reply(reply: Reply, *, else_types: Iterable[str]) -> tuple[Record | None, list[Rejection]]:
    """Parse one reply and keep the pairs that can be taught (paper, section 3.1, and a check against the text).

    reply (Reply): what the teacher said.
    else_types (Iterable[str]): types that say nothing, compared without case.
    RETURNS (tuple): the record (None if the reply cannot be read), and what was dropped.
    """
    pairs = parse_pairs(reply.raw)
    if pairs is None:
        return None, [Rejection(reply.passage_id, "unparseable", entity=reply.raw[:200])]
    barred = {name.casefold() for name in else_types}
    kept: dict[Mention, None] = {}
    rejections = []
    for entity, type_ in pairs:
        mention = Mention(entity.strip(), " ".join(type_.split()))
        reason = "duplicate" if mention in kept else _fault(mention, reply.text, barred)
        if reason is None:
            kept[mention] = None
        else:
            rejections.append(Rejection(reply.passage_id, reason, mention.text, mention.type))
    return Record(reply.passage_id, reply.text, tuple(kept)), rejections


def _fault(mention: Mention, text: str, barred: set[str]) -> str | None:
    if not mention.text or not mention.type:
        return "empty"
    if mention.type.casefold() in barred:
        return "else type"
    if not _english(mention.text) or not _english(mention.type):
        return "not english letters"
    if not find_mentions(text, mention.text):
        return "not in text"
    return None


def _english(text: str) -> bool:
    """Whether a text has Latin letters, or no letters at all (numbers, emoji): the paper drops non-English entities."""
    letters = [char for char in text if char.isalpha()]
    return not letters or any(re.match(r"[A-Za-z\u00c0-\u024f]", char) for char in letters)
