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
    work: Path, *, step: int, share: float, speaks: bool, report_to: Sequence[str], model: Any
) -> Iterator[Journal]:
    """Open the journal of a run.

    work (Path): folder of the log; rows of later steps than `step` are left out of it.
    step (int): how far the run is, 0 for a new one.
    share (float): the same as a share of the run.
    speaks (bool): whether this process writes and shows.
    report_to (Sequence[str]): trackers, as transformers names them.
    model (PreTrainedModel): what is trained, of which trackers keep the config.
    """
    with ExitStack() as stack:
        if speaks:
            _cut(work / LOG, step)
        file = stack.enter_context((work / LOG).open("a", encoding="utf8")) if speaks else None
        hidden = not speaks or not sys.stderr.isatty()
        bar = stack.enter_context(tqdm(total=1.0, initial=share, desc="train", disable=hidden, bar_format=BAR))
        trackers = stack.enter_context(closing(Trackers(report_to if speaks else (), work, model)))
        yield Journal(file, bar, trackers)


def _cut(path: Path, step: int) -> None:
    """Leave out what was logged after the checkpoint, and the half of a line that a kill left."""
    kept = []
    if step and path.is_file():
        rows = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines() if line.endswith("}")]
        kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= step]
    path.write_text("".join(kept), encoding="utf8")


class Trackers:
    """Experiment trackers through the callbacks of transformers: tensorboard, wandb, mlflow, whatever it knows.

    names (Sequence[str]): as for `report_to` of its TrainingArguments.
    work (Path): where those write that write files.
    model (PreTrainedModel): whose config they keep.
    RAISES (UniversalNERError): a name that transformers does not know, or a tracker that is not installed.
    """

    def __init__(self, names: Sequence[str], work: Path, model: Any):
        self.callbacks: list[Any] = []
        if not names:
            return
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations import get_reporting_integration_callbacks

        try:
            self.callbacks = [make() for make in get_reporting_integration_callbacks(list(names))]
        except (ValueError, RuntimeError, ImportError) as err:
            raise UniversalNERError(Errors.U075.format(names=", ".join(names), reason=err)) from err
        self.model = model
        self.state = TrainerState(is_world_process_zero=True, is_local_process_zero=True)
        self.args = TrainingArguments(output_dir=str(work), report_to=[], use_cpu=True), self.state, TrainerControl()
        for callback in self.callbacks:
            callback.on_train_begin(*self.args, model=model)

    def log(self, row: Mapping[str, Any]) -> None:
        """Hand a row on."""
        for callback in self.callbacks:
            self.state.global_step = row["step"]
            logs = {key: value for key, value in row.items() if key != "step"}
            callback.on_log(*self.args, model=self.model, logs=logs)

    def close(self) -> None:
        """Let the trackers write what they still hold."""
        for callback in self.callbacks:
            callback.on_train_end(*self.args, model=self.model, processing_class=None)
