"""What supervised tuning starts from: the paper's three settings."""

from enum import Enum
from pathlib import Path

from ..base import fetch_base
from ..errors import Errors, UniversalNERError
from ..student import ADAPTER, MANIFEST, check_manifest


class Setting(str, Enum):
    """ALONE tunes the base on gold data, DISTILLED a distilled student, MIXED the base on gold and distilled data."""

    ALONE = "alone"
    DISTILLED = "distilled"
    MIXED = "mixed"


EXAMPLES = {
    Setting.ALONE: "training/base.json",
    Setting.DISTILLED: f"training/student/{MANIFEST}",
    Setting.MIXED: "corpus/train.jsonl",
}
NEEDS = {
    Setting.ALONE: "the record of the base, base.json",
    Setting.DISTILLED: f"the {MANIFEST} of a distilled student",
    Setting.MIXED: "a .jsonl file of distilled conversations",
}


def find_start(setting: Setting, distilled: Path, *, base: str) -> Path:
    """The folder of the base or student to tune, verified.

    setting (Setting): what is started from.
    distilled (Path): the file that stands for it, as named to weasel: the record of the base, the student's manifest
        or the distilled conversations.
    base (str): as in TrainSettings.
    RAISES (UniversalNERError): the file is of another setting, or the student is damaged or holds adapters alone.
    """
    _check(setting, distilled)
    if setting is not Setting.DISTILLED:
        return fetch_base(base)
    if ADAPTER in check_manifest(distilled.parent)["files"]:
        raise UniversalNERError(Errors.U076.format(path=distilled.parent, reason="it holds adapters alone"))
    return distilled.parent


def _check(setting: Setting, distilled: Path) -> None:
    """RAISES (UniversalNERError): the file is none of the setting's."""
    fits = {
        Setting.ALONE: distilled.name == Path(EXAMPLES[Setting.ALONE]).name,
        Setting.DISTILLED: distilled.name == MANIFEST,
        Setting.MIXED: distilled.suffix == ".jsonl",
    }
    if not fits[setting]:
        about = {"expected": NEEDS[setting], "example": EXAMPLES[setting]}
        raise UniversalNERError(Errors.U159.format(setting=setting.value, got=distilled, **about))
