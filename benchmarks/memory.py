"""Peak memory of training steps against what training/memory.py expects, each setting in a process of its own.

    python benchmarks/memory.py

It needs `corpus/train.jsonl` (`weasel run convert`) and the base (`weasel run fetch`). Settings differ from the default
of configs/train.cfg, in float32, in one thing each. Optimiser steps are taken as in a run, and two on the batches that
take most. The last line is JSON.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

SETTINGS = {
    "default": {},
    "ten layers frozen": {"frozen_layers": 10},
    "LoRA": {"method": "lora"},
    "batches of 1200 tokens": {"batch_tokens": 1200},
    "activations computed again": {"checkpoint_activations": True},
    "bfloat16": {"dtype": "bfloat16"},
}


def measure(name: str) -> dict[str, float]:
    """RETURNS (dict): MiB expected and measured, and what the estimate takes for granted."""
    import torch

    from spacy_universalner.base import fetch_base
    from spacy_universalner.prompts import get_template
    from spacy_universalner.records import read_conversations, read_json
    from spacy_universalner.schemas import load_settings
    from spacy_universalner.training.memory import list_needs, longest_row
    from spacy_universalner.training.trainer import STEPS_A_TRIM, Trainer

    changes = {"dtype": "float32", "epochs": 1, **SETTINGS[name]}
    settings = load_settings(Path("configs/train.cfg"), "train").model_copy(update=changes)
    train, base = list(read_conversations(Path("corpus/train.jsonl"))), fetch_base()
    run = {"conversations": train, "device": torch.device("cpu"), "processes": 1}
    (need,) = list_needs(read_json(base / "config.json"), settings.model_dump(), {}, **run).values()
    trainer = Trainer(base, train, [], settings=settings, work=Path(tempfile.mkdtemp()), device="cpu")
    batches = [batch for step in trainer.steps for batch in step]
    step = [max(batches, key=size) for size in (width, tokens, learnt)]
    for some in (*trainer.steps[:STEPS_A_TRIM], step, step):
        trainer._step(some, 1e-5)
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "expected_mb": round(need.total / 2**20),
        "measured_mb": round(measured),
        "ratio": round(need.total / 2**20 / measured, 2),
        "longest": max(map(width, batches)),
        "longest_expected": longest_row(train, most=settings.max_questions, template=get_template(settings.template)),
        "learnt": round(max(learnt(batch) / tokens(batch) for batch in batches), 2),
    }


def width(batch) -> int:
    return max(len(row.ids) for row in batch)


def tokens(batch) -> int:
    return len(batch) * width(batch)


def learnt(batch) -> int:
    return sum(len(row.learnt) for row in batch)


def main(
    only: Annotated[str, typer.Option(help="Measure one setting in this process and print it")] = "",
    names: Annotated[list[str] | None, typer.Option("--name", help="Measure these settings; all without")] = None,
) -> None:
    """Measure the settings in turn."""
    if only:
        typer.echo(json.dumps(measure(only)))
        return
    found = {}
    for name in names or SETTINGS:
        command = [sys.executable, __file__, "--only", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = found[name] = json.loads(done.stdout.strip().splitlines()[-1])
        typer.echo(f"{name:27s} {row['expected_mb']:6d} MB expected {row['measured_mb']:6d} MB  {row['ratio']:.2f}")
    typer.echo(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
