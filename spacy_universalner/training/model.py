"""The model that is trained: a base as it is, or with adapters, and what is saved of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ..causal import layers


def load_model(
    base: Path,
    *,
    method: str,
    dtype: torch.dtype,
    device: torch.device,
    lora: Mapping[str, Any],
    frozen_layers: int,
    seed: int,
    checkpoint_activations: bool = False,
    empty: bool = False,
) -> Any:
    """The base, ready to be trained.

    base (Path): folder of the base student.
    method (str): "full" trains the weights, "lora" adapters beside them.
    dtype (dtype): of the weights.
    device (device): where they go.
    lora (Mapping): r, alpha and dropout of the adapters.
    frozen_layers (int): lowest layers to leave as they are, with the embeddings below them.
    seed (int): of the adapters' first weights.
    checkpoint_activations (bool): keep only what goes into each layer, and compute the rest again when it is needed.
    empty (bool): leave the weights unset, to be filled in from elsewhere; untouched memory costs nothing.
    RETURNS (PreTrainedModel or PeftModel): in training mode.
    """
    torch.manual_seed(seed)
    if empty:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base), dtype=dtype)
        model.to_empty(device=device).tie_weights()
    else:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, use_safetensors=True).to(device)
    if method == "lora":
        model = _add_adapters(model, lora)
    _freeze(causal_lm(model), frozen_layers)
    if checkpoint_activations:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def causal_lm(model: Any) -> Any:
    """The model itself, inside the adapters if there are any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def save_weights(model: Any, folder: Path) -> None:
    """Write what was trained in bfloat16 safetensors, adapters merged into the weights. The model is spent."""
    merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    merged.to(torch.bfloat16).save_pretrained(folder)


def _add_adapters(model: Any, lora: Mapping[str, Any]) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _freeze(model: Any, count: int) -> None:
    """Leave the lowest layers as they are, and the embeddings below them: no gradient is needed down there."""
    if count:
        model.get_input_embeddings().requires_grad_(False)
        for layer in layers(model)[:count]:
            layer.requires_grad_(False)
