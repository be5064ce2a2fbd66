"""Asking a pipeline about gold sentences, and scoring what it says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..gold.readers import Example
from ..progress import show_progress
from ..records import Prediction
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
    RETURNS (tuple): the scores (see `metrics.score`), and the predictions of each example.
    """
    predictions: list[list[Prediction]] = []
    with show_progress(len(examples), progress) as update:
        for start in range(0, len(examples), batch_size):
            batch = examples[start : start + batch_size]
            predictions += predict([e.text for e in batch], [list(e.types) for e in batch])
            update(len(batch))
    return score(examples, predictions), predictions


def evaluate_sets(
    sets: Mapping[str, Sequence[Example]], predict: Predict, *, batch_size: int = 32, show: bool = False
) -> dict[str, Any]:
    """Evaluate data sets one by one.

    sets (Mapping): the examples of each set, by name (see `readers.load_sets`).
    predict (Callable): as for `evaluate`.
    batch_size (int): how many texts are handed over at a time.
    show (bool): show the progress of each set on stderr.
    RETURNS (dict): the scores of the sets, their mean, and a note if there are none.
    """
    scores = {
        name: evaluate(examples, predict, batch_size=batch_size, progress=name if show else None)[0]
        for name, examples in sets.items()
    }
    return {"sets": scores, "mean": mean(scores), "note": "" if scores else NO_DATA}


def prediction_rows(
    examples: Sequence[Example], predictions: Sequence[Sequence[Prediction]]
) -> Iterator[dict[str, Any]]:
    """Put gold and predicted spans side by side, to be read or compared later."""
    for example, answers in zip(examples, predictions, strict=True):
        predicted = {(start, end, answer.type) for answer in answers for start, end in answer.spans}
        yield {
            "id": example.id,
            "text": example.text,
            "gold": sorted(map(list, example.spans)),
            "predicted": sorted(map(list, predicted)),
        }
