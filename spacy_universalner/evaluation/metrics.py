"""Scores of prediction rows: strict spans, partial matches, and the strings of the paper's released scorer."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..align import find_mentions
from ..gold.readers import Example
from ..gold.strings import normalise
from ..records import Conversation, Prediction
from ..registry import Answer
from .rows import Question, Row, check_answers, group_questions, prediction_rows

# Each rate as part and whole; of numbers or of arrays of them.
RATES: dict[str, Callable[[Any, Any, Any], tuple[Any, Any]]] = {
    "precision": lambda correct, predicted, gold: (correct, predicted),
    "recall": lambda correct, predicted, gold: (correct, gold),
    "f1": lambda correct, predicted, gold: (2 * correct, predicted + gold),
}
S = TypeVar("S", bound=tuple)


@dataclass
class Tally:
    """Counts of things predicted, of things in the gold, and of those that are in both."""

    correct: float = 0
    predicted: int = 0
    gold: int = 0

    def add(self, other: "Tally") -> None:
        self.correct += other.correct
        self.predicted += other.predicted
        self.gold += other.gold

    def rate(self, name: str) -> float:
        """RETURNS (float): precision, recall or f1, 0-100; 0 of nothing."""
        part, whole = RATES[name](self.correct, self.predicted, self.gold)
        return round(100 * part / whole, 2) if whole else 0.0


def count_spans(question: Question) -> Tally:
    """A span is right if start, end and type are."""
    return _match(question.predicted, question.gold)


def count_ents(question: Question) -> Tally:
    """Spans as `count_spans`, of those that do not overlap: what doc.ents hold."""
    return _match(question.chosen, question.gold)


def count_strings(question: Question) -> Tally:
    """Sets of strings, as `normalise` makes them: a mention counts once, wherever and however often it stands."""
    gold = {normalise(question.text[start:end]) for start, end in question.gold}
    return _match({normalise(mention) for mention in question.mentions}, gold)


def count_partial(question: Question) -> Tally:
    """Spans of which some are half right: see `score_rows`."""
    exact = question.predicted & question.gold
    pairs = pair_overlapping(question.gold - exact, question.predicted - exact)
    return Tally(len(exact) + len(pairs) / 2, len(question.predicted), len(question.gold))


METRICS: dict[str, Callable[[Question], Tally]] = {
    "span": count_spans,
    "ents": count_ents,
    "string": count_strings,
    "partial": count_partial,
}
F1S = tuple(f"{name}_f1" for name in METRICS)


def pair_overlapping(gold: Iterable[S], predicted: Iterable[S]) -> list[tuple[S, S]]:
    """Pair gold and predicted spans that have a character in common, each in one pair at most.

    There are as many pairs as there can be, whatever the order: the span that ends first can only have partners that
    reach over its end, and the one of them that ends first is the one that others can best do without.

    gold, predicted (Iterable): (start, end) or (start, end, type), each once.
    RETURNS (list): (gold, predicted) pairs.
    """
    sides = ((False, gold), (True, predicted))
    waiting = sorted((span[1], *span, side) for side, spans in sides for span in spans)
    pairs = []
    while waiting:
        end, *first, side = waiting.pop(0)
        found = next((other for other in waiting if other[-1] != side and other[1] < end), None)
        if found:
            waiting.remove(found)
            both = (tuple(first), found[1:-1])
            pairs.append(both[::-1] if side else both)
    return pairs


def score_rows(rows: Iterable[Row]) -> dict[str, Any]:
    """Score prediction rows, micro-averaged over all (sentence, type) questions.

    span: start, end and type must be right. ents: the same of those that doc.ents hold, which do not overlap. string:
    sets of normalised strings per question, as the paper's released scorer compares them. partial: a span that is right
    counts 1; of the others, a predicted span that shares a word with a gold one of the same question counts one half,
    both in precision and in recall. Each span is in one such pair at most, right ones are in none, and there are as
    many pairs as there can be: which gold span a predicted one is paired with then changes nothing. Words are shared
    where the offsets are, so that one of the same letters elsewhere in the sentence is none. (The paper counts one half
    for "word overlap with a gold mention", and its code for that was never released: it may have compared the words of
    strings.)

    rows (Iterable): of `prediction_rows`, or of the file they are in.
    RETURNS (dict): precision, recall and F1 of each (0-100), sentences, questions, how many different mentions stand
        nowhere in their texts ("lost"), how many answers were cut off or no list ("incomplete"), and of each type
        its F1 scores, gold spans ("support") and predicted ones.
    RAISES (UniversalNERError): a row that cannot be scored.
    """
    tallies: dict[str, dict[str, Tally]] = {name: defaultdict(Tally) for name in METRICS}
    counts = dict.fromkeys(("sentences", "questions", "lost", "incomplete"), 0)
    types: dict[str, None] = {}
    for row in rows:
        questions = group_questions(row)
        types.update(dict.fromkeys(row["types"]))
        counts["sentences"] += 1
        counts["questions"] += len(row["types"])
        counts["lost"] += sum(map(_count_lost, questions.values()))
        counts["incomplete"] += len(row.get("incomplete", ()))
        for type_, question in questions.items():
            for name, count in METRICS.items():
                tallies[name][type_].add(count(question))
    rates = {f"{name}_{rate}": _sum(tallies[name].values()).rate(rate) for name in METRICS for rate in RATES}
    return {**rates, **counts, "per_type": {type_: _describe(type_, tallies) for type_ in types}}


def score(examples: Sequence[Example], predictions: Sequence[Sequence[Prediction]]) -> dict[str, Any]:
    """Score predictions against gold, as `score_rows` does.

    examples (Sequence): the gold.
    predictions (Sequence): for each example one prediction per type, in the order of its types.
    RAISES (UniversalNERError): the predictions do not answer these examples.
    """
    check_answers(examples, predictions)
    return score_rows(prediction_rows(examples, predictions))


def score_answers(conversations: Sequence[Conversation], answers: Sequence[Sequence[Answer]]) -> float:
    """String F1 of an engine's answers to the questions of conversations, as of `score`, 0-100."""
    total = Tally()
    for conversation, said in zip(conversations, answers, strict=True):
        for query, answer in zip(conversation.queries, said, strict=True):
            total.add(_match({normalise(m) for m in answer.mentions}, {normalise(m) for m in query.mentions}))
    return total.rate("f1")


