"""What vLLM is asked, and how its outputs are read, without it; and with it where there is an environment that has it.

vLLM pins its own torch and transformers, so it has an environment of its own, to which spaCy is added. The variable
SPACY_UNIVERSALNER_VLLM_PYTHON names its interpreter.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from math import log
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from spacy_universalner.asking import Asker, Question
from spacy_universalner.base import BASE_VARIABLE, CACHE_VARIABLE
from spacy_universalner.encoding import Encoder
from spacy_universalner.engines.openai import OpenAIEngine
from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.engines.vllm import Server, VLLMEngine, add_output, lora_options
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import PLAIN_V1
from spacy_universalner.registry import Answer, Engine, Portable, spacy
from spacy_universalner.student import MANIFEST, write_manifest

from ..conftest import CONVERSATIONS, tune

ROOT = Path(__file__).parents[2]
VARIABLE = "SPACY_UNIVERSALNER_VLLM_PYTHON"
PYTHON = os.environ.get(VARIABLE)
needs_vllm = pytest.mark.skipif(not PYTHON, reason=f"{VARIABLE} names no interpreter with vLLM")
PASSAGES = [
    "Ada Lovelace met Charles Babbage in London , who had designed the Analytical Engine .",
    "Marie Curie won the Nobel Prize in Physics ; she worked at the University of Paris .",
    "It rained in Zürich on Monday [ 3 ] , said “ Łukasz ” .",
]
TYPES = [["person", "location", "organization", "award", "date"]] * 3
SETTINGS = {
    "dtype": "float32",
    "tensor_parallel_size": 1,
    "gpu_memory_utilization": 0.3,
    "max_model_len": 1024,
    "block_size": None,
    "enforce_eager": True,
    "max_new_tokens": 32,
}


def make_engine(model, **settings) -> VLLMEngine:
    """An engine on the CPU, but for the changes."""
    return VLLMEngine(model=str(model), **{**SETTINGS, **settings})


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture(scope="module")
def asker(tokenizer):
    return make_asker(tokenizer)


def make_asker(tokenizer, **settings) -> Asker:
    return Asker(Encoder(tokenizer, PLAIN_V1), context=512, max_new_tokens=16, **settings)


def ids_of(asker, text):
    return asker.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]


class FakeLLM:
    """Says the given answers as vLLM would: up to the first of the stops, and on from there if it is asked again."""

    def __init__(self, asker, *answers):
        self.answers = [[*ids_of(asker, text), asker.encoder.end] for text in answers]
        self.calls = []

    def generate(self, prompts, params, *, use_tqdm, lora_request):
        self.calls.append(([prompt["prompt_token_ids"] for prompt in prompts], params))
        return [
            SimpleNamespace(outputs=[self.say(prompt, each)])
            for prompt, each in zip(self.calls[-1][0], params, strict=True)
        ]

    def say(self, prompt, params):
        first = self.calls[0][0]
        number = next(i for i, ids in enumerate(first) if prompt[: len(ids)] == ids)
        ids = self.answers[number][len(prompt) - len(first[number]) :]
        said = ids[: next(n for n, i in enumerate(ids, 1) if i in params.stop_token_ids or n == params.max_tokens)]
        rows = [{i: SimpleNamespace(logprob=log(0.5)), 0: SimpleNamespace(logprob=log(0.25))} for i in said]
        reason = "stop" if said[-1] in params.stop_token_ids else "length"
        return SimpleNamespace(token_ids=said, logprobs=rows, finish_reason=reason)


def make_server(asker, *answers) -> tuple[Server, FakeLLM]:
    llm = FakeLLM(asker, *answers)
    return Server(SimpleNamespace(SamplingParams=SimpleNamespace), llm, asker), llm


def test_what_is_asked(asker):
    server, llm = make_server(asker, ' ["Ada"]', " []")
    server.asker.extract(["Ada."], [["person", "city"]], "", server.answer)
    (prompts, params), *_ = llm.calls
    encoder = asker.encoder
    assert prompts == [[*encoder.passage("Ada."), *encoder.ask((name,))] for name in ("person", "city")]
    assert [(each.temperature, each.max_tokens, each.logprobs) for each in params] == [(0.0, 16, 20)] * 2
    assert encoder.end in params[0].stop_token_ids


def test_an_answer_with_a_bracket_in_a_mention_goes_on(asker):
    server, llm = make_server(asker, ' ["a[1]", "b"]')
    (answers,) = asker.extract(["A."], [["x"]], "", server.answer)
    assert answers[0].mentions == ("a[1]", "b")
    first, second = (prompts[0] for prompts, _ in llm.calls)
    assert second[: len(first)] == first and asker.encoder.decode(second[len(first) :]).endswith("]")


@pytest.mark.parametrize(("chance", "mentions"), [(0.3, ("Ada",)), (0.1, ())])
def test_an_answer_of_nothing_goes_on_where_a_list_is_probable_enough(tokenizer, chance, mentions):
    asker = make_asker(tokenizer, begin=0.2)
    before, none, some = asker.vocabulary.fork
    server, llm = make_server(asker, " []")
    say = llm.say

    def say_both(prompt, params):
        said = say(prompt, params)
        if none in said.token_ids:
            said.logprobs[len(before)][some] = SimpleNamespace(logprob=log(chance))
            llm.answers = [ids_of(asker, ' ["Ada"]')]
        return said

    llm.say = say_both
    (answers,) = asker.extract(["A."], [["x"]], "", server.answer)
    assert answers[0].mentions == mentions
    assert answers[0].scores == pytest.approx([chance / 4] * len(mentions))  # two other tokens, each of 0.5
    assert [len(prompts) for prompts, _ in llm.calls] == [1] * (1 + bool(mentions))


def test_outputs_are_read(asker):
    ids = ids_of(asker, ' ["A"]')
    rows = [{i: SimpleNamespace(logprob=log(0.9)), 0: SimpleNamespace(logprob=log(0.05))} for i in ids]
    question = Question(0, ["x"], [1], 16)
    assert not add_output(asker, question, SimpleNamespace(token_ids=ids, logprobs=rows, finish_reason="stop"))
    assert question.ids == ids
    assert [own for own, _ in question.chances] == pytest.approx([0.9] * len(ids))
    (answer,) = asker.read(question)
    assert answer.mentions == ("A",) and 0 < answer.scores[0] < 1


def test_an_output_without_probabilities_has_no_scores(asker):
    question = Question(0, ["x"], [1], 16)
    said = SimpleNamespace(token_ids=ids_of(asker, ' ["A"]'), logprobs=None, finish_reason="length")
    assert not add_output(asker, question, said)
    assert asker.read(question) == [Answer(("A",))]


def test_without_vllm(tiny_student, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UniversalNERError, match=r"U170.*VLLM.*pip install 'spacy-universalner\[vllm\]'"):
        make_engine(tiny_student).extract(["A."], [["person"]])


def test_the_model_is_loaded_at_first_use():
    engine = make_engine("/no/such/student")
    assert isinstance(engine, Engine)
    assert isinstance(engine, Portable)
    with pytest.raises(UniversalNERError, match=r"U051.*no such directory"):
        engine.extract(["A."], [["person"]])


def test_another_model_lets_go_of_the_first(asker):
    engine = make_engine("one")
    engine._server, _ = make_server(asker)
    engine.model = "two"
    assert engine._server is None


def test_the_model_can_be_carried(tiny_student, tmp_path):
    make_engine(tiny_student).save_model(str(tmp_path / "copy"))
    assert (tmp_path / "copy" / MANIFEST).is_file()


def test_the_config():
    make = spacy.registry.universal_ner_engines.get("universal_ner.VLLM.v1")
    engine = make(tensor_parallel_size=2)
    assert (engine.model, engine.tensor_parallel_size, engine.dtype) == (None, 2, "auto")


@pytest.fixture
def loaded(monkeypatch):
    """The options that a stand-in of vLLM is loaded with, on a machine that is a CPU alone."""
    options = {}
    vllm, platforms = ModuleType("vllm"), ModuleType("vllm.platforms")
    vllm.LLM = lambda model, **given: options.update(given, model=model)
    vllm.SamplingParams = SimpleNamespace
    platforms.current_platform = SimpleNamespace(is_cpu=lambda: True)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    return options


def test_how_the_student_is_loaded(tiny_student, loaded):
    server = make_engine(tiny_student, max_model_len=100, tensor_parallel_size=2).server
    assert server.asker.context == 100
    assert (loaded["model"], loaded["max_model_len"], loaded["tensor_parallel_size"]) == (str(tiny_student), 100, 2)
    assert loaded["enable_prefix_caching"] and not loaded["trust_remote_code"]
    assert loaded["generation_config"] == "vllm", "the student's own might name penalties"


@pytest.mark.parametrize("tokens", [None, 10_000])
def test_the_context_is_at_most_the_students(tiny_student, loaded, tokens):
    assert make_engine(tiny_student, max_model_len=tokens).server.asker.context == 512
    assert loaded["max_model_len"] == 512


@pytest.mark.parametrize(("named", "block"), [(None, 32), (64, 64)])
def test_blocks_are_small_enough_to_be_shared_on_a_cpu(tiny_student, loaded, named, block):
    assert make_engine(tiny_student, block_size=named).server
    assert loaded["block_size"] == block


def test_a_damaged_student_is_not_loaded(tiny_student, tmp_path, loaded):
    shutil.copytree(tiny_student, tmp_path / "student")
    (tmp_path / "student" / "model.safetensors").write_bytes(b"")
    with pytest.raises(UniversalNERError, match=r"U005.*model.safetensors"):
        make_engine(tmp_path / "student").extract(["A."], [["person"]])
    assert not loaded


ROOM = {
    "small": ({"r": 4}, 8),
    "just so large": ({"r": 16}, 16),
    "between two sizes": ({"r": 100, "rank_pattern": {}}, 128),
    "a rank for each matrix": ({"r": 1, "rank_pattern": {"q": 3, "v": 33}}, 64),
}


@pytest.mark.parametrize(("config", "room"), ROOM.values(), ids=ROOM)
def test_room_for_adapters(tmp_path, config, room):
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf8")
    assert lora_options(tmp_path) == {"enable_lora": True, "max_lora_rank": room}


OFFLINE = """
import json, sys
from spacy_universalner.engines.vllm import VLLMEngine

