"""Tune a student on gold data: alone, on top of a distilled student, or mixed with distilled data."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST
from spacy_universalner.training.processes import end_processes
from spacy_universalner.training.start import Setting, find_start
from spacy_universalner.tuning import tune


def main(
    setting: Annotated[Setting, Option(help="What gold data come on top of")] = Setting.ALONE,
    distilled: Annotated[
        Path, Option(help="File of that: base.json, the manifest.json of a student, or a train.jsonl to mix in")
    ] = Path("training/base.json"),
    train: Annotated[Path, Option(help="Gold conversations to learn from")] = Path("supervised/train.jsonl"),
    dev: Annotated[Path, Option(help="Gold conversations for validation")] = Path("supervised/dev.jsonl"),
    config: Annotated[Path, Option(help="Settings, section [train]")] = Path("configs/train-sup.cfg"),
    student: Annotated[Path, Option(help="Folder of the tuned student")] = Path("training/supervised/student"),
    device: Annotated[
        str, Option(help="cpu, cuda, mps; empty: what SPACY_UNIVERSALNER_DEVICE names, or what there is")
    ] = "",
    ignore_memory: Annotated[bool, Option("--ignore-memory", help="Go on where memory seems not to suffice")] = False,
) -> None:
    """Train, or go on where a killed run stopped; `weasel run assemble . --vars.trained STUDENT` then takes it."""
    settings = load_settings(config, "train")
    with stage("train-sup", outputs=[student / MANIFEST]) as facts:
        start = find_start(setting, distilled, base=settings.base)
        files = [train, distilled] if setting is Setting.MIXED else [train]
        options = {"student": student, "device": device, "ignore_memory": ignore_memory, "setting": setting.value}
        facts.update(tune(start, train=files, dev=dev, settings=settings, **options))
    end_processes()


if __name__ == "__main__":
    run(main)
