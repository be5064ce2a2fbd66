"""Read the authors' released data, or any data in its form, to train on."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.corpus.conversations import Survey, write_parts
from spacy_universalner.corpus.origin import describe_import
from spacy_universalner.corpus.released import ImportReport, Variant, guess_variant, read_released, to_record
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.records import Conversation, open_rows, sha256_file, write_json
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage


def main(
    source: Annotated[Path, Option(help="A released file, a JSON array or JSON lines")] = Path("assets/released.json"),
    config: Annotated[Path, Option(help="Settings, section convert: the split")] = Path("configs/distil.cfg"),
    variant: Annotated[Variant, Option(help="What its types are")] = Variant.GUESS,
    dataset: Annotated[str, Option(help="What it is called on the hub")] = "",
    license: Annotated[str, Option(help="Its licence, as the hub spells it; the file states none")] = "",
    language: Annotated[str, Option(help="Its language, as a code")] = "",
    conversations: Annotated[Path, Option(help="The folder training reads: that of TRAIN")] = Path("released"),
    train: Annotated[Path, Option(help="Conversations to train on")] = Path("released/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations held out")] = Path("released/dev.jsonl"),
    rejected: Annotated[Path, Option(help="Rows set aside, with the reason")] = Path("released/rejected.jsonl"),
    origin: Annotated[Path, Option(help="What the conversations come from")] = Path("released/origin.json"),
    report: Annotated[Path, Option(help="What was read, with counts and examples")] = Path("released/import.json"),
) -> None:
    """Split the conversations of SOURCE as convert splits its own; negatives are in them already."""
    if conversations != train.parent:
        raise UniversalNERError(Errors.U126.format(got=conversations, folder=train.parent))
    settings = load_settings(config, "convert")
    with stage("import", outputs=[train, dev, rejected, origin, report]) as facts:
        counts, survey = ImportReport(), Survey(seed=settings.seed, dev_limit=settings.dev_limit)
        with open_rows(rejected) as set_aside:
            for row in read_released(source):
                counts.add(row)
                if isinstance(row, Conversation):
                    survey.add(to_record(row))
                else:
                    set_aside(asdict(row))
        if not survey.count:
            raise UniversalNERError(Errors.U122.format(path=source, reasons=dict(counts.set_aside), rejected=rejected))
        split = survey.finish(dev_share=settings.dev_share)
        kept = (row for row in read_released(source) if isinstance(row, Conversation))
        parts = write_parts(kept, split.dev, train=train, dev=dev)
        form = guess_variant(survey.type_counts) if variant is Variant.GUESS else variant
        about = {"source": source.name, "sha256": sha256_file(source), "bytes": source.stat().st_size}
        found = {**about, "variant": form.value, "variant_guessed": variant is Variant.GUESS}
        write_json(report, {**found, "types": len(survey.type_counts), **parts, **counts.to_json()})
        terms = {"dataset": dataset, "license": license, "language": language}
        write_json(origin, describe_import(source, **terms, variant=form.value))
        facts.update(variant=form.value, set_aside=counts.set_aside.total(), **parts)


if __name__ == "__main__":
    run(main)
