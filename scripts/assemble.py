"""Put the student into a spaCy pipeline directory that works anywhere."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.assemble import assemble
from spacy_universalner.card.student import render_student_card, write_card
from spacy_universalner.records import read_json
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST


def main(
    config: Annotated[Path, Option(help="The pipeline")] = Path("configs/pipeline.cfg"),
    student: Annotated[Path, Option(help="The tuned student")] = Path("training/student"),
    pipeline: Annotated[Path, Option(help="Folder to write")] = Path("training/pipeline"),
    name: Annotated[str, Option(help="Name of the pipeline, for its package")] = "universal_ner",
    version: Annotated[str, Option(help="Version of the pipeline, for its package")] = "0.0.0",
) -> None:
    """Assemble the pipeline."""
    with stage("assemble", outputs=[pipeline / "meta.json"]) as facts:
        nlp = assemble(config, student, name=name, version=version)
        pipeline.parent.mkdir(parents=True, exist_ok=True)
        nlp.to_disk(pipeline)
        facts["student"] = str(student)
        write_card(pipeline, render_student_card(read_json(student / MANIFEST), pipeline=nlp.meta))
        facts["labels"] = ", ".join(nlp.get_pipe("universal_ner").labels)


if __name__ == "__main__":
    run(main)
