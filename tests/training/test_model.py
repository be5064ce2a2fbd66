"""What is trained and saved, on tiny random models of the architectures that transformers knows."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import spacy
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from spacy_universalner.assemble import assemble
from spacy_universalner.base import BASE_VARIABLE, CACHE_VARIABLE
from spacy_universalner.causal import check_model, layers, logits_at
from spacy_universalner.encoding import Encoder
from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.extraction import Extractor
from spacy_universalner.prompts import PLAIN_V1
from spacy_universalner.student import ADAPTER, ADAPTER_CONFIG, INDEX, WEIGHTS, check_manifest, copy_student
from spacy_universalner.training.examples import collate, split_rows
from spacy_universalner.training.loss import AnswerLoss
from spacy_universalner.training.model import causal_lm, check_qlora, load_model
from spacy_universalner.training.trainer import Trainer

from ..conftest import CONVERSATIONS, ROOT, make_settings, without_scores

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
HEADS = {"head_dim": 16}
# Caps and scales so strong that a path without them would be seen to differ.
ARCHITECTURES = {
    "llama": {},
    "mistral": {},
    "mixtral": {"num_local_experts": 4},
    "qwen2": {},
    "qwen3": HEADS,
    "phi": {},
    "phi3": {},
    "gpt2": {},
    "gpt_neox": {},
    "gpt_bigcode": {},
    "gemma": HEADS,
    "gemma2": {**HEADS, "final_logit_softcapping": 0.5, "attn_logit_softcapping": 0.5},
    "gemma3_text": {**HEADS, "final_logit_softcapping": 0.5},
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.25},
    "smollm3": {},
    "starcoder2": {},
    "stablelm": {},
    "glm4": HEADS,
}
# Those that count positions themselves, take masks of their own form only, or have recurrent layers.
REFUSED = ("gptj", "bloom", "mpt", "mamba", "rwkv")


def make_model(kind, vocabulary, **changes):
    """A random model whose weights are so large that every token tells."""
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**{**SIZES, "vocab_size": vocabulary, **changes})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    return model


@pytest.fixture(scope="module")
def encoder(tiny_base):
    return Encoder(AutoTokenizer.from_pretrained(tiny_base), PLAIN_V1)


# Architectures


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_loss_is_that_of_the_plain_model(kind, encoder):
    model = make_model(kind, len(encoder.tokenizer), **ARCHITECTURES[kind])
    rows = [row for c in CONVERSATIONS[:2] for row in split_rows(encoder, c, c.queries, 512)[0]]
    batch = collate(rows, 0, isolated=True)
    with torch.no_grad():
        got = float(AnswerLoss(model)(batch.layout, batch.predict, batch.targets))
    expected = sum(plain_loss(model, encoder, c.text, query) for c in CONVERSATIONS[:2] for query in c.queries)
    assert got == pytest.approx(expected, rel=1e-4)


def plain_loss(model, encoder, text, query):
    """The loss of one answer to one question, with the whole model and nothing beside it."""
    exchange = encoder.exchange([query])
    ids = [*encoder.passage(text), *exchange.ids]
    learnt = len(exchange.ids) - exchange.answer_start
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -learnt - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[-learnt:]), reduction="sum"))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_answers_are_those_of_the_plain_model(kind, encoder):
    model = make_model(kind, len(encoder.tokenizer), **ARCHITECTURES[kind])
    texts, types = [c.text for c in CONVERSATIONS[:2]], [["person", "city"], ["date", "person"]]
    got = answer_ids(Extractor(model, encoder, batch_tokens=4096, max_new_tokens=6), texts, types)
    asked = [(text, name) for text, names in zip(texts, types, strict=True) for name in names]
    assert got == {(text, name): plain_answer(model, encoder, text, name) for text, name in asked}


def answer_ids(extractor, texts, types):
    """Six tokens in answer to each question, as the engine gets them."""
    found, answer = {}, extractor.answer

    def keep(groups):
        answer(groups)
        for group in groups:
            found.update({(texts[group.index], said.types[0]): said.ids for said in group.answers})

    extractor.answer, extractor.vocabulary.ends = keep, lambda ids, text: False
    extractor.extract(texts, types)
    return found


@torch.no_grad()
def plain_answer(model, encoder, text, name):
    """Six tokens, greedily, with the whole model anew for each."""
    ids = [*encoder.passage(text), *encoder.ask((name,))]
    for _ in range(6):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[-6:]


def test_a_row_may_be_longer_than_a_sliding_window(encoder):
    text, types = CONVERSATIONS[0].text, ["person", "city", "date", "event", "organization"]
    window = len(encoder.passage(text)) + max(len(encoder.ask((name,))) for name in types) + 6
    model = make_model("mistral", len(encoder.tokenizer), sliding_window=window)
    extractor = Extractor(model, encoder, batch_tokens=4096, max_new_tokens=6)
    assert extractor.context == window
    got = answer_ids(extractor, [text], [types])
    assert got == {(text, name): plain_answer(model, encoder, text, name) for name in types}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_layers_are_found(kind, encoder):
    assert len(layers(make_model(kind, len(encoder.tokenizer), **ARCHITECTURES[kind]))) == 2


@pytest.mark.parametrize("kind", REFUSED)
def test_an_architecture_that_cannot_be_asked_is_refused(kind):
    model = make_model(kind, 64)
    with pytest.raises(UniversalNERError, match=rf"U162.*{type(model).__name__}"):
        check_model(model)


def test_a_model_is_left_as_it_was(encoder):
    model = make_model("llama", 64)
    ids = torch.tensor([[5, 6, 7]])
    before = model(input_ids=ids).logits
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool).tril()
    some = logits_at(model, torch.tensor([2]), ids=ids, positions=torch.arange(3)[None], mask=mask)
    assert torch.allclose(some, before[0, 2:], atol=1e-5)
    assert torch.equal(model(input_ids=ids).logits, before)


# Adapters alone


@pytest.fixture
def make_trainer(tmp_path, monkeypatch, tiny_base):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(BASE_VARIABLE, raising=False)

    def make(base=tiny_base, **changes):
        cached = tmp_path / "cache" / "tiny"
        if not cached.exists():
            shutil.copytree(base, cached)
        settings = make_settings(**{"method": "lora", "save": "adapter", "epochs": 5, **changes})
        return Trainer(
            cached, CONVERSATIONS, CONVERSATIONS[:2], settings=settings, work=tmp_path / "work", device="cpu"
        )

    return make


def train(trainer, folder):
    return trainer.save(folder, trainer.run())


def ask(folder):
    engine = TransformersEngine(model=str(folder), device="cpu", dtype="float32", batch_tokens=4096, max_new_tokens=16)
    return engine.extract([c.text for c in CONVERSATIONS], [["person", "city", "date"]] * len(CONVERSATIONS))


def test_adapters_are_saved_without_the_weights_of_their_base(make_trainer, tmp_path, tiny_base):
    manifest = train(make_trainer(), tmp_path / "student")
    assert {ADAPTER, ADAPTER_CONFIG, "tokenizer.json", "template.json"} <= manifest["files"].keys()
    assert not {WEIGHTS, "config.json"} & manifest["files"].keys()
    assert manifest["base"]["weights"] == {WEIGHTS: check_manifest(tiny_base, ())["files"][WEIGHTS]}
    written = [path for path in (tmp_path / "student").iterdir() if path.suffix in (".json", ".md")]
    texts = [path.read_text(encoding="utf8") for path in written]
    assert all(str(tmp_path) not in text for text in texts)


def test_adapters_answer_as_the_trained_model(make_trainer, tmp_path):
    trainer = make_trainer(epochs=60)
    train(trainer, tmp_path / "student")
    extractor = Extractor(trainer.causal_lm.eval(), trainer.encoder, batch_tokens=4096, max_new_tokens=16)
    expected = extractor.extract([c.text for c in CONVERSATIONS], [["person", "city", "date"]] * len(CONVERSATIONS))
    copy_student(tmp_path / "student", tmp_path / "copy")
    assert without_scores(ask(tmp_path / "copy")) == without_scores(expected)


def test_a_pipeline_of_adapters_works_where_it_is_moved_and_there_is_no_base(make_trainer, tmp_path):
    told = train(make_trainer(epochs=60), tmp_path / "student")
    before = ask(tmp_path / "student")
    config = ROOT / "configs" / "pipeline.cfg"
    assemble(config, tmp_path / "student", name="tiny", version="0.0.0").to_disk(tmp_path / "nlp")
    shutil.rmtree(tmp_path / "student")
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "nlp").rename(tmp_path / "moved")
    engine = spacy.load(tmp_path / "moved").get_pipe("universal_ner").engine
    assert without_scores(ask(engine.model)) == without_scores(before)
    manifest = check_manifest(Path(engine.model))
    assert WEIGHTS in manifest["files"] and ADAPTER not in manifest["files"]
    assert {**manifest, "files": ()} == {**told, "files": ()}


def test_adapters_find_a_base_of_another_name_by_its_weights(make_trainer, tmp_path):
    train(make_trainer(), tmp_path / "student")
    before = ask(tmp_path / "student")
    (tmp_path / "cache" / "tiny").rename(tmp_path / "cache" / "local-1")
    assert ask(tmp_path / "student") == before


def test_adapters_refuse_another_base(make_trainer, tmp_path, tuned_student, monkeypatch):
    train(make_trainer(), tmp_path / "student")
    monkeypatch.setenv(BASE_VARIABLE, str(tuned_student))
    with pytest.raises(UniversalNERError, match=r"U164.*tiny.*other weights"):
        ask(tmp_path / "student")


def test_adapters_without_their_base(make_trainer, tmp_path):
    train(make_trainer(), tmp_path / "student")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UniversalNERError, match=r"U164.*tiny: .*U160"):
        ask(tmp_path / "student")


def test_adapters_that_are_damaged(make_trainer, tmp_path):
    train(make_trainer(), tmp_path / "student")
    (tmp_path / "student" / ADAPTER).write_bytes(b"")
    with pytest.raises(UniversalNERError, match=rf"U005.*{ADAPTER}"):
        check_manifest(tmp_path / "student")


def test_adapters_to_a_student_are_refused(make_trainer, tuned_student):
    with pytest.raises(UniversalNERError, match=r"U161.*tiny.*save = merged"):
        make_trainer(tuned_student)


def test_adapters_are_not_gone_on_from(make_trainer, tmp_path):
    train(make_trainer(), tmp_path / "student")
    settings = make_settings()
    with pytest.raises(UniversalNERError, match=r"U161.*tiny.*adapters without weights"):
        Trainer(tmp_path / "student", CONVERSATIONS, [], settings=settings, work=tmp_path / "work", device="cpu")


def test_a_student_is_gone_on_from_with_adapters(make_trainer, tuned_student, tmp_path):
    manifest = train(make_trainer(tuned_student, save="merged"), tmp_path / "student")
    assert WEIGHTS in manifest["files"]
    assert manifest["base"]["name"] == "tiny"


# Shards


def test_a_base_in_shards_is_trained_and_saved(tiny_base, tmp_path):
    base = tmp_path / "shards"
    shutil.copytree(tiny_base, base)
    (base / WEIGHTS).unlink()
    AutoModelForCausalLM.from_pretrained(tiny_base).save_pretrained(base, max_shard_size="50KB")
    assert (base / INDEX).is_file() and not (base / WEIGHTS).exists()
    model = load_model(base, **plain(frozen_layers=1))
    whole = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))
    assert sum(weight.requires_grad for weight in model.parameters()) < len(list(model.parameters()))


def plain(**changes):
    """Arguments of `load_model` for a full training on this machine."""
    settings = make_settings()
    return {
        "method": "full",
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "lora": settings.lora.model_dump(),
        "frozen_embeddings": False,
        "frozen_layers": 0,
        "seed": 0,
        **changes,
    }


# Memory


@pytest.mark.parametrize("method", ["full", "lora"])
def test_computing_activations_again_changes_no_gradient(tiny_base, encoder, method):
    rows = [row for c in CONVERSATIONS for row in split_rows(encoder, c, c.queries, 512)[0]]
    batch = collate(rows, 0, isolated=True)
    gradients = []
    for again in (False, True):
        model = load_model(tiny_base, **plain(method=method, checkpoint_activations=again))
        AnswerLoss(model)(batch.layout, batch.predict, batch.targets).backward()
        assert causal_lm(model).is_gradient_checkpointing == again
        gradients.append([weight.grad for weight in model.parameters() if weight.requires_grad])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


# QLoRA

needs_bits = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (the extra qlora)"
)


def test_qlora_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("spacy_universalner.training.model.find_spec", lambda name: None)
    with pytest.raises(UniversalNERError, match=r"U163.*bitsandbytes, accelerate not installed.*lora in \[train\]"):
        check_qlora(torch.device("cpu"), processes=1)


def test_qlora_takes_one_process():
    with pytest.raises(UniversalNERError, match=r"U163.*2 processes"):
        check_qlora(torch.device("cpu"), processes=2)


@needs_bits
@pytest.mark.parametrize("save", ["merged", "adapter"])
def test_qlora_learns_and_its_students_rest_on_the_unrounded_base(make_trainer, tmp_path, wide_base, save):
    trainer = make_trainer(wide_base, method="qlora", save=save, epochs=30, dev_conversations=2, dev_evals=2)
    assert {type(part).__name__ for part in layers(trainer.causal_lm)[0].modules()} >= {"Linear4bit"}
    manifest = train(trainer, tmp_path / "student")
    log = (tmp_path / "work" / "log.jsonl").read_text(encoding="utf8").splitlines()
    losses = [row["loss"] for row in map(json.loads, log) if "loss" in row]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert manifest["method"] == "qlora"
    if save == "merged":
        names = load_file(wide_base / WEIGHTS).keys()
        assert load_file(tmp_path / "student" / WEIGHTS).keys() == names
    assert len(ask(tmp_path / "student")) == len(CONVERSATIONS)


@pytest.fixture(scope="module")
def wide_base(tiny_base, tmp_path_factory):
    """A tiny base with rows of 64 weights, the block that is quantised together."""
    from spacy_universalner.student import write_manifest

    folder = tmp_path_factory.mktemp("wide") / "tiny"
    shutil.copytree(tiny_base, folder)
    model = make_model("llama", AutoConfig.from_pretrained(tiny_base).vocab_size)
    model.save_pretrained(folder)
    write_manifest(folder, {"name": "tiny", "source": "random weights"})
    return folder
