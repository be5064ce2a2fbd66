"""Linear layers in 8-bit integers, for CPUs that multiply those faster than floating-point numbers (AVX512-VNNI)."""

from typing import Any

import torch
from torch import nn

from .causal import head, layers
from .errors import Errors, UniversalNERError

ROWS = 256
LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer whose weights are rounded once, an output at a time, and whose inputs are rounded token by token.

    Products are summed exactly, in 32-bit integers.

    linear (nn.Linear): the layer to take the weights of.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = _round(linear.weight.detach().float())
        self.register_buffer("weight", weight.t().contiguous())
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())
        self.out_features = linear.out_features

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Multiply, some rows at a time, so that what is between stays in the cache."""
        rows = states.reshape(-1, states.shape[-1])
        output = torch.empty(len(rows), self.out_features, dtype=states.dtype, device=states.device)
        for start in range(0, len(rows), ROWS):
            part = slice(start, start + ROWS)
            rounded, scale = _round(rows[part].float())
            product = torch._int_mm(rounded, self.weight).to(torch.float32).mul_(self.scale).mul_(scale)
            output[part] = product if self.bias is None else product.add_(self.bias)
        return output.view(*states.shape[:-1], self.out_features)


def _round(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers, and by what each row of them is to be multiplied, (rows, 1)."""
    scale = (rows.abs().amax(-1, keepdim=True) / LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    return (rows / scale).round_().to(torch.int8), scale


def quantize(model: Any) -> None:
    """Put Int8Linear in the place of the linear layers of a model, its head included.

    RAISES (UniversalNERError): the model is not on a CPU, or has no such layers.
    """
    if model.device.type != "cpu":
        raise UniversalNERError(Errors.U056.format(device=model.device))
    replaced = sum(_replace(layer) for layer in layers(model))
    if not replaced:
        raise UniversalNERError(Errors.U057.format(architecture=type(model).__name__))
    model.set_output_embeddings(Int8Linear(head(model)))


def _replace(module: nn.Module) -> int:
    """RETURNS (int): how many were replaced."""
    count = 0
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, Int8Linear(child))
            count += 1
        else:
            count += _replace(child)
    return count
