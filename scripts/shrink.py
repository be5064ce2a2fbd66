"""Make a tuned student a small difference to its base."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST
from spacy_universalner.training.difference import shrink


def main(
    student: Annotated[Path, Option(help="A student of which all weights were tuned")] = Path("training/student"),
    small: Annotated[Path, Option(help="Folder of the small student")] = Path("training/small"),
    megabytes: Annotated[float, Option(help="Size of its weights at most")] = 16.0,
    gain: Annotated[float, Option(help="What it is multiplied by, to make up for what is left out")] = 1.35,
) -> None:
    """Write the difference of STUDENT to its base, as adapters that the engine takes by their folder (model)."""
    with stage("shrink", outputs=[small / MANIFEST]) as facts:
        facts.update(shrink(student, small, megabytes=megabytes, gain=gain))


if __name__ == "__main__":
    run(main)
