"""Two processes under torchrun against one with the same global batch, step by step (gloo, CPU, a tiny LLaMA)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spacy_universalner.student import check_manifest

from ..conftest import ROOT

WORKER = Path(__file__).with_name("worker.py")
WATCHED = {"dev_conversations": 3, "dev_evals": 2, "epochs": 8}
CASES = {
    "a step of four batches": {"step_tokens": 10_000},
    "a step of three batches": {"step_tokens": 180, "batch_tokens": 70},
    "a step of one batch": {},
    "frozen layer": {"frozen_layers": 1, "step_tokens": 10_000},
    "frozen embeddings": {"frozen_embeddings": True, "step_tokens": 10_000},
    "multi-turn": {"questions": "multi-turn", "step_tokens": 10_000},
    "LoRA": {"method": "lora", "step_tokens": 10_000},
    "dev loss and F1": {**WATCHED, "step_tokens": 10_000},
}
KILLED = {**WATCHED, "step_tokens": 150, "save_minutes": 1e-9}


def launch(cases: list[dict], folder: Path, *, processes: int) -> None:
    """Run the worker and wait for it."""
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf8")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*(start if processes > 1 else [sys.executable]), str(WORKER), str(folder / "cases.json")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]


def read_log(work: Path) -> list[dict]:
    """The log without what a clock says."""
    lines = (work / "log.jsonl").read_text(encoding="utf8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "tokens_per_s")} for line in lines]


@pytest.fixture(scope="module")
def runs(tiny_base, tmp_path_factory) -> Path:
    """All cases in one process and in two, and a run of two that was killed and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    for processes in (1, 2):
        place = folder / str(processes)
        cases = [{"base": str(tiny_base), "work": str(place / name), "changes": c} for name, c in CASES.items()]
        killed = {"base": str(tiny_base), "work": str(place / "killed"), "changes": KILLED, "killed_at": 9}
        unbroken = {"base": str(tiny_base), "work": str(place / "unbroken"), "changes": KILLED}
        resumed = {key: value for key, value in killed.items() if key != "killed_at"}
        launch([*cases, unbroken, killed, resumed], place, processes=processes)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_losses_are_the_same_step_by_step(runs, case):
    one, two = (read_log(runs / count / case) for count in "12")
    assert [row.keys() for row in one] == [row.keys() for row in two]
    for mine, other in zip(one, two, strict=True):
        assert other == {key: pytest.approx(value, rel=1e-4, abs=2e-4) for key, value in mine.items()}
    assert len(one) > 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_saved_students_are_the_same(runs, case):
    folders = [runs / count / case / "student" for count in "12"]
    manifests = [check_manifest(folder) for folder in folders]
    assert [manifest["training"]["processes"] for manifest in manifests] == [1, 2]
    one, two = (load_file(folder / "model.safetensors") for folder in folders)
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-3, rtol=2e-2, msg=name)


@pytest.mark.slow
def test_two_processes_learn_something(runs):
    losses = [row["loss"] for row in read_log(runs / "2" / "unbroken") if "loss" in row]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("count", ["1", "2"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(runs, count):
    resumed, unbroken = (runs / count / name for name in ("killed", "unbroken"))
    assert read_log(resumed) == read_log(unbroken)
    facts = [check_manifest(work / "student")["training"] for work in (resumed, unbroken)]
    assert [f["resumed"] for f in facts] == [1, 0]
    one, two = (load_file(work / "student" / "model.safetensors") for work in (resumed, unbroken))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not list(resumed.glob("checkpoint*"))
