"""A training run as a command has it: files in, a student out, with all that its manifest and card tell."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base import find_base
from .errors import Errors, UniversalNERError
from .evaluation.metrics import score_answers
from .hardware import pick_device
from .provenance import describe_training
from .records import Conversation, read_conversations, read_json
from .schemas import TrainSettings, load_settings
from .student import MANIFEST, check_manifest
from .training.difference import shrink, tell_made
from .training.memory import PROFILES, check_run
from .training.trainer import Trainer


def tune(
    base: Path,
    *,
    train: Sequence[Path],
    dev: Path,
    settings: TrainSettings,
    student: Path,
    device: str,
    ignore_memory: bool,
    **facts: Any,
) -> dict[str, Any]:
    """Tune a base or a student, or go on where a killed run stopped.

    base (Path): folder of what is tuned.
    train (Sequence[Path]): files of conversations to learn from.
    dev (Path): file of conversations held out.
    settings (TrainSettings): see schemas.py.
    student (Path): folder of the tuned student; log and checkpoints stand beside it.
    device (str): as for `hardware.pick_device`.
    ignore_memory (bool): go on where memory seems not to suffice.
    facts (Any): more about the run, for its manifest.
    RETURNS (dict): facts of the run.
    RAISES (UniversalNERError): adapters alone on top of a student; a file that is missing, bad or without a
        conversation; not enough memory; a loss that is not finite.
    """
    if settings.save == "adapter" and "base" in read_json(base / MANIFEST):
        raise UniversalNERError(Errors.U077.format(path=base))
    conversations = [conversation for path in train for conversation in _read(path)]
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
        work=student.parent,
        device=device,
        score=score_answers,
    )
    training = {**facts, **trainer.run()}
    trainer.save(
        student, training, describe_training(settings.model_dump(), base=trainer.base, train=list(train), dev=dev)
    )
    return training


def recover(
    small: Path, *, train: Path, dev: Path, minutes: float, learning_rate: float, megabytes: float, device: str
) -> dict[str, Any]:
    """Train the adapters of a small student further, to make up for what was left out when it was made.

    small (Path): folder of the small student, which is replaced.
    train (Path): file of the conversations to learn from, in another order than the student learnt them.
    dev (Path): file of conversations held out.
    minutes (float): for how long.
    learning_rate (float): at its peak; the rest of the settings are those of the student.
    megabytes (float): as for `shrink`; adapters keep their ranks, so that nothing is left out again.
    device (str): as for `hardware.pick_device`.
    RETURNS (dict): facts of the small student.
    RAISES (UniversalNERError): as for `tune`.
    """
    manifest = check_manifest(small)
    if not (own := manifest.get("settings")):
        reason = "its manifest does not say how it was trained, so it cannot be trained further"
        raise UniversalNERError(Errors.U260.format(path=small, reason=reason))
    changes = {"method": "lora", "save": "merged", "max_minutes": minutes, "max_tokens": 0, "dev_evals": 0}
    changes |= {"learning_rate": learning_rate, "seed": own["seed"] + 1, "frozen_layers": 0, "patience": 0}
    work = small.with_name(f"{small.name}.recovery")
    trainer = Trainer(
        find_base(manifest["base"], small),
        _read(train),
        list(read_conversations(dev)),
        settings=TrainSettings(**{**own, **changes}),
        work=work,
        device=device,
        adapters=small,
        score=score_answers,
    )
    facts = trainer.run()
    trainer.save(work / "student", facts)
    recovery = {"start": manifest["difference"], "learning_rate": learning_rate, **facts}
    told = shrink(work / "student", small, megabytes=megabytes, made=tell_made(manifest), recovery=recovery)
    shutil.rmtree(work)
    return told


def _read(path: Path) -> list[Conversation]:
    found = list(read_conversations(path))
    if not found:
        hint = "Run the command that writes it."
        raise UniversalNERError(Errors.U004.format(path=path, kind="conversation", hint=hint))
    return found
