"""Turn records into conversations with negative types, and hold out the dev split."""

from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.corpus.conversations import Survey, converse_part, make_sampler, survey_part, write_parts
from spacy_universalner.distributed import spread
from spacy_universalner.records import split_file
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage


def main(
    records: Annotated[Path, Option(help="Passages with their mentions")] = Path("corpus/records.jsonl"),
    config: Annotated[Path, Option(help="Settings, section convert")] = Path("configs/distil.cfg"),
    absent: Annotated[Path, Option(help='Types known not to occur in passages, read for negatives = "verified"')] = (
        Path("assets/absent.jsonl")
    ),
    train: Annotated[Path, Option(help="Conversations to train on, in ShareGPT form")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations held out")] = Path("corpus/dev.jsonl"),
    array: Annotated[Path, Option(help="Those of TRAIN as one JSON array, as the authors' code reads them")] = (
        Path("corpus/train.json")
    ),
    ray: Annotated[str, Option(help="Address of a Ray cluster that shares the files, or local; empty for none")] = "",
) -> None:
    """Write one conversation a passage, with a question for each type and for types that do not occur."""
    settings = load_settings(config, "convert")
    seeds = {"seed": settings.seed, "dev_limit": settings.dev_limit}
    with stage("convert", outputs=[train, dev, array]) as facts:
        parts = split_file(records)
        survey = Survey(**seeds)
        for part in spread(partial(survey_part, **seeds), parts, ray):
            survey.merge(part)
        split = survey.finish(dev_share=settings.dev_share)
        ask = partial(
            converse_part,
            sampler=make_sampler(split.type_counts, strategy=settings.negatives, absent=absent),
            number=settings.negatives_number,
            per=settings.negatives_per,
            seed=settings.seed,
        )
        conversations = chain.from_iterable(spread(ask, parts, ray))
        facts.update(write_parts(conversations, split.dev, train=train, dev=dev, array=array))


if __name__ == "__main__":
    run(main)
