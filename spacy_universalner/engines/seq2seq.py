"""Encoder-decoders run with Hugging Face transformers, asked all types of a passage at once."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from ..errors import Errors, UniversalNERError
from ..hardware import pick_device, pick_dtype
from ..prompts import get_source_prompt
from ..registry import Answer
from ..remote import locate_model

# Where encoder-decoders with learnt positions write how many there are; those of T5's kind have no end.
LIMIT = "max_position_embeddings"


class Seq2SeqEngine:
    """See make_seq2seq_engine for the arguments. The model is loaded at first use, or by `load`."""

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        prompt: str = "instructuie.v1",
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int = 16,
        max_new_tokens: int = 256,
    ):
        for name, value in (("batch_size", batch_size), ("max_new_tokens", max_new_tokens)):
            if value < 1:
                raise UniversalNERError(Errors.U008.format(name=name, got=value))
        self.name = model
        self.revision = revision
        self.prompt = get_source_prompt(prompt)
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was loaded: another process loads it itself."""
        return {**self.__dict__, "_loaded": None}

    def load(self) -> None:
        """Load the model, if it is not loaded.

        RAISES (UniversalNERError): it is not there, is no encoder-decoder, or its weights are not in safetensors.
        """
        if self._loaded is None:
            self._loaded = self._open()

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine. RAISES (UniversalNERError): a passage with its types is longer than what the model reads."""
        self.load()
        model, tokenizer = self._loaded
        asked = [i for i, names in enumerate(types) if names]
        sources = {i: self._encode(self.prompt.ask(passages[i], types[i]), model, tokenizer) for i in asked}
        answers: list[list[Answer]] = [[] for _ in passages]
        for batch in self._batches(sources):
            said = self._generate([sources[i] for i in batch], model, tokenizer)
            for i, (text, ended) in zip(batch, said, strict=True):
                answers[i] = self.prompt.read(text, types[i], ended=ended)
        return answers

    def _open(self) -> tuple[Any, Any]:
        folder = locate_model(self.name, revision=self.revision)
        device = pick_device(self.device)
        try:
            model = AutoModelForSeq2SeqLM.from_pretrained(
                folder, dtype=pick_dtype(self.dtype, device), use_safetensors=True, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (ValueError, OSError, ImportError, KeyError) as err:
            reason = f"transformers cannot read it as an encoder-decoder ({type(err).__name__}: {err})"
            raise UniversalNERError(Errors.U240.format(name=self.name, reason=reason)) from err
        return model.to(device).eval(), tokenizer

    def _encode(self, source: str, model: Any, tokenizer: Any) -> list[int]:
        """The ids of an input. Special tokens are not recognised in it, whatever a passage or a type holds."""
        ids = tokenizer(source, split_special_tokens=True)["input_ids"]
        limit = getattr(model.config, LIMIT, None)
        if limit and len(ids) > limit:
            raise UniversalNERError(Errors.U241.format(tokens=len(ids), context=limit, name=self.name))
        return ids

    def _batches(self, sources: dict[int, list[int]]) -> Iterator[list[int]]:
        """Passages by their places in the call, those of like length together."""
        order = sorted(sources, key=lambda i: len(sources[i]))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    @torch.inference_mode()
    def _generate(self, sources: list[list[int]], model: Any, tokenizer: Any) -> list[tuple[str, bool]]:
        """What is said to each input, greedily, and whether it came to its end."""
        batch = tokenizer.pad({"input_ids": sources}, return_tensors="pt").to(model.device)
        greedy = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            num_beams=1,
            **{
                key: getattr(model.generation_config, key)
                for key in ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
            },
        )
        said = model.generate(**batch, generation_config=greedy)[:, 1:].tolist()
        ends = greedy.eos_token_id if isinstance(greedy.eos_token_id, list) else [greedy.eos_token_id]
        texts = tokenizer.batch_decode(said, skip_special_tokens=True)
        return [(text, any(token in ends for token in ids)) for text, ids in zip(texts, said, strict=True)]
