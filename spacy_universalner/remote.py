"""Students that are no folder with a manifest yet, on a hub or released as plain models; and models that are none."""

import shutil
from dataclasses import replace
from pathlib import Path

from .base import REPOSITORY, Base, cache_folder, fetch_checkpoint, fill_folder, local_name
from .errors import Errors, UniversalNERError
from .hub import Listing, Unavailable, download, download_files, list_repository, no_weights
from .prompts import TEMPLATES, UNINER_V1, get_template, load_template
from .records import read_json
from .student import INDEX, MANIFEST, WEIGHTS, check_manifest, find_student, write_manifest

FOLDER = "students"
MODELS = "models"


def locate_student(
    model: str | None, *, revision: str | None = None, template: str | None = None, timeout: float = 5.0
) -> Path:
    """The folder of the student to use; fetched and made ready if the cache has none.

    What is in the cache is used without asking the hub again. Weights are read from safetensors only.

    model (str | None): a folder, or a repository of a hub (owner/name), of a student as this project writes it, or of
        a model that was released without manifest and template; None takes the environment's or an installed student.
    revision (str | None): commit, tag or branch of the repository; None for what is there when it is fetched.
    template (str | None): what a model without a template is asked in; None knows that of the released UniNER models
        by their names.
    timeout (float): seconds the hub may take to answer.
    RAISES (UniversalNERError): no student; one that cannot be fetched or used; no template, or another than it brings.
    """
    found = find_student(model)
    if (found / MANIFEST).is_file():
        _expect_template(found, template)
        return found
    if (found / "config.json").is_file():
        base, key = Base(found.resolve().name, folder=found), local_name(found)
    elif REPOSITORY.fullmatch(str(found)) and not found.exists():
        base, key = Base(str(found), hub=str(found)), str(found)
    else:
        return found  # whoever opens it says what is wrong with it
    name = "--".join(part.replace("/", "--") for part in (key, revision, template) if part)
    folder = cache_folder() / FOLDER / name
    fill_folder(folder, lambda: _fetch(base, folder, revision, template, timeout))
    _expect_template(folder, template)
    return folder


def locate_model(model: str, *, revision: str | None = None, timeout: float = 5.0) -> Path:
    """The folder of a model that is no student, such as an encoder-decoder; fetched if the cache has none.

    model (str): a folder, or a repository of a hub (owner/name); what is in the cache is used without asking again.
    revision (str | None): commit, tag or branch of the repository; None for what is there when it is fetched.
    timeout (float): seconds the hub may take to answer.
    RAISES (UniversalNERError): no such folder or repository, or no weights in safetensors.
    """
    found = Path(model).expanduser()
    if (found / "config.json").is_file():
        names = [path.name for path in found.iterdir()]
        if not {WEIGHTS, INDEX} & set(names):
            raise _no_model(model, no_weights(names))
        return found
    if found.exists() or not REPOSITORY.fullmatch(model):
        raise _no_model(model, "there is no such folder with a config.json, and it does not read owner/name")
    folder = cache_folder() / MODELS / "--".join(part.replace("/", "--") for part in (model, revision) if part)
    fill_folder(folder, lambda: _fetch_model(model, folder, revision, timeout))
    check_manifest(folder, ("config.json", WEIGHTS))
    return folder


def _fetch_model(model: str, folder: Path, revision: str | None, timeout: float) -> None:
    try:
        listing = list_repository(model, timeout=timeout, revision=revision)
        part = folder.with_name(f".fetch-{folder.name}-{listing.revision[:12]}")
        part.mkdir(exist_ok=True)
        download(model, listing, part, timeout=timeout)
    except Unavailable as err:
        raise _no_model(model, err) from err
    write_manifest(part, {"name": model, "source": f"hub, revision {listing.revision}"})
    shutil.rmtree(folder, ignore_errors=True)  # one without a manifest
    part.replace(folder)


def _no_model(model: str, reason: object) -> UniversalNERError:
    return UniversalNERError(Errors.U240.format(name=model, reason=reason))


def _fetch(base: Base, folder: Path, revision: str | None, template: str | None, timeout: float) -> None:
    try:
        listing = list_repository(base.hub, timeout=timeout, revision=revision) if base.hub else None
        if listing and MANIFEST in listing.sizes:
            _fetch_student(base.hub, listing, folder, timeout)
        else:
            asked = replace(base, template=_choose_template(base.name, template))
            fetch_checkpoint(asked, folder, listing, timeout=timeout)
    except Unavailable as err:
        raise UniversalNERError(Errors.U187.format(name=base.name, reason=err)) from err


def _fetch_student(repository: str, listing: Listing, folder: Path, timeout: float) -> None:
    """A student as this project writes it: the files of its manifest, verified."""
    part = folder.with_name(f".fetch-{folder.name}-{listing.revision[:12]}")
    part.mkdir(exist_ok=True)
    download_files(repository, listing, [MANIFEST], part, timeout=timeout)
    names = list(read_json(part / MANIFEST).get("files", {}))
    if odd := [name for name in names if name in ("", ".", "..") or Path(name).name != name]:
        raise Unavailable(f"its manifest names {', '.join(odd)}, which are no plain names of files")
    download_files(repository, listing, names, part, timeout=timeout)
    check_manifest(part)
    shutil.rmtree(folder, ignore_errors=True)  # one without a manifest
    part.replace(folder)


def _choose_template(name: str, template: str | None) -> str:
    """The template named, or that of a model known by its name."""
    if template:
        return get_template(template).name
    if name.rpartition("/")[2].lower().startswith("uniner"):
        return UNINER_V1.name
    raise _no_template(name, "it brings none, and none is known by its name")


def _expect_template(folder: Path, template: str | None) -> None:
    if template and (own := load_template(folder).name) != template:
        raise _no_template(str(folder), f"{template} is named, but it was tuned with {own}")


def _no_template(name: str, reason: str) -> UniversalNERError:
    return UniversalNERError(Errors.U188.format(name=name, reason=reason, known=", ".join(TEMPLATES)))