if __name__ == "__main__":
    job = json.load(open(sys.argv[1]))
    engine = VLLMEngine(**job["settings"])
    answers = engine.extract(job["passages"], job["types"])
    rows = [[(a.mentions, a.scores, a.complete) for a in row] for row in answers]
    json.dump(rows, open(sys.argv[2], "w"))
"""


def environment() -> dict[str, str]:
    """vLLM on a CPU that others use too."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", **os.environ, "PYTHONPATH": path}


def ask_vllm(folder, model, passages=PASSAGES, types=TYPES) -> list[list[Answer]]:
    """What the engine says in vLLM's environment."""
    (folder / "ask.py").write_text(OFFLINE, encoding="utf8")
    job = {"settings": {**SETTINGS, "model": str(model)}, "passages": passages, "types": types}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf8")
    command = [PYTHON, str(folder / "ask.py"), str(folder / "job.json"), str(folder / "answers.json")]
    with (folder / "vllm.log").open("w") as log_file:
        done = subprocess.run(
            command, env=environment(), stdout=log_file, stderr=subprocess.STDOUT, timeout=3600, cwd=folder
        )
    assert done.returncode == 0, (folder / "vllm.log").read_text(errors="replace")[-4000:]
    rows = json.loads((folder / "answers.json").read_text(encoding="utf8"))
    return [[Answer(tuple(m), tuple(s), complete) for m, s, complete in row] for row in rows]


