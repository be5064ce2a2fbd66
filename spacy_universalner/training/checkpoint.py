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

    def save(self, step: int, state: dict[str, Any], *, best: int | None = None) -> None:
        """Write this process's part, and let go of older ones when all have written theirs.

        best (int | None): the step whose weights are the best so far.
        """
        self._write(self._name(f"{step}"), state)
        self.processes.gather(None)  # all have written
        for kind, kept in (("", step), ("best-", best)):
            for other, path in self._steps(kind):
                if other != kept:
                    path.unlink()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state that all processes have; None if there is none of this run."""
        found = list(self._steps())
        own = [step for step, path in found if self._is_own(path)]
        if self.processes.first and found and not own:
            sys.stderr.write(f"train: the checkpoint in {self.work} is of another run and is not used\n")
        common = set.intersection(*map(set, self.processes.gather(own)))
        if not common:
            return None
        return torch.load(self._name(f"{max(common)}"), map_location=device, weights_only=True)

    def recall(self, name: str) -> Any:
        """A value of this process's last state of this run, None if there is none; tensors stay on disk."""
        own = [path for _, path in sorted(self._steps()) if self._is_own(path)]
        return torch.load(own[-1], map_location="cpu", mmap=True, weights_only=True)[name] if own else None

    def save_best(self, step: int, weights: list[torch.Tensor]) -> None:
        """Write this process's part of the best weights so far; those that the checkpoint means are kept beside them,
        since a run that is killed goes on from there."""
        self._write(self._name(f"best-{step}"), {"weights": weights})

    def load_best(self, step: int, device: torch.device) -> list[torch.Tensor]:
        """What `save_best` wrote at a step."""
        return torch.load(self._name(f"best-{step}"), map_location=device, weights_only=True)["weights"]

    def clear(self) -> None:
        """Delete all of it: the run is over."""
        for path in self.work.glob(f"checkpoint.*.{self.processes.rank}.pt*"):
            path.unlink()

    def _name(self, what: str) -> Path:
        return self.work / f"checkpoint.{what}.{self.processes.rank}.pt"

    def _steps(self, kind: str = "") -> Iterator[tuple[int, Path]]:
        """This process's checkpoints, or its best weights ("best-"), by their steps."""
        for path in self.work.glob(f"checkpoint.*.{self.processes.rank}.pt"):
            if match := re.fullmatch(rf"checkpoint\.{kind}(\d+)\.\d+\.pt", path.name):
                yield int(match[1]), path

    def _is_own(self, path: Path) -> bool:
        """Whether a checkpoint is of this run; its tensors stay on disk."""
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)["run"] == self.run

    def _write(self, path: Path, state: dict[str, Any]) -> None:
        part = path.with_name(f"{path.name}.part")
        torch.save({"run": self.run, **state}, part)
        part.replace(path)
