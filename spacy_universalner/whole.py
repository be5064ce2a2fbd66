"""A student with all it needs, in one folder."""

import shutil
from pathlib import Path

from .base import find_base
from .student import ADAPTER, ADAPTER_CONFIG, check_manifest, copy_student, is_adapter, write_manifest


def save_whole(student: Path, target: Path) -> None:
    """Copy a student; one that is adapters to a base is written with the weights of both, in bfloat16.

    student (Path): its folder.
    target (Path): a folder, what is in it is replaced; nothing is done where it is that of a whole student itself.
    RAISES (UniversalNERError): a file that is missing or not as the manifest says, a base that cannot be had.
    """
    manifest = check_manifest(student)
    if not is_adapter(manifest):
        copy_student(student, target)
        return
    import torch  # only here: a whole student is copied without it

    from .causal import open_adapted

    kind = {"dtype": torch.float32, "device": torch.device("cpu")}
    model = open_adapted(find_base(manifest["base"], student), student, **kind)
    part = target.with_name(f"{target.name}.part")  # transformers would add adapters that are left in the target
    shutil.rmtree(part, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(part)
    for name in manifest["files"].keys() - {ADAPTER, ADAPTER_CONFIG}:
        shutil.copyfile(student / name, part / name)
    write_manifest(part, {key: value for key, value in manifest.items() if key != "files"})
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)
