"""What an unfinished run keeps on disk: where it is, and its best weights so far, each process its own part."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .processes import Processes


class Checkpoint:
    """The checkpoints of a run in a folder.

    A checkpoint counts when the parts of all processes are there; until then the one before it is kept.

    work (Path): the folder.
    processes (Processes): those of the run.
    run (str): hash of all that makes the run; a checkpoint of another one is not used.
    """

    def __init__(self, work: Path, processes: Processes, *, run: str):
        self.work = work
        self.processes = processes
        self.run = run

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write this process's part, and let go of older ones when all have written theirs."""
        self._write(self._name(f"{step}"), state)
        self.processes.gather(None)  # all have written
        for other, path in self._steps():
            if other != step:
                path.unlink()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state that all processes have; None if there is none of this run."""
        found = [self._read(path, device, step) for step, path in sorted(self._steps())]
        states = {step: state for step, state in found if state is not None}
        if self.processes.first and found and not states:
            sys.stderr.write(f"train: the checkpoint in {self.work} is of another run and is not used\n")
        common = set.intersection(*map(set, self.processes.gather(list(states))))
        return states[max(common)] if common else None

    def save_best(self, weights: list[torch.Tensor]) -> None:
        """Write this process's part of the best weights so far."""
        self._write(self._name("best"), {"weights": weights})

    def load_best(self, device: torch.device) -> list[torch.Tensor]:
        """What `save_best` wrote last."""
        return torch.load(self._name("best"), map_location=device, weights_only=True)["weights"]

    def clear(self) -> None:
        """Delete all of it: the run is over."""
        for path in self.work.glob(f"checkpoint.*.{self.processes.rank}.pt*"):
            path.unlink()

    def _name(self, what: str) -> Path:
        return self.work / f"checkpoint.{what}.{self.processes.rank}.pt"

    def _steps(self) -> Iterator[tuple[int, Path]]:
        """This process's checkpoints by their steps."""
        for path in self.work.glob(f"checkpoint.*.{self.processes.rank}.pt"):
            if match := re.fullmatch(r"checkpoint\.(\d+)\.\d+\.pt", path.name):
                yield int(match[1]), path

    def _read(self, path: Path, device: torch.device, step: int) -> tuple[int, dict[str, Any] | None]:
        state = torch.load(path, map_location=device, weights_only=True)
        return step, state if state["run"] == self.run else None

    def _write(self, path: Path, state: dict[str, Any]) -> None:
        part = path.with_name(f"{path.name}.part")
        torch.save({"run": self.run, **state}, part)
        part.replace(path)
