"""Turn records into conversations with negative types, and hold out the dev split."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.corpus.conversations import NegativeSampler, Survey, converse, write_parts
from spacy_universalner.records import Record, read_records
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage


def main(
    records: Annotated[Path, Option(help="Passages with their mentions")] = Path("corpus/records.jsonl"),
    config: Annotated[Path, Option(help="Settings, section [convert]")] = Path("configs/distil.cfg"),
    train: Annotated[Path, Option(help="Conversations to train on, in ShareGPT form")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations held out")] = Path("corpus/dev.jsonl"),
    array: Annotated[Path, Option(help="Those of TRAIN as one JSON array, as the authors' code reads them")] = (
        Path("corpus/train.json")
    ),
) -> None:
    """Write one conversation a passage, with a question for each type and for types that do not occur."""
    settings = load_settings(config, "convert")
    with stage("convert", outputs=[train, dev, array]) as facts:
        survey = Survey(seed=settings.seed, dev_limit=settings.dev_limit)
        for record in read_records(records, Record):
            survey.add(record)
        split = survey.finish(dev_share=settings.dev_share)
        sampler = NegativeSampler(split.type_counts, strategy=settings.negatives)
        ratio = settings.negatives_per_positive
        conversations = (
            converse(record, sampler, negatives_per_positive=ratio, seed=settings.seed)
            for record in read_records(records, Record)
        )
        facts.update(write_parts(conversations, split.dev, train=train, dev=dev, array=array))


if __name__ == "__main__":
    run(main)
