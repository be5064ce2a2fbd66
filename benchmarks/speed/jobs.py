"""A measurement is a job: a process of its own, which reads it from one file and writes what it found to another."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


class JobError(Exception):
    """A job that ended without a result: the last of what it said."""


def run_job(
    script: str,
    job: Mapping[str, Any],
    *,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    minutes: float = 30,
) -> dict[str, Any]:
    """Run a job and all it starts, and end them.

    script (str): which of the scripts beside this file.
    job (Mapping): what to do, in JSON.
    python (str): the interpreter.
    env (Mapping | None): changes to the environment.
    minutes (float): how long it may take.
    RAISES (JobError): it failed or took longer.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, found, said = (Path(folder) / name for name in ("job.json", "result.json", "log.txt"))
        asked.write_text(json.dumps(job), encoding="utf8")
        with said.open("wb") as log:
            process = subprocess.Popen(
                [python, str(FOLDER / script), str(asked), str(found)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
            try:
                process.wait(60 * minutes)
            except subprocess.TimeoutExpired as err:
                raise JobError(f"no result after {minutes:g} minutes; {_last(said)}") from err
            finally:
                _end_all(process)
        if not found.is_file():
            raise JobError(_last(said))
        return json.loads(found.read_text(encoding="utf8"))


@contextmanager
def site(code: str) -> Iterator[str]:
    """A folder whose code every interpreter runs first that has it in PYTHONPATH, those started by others too."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(code, encoding="utf8")
        yield folder


def _last(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return " … ".join(dict.fromkeys((*errors[:1], *errors[-1:], *lines[-1:]))) or "it said nothing"


def _end_all(process: subprocess.Popen) -> None:
    """End what a job started and left behind, an engine's workers for one: they share its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
