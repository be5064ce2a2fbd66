"""Make a tuned student a small difference to its base."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST
from spacy_universalner.tuning import make_small


def main(
    student: Annotated[Path, Option(help="A student of which all weights were tuned")] = Path("training/student"),
    small: Annotated[Path, Option(help="Folder of the small student")] = Path("training/small"),
    megabytes: Annotated[float, Option(help="Size of its weights at most")] = 16.0,
    gain: Annotated[float, Option(help="What it is multiplied by, to make up for what is left out")] = 1.35,
    minutes: Annotated[float, Option(help="How long it is trained further, for the same end; 0 for not at all")] = 10.0,
    learning_rate: Annotated[float, Option(help="Peak learning rate of that")] = 5e-4,
    train: Annotated[Path, Option(help="Conversations to learn from")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations for the validation loss and F1")] = Path("corpus/dev.jsonl"),
    device: Annotated[
        str, Option(help="cpu, cuda, mps; empty: what SPACY_UNIVERSALNER_DEVICE names, or what there is")
    ] = "",
    ignore_memory: Annotated[bool, Option("--ignore-memory", help="Go on where memory seems not to suffice")] = False,
) -> None:
    """Write the difference of STUDENT to its base, as adapters that the engine takes by their folder (model)."""
    with stage("shrink", outputs=[small / MANIFEST]) as facts:
        what = {"megabytes": megabytes, "gain": gain, "minutes": minutes, "learning_rate": learning_rate}
        options = {"train": train, "dev": dev, "device": device, "ignore_memory": ignore_memory}
        facts.update(make_small(student, small, **what, **options))


if __name__ == "__main__":
    run(main)
