"""The course of a training with transformers' Trainer: its learning rate, its checkpoints, its end."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class Pace:
    """How high the learning rate is, as a share of its peak: it rises, then falls to nothing at the end of the run.

    A run ends with its updates or with its time, whichever is first. A scheduler saves what this holds.

    updates (int): how many there are.
    seconds (float): how long they may take.
    warmup (float): share of the run in which the rate rises.
    """

    def __init__(self, updates: int, seconds: float, warmup: float):
        self.updates = updates
        self.seconds = seconds
        self.warmup = warmup
        self.spent = 0.0

    def __call__(self, update: int) -> float:
        done = max(update / self.updates, self.spent / self.seconds)
        if done < self.warmup:
            return max(done, 1 / self.updates) / self.warmup
        return max(0.0, (1 - done) / (1 - self.warmup))


class Watch(TrainerCallback):
    """Counts the time of a run, and says when to save and when to end.

    pace (Pace): is told the time.
    save_minutes (float): minutes between checkpoints.
    advance (Callable): is told of each update.
    """

    def __init__(self, pace: Pace, *, save_minutes: float, advance: Callable[[int], object]):
        self.pace = pace
        self.save_seconds = 60 * save_minutes
        self.advance = advance
        self._last = self._saved = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._last = self._saved = time.monotonic()
        self.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        self.pace.spent += now - self._last
        self._last = now
        self.advance(1)
        if now - self._saved >= self.save_seconds:
            self._saved, control.should_save = now, True
        if self.pace.spent >= self.pace.seconds:
            control.should_training_stop = True
