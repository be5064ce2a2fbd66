"""AdamW on float32 master weights, whatever the weights of the model are stored in."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from .processes import local


class MasterAdamW:
    """AdamW whose updates never round away: half-precision weights are copies of float32 ones kept here.

    At a learning rate of 1e-4 an update is smaller than bfloat16 can add to a weight of 0.1. Weights that are float32
    already, as all that are divided among processes, are their own masters.

    parameters (Iterable[Parameter]): those to train.
    lr (float): learning rate, changed with `set_lr`.
    weight_decay (float): decoupled weight decay, on matrices only.
    max_grad_norm (float): gradients are scaled down to this norm.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], *, lr: float, weight_decay: float, max_grad_norm: float
    ):
        self.weights = [weight for weight in parameters if weight.requires_grad]
        self.masters = [self._master(weight) for weight in self.weights]
        self.max_grad_norm = max_grad_norm
        groups = [
            {"params": [m for m in self.masters if m.dim() > 1], "weight_decay": weight_decay},
            {"params": [m for m in self.masters if m.dim() <= 1], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)

    @staticmethod
    def _master(weight: torch.nn.Parameter) -> torch.Tensor:
        return weight if weight.dtype == torch.float32 else weight.detach().float()

    def set_lr(self, lr: float) -> None:
        for group in self.adamw.param_groups:
            group["lr"] = lr

    @torch.no_grad()
    def step(self, grad_scale: float) -> float:
        """Update the weights from their gradients times `grad_scale`, and clear these.

        RETURNS (float): the norm of the gradient before clipping; if it is not finite, the weights are as they were.
        """
        for weight, master in zip(self.weights, self.masters, strict=True):
            grad = weight.grad if weight.grad is not None else torch.zeros_like(weight)
            weight.grad = None
            master.grad = grad.float().mul_(grad_scale)
        whole = torch.nn.utils.clip_grad_norm_(self.masters, self.max_grad_norm)
        norm = float(whole.full_tensor() if isinstance(whole, DTensor) else whole)
        if math.isfinite(norm):
            self.adamw.step()
        self.adamw.zero_grad()
        for weight, master in zip(self.weights, self.masters, strict=True):
            if weight is not master:
                weight.copy_(master)
        return norm

    def weights_state(self) -> list[torch.Tensor]:
        """The masters, of each this process's part: what was trained so far."""
        return [local(master.detach()) for master in self.masters]

    @torch.no_grad()
    def load_weights(self, saved: list[torch.Tensor]) -> None:
        """Put back what `weights_state` gave."""
        for weight, master, part in zip(self.weights, self.masters, saved, strict=True):
            local(master.data).copy_(part)
            if weight is not master:
                weight.copy_(master)

    def state_dict(self) -> dict[str, Any]:
        """Everything that goes on, of each tensor this process's part."""
        moments = [{name: local(value) for name, value in self.adamw.state[m].items()} for m in self.masters]
        return {"masters": self.weights_state(), "moments": moments}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, in as many processes."""
        self.load_weights(state["masters"])
        for master, saved in zip(self.masters, state["moments"], strict=True):
            self.adamw.state[master] = {
                name: value if name == "step" else _divide_like(master, value) for name, value in saved.items()
            }


def _divide_like(master: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """This process's part of a moment as the part of a whole, where the master is one."""
    if not isinstance(master, DTensor):
        return part
    return DTensor.from_local(part, master.device_mesh, master.placements, shape=master.shape, stride=master.stride())
