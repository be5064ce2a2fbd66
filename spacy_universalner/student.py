"""A student on disk: weights, tokenizer, template, and a manifest with the sha256 of each file."""

import os
import shutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import Errors, UniversalNERError
from .prompts import TEMPLATE_FILE
from .records import read_json, sha256_file, sha256_json, write_json

MANIFEST = "manifest.json"
VARIABLE = "SPACY_UNIVERSALNER_STUDENT"
REQUIRED = ("config.json", "model.safetensors", "tokenizer.json", TEMPLATE_FILE)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up a directory of weights: the facts given, and the sha256 of every file in it.

    RETURNS (dict): what was written to manifest.json.
    """
    files = {
        path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST
    }
    manifest = {**facts, "files": files}
    write_json(folder / MANIFEST, manifest)
    return manifest


def check_manifest(folder: Path, required: tuple[str, ...] = REQUIRED) -> dict[str, Any]:
    """Verify every file of a student against its manifest.

    RAISES (UniversalNERError): no such directory or manifest, a file missing, a sha256 that differs.
    """
    if not (folder / MANIFEST).is_file():
        reason = f"it has no {MANIFEST}" if folder.is_dir() else "there is no such directory"
        raise UniversalNERError(
            Errors.U051.format(path=folder, reason=reason, expected=", ".join((MANIFEST, *required)))
        )
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files", {})
    missing = [name for name in {*files, *required} if not (folder / name).is_file() or name not in files]
    if missing:
        reason = f"{', '.join(sorted(missing))} missing or not in the manifest"
        raise UniversalNERError(
            Errors.U051.format(path=folder, reason=reason, expected=", ".join((MANIFEST, *required)))
        )
    for name, expected in files.items():
        got = sha256_file(folder / name)
        if got != expected:
            raise UniversalNERError(Errors.U005.format(path=folder / name, got=got, expected=expected))
    return manifest


def trace_base(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's manifest tells of what it was tuned from.

    manifest (Mapping): of a base, or of a student that is tuned further: then its base, and which student it was.
    RETURNS (dict): name and source of the base; under "student", template and files' hash of that student.
    """
    base = manifest.get("base", manifest)
    facts = {key: base.get(key) for key in ("name", "source")}
    if "base" in manifest:
        facts["student"] = {"template": manifest.get("template"), "sha256": sha256_json(manifest["files"])}
    return facts


def copy_student(source: Path, target: Path) -> None:
    """Copy the files of a student that its manifest lists, verified. Nothing to copy where it is in place already."""
    manifest = check_manifest(source)
    if target.resolve() == source.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in (*manifest["files"], MANIFEST):
        shutil.copyfile(source / name, target / name)


def find_student(model: str | None) -> Path:
    """The directory of the student to use: the one named, else the environment's, else an installed pipeline's.

    RAISES (UniversalNERError): none of them is there.
    """
    named = model or os.environ.get(VARIABLE)
    if named:
        return Path(named)
    installed = [path for point in entry_points(group="spacy_models") for path in _students_of(point.module)]
    if not installed:
        raise UniversalNERError(Errors.U050.format(variable=VARIABLE))
    return installed[0]


def _students_of(module: str) -> list[Path]:
    spec = find_spec(module.partition(".")[0])
    folders = list(spec.submodule_search_locations or []) if spec else []
    return [path.parent for folder in folders for path in sorted(Path(folder).glob(f"*/*/student/{MANIFEST}"))]
