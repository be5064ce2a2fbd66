"""Tokens a second of training steps on the embedded corpus, beside the Trainer of transformers, in one run.

    python benchmarks/training.py

It needs `corpus/train.jsonl` (`weasel run convert`) and the base (`weasel run fetch`). Each setting runs in a process
of its own, in turn, several times, since machines are noisy; the best of each counts. Tokens are those of the
conversations, never padding. The last line is JSON:

    tokens_per_s            of our default step
    trainer_tokens_per_s    of the plain Trainer: padded batches, logits everywhere, the same conversations
    speedup                 the first over the second; speedup_frozen is that of our step with ten layers frozen
    matmul_gflops           the machine's peak in matrix products: the higher one of float32 and bfloat16
    peak_share              useful arithmetic of our default step a second over that peak; peak_share_bfloat16 over
                            that of bfloat16 alone, which some CPUs multiply slower than float32
    padded_ratio            of our default step over the same with padded rows and a mask
    peak_rss_mb             memory of the process, at most
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

PLAIN = "Trainer of transformers"
PADDED = "padded, with a mask"
FROZEN = "ten layers frozen"
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    FROZEN: {"frozen_layers": 10},
    PLAIN: {},
    PADDED: {"packs": False},
    "multi-turn": {"questions": "multi-turn"},
    "memory given back to the system": {"keep_freed_memory": False},
    "bfloat16": {"dtype": "bfloat16"},
    "float32": {"dtype": "float32"},
}
RATIOS = {"speedup": ("default", PLAIN), "speedup_frozen": (FROZEN, PLAIN), "padded_ratio": ("default", PADDED)}
ROWS = 4
"""Conversations of a batch of the plain Trainer; ours holds as many of these on average."""


def measure(name: str, steps: int) -> dict[str, float]:
    """Optimiser steps over the same conversations. RETURNS (dict): tokens/s, arithmetic and peaks."""
    import resource

    import torch

    from spacy_universalner.hardware import matmul_gflops

    peaks = {
        key: round(matmul_gflops(dtype, size=2048, repeats=5))
        for key, dtype in (("matmul_gflops_float32", torch.float32), ("matmul_gflops_bfloat16", torch.bfloat16))
    }
    trainer = make_trainer(name)
    rows = [row for step in trainer.steps[1 : steps + 1] for batch in step for row in batch]
    seconds = time_plain(trainer, rows) if name == PLAIN else time_ours(trainer, steps)
    return {
        "tokens_per_s": round(sum(len(row.ids) for row in rows) / seconds, 1),
        "gflops": round(count_flops(trainer, rows) / seconds / 1e9, 1),
        **peaks,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def make_trainer(name: str) -> Any:
    """Our trainer with the settings of that name."""
    from spacy_universalner.base import fetch_base
    from spacy_universalner.records import read_conversations
    from spacy_universalner.schemas import load_settings
    from spacy_universalner.training import trainer as module

    changes = dict(SETTINGS[name])
    if not changes.pop("keep_freed_memory", name != PLAIN):
        module.keep_freed_memory = lambda: None
    packs = changes.pop("packs", True)
    settings = load_settings(Path("configs/train.cfg"), "train").model_copy(update=changes)
    train = list(read_conversations(Path("corpus/train.jsonl")))
    trainer = module.Trainer(fetch_base(), train, [], settings=settings, work=Path(tempfile.mkdtemp()))
    trainer.packs &= packs
    return trainer


def time_ours(trainer: Any, steps: int) -> float:
    """Seconds of our steps after the first, which warms up; freed memory is given back as in a run."""
    from spacy_universalner.hardware import give_back_freed_memory
    from spacy_universalner.training.trainer import STEPS_A_TRIM

    trainer._step(trainer.steps[0], 1e-5)
    start = time.perf_counter()
    for number, step in enumerate(trainer.steps[1 : steps + 1], 1):
        trainer._step(step, 1e-5)
        if number % STEPS_A_TRIM == 0:
            give_back_freed_memory()
    return time.perf_counter() - start


def time_plain(ours: Any, rows: Sequence[Any]) -> float:
    """Seconds of the plain Trainer's steps over the same conversations, after a step that warms up."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        start = end = 0.0

        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            self.end = time.perf_counter()
            self.start = self.start or self.end

    def pad(batch: Sequence[Any]) -> dict[str, torch.Tensor]:
        width = max(len(row.ids) for row in batch)
        ids = torch.full((len(batch), width), ours.tokenizer.pad_token_id)
        labels = torch.full((len(batch), width), -100)
        seen = torch.zeros((len(batch), width), dtype=torch.long)
        for i, row in enumerate(batch):
            learnt = list(row.learnt)
            ids[i, : len(row.ids)] = torch.tensor(row.ids)
            labels[i, learnt] = ids[i, learnt]
            seen[i, : len(row.ids)] = 1
        return {"input_ids": ids, "labels": labels, "attention_mask": seen}

    arguments = TrainingArguments(
        output_dir=str(ours.work),
        per_device_train_batch_size=ROWS,
        num_train_epochs=1,
        learning_rate=1e-5,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    warm_up = [min(rows, key=lambda row: len(row.ids))] * ROWS
    seconds = 0.0
    for examples in (warm_up, list(rows)):
        trainer = Trainer(model=ours.causal_lm, args=arguments, train_dataset=examples, data_collator=pad)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    return seconds


def count_flops(trainer: Any, rows: Sequence[Any]) -> float:
    """Arithmetic that the loss and its gradients need: matrix products of each token, and of what it sees."""
    import torch

    from spacy_universalner.causal import head, layers
    from spacy_universalner.training.examples import collate, pack

    model = trainer.causal_lm
    blocks = layers(model)
    weights = [sum(p.numel() for p in block.parameters() if p.dim() > 1) for block in blocks]
    trained = [any(p.requires_grad for p in block.parameters()) for block in blocks]
    hidden = model.config.hidden_size
    head_weight = head(model).weight
    total = 0.0
    for row in rows:
        if trainer.packs:
            line = pack([row]).layout
            count, seen = len(line.ids), int(line.plan(torch.device("cpu")).dense().sum())
        else:
            isolated = trainer.settings.questions == "isolated"
            count, seen = len(row.ids), int(collate([row], 0, isolated=isolated).layout.mask.sum())
        for weight, learns in zip(weights, trained, strict=True):
            forward = 2 * weight * count + 4 * hidden * seen
            total += forward * (3 if learns else 1)
        total += 2 * head_weight.numel() * len(row.learnt) * (3 if head_weight.requires_grad else 2)
    return total


def run(name: str, steps: int) -> dict[str, float]:
    """Measure a setting in a process of its own."""
    command = [sys.executable, __file__, "--only", name, "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(
    steps: Annotated[int, typer.Option(help="Optimiser steps measured for each setting and round")] = 10,
    rounds: Annotated[int, typer.Option(help="How often all settings are run in turn")] = 2,
    settings: Annotated[str, typer.Option(help="Some of the settings, with commas between; empty for all")] = "",
    only: Annotated[str, typer.Option(help="Measure one setting in this process and print it")] = "",
) -> None:
    """Measure the settings, and print each one's tokens a second."""
    if only:
        typer.echo(json.dumps(measure(only, steps)))
        return
    names = list(dict.fromkeys(["default", PLAIN, *(settings.split(",") if settings else SETTINGS)]))
    runs = [(name, run(name, steps)) for _ in range(rounds) for name in names]
    best = {name: max((r for n, r in runs if n == name), key=lambda r: r["tokens_per_s"]) for name in names}
    peaks = {key: max(r[key] for _, r in runs) for key in ("matmul_gflops_float32", "matmul_gflops_bfloat16")}
    peak = max(peaks.values())
    for name, found in best.items():
        share = 100 * found["gflops"] / peak
        typer.echo(
            f"{name:34s} {found['tokens_per_s']:7.1f} tokens/s  {share:3.0f}% of the peak  {found['peak_rss_mb']} MB"
        )
    ours, plain = best["default"], best[PLAIN]
    summary = {
        "tokens_per_s": ours["tokens_per_s"],
        "trainer_tokens_per_s": plain["tokens_per_s"],
        **{
            key: round(best[a]["tokens_per_s"] / best[b]["tokens_per_s"], 2)
            for key, (a, b) in RATIOS.items()
            if a in best and b in best
        },
        "matmul_gflops": peak,
        "peak_share": round(ours["gflops"] / peak, 3),
        **peaks,
        "peak_share_bfloat16": round(ours["gflops"] / peaks["matmul_gflops_bfloat16"], 3),
        "peak_rss_mb": ours["peak_rss_mb"],
        "trainer_peak_rss_mb": plain["peak_rss_mb"],
    }
    typer.echo(json.dumps(summary))


if __name__ == "__main__":
    typer.run(main)
