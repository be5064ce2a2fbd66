"""A student on disk: weights, tokenizer, template, and a manifest with the sha256 of each file."""

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import Errors, UniversalNERError
from .prompts import TEMPLATE_FILE
from .records import read_json, sha256_file, write_json

MANIFEST = "manifest.json"
VARIABLE = "SPACY_UNIVERSALNER_STUDENT"
SHIPPED = Path(__file__).with_name("shipped")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
REQUIRED = ("config.json", WEIGHTS, "tokenizer.json", TEMPLATE_FILE)
WORDS = ("tokenizer.json", TEMPLATE_FILE)
"""What it takes to ask a student whose weights are on another machine."""


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


def check_manifest(folder: Path, required: tuple[str, ...] = REQUIRED, *, weights: bool = True) -> dict[str, Any]:
    """Verify every file of a student against its manifest.

    required (tuple): files it must have; weights may be in shards, or be adapters to a base.
    weights (bool): whether its weights are needed; if not, they are neither read nor in the manifest returned.
    RAISES (UniversalNERError): no such directory or manifest, a file missing, a sha256 that differs.
    """
    if not (folder / MANIFEST).is_file():
        reason = f"it has no {MANIFEST}" if folder.is_dir() else "there is no such directory"
        raise _no_student(folder, reason, required)
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files", {})
    if not weights:
        files = {name: sha256 for name, sha256 in files.items() if not name.endswith((".safetensors", INDEX))}
    required = _required(folder, files, required)
    missing = [name for name in {*files, *required} if not (folder / name).is_file() or name not in files]
    if missing:
        raise _no_student(folder, f"{', '.join(sorted(missing))} missing or not in the manifest", required)
    for name, expected in files.items():
        got = sha256_file(folder / name)
        if got != expected:
            raise UniversalNERError(Errors.U005.format(path=folder / name, got=got, expected=expected))
    return {**manifest, "files": files}


def _no_student(folder: Path, reason: str, required: Sequence[str]) -> UniversalNERError:
    return UniversalNERError(Errors.U051.format(path=folder, reason=reason, expected=", ".join((MANIFEST, *required))))


def _required(folder: Path, files: Mapping[str, str], required: tuple[str, ...]) -> tuple[str, ...]:
    """The files required, in the form in which this student has its weights."""
    if WEIGHTS not in required or WEIGHTS in files:
        return required
    others = tuple(name for name in required if name != WEIGHTS)
    if INDEX in files and (folder / INDEX).is_file():
        return (*others, INDEX, *read_shards(folder / INDEX))
    if ADAPTER in files:
        return (*(name for name in others if name != "config.json"), ADAPTER, ADAPTER_CONFIG)
    return required


def read_shards(index: Path) -> list[str]:
    """The files that an index of weights in shards names. RAISES (UniversalNERError): it is no such index."""
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (KeyError, AttributeError, TypeError) as err:
        raise UniversalNERError(Errors.U161.format(name=index, reason=f"no map of weights to files ({err!r})")) from err
    if odd := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise UniversalNERError(Errors.U161.format(name=index, reason=f"it names {', '.join(odd)}"))
    return names


def is_adapter(manifest: Mapping[str, Any]) -> bool:
    """Whether a student is adapters, without the weights of their base."""
    return ADAPTER in manifest["files"] and not weights_of(manifest)


def weights_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The sha256 of each file of weights in a manifest, adapters aside: they tell one base from another."""
    return {
        name: sha256
        for name, sha256 in manifest.get("files", {}).items()
        if name.endswith(".safetensors") and name != ADAPTER
    }


def copy_student(source: Path, target: Path) -> None:
    """Copy the files of a student that its manifest lists, verified. Nothing to copy where it is in place already."""
    _copy(check_manifest(source), source, target)


def copy_words(source: Path, target: Path) -> None:
    """Copy a student as copy_student does, but for its weights."""
    _copy(check_manifest(source, WORDS, weights=False), source, target)


def _copy(manifest: Mapping[str, Any], source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in _files_before(target) - manifest["files"].keys():
        (target / name).unlink(missing_ok=True)
    for name in manifest["files"]:
        shutil.copyfile(source / name, target / name)
    write_json(target / MANIFEST, manifest)


def _files_before(folder: Path) -> set[str]:
    """Files of a student that may be in a folder before: they would be loaded with those of another."""
    try:
        listed = read_json(folder / MANIFEST).get("files", {})
    except UniversalNERError:  # none, or a damaged one, which is about to be replaced
        listed = {}
    return {ADAPTER, ADAPTER_CONFIG, WEIGHTS, INDEX, *listed}


def find_student(model: str | None) -> Path:
    """The directory of the student to use: the one named, else the environment's, else an installed pipeline's, else
    the one that comes with this package.

    RAISES (UniversalNERError): none of them is there.
    """
    named = model or os.environ.get(VARIABLE)
    if named:
        return Path(named)
    installed = [path for point in entry_points(group="spacy_models") for path in _students_of(point.module)]
    if (SHIPPED / MANIFEST).is_file():
        installed.append(SHIPPED)
    if not installed:
        raise UniversalNERError(Errors.U050.format(variable=VARIABLE))
    return installed[0]


def _students_of(module: str) -> list[Path]:
    spec = find_spec(module.partition(".")[0])
    folders = list(spec.submodule_search_locations or []) if spec else []
    return [path.parent for folder in folders for path in sorted(Path(folder).glob(f"*/*/student/{MANIFEST}"))]
