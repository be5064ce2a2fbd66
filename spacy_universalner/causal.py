"""Any Hugging Face causal language model: how it is loaded, its parts, its logits where they are asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from .errors import Errors, UniversalNERError
from .layout import lay_out

# Largest difference from what the whole model gives, as a share of the largest logit: rounding, and nothing else. In
# float32 a tuned SmolLM2-135M was seen to make 3e-4 of it, where its base makes 2e-6.
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
BY_PLAN = "universal_ner"  # attention that takes masks as sdpa does, and plans (see attention)
_PLACES: ContextVar[torch.Tensor | None] = ContextVar("places", default=None)


def open_model(folder: Path, *, dtype: torch.dtype, device: torch.device, **options: Any) -> Any:
    """Load the weights of a folder, in evaluation mode, and see that they can be asked as is done here.

    options (Any): more arguments for `from_pretrained`.
    RAISES (UniversalNERError): see `check_model`.
    """
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, **options
    )
    model = model.to(device).eval()
    check_model(model)
    return model


def open_adapted(base: Path, adapter: Path, *, dtype: torch.dtype, device: torch.device) -> Any:
    """Load a base with adapters merged into its weights."""
    from peft import PeftModel  # takes long to import, and most students are whole

    model = open_model(base, dtype=dtype, device=device)
    # peft would load them to an accelerator, which may not know 8-bit numbers, and then copy them all the same
    return PeftModel.from_pretrained(model, adapter, torch_device="cpu").merge_and_unload().eval()


def backbone(model: Any) -> Any:
    """The model without its head; it gives the last hidden states."""
    return model.base_model


def head(model: Any) -> Any:
    """The layer that turns hidden states into logits, which some architectures scale or cap afterwards."""
    return model.get_output_embeddings()


def layers(model: Any) -> Sequence[Any]:
    """The transformer layers, lowest first. RAISES (UniversalNERError): none are found in this architecture."""
    count = model.config.get_text_config().num_hidden_layers
    for part in backbone(model).modules():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            return part
    raise UniversalNERError(Errors.U074.format(architecture=type(model).__name__, count=count))


def logits_at(
    model: Any,
    places: torch.Tensor,
    *,
    ids: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    cache: Any = None,
) -> torch.Tensor:
    """Logits at some places only: a head over a large vocabulary costs as much as many layers.

    The model's own forward makes them, since some architectures scale or cap what the head gives: its backbone is made
    to hand on those hidden states alone.

    places (Tensor): numbers of the places among those of all rows, one row after the other.
    ids, positions, mask (Tensor): as in a Layout; of tokens not in the cache.
    cache (Cache | None): keys and values so far, which grow; None keeps none.
    RETURNS (Tensor): (places, vocabulary).
    """
    with _keep_only(model, places.to(model.device)):
        output = model(
            input_ids=ids.to(model.device),
            position_ids=positions.to(model.device),
            attention_mask=_suit(mask.to(model.device), model),
            past_key_values=cache,
            use_cache=cache is not None,
        )
    return output.logits[0]


@contextmanager
def _keep_only(model: Any, places: torch.Tensor) -> Iterator[None]:
    """Within, the hidden states that the backbone gives are those of some places, as one row."""
    hook = backbone(model).register_forward_hook(_keep)
    token = _PLACES.set(places)
    try:
        yield
    finally:
        _PLACES.reset(token)
        hook.remove()


def _keep(module: Any, inputs: Any, output: Any) -> Any:
    places = _PLACES.get()
    if places is not None:
        _PLACES.set(None)  # the hook of another thread's call must not do it again
        output.last_hidden_state = output.last_hidden_state.flatten(0, 1)[places][None]
    return output


def _suit(mask: torch.Tensor, model: Any) -> torch.Tensor:
    """A mask of booleans, or where the attention adds its mask to the scores, of numbers."""
    if model.config._attn_implementation in ("sdpa", BY_PLAN):
        return mask
    return torch.zeros(mask.shape, dtype=model.dtype, device=mask.device).masked_fill(
        ~mask, torch.finfo(model.dtype).min
    )


@torch.no_grad()
def check_model(model: Any) -> None:
    """See on a few tokens that questions side by side in one row get what each gets alone.

    That takes an architecture whose attention honours a mask of any shape and positions that are given: those with
    recurrent layers do not, nor do those that make their own positions.

    RAISES (UniversalNERError): it does not.
    """
    passage, questions = [5, 9, 7], ([11, 6], [8, 10])
    row = [*passage, *questions[0], *questions[1]]
    layout = lay_out([row], [[len(passage), len(passage) + len(questions[0])]], pad=0, isolated=True)
    places = torch.tensor([len(passage) + len(questions[0]) - 1, len(row) - 1])
    try:
        got = logits_at(model, places, ids=layout.ids, positions=layout.positions, mask=layout.mask).float()
        alone = torch.tensor([[*passage, *question] for question in questions], device=model.device)
        expected = model(input_ids=alone).logits[:, -1].float()
    except Exception as err:  # whatever an architecture says to a mask it does not know
        raise _refuse(model, f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}") from err
    scale = float(expected.abs().max())
    error = float((got - expected).abs().max()) / scale if got.shape == expected.shape and scale else float("nan")
    if not error <= TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16]):
        raise _refuse(model, f"its logits for questions side by side differ by {error:.2g} of the largest")


def _refuse(model: Any, reason: str) -> UniversalNERError:
    attention = getattr(model.config, "_attn_implementation", None)
    return UniversalNERError(Errors.U162.format(architecture=type(model).__name__, attention=attention, reason=reason))
