"""The model that is trained: a base as it is, or with adapters, and what is saved of it."""

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ..causal import check_model, layers, open_adapted, open_model
from ..errors import Errors, UniversalNERError
from ..provenance import describe_start
from ..student import is_adapter


def load_model(
    base: Path,
    *,
    method: str,
    dtype: torch.dtype,
    device: torch.device,
    lora: Mapping[str, Any],
    frozen_embeddings: bool,
    frozen_layers: int,
    seed: int,
    checkpoint_activations: bool = False,
    empty: bool = False,
    adapters: Path | None = None,
) -> Any:
    """The base, ready to be trained.

    base (Path): folder of the base student.
    method (str): "full" trains the weights, "lora" adapters beside them, "qlora" these beside weights in 4 bits.
    dtype (dtype): of the weights, or of what weights in 4 bits are computed in.
    device (device): where they go.
    lora (Mapping): r, alpha and dropout of the adapters.
    frozen_embeddings (bool): leave the embeddings as they are.
    frozen_layers (int): lowest layers to leave as they are, with the embeddings below them.
    seed (int): of the adapters' first weights.
    checkpoint_activations (bool): compute each layer again in the backward pass, and keep only what goes into it.
    empty (bool): leave the weights unset, to be filled in from elsewhere; untouched memory costs nothing.
    adapters (Path | None): folder of adapters to train further, in place of new ones.
    RETURNS (PreTrainedModel or PeftModel): in training mode.
    RAISES (UniversalNERError): an architecture that cannot be trained here; no QLoRA on this device.
    """
    torch.manual_seed(seed)
    if empty:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                AutoConfig.from_pretrained(base, trust_remote_code=False), dtype=dtype
            )
        model.to_empty(device=device).tie_weights()
    elif method == "qlora":
        model = _open_quantized(base, dtype=dtype, device=device)
    else:
        model = open_model(base, dtype=dtype, device=device)
    if method != "full":
        model = _open_adapters(model, adapters) if adapters else _add_adapters(model, lora)
    _freeze(causal_lm(model), lowest=frozen_layers, embeddings=frozen_embeddings)
    if checkpoint_activations:
        causal_lm(model).gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def causal_lm(model: Any) -> Any:
    """The model itself, inside the adapters if there are any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def save_weights(model: Any, folder: Path, *, base: Path, name: str, method: str, save: str) -> None:
    """Write what was trained as safetensors: the whole model in bfloat16, or its adapters. The model is spent.

    base (Path): folder of the base.
    name (str): what the base is called.
    method, save (str): as in TrainSettings.
    """
    if method == "full":
        model.to(torch.bfloat16).save_pretrained(folder)
    elif save == "adapter":
        save_adapter(model, folder, name)
    elif method == "lora":
        model.merge_and_unload().to(torch.bfloat16).save_pretrained(folder)
    else:
        _merge_unquantized(model, folder, base=base, name=name)


def check_start(manifest: Mapping[str, Any], *, save: str) -> None:
    """Whether a base, or a student that is tuned further, can be started from.

    RAISES (UniversalNERError): it is adapters, or it is a student and adapters to it are to be saved.
    """
    reason = None
    if is_adapter(manifest):
        reason = "the student to go on from is adapters without weights; tune it with save = merged"
    elif save == "adapter" and "base" in manifest:
        reason = "it is a student already, and adapters to a student would not find it again; use save = merged"
    if reason:
        name = describe_start(manifest)["name"]
        raise UniversalNERError(Errors.U161.format(name=name, reason=reason))


def check_qlora(device: torch.device, *, processes: int) -> None:
    """Whether a model can be trained in 4 bits here. RAISES (UniversalNERError): it cannot."""
    if processes > 1:
        raise UniversalNERError(Errors.U163.format(reason=f"the base would be divided among {processes} processes"))
    if missing := [name for name in ("bitsandbytes", "accelerate") if not find_spec(name)]:
        raise UniversalNERError(Errors.U163.format(reason=f"{', '.join(missing)} not installed"))
    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        dequantize_4bit(*quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4", compress_statistics=True))
    except Exception as err:  # a library built for other hardware fails in many ways
        reason = f"bitsandbytes cannot quantise on {device} ({type(err).__name__}: {err})"
        raise UniversalNERError(Errors.U163.format(reason=reason)) from err


def _open_quantized(base: Path, *, dtype: torch.dtype, device: torch.device) -> Any:
    """A base in 4 bits as in QLoRA: NF4, its scales quantised as well; head and embeddings stay as they are."""
    from transformers import BitsAndBytesConfig

    bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    model = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        quantization_config=bits,
        device_map={"": device},
    )
    for part in model.modules():
        if hasattr(part, "support_avx512bf16_for_cpu"):
            # Else an evaluation on such a CPU packs the weights for good, in a form that passes no gradient on.
            part.support_avx512bf16_for_cpu = False
    check_model(model.eval())
    return model


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


def _open_adapters(model: Any, folder: Path) -> Any:
    """Adapters as they are, but with their scale within their weights: the steps of a learning rate are then about as
    large for them as for new ones."""
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    adapted = PeftModel.from_pretrained(model, folder, is_trainable=True, torch_device="cpu")
    with torch.no_grad():
        for part in adapted.modules():
            for name in part.scaling if isinstance(part, LoraLayer) else ():
                for side in (part.lora_A, part.lora_B):
                    side[name].weight.mul_(part.scaling[name] ** 0.5)
                part.scaling[name] = 1.0
    for config in adapted.peft_config.values():
        config.lora_alpha, config.alpha_pattern = config.r, dict(config.rank_pattern)
    return adapted


def save_adapter(model: Any, folder: Path, name: str) -> None:
    """Adapters in the form of peft, which name their base, not a folder of this machine."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = name
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's, with blanks to fill in


def _merge_unquantized(model: Any, folder: Path, *, base: Path, name: str) -> None:
    """Add adapters to the weights as they were before they were rounded to 4 bits."""
    adapter = folder.with_name(f"{folder.name}.adapter")
    save_adapter(model, adapter, name)
    whole = open_adapted(base, adapter, dtype=torch.bfloat16, device=torch.device("cpu"))
    whole.save_pretrained(folder)
    shutil.rmtree(adapter)


def _freeze(model: Any, *, lowest: int, embeddings: bool) -> None:
    """Leave the lowest layers as they are, and the embeddings below them: no gradient is needed down there."""
    if embeddings or lowest:
        model.get_input_embeddings().requires_grad_(False)
    if lowest:
        for layer in layers(model)[:lowest]:
            layer.requires_grad_(False)
