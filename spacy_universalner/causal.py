"""The parts of any Hugging Face causal language model: its backbone, its layers, its head."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from .errors import Errors, UniversalNERError


def backbone(model: Any) -> Any:
    """The model without its head; it gives the last hidden states."""
    return model.base_model


def head(model: Any) -> Any:
    """The layer that turns hidden states into logits."""
    return model.get_output_embeddings()


def layers(model: Any) -> Sequence[Any]:
    """The transformer layers, lowest first. RAISES (UniversalNERError): none are found in this architecture."""
    count = model.config.get_text_config().num_hidden_layers
    for part in backbone(model).modules():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            return part
    raise UniversalNERError(Errors.U074.format(architecture=type(model).__name__, count=count))
