"""Asking a pipeline about gold sentences, and scoring what it says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..gold.readers import Example
from ..progress import show_progress
from ..records import Prediction
from .confidence import measure_confidence
from .metrics import mean, score_rows
from .rows import check_answers, prediction_rows, set_rows

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
    RETURNS (tuple): the scores (see `metrics.score_rows`) and under "confidence" what `measure_confidence` gives, and
        the predictions of each example.
    RAISES (UniversalNERError): predictions that do not answer what was asked, or scores that are none of their spans.
    """
    predictions: list[list[Prediction]] = []
    with show_progress(len(examples), progress) as update:
        for start in range(0, len(examples), batch_size):
            batch = examples[start : start + batch_size]
            predictions += predict([e.text for e in batch], [list(e.types) for e in batch])
            update(len(batch))
    check_answers(examples, predictions)
    rows = list(prediction_rows(examples, predictions))
    return {**score_rows(rows), "confidence": measure_confidence(rows)}, predictions


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
