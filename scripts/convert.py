"""Turn records into conversations with negative types, and hold out the dev split."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.corpus.conversations import NegativeSampler, converse, count_types, split
from spacy_universalner.records import Record, read_records, write_array, write_rows
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
        parts = split(list(read_records(records, Record)), dev_share=settings.dev_share, seed=settings.seed)
        sampler = NegativeSampler(count_types(parts[0]), strategy=settings.negatives)
        for name, path, part in zip(("train", "dev"), (train, dev), parts, strict=True):
            ratio = settings.negatives_per_positive
            conversations = [converse(r, sampler, negatives_per_positive=ratio, seed=settings.seed) for r in part]
            write_rows(path, (conversation.to_sharegpt() for conversation in conversations))
            if path == train:
                write_array(array, (conversation.to_sharegpt() for conversation in conversations))
            queries = [query for conversation in conversations for query in conversation.queries]
            facts[f"{name}_conversations"] = len(conversations)
            facts[f"{name}_questions"] = len(queries)
            facts[f"{name}_negatives"] = sum(not query.mentions for query in queries)


if __name__ == "__main__":
    run(main)
