"""Fixtures: a tiny real LLaMA with a real byte-level tokenizer, and the base student where it has been fetched."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from spacy_universalner.base import SMOLLM2, cache_folder
from spacy_universalner.prompts import PLAIN_V1
from spacy_universalner.records import Conversation, Query
from spacy_universalner.schemas import TrainSettings
from spacy_universalner.student import MANIFEST, write_manifest

ROOT = Path(__file__).parents[1]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONVERSATIONS = (
    Conversation(
        "a",
        "Ada met Grace in Paris.",
        (Query("person", ("Ada", "Grace")), Query("city", ("Paris",)), Query("date", ())),
    ),
    Conversation(
        "b", "Bob left Rome in May.", (Query("person", ("Bob",)), Query("city", ("Rome",)), Query("date", ("May",)))
    ),
    Conversation("c", "It rained.", (Query("person", ()), Query("city", ()), Query("date", ()))),
    Conversation("d", "Grace saw Oslo and Bonn.", (Query("person", ("Grace",)), Query("city", ("Oslo", "Bonn")))),
)
SETTINGS = {
    "base": "SmolLM2-135M-Instruct",
    "method": "full",
    "save": "merged",
    "template": "plain.v1",
    "questions": "isolated",
    "frozen_embeddings": False,
    "frozen_layers": 0,
    "epochs": 3,
    "max_minutes": 60,
    "max_tokens": 0,
    "learning_rate": 1e-2,
    "warmup": 0.1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "step_tokens": 1,
    "batch_tokens": 1,
    "max_questions": 0,
    "dtype": "float32",
    "context": 0,
    "dev_conversations": 0,
    "dev_questions": 0,
    "dev_evals": 0,
    "patience": 0,
    "report_to": [],
    "checkpoint_activations": False,
    "save_minutes": 60,
    "seed": 0,
    "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
}


def make_settings(**changes) -> TrainSettings:
    """Settings of a run of a second on the tiny base, but for the changes."""
    return TrainSettings(**{**SETTINGS, **changes})


def make_tiny_tokenizer():
    """A byte-level tokenizer of 400 pieces, without a first token."""
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    lines = [PLAIN_V1.opening, PLAIN_V1.question, ' ["Ada", "Paris"] []', "person city organization date event"]
    backend.train_from_iterator(lines * 8, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=SPECIAL[2], pad_token=SPECIAL[0])


def make_llama_tokenizer():
    """A tokenizer in the form of LLaMA's: "▁" before every piece of text, bytes for what is not known, <s> first."""
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    lines = [PLAIN_V1.opening, PLAIN_V1.question, ' ["Ada", "Paris"] [] I\'ve', "person city organization date event"]
    trained.train_from_iterator(lines * 8, trainers.BpeTrainer(vocab_size=200))
    learnt = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *learnt["vocab"]]
    merges = [tuple(merge) for merge in learnt["merges"]]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


def make_tiny_base(folder: Path, *, seed: int = 0, context: int = 512, tokenizer=None) -> Path:
    """A random LLaMA of 2 layers and about 30,000 weights, as `fetch` writes a base; its tokenizer is the tiny one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer or make_tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    write_manifest(folder, {"name": "tiny", "source": "random weights"})
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A tiny base student; treat it as read-only."""
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory) -> Path:
    """A tiny student: random weights with a template; treat it as read-only."""
    folder = make_tiny_base(tmp_path_factory.mktemp("student") / "tiny")
    PLAIN_V1.save(folder)
    write_manifest(folder, {"base": {"name": "tiny"}, "method": "full", "template": PLAIN_V1.name, "training": {}})
    return folder


@pytest.fixture(scope="session")
def llama_base(tmp_path_factory) -> Path:
    """A tiny base with a tokenizer like LLaMA's; treat it as read-only."""
    return make_tiny_base(tmp_path_factory.mktemp("base") / "llama", tokenizer=make_llama_tokenizer())


def without_scores(found):
    """Answers of an engine, to be compared with what should be said."""
    return [[replace(answer, scores=()) for answer in answers] for answers in found]


def tune(base: Path, folder: Path, conversations=CONVERSATIONS, **changes) -> Path:
    """A tiny student that has learnt conversations by heart. RETURNS (Path): its folder."""
    from spacy_universalner.training.trainer import Trainer

    settings = make_settings(**{"epochs": 120, "step_tokens": 10000, "batch_tokens": 10000, **changes})
    trainer = Trainer(base, conversations, [], settings=settings, work=folder / "work", device="cpu")
    trainer.save(folder / "student", trainer.run())
    return folder / "student"


@pytest.fixture(scope="session")
def tuned_student(tiny_base, tmp_path_factory) -> Path:
    """A tiny student that has learnt CONVERSATIONS by heart; treat it as read-only."""
    return tune(tiny_base, tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="session")
def base() -> Path:
    """The real base student, fetched by the set-up (`python scripts/fetch.py`, as in the README)."""
    folder = cache_folder() / SMOLLM2.name
    if not (folder / MANIFEST).is_file():
        pytest.fail("The base student is not in the cache: run `python scripts/fetch.py` first, as the README says.")
    return folder


@pytest.fixture(scope="session")
def real_student(base, tmp_path_factory) -> Path:
    """The tuned student of this repository if it has been trained, else the base with a template; read-only."""
    trained = ROOT / "training" / "student"
    if (trained / MANIFEST).is_file():
        return trained
    folder = tmp_path_factory.mktemp("real") / "student"
    shutil.copytree(base, folder)
    PLAIN_V1.save(folder)
    write_manifest(folder, {"base": {"name": SMOLLM2.name}, "method": "none", "template": PLAIN_V1.name})
    return folder
