"""Tune the base student on the conversations."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.base import fetch_base
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST
from spacy_universalner.training.processes import end_processes
from spacy_universalner.tuning import tune


def main(
    train: Annotated[Path, Option(help="Conversations to learn from")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations for the validation loss and F1")] = Path("corpus/dev.jsonl"),
    config: Annotated[Path, Option(help="Settings, section [train]")] = Path("configs/train.cfg"),
    student: Annotated[Path, Option(help="Folder of the tuned student")] = Path("training/student"),
    device: Annotated[
        str, Option(help="cpu, cuda, mps; empty: what SPACY_UNIVERSALNER_DEVICE names, or what there is")
    ] = "",
    ignore_memory: Annotated[bool, Option("--ignore-memory", help="Go on where memory seems not to suffice")] = False,
) -> None:
    """Train, or go on where a killed run stopped; the same command does both, and torchrun starts it on many GPUs."""
    settings = load_settings(config, "train")
    with stage("train", outputs=[student / MANIFEST]) as facts:
        base = fetch_base(settings.base)
        options = {"student": student, "device": device, "ignore_memory": ignore_memory}
        facts.update(tune(base, train=[train], dev=dev, settings=settings, **options))
    end_processes()


if __name__ == "__main__":
    run(main)
