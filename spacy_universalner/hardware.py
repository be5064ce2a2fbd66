"""What this machine computes on, and in which number format."""

import ctypes
import os
import time
from functools import lru_cache

import torch

from .errors import Errors, UniversalNERError

VARIABLE = "SPACY_UNIVERSALNER_DEVICE"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device(name: str | None) -> torch.device:
    """The device named, or the environment's, or the first accelerator there is, or the CPU.

    RAISES (UniversalNERError): no such device.
    """
    name = name or os.environ.get(VARIABLE)
    if not name:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as err:
        raise UniversalNERError(Errors.U054.format(device=name, reason=str(err).splitlines()[0])) from err
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format named, or with "auto" the one in which this device multiplies matrices faster.

    bfloat16 is twice as fast as float32 on some CPUs with AVX512 or AMX, and half as fast on others that list the same
    flags, so it is measured once per process (about 0.3 s).
    """
    if name != "auto":
        return DTYPES[name]
    if device.type != "cpu":
        return torch.bfloat16
    return max(DTYPES.values(), key=matmul_gflops)


@lru_cache
def matmul_gflops(dtype: torch.dtype, size: int = 1024, repeats: int = 12) -> float:
    """CPU matrix products of one number format, in GFLOP/s: the best of so many that others at work on the machine
    cannot have slowed all of them."""
    a = torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones, in this process.

    By default it returns every large buffer to the kernel, which then has to clear and map pages anew for each
    activation of each layer: 6% of the training time in benchmarks/training.py. What it keeps grows, since batches have
    many sizes: see `give_back_freed_memory`. Without glibc nothing happens.
    """
    if libc := _glibc():
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        libc.mallopt(M_TOP_PAD, 1 << 28)


def give_back_freed_memory() -> None:
    """Give the kernel what was kept, holes between what is in use included. Without glibc nothing happens."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version") else None


# Names and numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def _compute_alone() -> None:
    """One thread for a forked process: OpenMP would wait for ever for the others, which only its parent has."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_compute_alone)
