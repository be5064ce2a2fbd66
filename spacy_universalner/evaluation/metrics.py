"""Scores: strict spans, and the strings of the paper's released scorer (universalner.md, section 5)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import Errors, UniversalNERError
from ..gold.readers import Example
from ..gold.strings import normalise
from ..records import Conversation, Prediction
from ..registry import Answer


@dataclass
class Tally:
    """Counts of things predicted, of things in the gold, and of those that are in both."""

    correct: int = 0
    predicted: int = 0
    gold: int = 0

    def add(self, predicted: set, gold: set) -> None:
        self.correct += len(predicted & gold)
        self.predicted += len(predicted)
        self.gold += len(gold)

    @property
    def precision(self) -> float:
        return _percent(self.correct, self.predicted)

    @property
    def recall(self) -> float:
        return _percent(self.correct, self.gold)

    @property
    def f1(self) -> float:
        return _percent(2 * self.correct, self.predicted + self.gold)


def score(examples: Sequence[Example], predictions: Sequence[Sequence[Prediction]]) -> dict[str, Any]:
    """Score predictions against gold, micro-averaged over all (sentence, type) questions.

    Spans are right if start, end and type are. Strings are compared as sets per question, as `normalise` makes them: a
    mention counts once however often it stands in its sentence, and where it stands does not matter.

    examples (Sequence): the gold.
    predictions (Sequence): for each example one prediction per type, in the order of its types.
    RETURNS (dict): precision, recall and F1 of both (0-100), how much was asked, and the scores of each type.
    RAISES (UniversalNERError): the predictions do not answer these examples.
    """
    spans: dict[str, Tally] = defaultdict(Tally)
    strings: dict[str, Tally] = defaultdict(Tally)
    questions = lost = 0
    for example, answer in _pair(examples, predictions):
        gold = {(start, end) for start, end, type_ in example.spans if type_ == answer.type}
        spans[answer.type].add(set(answer.spans), gold)
        strings[answer.type].add(
            {normalise(mention) for mention in answer.mentions},
            {normalise(example.text[start:end]) for start, end in gold},
        )
        questions += 1
        lost += len(answer.lost)
    return {
        **_rates("span", _sum(spans.values())),
        **_rates("string", _sum(strings.values())),
        "sentences": len(examples),
        "questions": questions,
        "lost": lost,
        "per_type": {
            type_: {
                "span_f1": tally.f1,
                "string_f1": strings[type_].f1,
                "support": tally.gold,
                "predicted": tally.predicted,
            }
            for type_, tally in spans.items()
        },
    }


def score_answers(conversations: Sequence[Conversation], answers: Sequence[Sequence[Answer]]) -> float:
    """String F1 of an engine's answers to the questions of conversations, as of `score`, 0-100."""
    total = Tally()
    for conversation, said in zip(conversations, answers, strict=True):
        for query, answer in zip(conversation.queries, said, strict=True):
            total.add({normalise(m) for m in answer.mentions}, {normalise(m) for m in query.mentions})
    return total.f1


def mean(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The plain mean of the F1 scores of several sets, as in the paper's tables; None if there are none."""
    if not sets:
        return None
    scores = sets.values()
    return {
        **{key: round(sum(s[key] for s in scores) / len(scores), 2) for key in ("span_f1", "string_f1")},
        **{key: sum(s[key] for s in scores) for key in ("sentences", "questions")},
    }


def _pair(
    examples: Sequence[Example], predictions: Sequence[Sequence[Prediction]]
) -> Iterator[tuple[Example, Prediction]]:
    if len(examples) != len(predictions):
        raise UniversalNERError(Errors.U083.format(examples=len(examples), predictions=len(predictions)))
    for example, answers in zip(examples, predictions, strict=True):
        got = [answer.type for answer in answers]
        if got != list(example.types):
            raise UniversalNERError(Errors.U084.format(id=example.id, expected=list(example.types), got=got))
        for answer in answers:
            yield example, answer


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.correct += tally.correct
        total.predicted += tally.predicted
        total.gold += tally.gold
    return total


def _rates(name: str, tally: Tally) -> dict[str, float]:
    return {f"{name}_{rate}": getattr(tally, rate) for rate in ("precision", "recall", "f1")}


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
