"""Prediction rows: a text, what was asked of it, its gold and what was answered. All scores are of these alone."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..align import choose_flat
from ..errors import Errors, UniversalNERError
from ..gold.readers import Example, Span
from ..records import Prediction, read_rows

Row = Mapping[str, Any]
Offsets = tuple[int, int]
FIELDS = ("id", "text", "types", "gold", "predicted", "mentions")
"""What a row must have to be scored; "scores" and "incomplete" are beside them, and "set" where there are several."""


@dataclass
class Question:
    """A type that was asked about in a text.

    text (str): the text.
    gold (set): (start, end) of its entities.
    predicted (set): (start, end) of those answered.
    chosen (set): those of them that stay where spans may not overlap, whatever their types, as in doc.ents but with
        lengths in characters (see `choose_flat`).
    mentions (list): the strings answered, placed or not.
    """

    text: str
    gold: set[Offsets] = field(default_factory=set)
    predicted: set[Offsets] = field(default_factory=set)
    chosen: set[Offsets] = field(default_factory=set)
    mentions: list[str] = field(default_factory=list)


def prediction_rows(
    examples: Sequence[Example], predictions: Sequence[Sequence[Prediction]]
) -> Iterator[dict[str, Any]]:
    """Put gold and predicted spans side by side, to be read, scored or compared later without a model.

    Gold entities of types that were not asked about are not in a row.

    YIELDS (dict): "id", "text", the "types" asked, "gold" and "predicted" as sorted [start, end, type], a score (or
        None) for each predicted span, by type the "mentions" as they were answered, and "incomplete", the types whose
        answers were cut off or were no list.
    RAISES (UniversalNERError): another number of scores than of spans, or a score that is no probability.
    """
    for example, answers in zip(examples, predictions, strict=True):
        predicted = sorted(_score_spans(example.id, answers).items())
        yield {
            "id": example.id,
            "text": example.text,
            "types": list(example.types),
            "gold": sorted(list(span) for span in example.spans if span[2] in example.types),
            "predicted": [list(span) for span, _ in predicted],
            "scores": [score for _, score in predicted],
            "mentions": {answer.type: list(answer.mentions) for answer in answers if answer.mentions},
            "incomplete": [answer.type for answer in answers if not answer.complete],
        }


def set_rows(
    sets: Mapping[str, Sequence[Example]], predictions: Mapping[str, Sequence[Sequence[Prediction]]]
) -> Iterator[dict[str, Any]]:
    """The rows of several sets, each with the name of its set; otherwise as `prediction_rows`."""
    for name, examples in sets.items():
        yield from ({"set": name, **row} for row in prediction_rows(examples, predictions[name]))


def check_answers(examples: Sequence[Example], predictions: Sequence[Sequence[Prediction]]) -> None:
    """RAISES (UniversalNERError): not one prediction for each type of each example, in their order."""
    if len(examples) != len(predictions):
        raise UniversalNERError(Errors.U083.format(examples=len(examples), predictions=len(predictions)))
    for example, answers in zip(examples, predictions, strict=True):
        got = [answer.type for answer in answers]
        if got != list(example.types):
            raise UniversalNERError(Errors.U084.format(id=example.id, expected=list(example.types), got=got))


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file. RAISES (UniversalNERError): it is missing or damaged, or a row cannot be scored."""
    rows = [row for _, row in read_rows(path)]
    for row in rows:
        check_row(row)
    return rows


def check_row(row: Row) -> None:
    """RAISES (UniversalNERError): a field is missing, a span is not in the text, a type was not asked about, or there
    is not a score, or None, for each predicted span."""
    if missing := [name for name in FIELDS if name not in row]:
        raise UniversalNERError(Errors.U230.format(id=row.get("id"), missing=missing, expected=", ".join(FIELDS)))
    types, length = set(row["types"]), len(row["text"])
    for name in ("gold", "predicted"):
        for span in row[name]:
            if not _fits(span, types, length):
                raise UniversalNERError(Errors.U231.format(id=row["id"], field=name, got=span))
    scores = _scores(row)
    if len(scores) != len(row["predicted"]) or not all(isinstance(score, float | int | None) for score in scores):
        raise UniversalNERError(Errors.U231.format(id=row["id"], field="scores", got=scores))
    if unasked := row["mentions"].keys() - types:
        raise UniversalNERError(Errors.U231.format(id=row["id"], field="mentions", got=sorted(unasked)))


def group_questions(row: Row) -> dict[str, Question]:
    """The questions of a row that have a gold entity or an answer, by type; all others score nothing.

    RAISES (UniversalNERError): as for `check_row`.
    """
    check_row(row)
    questions: dict[str, Question] = defaultdict(lambda: Question(row["text"]))
    for start, end, type_ in row["gold"]:
        questions[type_].gold.add((start, end))
    for start, end, type_ in row["predicted"]:
        questions[type_].predicted.add((start, end))
    for start, end, type_ in choose_flat(dict(zip(map(tuple, row["predicted"]), _scores(row), strict=True))):
        questions[type_].chosen.add((start, end))
    for type_, mentions in row["mentions"].items():
        questions[type_].mentions.extend(mentions)
    return questions


def _scores(row: Row) -> Sequence[float | None]:
    """The scores of a row's predicted spans, None for each where it has none."""
    return row.get("scores") or [None] * len(row["predicted"])


def _fits(span: Any, types: set[str], length: int) -> bool:
    match span:
        case [int(start), int(end), str(type_)]:
            return type_ in types and 0 <= start < end <= length
    return False


def _score_spans(id_: str, answers: Sequence[Prediction]) -> dict[Span, float | None]:
    """Each span once, with its score; None where it has none."""
    found: dict[Span, float | None] = {}
    for answer in answers:
        scores = answer.scores or (None,) * len(answer.spans)
        if len(scores) != len(answer.spans):
            about = {"scores": len(scores), "spans": len(answer.spans)}
            raise UniversalNERError(Errors.U205.format(**about, type=answer.type, id=id_))
        for (start, end), given in zip(answer.spans, scores, strict=True):
            if given is not None and not 0 <= given <= 1:
                raise UniversalNERError(Errors.U207.format(score=given, type=answer.type, id=id_))
            span = (start, end, answer.type)
            found[span] = max(found.get(span), _round(given), key=lambda known: -1 if known is None else known)
    return found


def _round(score: float | None) -> float | None:
    return None if score is None else round(float(score), 6)
