"""Fixtures: a tiny real LLaMA with a real byte-level tokenizer, and the base student where it has been fetched."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from spacy_universalner.prompts import PLAIN_V1
from spacy_universalner.student import MANIFEST, write_manifest
from spacy_universalner.training.base import SMOLLM2, cache_folder

ROOT = Path(__file__).parents[1]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tiny_base(folder: Path, *, seed: int = 0, context: int = 512) -> Path:
    """A random LLaMA of 2 layers and about 30,000 weights with a tokenizer of 400 pieces, as `fetch` writes a base."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    lines = [PLAIN_V1.opening, PLAIN_V1.question, ' ["Ada", "Paris"] []', "person city organization date event"]
    backend.train_from_iterator(lines * 8, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=SPECIAL[2], pad_token=SPECIAL[0])
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
def base() -> Path:
    """The real base student, fetched by the set-up (`python scripts/fetch.py`, as in the README)."""
    folder = cache_folder() / SMOLLM2.name
    if not (folder / MANIFEST).is_file():
        pytest.fail("The base student is not in the cache: run `python scripts/fetch.py` first, as the README says.")
    return folder
