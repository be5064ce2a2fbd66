"""How far a long run is: a bar on a terminal, a line now and then in a log."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

EVERY = 30.0


@contextmanager
def show_progress(
    total: int | None, name: str | None, *, every: float = EVERY, note: Callable[[], str] = str, unit: str = " texts"
) -> Iterator[Callable[[int], object]]:
    """Show progress on stderr, with rate and time left.

    total (int): how much there is to do, None if that is not known: then without time left.
    name (str): what to call it; None shows nothing.
    every (float): seconds between two lines where stderr is no terminal.
    note (Callable): gives what else to show, such as the cost so far.
    unit (str): what is counted; bytes ("B") are shown in thousands, millions and so on.
    YIELDS (Callable): call it with how much was done since the last call.
    """
    if name is None:
        yield lambda count: None
    elif sys.stderr.isatty():
        with tqdm(total=total, desc=name, unit=unit, unit_scale=unit == "B") as bar:

            def advance(count: int) -> None:
                bar.set_postfix_str(note(), refresh=False)
                bar.update(count)

            yield advance
    else:
        lines = _Lines(total, name, every, note, unit)
        yield lines
        if total is None:
            lines.write()


def track(items: Iterable[T], name: str | None) -> Iterator[T]:
    """Hand items on, and show on stderr how many there were. NAME as of `show_progress`."""
    with show_progress(None, name) as advance:
        for item in items:
            advance(1)
            yield item


class _Lines:
    def __init__(self, total: int | None, name: str, every: float, note: Callable[[], str], unit: str) -> None:
        self.total, self.name, self.every, self.note, self.unit = total, name, every, note, unit
        self.done = 0
        self.start = self.shown = time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        if self.done >= (self.total or math.inf) or time.monotonic() - self.shown >= self.every:
            self.write()

    def write(self) -> None:
        self.shown = time.monotonic()
        sys.stderr.write(self._line(self.shown - self.start) + "\n")
        sys.stderr.flush()

    def _line(self, elapsed: float) -> str:
        form = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
        if self.total is None:
            form = "{desc}: {n_fmt} [{elapsed}, {rate_fmt}{postfix}]"
        meter = {
            "prefix": self.name,
            "unit": self.unit,
            "unit_scale": self.unit == "B",
            "bar_format": form,
            "postfix": self.note(),
        }
        return tqdm.format_meter(self.done, self.total, elapsed, **meter)
