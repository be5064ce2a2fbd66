"""Asking systems about the sets of the benchmark: a row of scores for each, and all that was said on disk."""

import json
import os
import random
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import Errors, UniversalNERError
from ..gold.datasets import DataSet
from ..gold.formats import SetAside
from ..gold.readers import Example, load
from ..progress import show_progress
from ..records import read_json, sha256_json, write_json
from ..systems import System
from .resampling import compare
from .rescore import summarise
from .rows import check_answers, prediction_rows, read_predictions

MOST_QUESTIONS = 200_000


@dataclass(frozen=True)
class Sample:
    """What is asked of each system: the same questions, so that systems can be compared.

    split (str): "train", "dev" or "test".
    limit (int): sentences of each set at most, drawn without replacement; 0 for all.
    questions (int): pairs of a sentence and a type at most, of those sentences; 0 for all. The paper draws up to
        200,000 (section 5).
    seed (int): of both draws.
    """

    split: str = "test"
    limit: int = 0
    questions: int = MOST_QUESTIONS
    seed: int = 0

    @property
    def name(self) -> str:
        """What to call it, as part of a path."""
        most = "" if self.questions == MOST_QUESTIONS else f"-{self.questions or 'all'}-questions"
        return f"{self.split}-{self.limit or 'all'}-seed-{self.seed}{most}"

    def draw(self, dataset: DataSet, folder: Path) -> tuple[list[Example], dict[str, int]]:
        """The examples of a set, and counts of what it has and cannot be used.

        RAISES (UniversalNERError): it is not there, or cannot be read.
        """
        set_aside = SetAside()
        examples = load(dataset, folder, self.limit, self.seed, split=self.split, set_aside=set_aside)
        return draw_questions(examples, self.questions, self.seed), dict(+set_aside)


def draw_questions(examples: Sequence[Example], most: int, seed: int) -> list[Example]:
    """Examples with some of their types; those that nothing is asked about any more are left out.

    most (int): pairs of a sentence and a type at most, drawn without replacement; 0 for all.
    """
    pairs = [(i, type_) for i, example in enumerate(examples) for type_ in example.types]
    if not most or most >= len(pairs):
        return list(examples)
    kept: dict[int, list[str]] = {}
    for place in sorted(random.Random(seed).sample(range(len(pairs)), most)):
        kept.setdefault(pairs[place][0], []).append(pairs[place][1])
    return [_ask_only(examples[i], tuple(types)) for i, types in kept.items()]


def _ask_only(example: Example, types: tuple[str, ...]) -> Example:
    return replace(example, types=types, spans=frozenset(span for span in example.spans if span[2] in types))


def name_protocol(system: System, dataset: DataSet) -> str:
    """How a set is asked of a system: "zero-shot" of one that has learnt from no set of the benchmark, else
    "in-domain" if it has learnt from this one, and "out-of-domain" if not (sections 4.2 to 4.4 of the paper)."""
    learnt = system.list_trained(dataset)
    if not learnt:
        return "zero-shot"
    return "in-domain" if dataset.name in learnt else "out-of-domain"


def run_benchmark(
    systems: Sequence[System],
    datasets: Sequence[DataSet],
    folder: Path,
    *,
    sample: Sample,
    output: Path,
    batch_size: int = 32,
    show: bool = False,
) -> Iterator[dict[str, Any]]:
    """Ask every system about every set, go on where an earlier run of the same stopped, and score what was said.

    A set that cannot be read and a system that fails on one are told, and the rest go on.

    systems (Sequence[System]): what is asked.
    datasets (Sequence[DataSet]): the sets.
    folder (Path): the benchmark folder.
    sample (Sample): which sentences and questions.
    output (Path): folder for what is said about this sample, `{system}/{set}.jsonl`.
    batch_size (int): sentences handed over at a time.
    show (bool): show progress on stderr.
    YIELDS (dict): for each system and set its row of scores, or {"set", "system", "reason"} if there are none.
    """
    for system in systems:
        for dataset in datasets:
            try:
                examples, set_aside = sample.draw(dataset, folder)
                key = fingerprint(system, dataset, sample, examples)
                said = Said(output / system.name / f"{dataset.name}.jsonl", key)
                said.complete(system, dataset, examples, batch_size=batch_size, show=show)
                row = make_row(system, dataset, said, split=sample.split, seed=sample.seed)
            except UniversalNERError as err:
                yield {"set": dataset.name, "system": system.name, "reason": str(err)}
            except Exception as err:  # a system is anything that spaCy can load: one that fails does not end the others
                yield {"set": dataset.name, "system": system.name, "reason": f"{type(err).__name__}: {err}"}
            else:
                yield {**row, "set_aside": set_aside}
        system.release()


def fingerprint(system: System, dataset: DataSet, sample: Sample, examples: Sequence[Example]) -> str:
    """What was asked of whom, as a hash: other answers belong to another one."""
    asked = [(example.id, example.text, example.types, sorted(example.spans)) for example in examples]
    return sha256_json([system.fingerprint(dataset), name_protocol(system, dataset), sample.split, asked])


