"""A student as bytes, and back in a folder: what a pipeline is when it travels without a disk."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from .base import cache_folder
from .errors import Errors, UniversalNERError
from .registry import Portable
from .student import MANIFEST, check_manifest

FOLDER = "students"


def pack_student(engine: Portable) -> dict[str, bytes]:
    """The files of an engine's student, by name."""
    with tempfile.TemporaryDirectory() as folder:
        engine.save_model(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def unpack_student(files: Mapping[str, bytes]) -> Path:
    """Write the files of a student to the cache, under the sha256 of its manifest; once, however often it is read.

    RETURNS (Path): the folder.
    RAISES (UniversalNERError): a name that is no plain file name, files that are not as the manifest says.
    """
    if odd := [name for name in files if name in ("", ".", "..") or Path(name).name != name]:
        raise UniversalNERError(Errors.U185.format(names=", ".join(map(repr, odd))))
    students = cache_folder() / FOLDER
    folder = students / hashlib.sha256(files.get(MANIFEST, b"")).hexdigest()
    students.mkdir(parents=True, exist_ok=True)
    with FileLock(students / ".lock"), tempfile.TemporaryDirectory(dir=students, prefix=".unpack-") as work:
        if not folder.is_dir():
            ready = Path(work) / "ready"
            ready.mkdir()
            for name, data in files.items():
                (ready / name).write_bytes(data)
            check_manifest(ready)
            ready.replace(folder)
    return folder
