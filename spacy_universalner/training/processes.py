"""One process or many: what torchrun or accelerate started, how they share a step and the weights (FSDP2)."""

import atexit
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from ..hardware import pick_device

T = TypeVar("T")
_done = Event()


class Processes:
    """The processes of a run: this one, or as many as the environment says that torchrun or accelerate started.

    With several, every one holds a part of each weight, of its gradient and of its moments, and computes a part of the
    batches of a step. All plan the run from the same seed, so that they agree on it without a word.

    device (str | None): the device of a single process, or the kind of device; None takes what there is.
    """

    def __init__(self, device: str | None):
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.device = pick_device(device)
        if self.count > 1:
            if self.device.type != "cpu" and self.device.index is None:
                self.device = torch.device(self.device.type, int(os.environ["LOCAL_RANK"]))
                torch.accelerator.set_device_index(self.device.index)
            if not dist.is_initialized():
                # gloo for what is on the CPU, NCCL for CUDA; others wait while the first one writes a large student
                dist.init_process_group(timeout=timedelta(hours=2))
                atexit.register(_leave)
            self.mesh = init_device_mesh(self.device.type, (self.count,))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, batches: Sequence[T]) -> Iterator[tuple[T, float]]:
        """This process's batches of a step with their weights, 1 or 0; all processes get as many.

        A process for which none is left computes one in vain: the others wait for its part of the weights.
        """
        for start in range(0, len(batches), self.count):
            place = start + self.rank
            yield (batches[place], 1.0) if place < len(batches) else (batches[start], 0.0)

    def sum(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor)

    def agree(self, value: T) -> T:
        """What the first process says: clocks differ."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """What every process says."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def shard(self, module: nn.Module, layers: Sequence[nn.Module], *, dtype: torch.dtype) -> None:
        """Divide the weights of a module among the processes: each layer by itself, then the rest.

        module (Module): what is called in training; the weights of the first process count.
        layers (Sequence): its transformer layers, which are gathered one at a time while they compute.
        dtype (dtype): what is computed in; the parts that are kept, and gradients, are float32.
        """
        whole = dict(module.state_dict()) if self.first else {}
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for part in (*layers, module):
            fully_shard(part, mesh=self.mesh, mp_policy=policy)
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(module, whole, options=options)
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)

    @contextmanager
    def gathered(self, module: nn.Module) -> Iterator[None]:
        """Let parts of a module be called by themselves, not through it: what no layer holds is whole meanwhile."""
        if self.count > 1:
            module.unshard()
        yield
        if self.count > 1:
            module.reshard()

    def whole(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """All weights of a module on the CPU of the first process; nothing on the others."""
        if self.count == 1:
            return module.state_dict()
        return get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def end_processes() -> None:
    """Say that all work of this process is done, where it is one of several: it then ends without more ado.

    A thread of gloo that wants the interpreter while that is being taken down aborts the process now and then, however
    orderly the group was left before. So it is not taken down.
    """
    if dist.is_initialized():
        dist.barrier()  # a process that is gone before others have its last word is a failure to them
        _done.set()


def _leave() -> None:
    """What was registered later, as trackers are, has run by now; what was at import, as logging's end, has not."""
    if dist.is_initialized():
        dist.destroy_process_group()  # else threads of gloo go on, and some abort the process
    if _done.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
