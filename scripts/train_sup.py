"""Tune a student on gold data: alone, on top of a distilled student, or mixed with distilled data."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.evaluation.metrics import score_answers
from spacy_universalner.records import read_conversations
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST
from spacy_universalner.training.start import Setting, find_start, gather
from spacy_universalner.training.trainer import Trainer


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
        str, Option(envvar="SPACY_UNIVERSALNER_DEVICE", help="cpu, cuda, mps; empty: what there is")
    ] = "",
) -> None:
    """Train, or go on where a killed run stopped; `weasel run assemble . --vars.trained STUDENT` then takes it."""
    settings = load_settings(config, "train")
    with stage("train-sup", outputs=[student / MANIFEST]) as facts:
        start = find_start(setting, distilled, base=settings.base)
        conversations = gather(setting, train, distilled)
        held_out = list(read_conversations(dev))
        trainer = Trainer(
            start,
            conversations,
            held_out,
            settings=settings,
            work=student.parent,
            device=device,
            score=score_answers,
        )
        training = {"setting": setting.value, **trainer.run()}
        trainer.save(student, training)
        facts.update(training)


if __name__ == "__main__":
    run(main)
