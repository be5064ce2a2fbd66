"""Instruction tuning of a student: the loss is taken on answers only, and logits are computed only there.

The run is planned ahead from its seed, so that a resumed run takes the very steps it would have taken.
"""

import json
import math
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from tqdm import tqdm
from transformers import AutoTokenizer

from ..causal import backbone, head
from ..encoding import Encoder
from ..errors import Errors, UniversalNERError
from ..hardware import keep_freed_memory, pick_device, pick_dtype
from ..prompts import get_template
from ..records import Conversation, read_json, sha256_json
from ..schemas import TrainSettings
from ..student import MANIFEST, write_manifest
from .examples import Batch, Row, collate, draw_queries, fit, plan_epoch
from .model import causal_lm, load_model, save_weights
from .optimizer import MasterAdamW

CHECKPOINT = "checkpoint.pt"


@dataclass
class Progress:
    """How far a run is, as a checkpoint keeps it."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float | None = None
    resumed: int = 0


class Trainer:
    """Tunes a base on conversations.

    base (Path): folder of the base student.
    train (Sequence[Conversation]): to learn from.
    dev (Sequence[Conversation]): for the validation loss.
    settings (TrainSettings): see schemas.py.
    work (Path): folder for the log and the checkpoint, kept while the run is unfinished.
    RAISES (UniversalNERError): no conversation that can be trained on.
    """

    def __init__(
        self,
        base: Path,
        train: Sequence[Conversation],
        dev: Sequence[Conversation],
        *,
        settings: TrainSettings,
        work: Path,
        device: str | None = None,
    ):
        keep_freed_memory()
        self.settings = settings
        self.work = work
        self.device = pick_device(device)
        self.dtype = pick_dtype(settings.dtype, self.device)
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        self.template = get_template(settings.template)
        self.encoder = Encoder(self.tokenizer, self.template)
        self.model = load_model(
            base,
            method=settings.method,
            dtype=self.dtype,
            device=self.device,
            lora=settings.lora.model_dump(),
            frozen_layers=settings.frozen_layers,
            seed=settings.seed,
        )
        self.optimizer = MasterAdamW(
            self.model.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
        )
        self.base = read_json(base / MANIFEST)
        self.context = int(self.model.config.max_position_embeddings)
        self.steps = self._plan(train)
        self.dev = self._batches(dev[: settings.dev_conversations])
        self.progress = Progress()
        data = [conversation.to_sharegpt() for conversation in (*train, *dev)]
        self.run_id = sha256_json([settings.model_dump(), self.base["files"], asdict(self.template), data])

    @property
    def causal_lm(self) -> Any:
        """The model itself, inside the adapters if there are any."""
        return causal_lm(self.model)

    def _plan(self, train: Sequence[Conversation]) -> list[list[list[Row]]]:
        """All optimiser steps of the run, as rows."""
        settings = self.settings
        steps: list[list[list[Row]]] = []
        for epoch in range(settings.epochs):
            rng = random.Random(f"{settings.seed}:{epoch}")
            drawn = [(c, draw_queries(c, most=settings.max_questions, rng=rng)) for c in train]
            rows = [fit(self.encoder, c, queries, self.context) for c, queries in drawn]
            usable = [row for row in rows if row is not None]
            self.skipped = len(rows) - len(usable)
            steps += plan_epoch(usable, batch_tokens=settings.batch_tokens, step_tokens=settings.step_tokens, rng=rng)
        if not steps:
            empty = sum(not c.queries for c in train)
            raise UniversalNERError(
                Errors.U071.format(
                    path="the training conversations",
                    count=len(train),
                    empty=empty,
                    long=len(train) - empty,
                    limit=self.context,
                )
            )
        return steps

    def _batches(self, conversations: Sequence[Conversation]) -> list[Batch]:
        rng = random.Random(self.settings.seed)
        drawn = [(c, draw_queries(c, most=self.settings.max_questions, rng=rng)) for c in conversations]
        rows = [row for c, queries in drawn if (row := fit(self.encoder, c, queries, self.context))]
        return [self._collate([row]) for row in rows]

    def run(self) -> dict[str, Any]:
        """Train, from the checkpoint if there is one of this very run.

        RETURNS (dict): facts for the manifest: tokens, seconds, tokens per second, losses.
        RAISES (UniversalNERError): the loss is not finite.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        self._resume()
        saved = time.monotonic()
        started = saved - self.progress.seconds
        evals = self._evals_due()
        with self._open_log() as log, self._open_bar() as bar:
            while self.share < 1:
                tick = time.monotonic()
                lr = self._learning_rate()
                tokens, loss = self._step(self.steps[self.progress.step], lr)
                self.progress.step += 1
                self.progress.tokens += tokens
                self.progress.loss = round(loss, 4)
                self.progress.seconds = time.monotonic() - started
                self._report(log, bar, lr=lr, rate=tokens / (time.monotonic() - tick))
                if self.dev and evals < self._evals_due() and self.share < 1:
                    evals = self._evals_due()
                    self._log_dev_loss(log)
                if time.monotonic() - saved > self.settings.save_minutes * 60:
                    self._save_checkpoint()
                    saved = time.monotonic()
            dev_loss = self._log_dev_loss(log) if self.dev else None
        return {
            "steps": self.progress.step,
            "planned_steps": len(self.steps),
            "tokens": self.progress.tokens,
            "seconds": round(self.progress.seconds, 1),
            "tokens_per_s": round(self.progress.tokens / max(self.progress.seconds, 1e-9), 1),
            "loss": self.progress.loss,
            "dev_loss": dev_loss,
            "resumed": self.progress.resumed,
            "skipped_conversations": self.skipped,
            "compute": str(self.dtype).removeprefix("torch."),
        }

    def save(self, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Write the student: weights in bfloat16 safetensors, tokenizer, template, manifest. Replaces what was there.

        RETURNS (dict): the manifest.
        """
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        save_weights(self.model, part)
        self.tokenizer.save_pretrained(part)
        self.template.save(part)
        base = {key: self.base.get(key) for key in ("name", "source")}
        manifest = write_manifest(
            part, {"base": base, "method": self.settings.method, "template": self.template.name, "training": facts}
        )
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
        (self.work / CHECKPOINT).unlink(missing_ok=True)
        return manifest

    @torch.no_grad()
    def dev_loss(self) -> float:
        """Mean loss per learnt token on the dev conversations."""
        self.model.eval()
        total = sum(float(self._loss(batch)) for batch in self.dev)
        self.model.train()
        return total / sum(len(batch.targets) for batch in self.dev)

    @property
    def share(self) -> float:
        """How much of the run is done: of its steps, its tokens or its time, whichever is most."""
        settings, progress = self.settings, self.progress
        tokens = progress.tokens / settings.max_tokens if settings.max_tokens else 0.0
        return max(progress.step / len(self.steps), tokens, progress.seconds / (60 * settings.max_minutes))

    def _learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero over the share of the run that is done."""
        warmup = self.settings.warmup
        if self.share < warmup:
            return self.settings.learning_rate * (self.share / warmup + 1 / len(self.steps))
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (self.share - warmup) / (1 - warmup)))

    def _step(self, step: Sequence[Sequence[Row]], lr: float) -> tuple[int, float]:
        """One optimiser step. RETURNS (tuple): tokens seen, mean loss per learnt token."""
        learnt = sum(len(row.learnt) for rows in step for row in rows)
        total = 0.0
        torch.manual_seed(self.settings.seed + self.progress.step)  # a resumed run drops out what it would have
        for rows in step:
            loss = self._loss(self._collate(rows))
            loss.backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            ids = ", ".join(row.id for rows in step for row in rows)
            raise UniversalNERError(Errors.U070.format(loss=total, step=self.progress.step + 1, ids=ids))
        self.optimizer.set_lr(lr)
        self.optimizer.step(1 / learnt)
        return sum(len(row.ids) for rows in step for row in rows), total / learnt

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Summed cross entropy of the learnt tokens."""
        hidden = backbone(self.causal_lm)(
            input_ids=batch.layout.ids.to(self.device),
            position_ids=batch.layout.positions.to(self.device),
            attention_mask=batch.layout.mask.to(self.device),
            use_cache=False,
        ).last_hidden_state
        answers = hidden.flatten(0, 1)[batch.predict.to(self.device)]
        logits = head(self.causal_lm)(answers).float()
        return torch.nn.functional.cross_entropy(logits, batch.targets.to(self.device), reduction="sum")

    def _collate(self, rows: Sequence[Row]) -> Batch:
        return collate(rows, self.tokenizer.pad_token_id, isolated=self.settings.questions == "isolated")

    def _evals_due(self) -> int:
        """How many of the validation losses within the run should have been taken by now."""
        return int(self.share * (self.settings.dev_evals + 1))

    def _log_dev_loss(self, log: TextIO) -> float:
        loss = round(self.dev_loss(), 4)
        self._log(log, {"step": self.progress.step, "dev_loss": loss})
        return loss

    def _open_bar(self) -> tqdm:
        return tqdm(total=1.0, initial=self.share, desc="train", disable=not sys.stderr.isatty(), bar_format=BAR)

    def _report(self, log: TextIO, bar: tqdm, *, lr: float, rate: float) -> None:
        """One step: a row in the log, and the bar, or now and then a line where there is no terminal."""
        progress = self.progress
        row = {"step": progress.step, "tokens": progress.tokens, "loss": progress.loss, "lr": lr}
        self._log(log, {**row, "tokens_per_s": round(rate, 1), "seconds": round(progress.seconds, 1)})
        bar.n = min(1.0, self.share)
        bar.set_postfix_str(f"loss {progress.loss:.3f}, {rate:.0f} tokens/s")
        if not sys.stderr.isatty() and progress.step % 10 == 1:
            sys.stderr.write(self._line(progress.loss, rate) + "\n")

    def _line(self, loss: float, rate: float) -> str:
        done = max(self.share, 1e-9)
        left = self.progress.seconds / done * (1 - done)
        return (
            f"train: step {self.progress.step} of {len(self.steps)}, {self.progress.tokens} tokens, loss {loss:.3f}, "
            f"{rate:.0f} tokens/s, about {left / 60:.1f} min left"
        )

    def _log(self, log: TextIO, row: dict[str, Any]) -> None:
        log.write(json.dumps(row) + "\n")
        log.flush()

    def _open_log(self) -> TextIO:
        """The run's log, without what was logged after the checkpoint."""
        path = self.work / "log.jsonl"
        kept = []
        if self.progress.step and path.is_file():
            rows = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines() if line.endswith("}")]
            kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= self.progress.step]
        path.write_text("".join(kept), encoding="utf8")
        return path.open("a", encoding="utf8")

    def _save_checkpoint(self) -> None:
        part = self.work / f"{CHECKPOINT}.part"
        state = {"run": self.run_id, "progress": asdict(self.progress), "optimizer": self.optimizer.state_dict()}
        torch.save(state, part)
        part.replace(self.work / CHECKPOINT)

    def _resume(self) -> None:
        path = self.work / CHECKPOINT
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["run"] != self.run_id:
            return
        self.progress = Progress(**state["progress"])
        self.progress.resumed += 1
        self.optimizer.load_state_dict(state["optimizer"])


BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
