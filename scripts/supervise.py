"""Turn gold data into conversations."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.gold.conversations import count, describe, make_split, mix
from spacy_universalner.gold.sources import read_benchmark, read_column_set, read_doc_set
from spacy_universalner.records import write_json, write_rows
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, show, stage

READERS = {"spacy": read_doc_set, "bio": read_column_set}


def main(
    config: Annotated[Path, Option(help="Data sets, section supervise")] = Path("configs/supervised.cfg"),
    data: Annotated[str, Option(help="Folder of the benchmark's sets, empty for none")] = "",
    train: Annotated[Path, Option(help="Conversations to train on")] = Path("supervised/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations held out")] = Path("supervised/dev.jsonl"),
    origin: Annotated[Path, Option(help="What was read, with sha256 sums and counts")] = Path("supervised/origin.json"),
) -> None:
    """Write one conversation a sentence, with a question for each type of its data set."""
    settings = load_settings(config, "supervise")
    with stage("supervise", outputs=[train, dev, origin]) as facts:
        sources = read_benchmark(settings.benchmark, data, max_tokens=settings.max_tokens)
        for name, own in settings.sets.items():
            named = own.model_dump(exclude={"format", "path"})
            sources.append(READERS[own.format](name, Path(own.path), **named, max_tokens=settings.max_tokens))
        draws = {"limit": settings.limit, "dev_share": settings.dev_share, "seed": settings.seed}
        splits = [make_split(source, **draws) for source in sources]
        parts = {
            "train": mix((talk for split in splits for talk in split.train), seed=settings.seed),
            "dev": mix((talk for split in splits for talk in split.dev), seed=settings.seed),
        }
        for part, path in (("train", train), ("dev", dev)):
            write_rows(path, (talk.to_sharegpt() for talk in parts[part]))
        sets = [describe(source, split) for source, split in zip(sources, splits, strict=True)]
        write_json(origin, {"data": sets, **draws, **{part: count(talks) for part, talks in parts.items()}})
        show({entry["name"]: entry["train"] for entry in sets})
        facts.update(sets=len(sets), **{part: len(talks) for part, talks in parts.items()})


if __name__ == "__main__":
    run(main)