class Said:
    """What a system says about a set, on disk as it is said, so that a run can be stopped and gone on with.

    path (Path): a file of prediction rows (see `rows.prediction_rows`); beside it, with the ending ".json", how
        far it is.
    key (str): hash of what is asked; what was said to anything else is written anew.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self.state = {"key": key, "sentences": 0, "bytes": 0, "seconds": 0.0, "peak_rss_mb": 0, "lacking": []}
        if self._state_path.is_file() and path.is_file():
            state = read_json(self._state_path)
            if state.get("key") == key and path.stat().st_size >= state["bytes"]:
                self.state = state

    @property
    def _state_path(self) -> Path:
        return self.path.with_suffix(".json")

    def rows(self) -> list[dict[str, Any]]:
        """All rows."""
        return read_predictions(self.path)

    def complete(
        self, system: System, dataset: DataSet, examples: Sequence[Example], *, batch_size: int, show: bool
    ) -> None:
        """Ask what was not asked yet."""
        done = self.state["sentences"]
        if done == len(examples) and done:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        name = f"{system.name} {dataset.name}" if show else None
        start = time.perf_counter()
        predict = system.prepare(dataset)
        self.state["lacking"] = list(system.lacking.get(dataset.name, ()))
        with self._lock(), self.path.open("ab") as file, show_progress(len(examples), name) as advance:
            file.truncate(self.state["bytes"])  # a batch that was cut short by the end of its run
            advance(done)
            for first in range(done, len(examples), batch_size):
                batch = examples[first : first + batch_size]
                answers = predict([example.text for example in batch], [list(example.types) for example in batch])
                check_answers(batch, answers)
                for row in prediction_rows(batch, answers):
                    line = json.dumps({"set": dataset.name, **row}, ensure_ascii=False)
                    file.write(f"{line}\n".encode("utf8", "surrogatepass"))
                file.flush()
                os.fsync(file.fileno())
                start = self._note(len(batch), file.tell(), start)
                advance(len(batch))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            with FileLock(self.path.with_suffix(".lock"), timeout=0):
                yield
        except Timeout as err:
            raise UniversalNERError(Errors.U201.format(path=self.path)) from err

    def _note(self, sentences: int, size: int, start: float) -> float:
        now = time.perf_counter()
        self.state["sentences"] += sentences
        self.state["bytes"] = size
        self.state["seconds"] = round(self.state["seconds"] + now - start, 2)
        self.state["peak_rss_mb"] = max(
            self.state["peak_rss_mb"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        )
        write_json(self._state_path, self.state)
        return now


def make_row(system: System, dataset: DataSet, said: Said, *, split: str, seed: int) -> dict[str, Any]:
    """The scores of a system on a set, beside the paper's."""
    return {
        "set": dataset.name,
        "system": system.name,
        "family": dataset.family,
        "title": dataset.title,
        "domain": dataset.domain,
        "protocol": name_protocol(system, dataset),
        "split": split,
        **summarise(said.rows(), seed=seed),
        "lacking": said.state["lacking"],
        "sentences_paper": dataset.sentences.get(split),
        "paper": dict(dataset.paper),
        "seconds": said.state["seconds"],
        "peak_rss_mb": said.state["peak_rss_mb"],
        "predictions": said.path.as_posix(),
    }


def compare_systems(rows: Sequence[dict[str, Any]], *, metric: str = "span_f1", seed: int = 0) -> list[dict[str, Any]]:
    """The first system asked about each set against the others, sentence by sentence (see `resampling.compare`).

    rows (Sequence): as of `make_row`; those of a set ask the same of every system.
    """
    found = []
    for name in dict.fromkeys(row["set"] for row in rows):
        first, *others = (row for row in rows if row["set"] == name)
        for other in others:
            pair = (read_predictions(Path(row["predictions"])) for row in (first, other))
            result = compare(*pair, metric, seed=seed)
            found.append({"set": name, "a": first["system"], "b": other["system"], "metric": metric, **result})
    return found


def said_folder(output: Path, sample: Sample) -> Path:
    """The folder of what is said about a sample, so that another one overwrites nothing."""
    return output.with_suffix("") / sample.name


def measure(
    systems: Sequence[System],
    datasets: Sequence[DataSet],
    folder: Path,
    *,
    sample: Sample,
    output: Path,
    show: bool = False,
) -> dict[str, Any]:
    """Run the benchmark, and write its results anew after every row.

    output (Path): file of the results; what is said goes into a folder of its name, without ending, and in it into
        one for each sample (see `said_folder`).
    RETURNS (dict): the results: "rows", "unread" (what has no row, and why), "comparisons" of systems, "systems", and
        what was asked (`Sample`).
    RAISES (UniversalNERError): there is no system or no data set.
    """
    if not systems or not datasets:
        raise UniversalNERError(Errors.U255.format(systems=len(systems), datasets=len(datasets), folder=folder))
    results: dict[str, Any] = {
        "systems": {system.name: {"title": system.title, "source": system.source.as_posix()} for system in systems},
        **asdict(sample),
        "rows": [],
        "unread": [],
        "comparisons": [],
    }
    said = said_folder(output, sample)
    for row in run_benchmark(systems, datasets, folder, sample=sample, output=said, show=show):
        results["unread" if "reason" in row else "rows"].append(row)
        write_json(output, results)
    results["comparisons"] = compare_systems(results["rows"], seed=sample.seed)
    write_json(output, results)
    return results
