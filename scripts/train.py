"""Tune the base student on the conversations."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.base import fetch_base
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.evaluation.metrics import score_answers
from spacy_universalner.hardware import pick_device
from spacy_universalner.provenance import describe_training
from spacy_universalner.records import read_conversations, read_json
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST
from spacy_universalner.training.memory import PROFILES, check_run
from spacy_universalner.training.trainer import Trainer


def main(
    train: Annotated[Path, Option(help="Conversations to learn from")] = Path("corpus/train.jsonl"),
    dev: Annotated[Path, Option(help="Conversations for the validation loss")] = Path("corpus/dev.jsonl"),
    config: Annotated[Path, Option(help="Settings, section [train]")] = Path("configs/train.cfg"),
    student: Annotated[Path, Option(help="Folder of the tuned student")] = Path("training/student"),
    device: Annotated[
        str, Option(envvar="SPACY_UNIVERSALNER_DEVICE", help="cpu, cuda, mps; empty: what there is")
    ] = "",
    ignore_memory: Annotated[bool, Option("--ignore-memory", help="Go on where memory seems not to suffice")] = False,
) -> None:
    """Train, or go on where a killed run stopped; the same command does both."""
    settings = load_settings(config, "train")
    with stage("train", outputs=[student / MANIFEST]) as facts:
        conversations = list(read_conversations(train))
        if not conversations:
            raise UniversalNERError(Errors.U004.format(path=train, kind="conversation", hint="Run convert first."))
        work, base = student.parent, fetch_base(settings.base)
        check_run(
            read_json(base / "config.json"),
            settings.model_dump(),
            {name: load_settings(path, "train").model_dump() for name, path in PROFILES.items() if path.is_file()},
            conversations=conversations,
            device=pick_device(device),
            ignore=ignore_memory,
        )
        trainer = Trainer(
            base,
            conversations,
            list(read_conversations(dev)),
            settings=settings,
            work=work,
            device=device,
            score=score_answers,
        )
        training = trainer.run()
        made = describe_training(settings.model_dump(), base=trainer.base, train=[train], dev=dev)
        trainer.save(student, training, made)
        facts.update(training)


if __name__ == "__main__":
    run(main)
