"""What a student was made of and with, as its manifest and its card tell it. What is not known is said to be so."""

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .base import SMOLLM2, describe_base
from .corpus.conversations import Tally
from .corpus.origin import NOT_STATED, ORIGIN
from .records import read_conversations, read_json, sha256_file, sha256_json

PACKAGES = ("spacy", "spacy-llm", "torch", "transformers", "peft", "weasel", "datasets", "spacy-universalner")
BASES = {SMOLLM2.name: (SMOLLM2.hub, "apache-2.0")}
"""Bases whose repository and licence are known here, by name."""
LOCAL, HUB = "local folder", "hub, "
"""How the source of a base begins that anyone may have put there, under whatever name; and of one from the hub."""
OPENAI = re.compile(r"(chat)?gpt-(?!oss)|o\d(-|$)|text-davinci|davinci")
SEE_CARD = "see the base's own card"
NOT_KNOWN = "not known"
TELLING = ("bulk", "card", "report", "teacher")
"""Parts of this package that no score depends on."""


def describe_training(
    settings: Mapping[str, Any], *, base: Mapping[str, Any], train: Sequence[Path], dev: Path
) -> dict[str, Any]:
    """What a manifest says beside the student itself.

    settings (Mapping): [train].
    base (Mapping): the manifest of what was tuned, a base or a student.
    train (Sequence[Path]): files of conversations learnt from.
    dev (Path): the file of those held out.
    RETURNS (dict): settings, data, licenses, versions, git_commit.
    """
    data = describe_data(train, dev)
    return {
        "settings": dict(settings),
        "data": data,
        "licenses": list_licenses(base, data["origins"]),
        "versions": find_versions(),
        "git_commit": find_commit(),
    }


def describe_start(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of what was tuned: a base, or a student of which all that it was made of is kept."""
    if "base" not in manifest:
        return describe_base(manifest)
    named = {key: manifest["base"].get(key) for key in ("name", "source")}
    made = {key: manifest.get(key) for key in ("method", "template", "settings", "data")}
    return {**describe_base({**manifest, **named}), "student": made}


def describe_data(train: Sequence[Path], dev: Path) -> dict[str, Any]:
    """Count conversations, sum up their files, and find where they come from.

    RETURNS (dict): files with their sha256; train and dev with their counts; the origin of each folder, None where
        nothing stands beside the conversations.
    """
    paths = list(dict.fromkeys((*train, dev)))
    folders = dict.fromkeys(path.parent for path in train)
    return {
        "files": {f"{path.parent.name}/{path.name}": sha256_file(path) for path in paths},
        "train": asdict(_count(train)),
        "dev": asdict(_count([dev])),
        "origins": [read_origin(folder) for folder in folders],
    }


def read_origin(folder: Path) -> dict[str, Any] | None:
    """Where the conversations in a folder come from; None where nothing stands beside them."""
    path = folder / ORIGIN
    return read_json(path) if path.is_file() else None


def _count(paths: Iterable[Path]) -> Tally:
    tally = Tally()
    for path in paths:
        for conversation in read_conversations(path):
            tally.add(conversation)
    return tally


def list_licenses(base: Mapping[str, Any], origins: Iterable[Mapping[str, Any] | None]) -> list[dict[str, str]]:
    """The terms that a student inherits.

    base (Mapping): the manifest of what was tuned; a student's own terms are inherited too.
    origins (Iterable): of its conversations.
    RETURNS (list): {"of", "license"}, each once.
    """
    listed = list(base.get("licenses", [])) or [_base_license(base)]
    for origin in origins:
        listed += _origin_licenses(origin)
    return [dict(terms) for terms in dict.fromkeys(tuple(entry.items()) for entry in listed)]


def _base_license(manifest: Mapping[str, Any]) -> dict[str, str]:
    known = find_base(manifest.get("base", manifest))
    name = manifest.get("base", manifest).get("name") or "a name that is not known"
    return {"of": f"base {name}", "license": known[1] if known else SEE_CARD}


def find_base(base: Mapping[str, Any]) -> tuple[str, str] | None:
    """The repository of a base and its licence, as far as they are known; a local folder may hold anything."""
    name, source = base.get("name") or "", base.get("source") or ""
    if name in BASES and not source.startswith(LOCAL):
        return BASES[name]
    return (name, SEE_CARD) if source.startswith(HUB) else None


def _origin_licenses(origin: Mapping[str, Any] | None) -> list[dict[str, str]]:
    if not origin:
        return [{"of": "conversations", "license": NOT_KNOWN}]
    found = []
    for teacher in origin.get("teachers", {}):
        found.append({"of": f"replies of {teacher}", "license": _teacher_terms(teacher, origin)})
    if "teachers" in origin:
        terms = origin.get("license", NOT_STATED)
        found.append({"of": "passages", "license": "those of their documents" if terms == NOT_STATED else terms})
    elif "license" in origin:
        found.append({"of": f"data in {', '.join(origin.get('files', {}))}", "license": origin["license"]})
    for entry in origin.get("data", []):
        terms = entry.get("license") or NOT_STATED
        found.append({"of": f"data set {entry.get('name', NOT_KNOWN)}", "license": terms})
    return found


def _teacher_terms(teacher: str, origin: Mapping[str, Any]) -> str:
    if origin.get("embedded"):
        return origin["license"]
    if OPENAI.match(teacher):
        return "the terms of use of its provider, by its name OpenAI"
    return "the terms of that model and of whoever served it"


def choose_license(licenses: Sequence[Mapping[str, str]]) -> str:
    """The one licence that a hub's card can name: that of the base where all else is public domain, else "other"."""
    named = {entry["license"] for entry in licenses} - {"cc0-1.0"}
    return named.pop() if len(named) == 1 and named <= {license for _, license in BASES.values()} else "other"


def find_versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that matter."""
    return {"python": platform.python_version(), **{name: find_version(name) for name in PACKAGES}}


def find_version(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def hash_code() -> str:
    """A hash of this package's modules, but for those that tell of results: where one changed, so may a result."""
    folder = Path(__file__).parent
    modules = [path for path in sorted(folder.rglob("*.py")) if path.relative_to(folder).parts[0] not in TELLING]
    return sha256_json([(str(path.relative_to(folder)), sha256_file(path)) for path in modules])


def find_commit() -> str | None:
    """The commit of the working directory, None without git or outside a repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
