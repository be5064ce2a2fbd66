"""Find the entities of a whole corpus."""

from enum import Enum
from pathlib import Path
from typing import Annotated

from typer import Option
from wasabi import msg

from spacy_universalner.bulk.formats import FORMATS
from spacy_universalner.bulk.output import SET_ASIDE, SUMMARY
from spacy_universalner.bulk.run import extract
from spacy_universalner.stage import run, stage

Form = Enum("Form", {name: name for name in FORMATS}, type=str)


def main(
    documents: Annotated[
        Path,
        Option(help="File (.txt, .jsonl, also with .gz or .zst, .parquet), folder of such files, or profile (.cfg)"),
    ] = Path("assets/passages.jsonl"),
    output: Annotated[Path, Option(help="Folder of the results; one that was begun is gone on with")] = Path("found"),
    pipeline: Annotated[str, Option(help="Folder or package of the pipeline")] = "training/pipeline",
    labels: Annotated[str, Option(help="Types to ask for, with commas between; empty for the pipeline's")] = "",
    format: Annotated[Form, Option(help="Kind of file to write")] = Form.jsonl,
    size: Annotated[int, Option(help="Documents in a file; a stop loses the files at work")] = 500,
    batch_size: Annotated[int, Option(help="Documents the pipeline is given at a time")] = 32,
    again: Annotated[bool, Option("--again", help="Do the files again in which documents failed")] = False,
    ray: Annotated[str, Option(help="Address of a Ray cluster that shares the files, or local; empty for none")] = "",
    cpus: Annotated[int, Option(help="CPUs for each worker of the cluster")] = 1,
    gpus: Annotated[int, Option(help="GPUs for each worker of the cluster")] = 0,
) -> None:
    """Write the entities of DOCUMENTS to OUTPUT. After a stop, the same command does what is missing."""
    with stage("extract", [output / SUMMARY]) as facts:
        summary = extract(
            documents,
            output,
            pipeline=pipeline,
            labels=[label.strip() for label in labels.split(",") if label.strip()],
            form=format.value,
            size=size,
            batch_size=batch_size,
            again=again,
            ray=ray,
            cpus=cpus,
            gpus=gpus,
            progress="extract",
        )
        facts.update({name: value for name, value in summary.items() if name != "seconds"})
    if summary["set_aside"]:
        msg.warn(f"{summary['set_aside']} documents were set aside", f"{output / SET_ASIDE} says why")


if __name__ == "__main__":
    run(main)
