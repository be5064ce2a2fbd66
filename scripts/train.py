"""Tune the base student on the conversations."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.base import fetch_base
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.evaluation.metrics import score_answers
from spacy_universalner.records import read_conversations
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST
from spacy_universalner.training.trainer import Trainer


def main(
    train: Annotated[Path, Option(help="Conversations to learn from")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations for the validation loss")] = Path("corpus/dev.jsonl"),
    config: Annotated[Path, Option(help="Settings, section [train]")] = Path("configs/train.cfg"),
    student: Annotated[Path, Option(help="Folder of the tuned student")] = Path("training/student"),
    device: Annotated[
        str, Option(envvar="SPACY_UNIVERSALNER_DEVICE", help="cpu, cuda, mps; empty: what there is")
    ] = "",
) -> None:
    """Train, or go on where a killed run stopped; the same command does both."""
    settings = load_settings(config, "train")
    with stage("train", outputs=[student / MANIFEST]) as facts:
        conversations = list(read_conversations(train))
        if not conversations:
            raise UniversalNERError(Errors.U004.format(path=train, kind="conversation", hint="Run convert first."))
        work = student.parent
        trainer = Trainer(
            fetch_base(settings.base),
            conversations,
            list(read_conversations(dev)),
            settings=settings,
            work=work,
            device=device,
            score=score_answers,
        )
        training = trainer.run()
        trainer.save(student, training)
        facts.update(training)


if __name__ == "__main__":
    run(main)
