"""Tokens a second of training steps on the embedded corpus, each setting in a process of its own, in one run.

    python benchmarks/training.py

It needs `corpus/train.jsonl` (`weasel run convert`) and the base (`weasel run fetch`). Settings differ from the default
of configs/train.cfg in one thing each, and are run in turn, several times, since machines are noisy. The last line is
JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

SETTINGS = {
    "default": {},
    "no layer frozen": {"frozen_layers": 0},
    "memory given back to the system": {"keep_freed_memory": False},
    "bfloat16": {"dtype": "bfloat16"},
    "float32": {"dtype": "float32"},
}


def measure(name: str, batches: int) -> dict[str, float]:
    """Forward and backward passes over the first batches of the default run. RETURNS (dict): tokens/s and peaks."""
    import resource

    import torch

    from spacy_universalner.base import fetch_base
    from spacy_universalner.hardware import matmul_gflops
    from spacy_universalner.records import read_conversations
    from spacy_universalner.schemas import load_settings
    from spacy_universalner.training import trainer as module

    changes = dict(SETTINGS[name])
    if not changes.pop("keep_freed_memory", True):
        module.keep_freed_memory = lambda: None
    settings = load_settings(Path("configs/train.cfg"), "train").model_copy(update=changes)
    train = list(read_conversations(Path("corpus/train.jsonl")))
    trainer = module.Trainer(fetch_base(), train, [], settings=settings, work=Path(tempfile.mkdtemp()))
    rows = [batch for step in trainer.steps for batch in step][: batches + 1]
    tokens, seconds = 0, 0.0
    for number, batch in enumerate(rows):
        start = time.perf_counter()
        trainer._loss(trainer._collate(batch)).backward()
        if number:  # the first pass warms up
            seconds += time.perf_counter() - start
            tokens += sum(len(row.ids) for row in batch)
    return {
        "tokens_per_s": round(tokens / seconds, 1),
        "matmul_gflops": round(matmul_gflops(torch.float32)),
        "matmul_gflops_bf16": round(matmul_gflops(torch.bfloat16)),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main(
    batches: Annotated[int, typer.Option(help="Batches measured for each setting and round")] = 4,
    rounds: Annotated[int, typer.Option(help="How often all settings are run in turn")] = 2,
    only: Annotated[str, typer.Option(help="Measure one setting in this process and print it")] = "",
) -> None:
    """Measure the settings, and print each one's tokens a second as a ratio of the default's."""
    if only:
        typer.echo(json.dumps(measure(only, batches)))
        return
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for name in SETTINGS:
            command = [sys.executable, __file__, "--only", name, "--batches", str(batches)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.strip().splitlines()[-1])
            best[name] = max(best.get(name, found), found, key=lambda row: row["tokens_per_s"])
    for name, found in best.items():
        found["ratio"] = round(found["tokens_per_s"] / best["default"]["tokens_per_s"], 2)
        typer.echo(f"{name:34s} {found['tokens_per_s']:7.1f} tokens/s  {found['ratio']:.2f}  {found['peak_rss_mb']} MB")
    typer.echo(json.dumps(best))


if __name__ == "__main__":
    typer.run(main)