def in_process(student, passages=PASSAGES, types=TYPES) -> list[list[Answer]]:
    engine = TransformersEngine(model=str(student), device="cpu", dtype="float32", batch_tokens=4096, max_new_tokens=32)
    return engine.extract(passages, types)


def said(answers):
    """Answers without their scores."""
    return [[(answer.mentions, answer.complete) for answer in row] for row in answers]


@pytest.mark.slow
@needs_vllm
def test_vllm_answers_as_transformers_does(real_student, tmp_path):
    answers = ask_vllm(tmp_path, real_student)
    assert said(answers) == said(in_process(real_student))
    assert all(len(answer.scores) == len(answer.mentions) for row in answers for answer in row)


@pytest.mark.slow
@needs_vllm
def test_adapters_are_added_to_their_base(tiny_base, tmp_path, monkeypatch):
    """A base with heads of 32 numbers, the fewest that vLLM computes with."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(BASE_VARIABLE, raising=False)
    base = tmp_path / "cache" / "tiny"
    shutil.copytree(tiny_base, base)
    LlamaForCausalLM(LlamaConfig.from_pretrained(base, head_dim=32)).save_pretrained(base)
    write_manifest(base, {"name": "tiny", "source": "random weights"})
    student = tune(base, tmp_path, method="lora", save="adapter", epochs=60)
    passages = [conversation.text for conversation in CONVERSATIONS]
    types = [["person", "city", "date"]] * len(passages)
    answers = ask_vllm(tmp_path, student, passages, types)
    assert said(answers) == said(in_process(student, passages, types))
    assert any(answer.mentions for row in answers for answer in row)


@pytest.fixture
def served(real_student, tmp_path):
    """The address of vLLM's server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(real_student), "--port", port]
    options = ["--served-model-name", "ner", "--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager"]
    with (tmp_path / "server.log").open("w") as log_file:
        server = subprocess.Popen(
            [*serve, *options, "--max-model-len", "1024"],
            env=environment(),
            stdout=log_file,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, tmp_path / "server.log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait()


def wait_for(url, server, log_file, seconds=3600):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, log_file.read_text(errors="replace")[-4000:]
            time.sleep(1)
    pytest.fail(f"nothing answers at {url}")


@pytest.mark.slow
@needs_vllm
def test_vllms_server_answers_as_transformers_does(served, real_student, tmp_path):
    words = tmp_path / "words"
    shutil.copytree(real_student, words, ignore=shutil.ignore_patterns("*.safetensors"))
    options = {"api_key_env": None, "concurrency": 8, "timeout": 600, "retries": 0, "logprobs": 20}
    engine = OpenAIEngine(base_url=served, name="ner", model=str(words), **options, max_new_tokens=32)
    answers = engine.extract(PASSAGES, TYPES)
    assert engine.served.vllm and engine.served.context == 1024
    assert said(answers) == said(in_process(real_student))
    assert all(len(answer.scores) == len(answer.mentions) for row in answers for answer in row)
