"""A training run as a command has it: files in, a student out, with all that its manifest and card tell."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .base import find_base
from .errors import Errors, UniversalNERError
from .evaluation.metrics import score_answers
from .hardware import pick_device
from .provenance import describe_training
from .records import Conversation, read_conversations, read_json
from .schemas import TrainSettings, load_settings, parse_settings
from .student import MANIFEST, check_manifest
from .training.difference import read_changes, shrink, tell_origin, write_small
from .training.memory import PROFILES, check_run
from .training.trainer import Trainer

SAVE_MINUTES = 2.0
"""Most minutes between two checkpoints of a short run."""


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
    options = {"settings": settings, "device": device, "ignore_memory": ignore_memory}
    trainer = _make_trainer(base, train, dev, work=student.parent, **options)
    training = {**facts, **trainer.run()}
    trainer.save(
        student, training, describe_training(settings.model_dump(), base=trainer.base, train=list(train), dev=dev)
    )
    return training


def make_small(
    student: Path,
    small: Path,
    *,
    megabytes: float,
    gain: float,
    minutes: float,
    learning_rate: float,
    train: Path,
    dev: Path,
    device: str,
    ignore_memory: bool = False,
) -> dict[str, Any]:
    """Make a student small (see `shrink`), and train what is kept further, or go on where a killed run stopped.

    student (Path): folder of a student of which all weights were tuned.
    small (Path): folder of the small one, which is written once all is done.
    megabytes, gain (float): as for `shrink`.
    minutes (float): how long it is trained further; 0 for not at all.
    learning_rate (float): at its peak; the other settings are those of the student.
    train (Path): file of the conversations to learn from, in another order than the student did.
    dev (Path): file of conversations held out.
    device, ignore_memory: as for `tune`.
    RETURNS (dict): what the manifest says of the difference, and under "recovery" of the further training.
    RAISES (UniversalNERError): as for `shrink` and `tune`; a student that does not say how it was tuned.
    """
    if not minutes:
        return shrink(student, small, megabytes=megabytes, gain=gain)
    work = small.with_name(f"{small.name}.recovery")
    start = work / "start"
    origin = tell_origin(check_manifest(student), megabytes=megabytes, gain=gain)
    if not (start / MANIFEST).is_file() or not origin.items() <= check_manifest(start)["difference"].items():
        shrink(student, start, megabytes=megabytes, gain=gain)
    manifest = check_manifest(start)
    base, difference = find_base(manifest["base"], start), manifest["difference"]
    settings = _recovery_settings(manifest, student, minutes=minutes, learning_rate=learning_rate)
    options = {"settings": settings, "device": device, "ignore_memory": ignore_memory}
    trainer = _make_trainer(base, [train], dev, work=work, adapters=start, **options)
    before = {"dev_loss": round(trainer.dev_loss(), 4), "dev_f1": round(trainer.dev_f1(), 2)} if trainer.dev else {}
    facts = {"before": before, "training": trainer.run()}
    facts |= describe_training(settings.model_dump(), base=trainer.base, train=[train], dev=dev)
    told = write_small(start, small, read_changes(trainer.model), facts={**difference, "recovery": facts})
    shutil.rmtree(work)
    return told


def _recovery_settings(
    manifest: Mapping[str, Any], student: Path, *, minutes: float, learning_rate: float
) -> TrainSettings:
    """Those of a student, for adapters that stand for it."""
    if not (own := manifest.get("settings")):
        reason = "its manifest does not say how it was tuned, so that it cannot be trained further"
        raise UniversalNERError(Errors.U260.format(path=student, reason=reason))
    changes = {
        "method": "lora",
        "save": "adapter",
        "frozen_embeddings": True,
        "frozen_layers": 0,
        "max_minutes": minutes,
        "max_tokens": 0,
        "learning_rate": learning_rate,
        "dev_evals": 0,
        "patience": 0,
        "save_minutes": min(own.get("save_minutes", SAVE_MINUTES), SAVE_MINUTES),
        "seed": own.get("seed", 0) + 1,
        "lora": {**own.get("lora", {}), "r": max(1, round(manifest["difference"]["mean_rank"])), "dropout": 0.0},
    }
    return parse_settings({**own, **changes}, TrainSettings, where=f"the settings in {student / MANIFEST}")


def _make_trainer(
    base: Path,
    train: Sequence[Path],
    dev: Path,
    *,
    settings: TrainSettings,
    work: Path,
    device: str,
    ignore_memory: bool,
    adapters: Path | None = None,
) -> Trainer:
    """Read what is learnt from, and see that there is room for the run."""
    conversations = [conversation for path in train for conversation in _read(path)]
    check_run(
        read_json(base / "config.json"),
        settings.model_dump(),
        {name: load_settings(path, "train").model_dump() for name, path in PROFILES.items() if path.is_file()},
        conversations=conversations,
        device=pick_device(device),
        ignore=ignore_memory,
    )
    return Trainer(
        base,
        conversations,
        list(read_conversations(dev)),
        settings=settings,
        work=work,
        device=device,
        adapters=adapters,
        score=score_answers,
    )


def _read(path: Path) -> list[Conversation]:
    found = list(read_conversations(path))
    if not found:
        hint = "Run the command that writes it."
        raise UniversalNERError(Errors.U004.format(path=path, kind="conversation", hint=hint))
    return found
