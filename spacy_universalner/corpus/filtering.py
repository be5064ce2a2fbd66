"""From what the teacher said to what a student can learn from. Nothing is dropped without a counted reason."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..align import find_mentions
from ..chunking import TOKEN
from ..errors import Errors, UniversalNERError
from ..parsing import parse_pairs
from ..prompts import prompt_variant
from ..records import Mention, Part, Record, Reply, read_records, read_rows

REFUSED = ("content_filter", "refusal")
CUT_OFF = ("length", "max_tokens")
# The paper names "unparseable", "not english letters" and "else type" (section 3.1), the others are ours.
REPLY_REASONS = {
    "refused": "the teacher would not answer, or a filter stopped it",
    "cut off": "it stopped at its limit of tokens: entities are missing, so its negatives would be untrue",
    "no reply": "nothing was said",
    "unparseable": "no list of pairs can be read",
    "nothing left": "pairs were listed and none was kept",
}
PAIR_REASONS = {
    "empty": "no entity or no type",
    "else type": "the type says nothing (else_types)",
    "not english letters": "the entity or its type has letters, none of them Latin",
    "sentence type": "the type has more than max_type_words words, or three and more with a final mark",
    "long entity": "the entity has more than max_entity_words words",
    "not in text": "the entity stands nowhere in the passage",
    "over count": "the pair is listed more often than the entity stands in the passage; the surplus, else a duplicate",
    "duplicate": "the pair was listed before; kept once",
}
REASONS = {**REPLY_REASONS, **PAIR_REASONS}
ALWAYS = ("no reply", "unparseable", "empty", "duplicate")
RULES = tuple(reason for reason in REASONS if reason not in ALWAYS)
"""The rules that may be left out."""

LATIN = re.compile(r"[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]")
FINAL_MARKS = (".", "!", "?", "…")
SNIPPET_CHARS = 160
NO_DOMAIN = "not given"


@dataclass(frozen=True)
class Rejection:
    """A pair of a reply that was dropped, or the whole reply (entity and type empty)."""

    passage_id: str
    reason: str
    entity: str = ""
    type: str = ""


@dataclass(frozen=True, order=True)
class Example:
    """A rejection as a report shows it, shortened.

    snippet (str): where the entity stands or its passage begins; of a whole reply, the reply, if it is not empty.
    """

    passage_id: str
    entity: str
    type: str
    snippet: str


@dataclass
class FilterReport:
    """Counts of what a filter kept and dropped, with examples of each reason.

    Reports of parts of a corpus can be merged in any order. A report grows with the distinct types only.

    max_examples (int): examples kept of each reason, the first by passage id.
    replies (int): replies read.
    records (int): replies of which a record was made.
    pairs (int): pairs listed in the replies that were not dropped unread.
    mentions (int): pairs kept.
    type_counts (Counter): mentions by type.
    rejected (Counter): replies and pairs dropped, by reason.
    domains (Counter): passages by domain, see `count_domains`.
    passage_tokens (Counter): passages by their number of words and punctuation marks.
    entities_per_passage (Counter): records by their number of mentions.
    examples (dict): by reason.
    """

    max_examples: int = 10
    replies: int = 0
    records: int = 0
    pairs: int = 0
    mentions: int = 0
    type_counts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    passage_tokens: Counter[int] = field(default_factory=Counter)
    entities_per_passage: Counter[int] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)

    def add(self, reply: Reply, record: Record | None, rejections: Iterable[Rejection]) -> None:
        """Count one reply's outcome."""
        self.replies += 1
        self.passage_tokens[sum(1 for _ in TOKEN.finditer(reply.text))] += 1
        if record is not None:
            self.records += 1
            self.pairs += len(record.mentions)
            self.mentions += len(record.mentions)
            self.entities_per_passage[len(record.mentions)] += 1
            self.type_counts.update(mention.type for mention in record.mentions)
        for rejection in rejections:
            self.pairs += rejection.reason in PAIR_REASONS
            self.rejected[rejection.reason] += 1
            shown = self.examples.get(rejection.reason, [])
            if len(shown) < self.max_examples or (shown and rejection.passage_id <= shown[-1].passage_id):
                self._show(rejection.reason, [_example(rejection, reply)])

    def merge(self, other: "FilterReport") -> None:
        """Add what another report counted."""
        for name in ("replies", "records", "pairs", "mentions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("type_counts", "rejected", "domains", "passage_tokens", "entities_per_passage"):
            getattr(self, name).update(getattr(other, name))
        for reason, examples in other.examples.items():
            self._show(reason, examples)

    def to_json(self) -> dict[str, Any]:
        """The report in plain values, the same for the same corpus in whatever order it was counted."""
        return {
            "replies": self.replies,
            "records": self.records,
            "pairs": self.pairs,
            "mentions": self.mentions,
            "types": len(self.type_counts),
            "rejected": {reason: self.rejected[reason] for reason in REASONS},
            "examples": {
                reason: [asdict(example) for example in self.examples[reason]]
                for reason in REASONS
                if self.examples.get(reason)
            },
            "domains": _ranked(self.domains),
            "passage_tokens": dict(sorted(self.passage_tokens.items())),
            "entities_per_passage": dict(sorted(self.entities_per_passage.items())),
            "type_counts": _ranked(self.type_counts),
        }

    def _show(self, reason: str, examples: Iterable[Example]) -> None:
        self.examples[reason] = sorted({*self.examples.get(reason, ()), *examples})[: self.max_examples]


def filter_part(source: Path | Part, **settings: Any) -> tuple[list[Record], FilterReport]:
    """Filter the replies of a file or a part of one.

    source (Path | Part): JSONL of replies.
    settings: as of `filter_reply`; the variant is told by the prompt each reply answers.
    RETURNS (tuple): the records, in order, and the report; those of all parts can be merged.
    RAISES (UniversalNERError): a bad line, a reply to a prompt that is not known.
    """
    records, report = [], FilterReport()
    for reply in read_records(source, Reply, unique=False):  # convert finds ids used twice
        record, rejections = filter_reply(reply, variant=prompt_variant(reply.prompt_sha), **settings)
        report.add(reply, record, rejections)
        if record is not None:
            records.append(record)
    return records, report


def filter_reply(
    reply: Reply,
    *,
    variant: str,
    rules: Collection[str],
    else_types: Iterable[str],
    max_type_words: int,
    max_entity_words: int,
    normalize_space: bool,
    normalize_case: bool,
) -> tuple[Record | None, list[Rejection]]:
    """Parse one reply and keep the pairs that can be taught (paper, section 3.1, and checks against the text).

    reply (Reply): what the teacher said.
    variant (str): what it was asked for beside each entity, "type" or "definition".
    rules (Collection[str]): those of RULES that apply; what ALWAYS names needs no rule.
    else_types (Iterable[str]): types that say nothing, compared without case.
    max_type_words (int): longest type that is no sentence.
    max_entity_words (int): longest entity.
    normalize_space (bool): white space in a type becomes one space.
    normalize_case (bool): types are casefolded.
    RETURNS (tuple): the record (None if the whole reply was dropped), and what was dropped.
    RAISES (UniversalNERError): a rule that is not in RULES.
    """
    _check_rules(rules)
    fault = _find_fault(reply, rules)
    pairs = None if fault else parse_pairs(reply.raw)
    if pairs is None:
        return None, [Rejection(reply.passage_id, fault or "unparseable")]
    barred = {name.casefold() for name in else_types}
    checks = {
        "else type": lambda mention: mention.type.casefold() in barred,
        "not english letters": lambda mention: not (_english(mention.text) and _english(mention.type)),
        "sentence type": lambda mention: variant == "type" and _is_sentence(mention.type, max_type_words),
        "long entity": lambda mention: len(mention.text.split()) > max_entity_words,
        "not in text": lambda mention: not find_mentions(reply.text, mention.text),
    }
    checks = {"empty": _is_empty, **{name: check for name, check in checks.items() if name in rules}}
    listed = [
        Mention(entity.strip(), _normalize(type_, space=normalize_space, case=normalize_case))
        for entity, type_ in pairs
    ]
    kept, rejections = _sift(reply, listed, checks, capped="over count" in rules)
    if listed and not kept and "nothing left" in rules:
        return None, [*rejections, Rejection(reply.passage_id, "nothing left")]
    return Record(reply.passage_id, reply.text, kept), rejections


def count_domains(passages: Path) -> Counter[str]:
    """How many passages of a file each domain has, streamed.

    RAISES (UniversalNERError): a missing file, or a line that is no JSON object.
    """
    return Counter(str(row.get("domain") or NO_DOMAIN) for _, row in read_rows(passages))


def _check_rules(rules: Collection[str]) -> None:
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown:
        raise UniversalNERError(Errors.U110.format(unknown=unknown, known=", ".join(RULES), always=", ".join(ALWAYS)))


def _find_fault(reply: Reply, rules: Collection[str]) -> str | None:
    """Why a reply is not read at all, None if it is."""
    if "refused" in rules and reply.finish_reason in REFUSED:
        return "refused"
    if "cut off" in rules and reply.finish_reason in CUT_OFF:
        return "cut off"
    return None if reply.raw.strip() else "no reply"


def _sift(
    reply: Reply, listed: Iterable[Mention], checks: Mapping[str, Callable[[Mention], bool]], *, capped: bool
) -> tuple[tuple[Mention, ...], list[Rejection]]:
    """The distinct mentions that no check rejects, in order, and the rest."""
    kept: Counter[Mention] = Counter()
    rejections = []
    for mention in listed:
        repeated = mention in kept
        if repeated:
            reason = _name_repeat(reply.text, mention, kept[mention] + 1) if capped else "duplicate"
        else:
            reason = next((name for name, check in checks.items() if check(mention)), None)
        if repeated or reason is None:
            kept[mention] += 1
        if reason is not None:
            rejections.append(Rejection(reply.passage_id, reason, mention.text, mention.type))
    return tuple(kept), rejections


def _name_repeat(text: str, mention: Mention, count: int) -> str:
    """What the second or a later listing of a pair is. One that stands nowhere can only be a duplicate."""
    places = len(find_mentions(text, mention.text))
    return "over count" if 0 < places < count else "duplicate"


def _normalize(type_: str, *, space: bool, case: bool) -> str:
    type_ = " ".join(type_.split()) if space else type_.strip()
    return type_.casefold() if case else type_


def _is_empty(mention: Mention) -> bool:
    return not mention.text or not mention.type


def _is_sentence(type_: str, max_words: int) -> bool:
    words = type_.split()
    return len(words) > max_words or (len(words) > 2 and words[-1].endswith(FINAL_MARKS))


def _english(text: str) -> bool:
    """Whether a text has Latin letters, or no letters at all (numbers, emoji): the paper drops non-English entities."""
    return LATIN.search(text) is not None or not any(char.isalpha() for char in text)


def _example(rejection: Rejection, reply: Reply) -> Example:
    entity, type_ = (_shorten(part) for part in (rejection.entity, rejection.type))
    return Example(rejection.passage_id, entity, type_, _cite(rejection, reply))


def _cite(rejection: Rejection, reply: Reply) -> str:
    """The piece of passage or reply that shows a rejection best: of a cut-off reply its end."""
    if rejection.reason in REPLY_REASONS and reply.raw.strip():
        return _shorten(reply.raw, start=len(reply.raw) if rejection.reason == "cut off" else 0)
    place = re.search(re.escape(rejection.entity), reply.text, re.IGNORECASE)
    return _shorten(reply.text, start=place.start() - SNIPPET_CHARS // 3 if place else 0)


def _shorten(text: str, start: int = 0) -> str:
    """A piece of a text in one line, with dots where it was cut."""
    start = max(0, min(start, len(text) - SNIPPET_CHARS))
    piece = " ".join(text[start : start + SNIPPET_CHARS].split())
    return f"{'…' if start else ''}{piece}{'…' if start + SNIPPET_CHARS < len(text) else ''}"


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first, ties by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
