"""Measure a pipeline on held-out conversations and on the zero-shot sets."""

from pathlib import Path

import spacy

from spacy_universalner.evaluation.confidence import measure_transfer
from spacy_universalner.evaluation.evaluate import evaluate, evaluate_sets, prediction_rows, set_rows
from spacy_universalner.gold.datasets import zero_shot_sets
from spacy_universalner.gold.readers import dev_examples, load_sets
from spacy_universalner.records import Prediction, read_conversations, write_json, write_rows
from spacy_universalner.stage import run, stage


def main(
    pipeline: Path = Path("training/pipeline"),
    dev: Path = Path("corpus/dev.jsonl"),
    data: str = "",
    limit: int = 100,
    seed: int = 0,
    dev_metrics: Path = Path("metrics/dev.json"),
    dev_predictions: Path = Path("metrics/dev_predictions.jsonl"),
    zero_shot_metrics: Path = Path("metrics/zero_shot.json"),
    zero_shot_predictions: Path = Path("metrics/zero_shot_predictions.jsonl"),
) -> None:
    """Ask the pipeline about every held-out conversation, and about LIMIT sentences (0: all) of each set in DATA."""
    with stage("evaluate", [dev_metrics, dev_predictions, zero_shot_metrics, zero_shot_predictions]) as facts:
        held_out = dev_examples(read_conversations(dev))
        sets = load_sets(zero_shot_sets(), data, limit=limit, seed=seed)
        nlp = spacy.load(pipeline)
        pipe = nlp.get_pipe("universal_ner")

        def predict(texts: list[str], types: list[list[str]]) -> list[list[Prediction]]:
            return pipe.predict([nlp.make_doc(text) for text in texts], types)

        scores, predictions = evaluate(held_out, predict, progress="dev")
        write_json(dev_metrics, scores)
        write_rows(dev_predictions, prediction_rows(held_out, predictions))
        report, predicted = evaluate_sets(sets, predict, show=True)
        write_rows(zero_shot_predictions, set_rows(sets, predicted))
        from_dev = measure_transfer(dev_predictions, zero_shot_predictions)
        write_json(zero_shot_metrics, {**report, "from_dev": from_dev, "limit": limit, "seed": seed})
        facts.update(sentences=scores["sentences"], questions=scores["questions"], span_f1=scores["span_f1"])


if __name__ == "__main__":
    run(main)
