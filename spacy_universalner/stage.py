"""What every script does around its stage: time it, check that it wrote its outputs, report errors as sentences."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from wasabi import msg

from .errors import Errors, UniversalNERError
from .records import write_json

STAGES = Path("metrics/stages")


@contextmanager
def stage(name: str, outputs: Sequence[Path], folder: Path = STAGES) -> Iterator[dict[str, Any]]:
    """Run a stage: its seconds, peak memory and facts go to `{folder}/{name}.json` when it has succeeded.

    Weasel never looks whether declared outputs exist: it would skip a stage that did not write them, so this does.

    name (str): the project command.
    outputs (Sequence[Path]): the files the stage must write; one left by an earlier run does not count.
    YIELDS (dict): put facts worth reporting in it (counts, rates).
    RAISES (UniversalNERError): an output was not written.
    """
    facts: dict[str, Any] = {}
    if int(os.environ.get("RANK", 0)):  # the first process that torchrun started speaks for all
        yield facts
        return
    start = time.perf_counter()
    before = {path: _stamp(path) for path in outputs}
    yield facts
    for path in outputs:
        if _stamp(path) in (None, before[path]):
            raise UniversalNERError(Errors.U090.format(stage=name, path=path))
    seconds = round(time.perf_counter() - start, 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    write_json(folder / f"{name}.json", {**facts, "stage": name, "seconds": seconds, "peak_rss_mb": peak})
    msg.good(
        f"{name}: {seconds:.1f} s, {peak} MB",
        ", ".join(f"{k} {v}" for k, v in facts.items() if not isinstance(v, dict)),
    )


def show(facts: Mapping[str, Any]) -> None:
    """Print facts, one a line."""
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {value}")


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written again; None if there is no file."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def run(main: Callable[..., None]) -> None:
    """Run a script's function as a command line; our own errors end it with a sentence and exit code 1."""

    @wraps(main)
    def command(*args: Any, **kwargs: Any) -> None:
        try:
            main(*args, **kwargs)
        except UniversalNERError as err:
            msg.fail("Stopped")
            typer.echo(str(err), err=True)  # not through wasabi, which would run the lines of a list together
            raise typer.Exit(1) from err

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app()
