"""Asking a pipeline about gold sentences, and scoring what it says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import Errors, UniversalNERError
from ..gold.readers import Example, Span
from ..progress import show_progress
from ..records import Prediction
from .confidence import measure_confidence
from .metrics import mean, score

Predict = Callable[[list[str], list[list[str]]], list[list[Prediction]]]
NO_DATA = "No benchmark folder was named, so the zero-shot sets were not evaluated. Name one with vars.benchmark_data."


def evaluate(
    examples: Sequence[Example], predict: Predict, *, batch_size: int = 32, progress: str | None = None
) -> tuple[dict[str, Any], list[list[Prediction]]]:
    """Predict the entities of examples and score them.

    examples (Sequence): the gold.
    predict (Callable): takes texts and the types asked of each, gives one prediction per text and type.
    batch_size (int): how many texts are handed over at a time.
    progress (str): show progress on stderr under this name; None shows nothing.
    RETURNS (tuple): the scores (see `metrics.score`) and under "confidence" what `measure_confidence` gives, and the
        predictions of each example.
    RAISES (UniversalNERError): predictions that do not answer what was asked, or scores that are none of their spans.
    """
    predictions: list[list[Prediction]] = []
    with show_progress(len(examples), progress) as update:
        for start in range(0, len(examples), batch_size):
            batch = examples[start : start + batch_size]
            predictions += predict([e.text for e in batch], [list(e.types) for e in batch])
            update(len(batch))
    confidence = measure_confidence(prediction_rows(examples, predictions))
    return {**score(examples, predictions), "confidence": confidence}, predictions


def evaluate_sets(
    sets: Mapping[str, Sequence[Example]], predict: Predict, *, batch_size: int = 32, show: bool = False
) -> tuple[dict[str, Any], dict[str, list[list[Prediction]]]]:
    """Evaluate data sets one by one.

    sets (Mapping): the examples of each set, by name (see `readers.load_sets`).
    predict (Callable): as for `evaluate`.
    batch_size (int): how many texts are handed over at a time.
    show (bool): show the progress of each set on stderr.
    RETURNS (tuple): the scores of the sets, their mean, the confidence in all their spans together, and a note if
        there are no sets; and the predictions of each set.
    RAISES (UniversalNERError): as for `evaluate`.
    """
    scores: dict[str, dict[str, Any]] = {}
    predictions: dict[str, list[list[Prediction]]] = {}
    for name, examples in sets.items():
        progress = name if show else None
        scores[name], predictions[name] = evaluate(examples, predict, batch_size=batch_size, progress=progress)
    confidence = measure_confidence(set_rows(sets, predictions))
    note = "" if scores else NO_DATA
    return {"sets": scores, "mean": mean(scores), "confidence": confidence, "note": note}, predictions


def prediction_rows(
    examples: Sequence[Example], predictions: Sequence[Sequence[Prediction]]
) -> Iterator[dict[str, Any]]:
    """Put gold and predicted spans side by side, to be read or compared later, with a score for each that is predicted.

    RAISES (UniversalNERError): another number of scores than of spans, or a score that is no probability.
    """
    for example, answers in zip(examples, predictions, strict=True):
        predicted = sorted(_score_spans(example.id, answers).items())
        yield {
            "id": example.id,
            "text": example.text,
            "gold": sorted(map(list, example.spans)),
            "predicted": [list(span) for span, _ in predicted],
            "scores": [score for _, score in predicted],
        }


def set_rows(
    sets: Mapping[str, Sequence[Example]], predictions: Mapping[str, Sequence[Sequence[Prediction]]]
) -> Iterator[dict[str, Any]]:
    """The rows of several sets, each with the name of its set; otherwise as `prediction_rows`."""
    for name, examples in sets.items():
        yield from ({"set": name, **row} for row in prediction_rows(examples, predictions[name]))


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