def mean(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The plain mean of the F1 scores of several sets, as in the paper's tables; None if there are none."""
    if not sets:
        return None
    scores = sets.values()
    return {
        **average(scores, ("span_f1", "ents_f1", "string_f1")),
        **{key: sum(s[key] for s in scores) for key in ("sentences", "questions")},
    }


def mean_by(
    results: Iterable[Mapping[str, Any]], key: str, names: Sequence[str] = F1S
) -> dict[Any, dict[str, float | int]]:
    """The plain means of scores over the sets of each group, each set counting once however large it is.

    results (Iterable): the scores of sets, one mapping each, with what they are grouped by.
    key (str): what that is, such as "domain" or "system".
    names (Sequence): the scores.
    RETURNS (dict): by group, in the order they are met, the means and the number of "sets" they are over.
    """
    groups: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result[key]].append(result)
    return {group: {"sets": len(found), **average(found, names)} for group, found in groups.items()}


def average(results: Iterable[Mapping[str, Any]], names: Sequence[str] = F1S) -> dict[str, float]:
    """The plain means of scores over sets, at least one."""
    results = list(results)
    return {name: round(sum(result[name] for result in results) / len(results), 2) for name in names}


def _match(predicted: set, gold: set) -> Tally:
    return Tally(len(predicted & gold), len(predicted), len(gold))


def _count_lost(question: Question) -> int:
    placed = {question.text[start:end] for start, end in question.predicted}
    others = {mention for mention in question.mentions if mention.strip() not in placed}
    return sum(not find_mentions(question.text, mention) for mention in others)


def _describe(type_: str, tallies: Mapping[str, Mapping[str, Tally]]) -> dict[str, float | int]:
    spans = tallies["span"].get(type_, Tally())
    rates = {f"{name}_f1": found.get(type_, Tally()).rate("f1") for name, found in tallies.items()}
    return {**rates, "support": spans.gold, "predicted": spans.predicted}


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
