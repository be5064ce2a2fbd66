"""How far a long run is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

EVERY = 30.0


@contextmanager
def show_progress(
    total: int, name: str | None, *, every: float = EVERY, note: Callable[[], str] = str
) -> Iterator[Callable[[int], object]]:
    """Show progress on stderr, with rate and time left.

    total (int): how much there is to do.
    name (str): what to call it; None shows nothing.
    every (float): seconds between two lines where stderr is no terminal.
    note (Callable): gives what else to show, such as the cost so far.
    YIELDS (Callable): call it with how much was done since the last call.
    """
    if name is None:
        yield lambda count: None
    elif sys.stderr.isatty():
        with tqdm(total=total, desc=name, unit=" texts") as bar:

            def advance(count: int) -> None:
                bar.set_postfix_str(note(), refresh=False)
                bar.update(count)

            yield advance
    else:
        yield _Lines(total, name, every, note)


class _Lines:
    def __init__(self, total: int, name: str, every: float, note: Callable[[], str]) -> None:
        self.total, self.name, self.every, self.note = total, name, every, note
        self.done = 0
        self.start = self.shown = time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if self.done >= self.total or now - self.shown >= self.every:
            self.shown = now
            sys.stderr.write(self._line(now - self.start) + "\n")
            sys.stderr.flush()

    def _line(self, elapsed: float) -> str:
        form = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
        meter = {"prefix": self.name, "unit": " texts", "bar_format": form, "postfix": self.note()}
        return tqdm.format_meter(self.done, self.total, elapsed, **meter)
