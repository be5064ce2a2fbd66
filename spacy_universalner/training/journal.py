"""What a run says of itself: a row a step in a log, a bar or a line now and then, and trackers such as TensorBoard."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from ..errors import Errors, UniversalNERError

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
LOG = "log.jsonl"


class Journal:
    """Takes in what happens in a run.

    file (TextIO | None): the log; None in all processes but the first, which write and show nothing.
    bar (tqdm): moved by `show`.
    trackers (Trackers): get every row too.
    """

    def __init__(self, file: TextIO | None, bar: tqdm, trackers: "Trackers"):
        self.file, self.bar, self.trackers = file, bar, trackers

    def add(self, row: Mapping[str, Any]) -> None:
        """Log a row, a step's or an evaluation's; "step" says where it belongs."""
        if self.file is not None:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
            self.trackers.log(row)

    def show(self, share: float, state: str, *, step: int) -> None:
        """Move the bar to a share of the run; where there is no terminal, write a line every tenth step."""
        self.bar.n = min(1.0, share)
        self.bar.set_postfix_str(state)
        if self.file is not None and not sys.stderr.isatty() and step % 10 == 1:
            sys.stderr.write(f"train: step {step}, {state}\n")


@contextmanager
def keep_journal(
    work: Path, *, rows: int, share: float, speaks: bool, report_to: Sequence[str], model: Any
) -> Iterator[Journal]:
    """Open the journal of a run.

    work (Path): folder of the log.
    rows (int): how many of its rows are kept, 0 for a new run; later ones will be written again.
    share (float): how much of the run is done.
    speaks (bool): whether this process writes and shows.
    report_to (Sequence[str]): trackers, as transformers names them.
    model (PreTrainedModel): what is trained, of which trackers keep the config.
    """
    with ExitStack() as stack:
        if speaks:
            _cut(work / LOG, rows)
        file = stack.enter_context((work / LOG).open("a", encoding="utf8")) if speaks else None
        hidden = not speaks or not sys.stderr.isatty()
        bar = stack.enter_context(tqdm(total=1.0, initial=share, desc="train", disable=hidden, bar_format=BAR))
        trackers = stack.enter_context(closing(Trackers(report_to if speaks else (), work, model)))
        yield Journal(file, bar, trackers)


def _cut(path: Path, rows: int) -> None:
    """Leave out what was logged after the checkpoint, and the half of a line that a kill left."""
    lines = path.read_text(encoding="utf8").splitlines(keepends=True) if rows and path.is_file() else []
    path.write_text("".join(lines[:rows]), encoding="utf8")


class Trackers:
    """Experiment trackers through the callbacks of transformers: tensorboard, wandb, mlflow, whatever it knows.

    One that cannot start is an error, while there is nothing to lose; one that fails later is left out from there on.

    names (Sequence[str]): as for `report_to` of its TrainingArguments.
    work (Path): where those write that write files.
    model (PreTrainedModel): whose config they keep.
    RAISES (UniversalNERError): a name that transformers does not know; a tracker that is not installed or
        does not start.
    """

    def __init__(self, names: Sequence[str], work: Path, model: Any):
        self.callbacks: list[Any] = []
        if not names:
            return
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations import get_reporting_integration_callbacks

        try:
            self.callbacks = [make() for make in get_reporting_integration_callbacks(list(names))]
            self.model = model
            self.state = TrainerState(is_world_process_zero=True, is_local_process_zero=True)
            args = TrainingArguments(output_dir=str(work), report_to=[], use_cpu=True)
            self.args = args, self.state, TrainerControl()
            for callback in self.callbacks:
                callback.on_train_begin(*self.args, model=model)
        except Exception as err:  # each has its own ways to fail: no account, no server, no folder
            raise UniversalNERError(Errors.U075.format(names=", ".join(names), reason=err)) from err

    def log(self, row: Mapping[str, Any]) -> None:
        """Hand a row on."""
        if self.callbacks:
            self.state.global_step = row["step"]
            self._tell("on_log", logs={key: value for key, value in row.items() if key != "step"})

    def close(self) -> None:
        """Let the trackers write what they still hold."""
        self._tell("on_train_end", processing_class=None)

    def _tell(self, event: str, **facts: Any) -> None:
        for callback in list(self.callbacks):
            try:
                getattr(callback, event)(*self.args, model=self.model, **facts)
            except Exception as err:  # a server that is gone, a disk that is full: the run is worth more
                self.callbacks.remove(callback)
                sys.stderr.write(f"train: {type(callback).__name__} failed and is told nothing more: {err}\n")
