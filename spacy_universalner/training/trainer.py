"""Instruction tuning of a student: the loss is taken on answers only, and logits are computed only there.

The run is planned ahead from its seed, so that a resumed run takes the very steps it would have taken, and several
processes agree on them without a word.
"""

import math
import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from ..answering import MIN_SCORE
from ..attention import can_pack
from ..card.student import write_student
from ..causal import BY_PLAN, layers
from ..choices import context_of
from ..encoding import Encoder
from ..errors import Errors, UniversalNERError
from ..extraction import Extractor
from ..hardware import give_back_freed_memory, keep_freed_memory, pick_dtype
from ..prompts import get_template
from ..provenance import describe_start
from ..records import Conversation, Query, read_json, sha256_json
from ..registry import Answer
from ..schemas import TrainSettings
from ..student import MANIFEST
from .checkpoint import Checkpoint
from .examples import Batch, Row, collate, draw_queries, pack, plan_epoch, split_rows
from .journal import Journal, keep_journal
from .loss import AnswerLoss
from .model import causal_lm, check_qlora, check_start, load_model, save_weights
from .optimizer import MasterAdamW
from .processes import Processes

Score = Callable[[Sequence[Conversation], Sequence[Sequence[Answer]]], float]
"""Takes conversations and an answer to each of their questions, gives an F1 in percent."""
ANSWER_TOKENS = 128
"""Longest answer asked for in an evaluation."""
STEPS_A_TRIM = 10
"""Steps after which freed memory is given back to the system, which takes time to get it again."""
NO_OTHER_RUN = {"save", "save_minutes", "report_to"}
"""Settings that change nothing that is learnt: a checkpoint stays good when they do."""


@dataclass
class Progress:
    """How far a run is, as a checkpoint keeps it.

    step, tokens, seconds: what was done; seconds are those of the updates.
    loss (float): mean loss per learnt token of the last step.
    evals (int): evaluations taken.
    dev_loss, dev_f1 (float): of the last of them.
    best_loss, best_f1 (float), best_step (int): of the one with the best F1, the later one of two equals.
    stale (int): evaluations since the best one.
    resumed (int): how often the run was resumed.
    rows (int): of the log.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float | None = None
    evals: int = 0
    dev_loss: float | None = None
    dev_f1: float | None = None
    best_loss: float | None = None
    best_f1: float | None = None
    best_step: int = 0
    stale: int = 0
    resumed: int = 0
    rows: int = 0


@dataclass
class Unused:
    """What of the conversations was not trained on as it is, in one epoch.

    split_conversations (int): longer than the context, made into several rows.
    dropped_questions (int): longer than the context with their passage alone.
    skipped_conversations (int): those of which no question is left.
    """

    split_conversations: int = 0
    dropped_questions: int = 0
    skipped_conversations: int = 0


class Trainer:
    """Tunes a base on conversations, in one process or in all that torchrun or accelerate started.

    base (Path): folder of the base student.
    train (Sequence[Conversation]): to learn from.
    dev (Sequence[Conversation]): for the validation loss and F1.
    settings (TrainSettings): see schemas.py.
    work (Path): folder for the log and the checkpoint, kept while the run is unfinished.
    device (str | None): as for `hardware.pick_device`.
    adapters (Path | None): folder of adapters to this base to train further, with the method "lora".
    score (Callable | None): scores the answers to the questions about dev; None takes no F1, and the last weights are
        the best.
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
        adapters: Path | None = None,
        score: Score | None = None,
    ):
        keep_freed_memory()
        self.settings = settings
        self.work = work
        self.adapters = adapters
        self.score = score
        self.processes = Processes(device)
        self.device = self.processes.device
        self.tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        self.template = get_template(settings.template)
        self.encoder = Encoder(self.tokenizer, self.template)
        self.folder, self.base = base, read_json(base / MANIFEST)
        check_start(self.base, save=settings.save)
        data = [sha256_json(conversation.to_sharegpt()) for conversation in (*train, *dev)]
        made = [self.base["files"], asdict(self.template), data, self.processes.count]
        run = [
            settings.model_dump(exclude=NO_OTHER_RUN),
            *made,
            *([read_json(adapters / MANIFEST)] if adapters else []),
        ]
        self.checkpoint = Checkpoint(work, self.processes, run=sha256_json(run))
        self.dtype = self._pick_dtype()
        self._load(base)
        own = context_of(self.model.config)[0]
        self.context = min(own, settings.context or own)
        self.steps = self._plan(train)
        self.dev = self._draw_dev(dev)
        self.dev_rows = [row for c in self.dev for row in split_rows(self.encoder, c, c.queries, self.context)[0]]
        self.progress = Progress()

    def _pick_dtype(self) -> torch.dtype:
        """What this run is computed in: as it began, since "auto" measures the machine, which may be busy now."""
        compute = self.checkpoint.recall("compute")
        return self.processes.agree(pick_dtype(compute or self.settings.dtype, self.device))

    def _load(self, base: Path) -> None:
        settings = self.settings
        if settings.method == "qlora":
            check_qlora(self.device, processes=self.processes.count)
        self.load_model = partial(
            load_model,
            base,
            method=settings.method,
            dtype=self.dtype if self.processes.count == 1 else torch.float32,
            lora=settings.lora.model_dump(),
            frozen_embeddings=settings.frozen_embeddings,
            frozen_layers=settings.frozen_layers,
            seed=settings.seed,
            checkpoint_activations=settings.checkpoint_activations,
            adapters=self.adapters,
        )
        device = self.device if self.processes.count == 1 else torch.device("cpu")
        self.model = self.load_model(device=device, empty=not self.processes.first)
        self.packs = self._can_pack()
        self.loss = AnswerLoss(self.model)
        if self.processes.count > 1:
            self.processes.shard(self.loss, layers(self.causal_lm), dtype=self.dtype)
        self.optimizer = MasterAdamW(
            self.model.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
        )

    def _can_pack(self) -> bool:
        """Whether questions about a passage are computed behind it without padding: as the first process finds, which
        alone has weights yet. Layers that are computed again do not know the plan by then."""
        if self.settings.questions != "isolated" or self.settings.checkpoint_activations:
            return False
        packs = self.processes.agree(self.processes.first and can_pack(self.causal_lm))
        if packs:
            self.causal_lm.set_attn_implementation(BY_PLAN)
        return packs

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
            rows = self._make_rows(drawn)
            steps += plan_epoch(rows, batch_tokens=settings.batch_tokens, step_tokens=settings.step_tokens, rng=rng)
        if not steps:
            empty = sum(not c.queries for c in train)
            counts = {"count": len(train), "empty": empty, "long": len(train) - empty, "limit": self.context}
            raise UniversalNERError(Errors.U071.format(path="the training conversations", **counts))
        return steps

    def _make_rows(self, drawn: Iterable[tuple[Conversation, list[Query]]]) -> list[Row]:
        self.unused = Unused()
        rows: list[Row] = []
        for conversation, queries in drawn:
            found, left = split_rows(self.encoder, conversation, queries, self.context)
            self.unused.split_conversations += len(found) > 1
            self.unused.dropped_questions += len(left)
            self.unused.skipped_conversations += not found
            rows += found
        return rows

    def _draw_dev(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        """Conversations drawn over all of the file, which goes by domain, with the questions that are asked in every
        evaluation; those that are too long left out. Runs with other seeds ask the same."""
        rng = random.Random(0)
        count = min(self.settings.dev_conversations, len(conversations))
        drawn = []
        for c in (conversations[place] for place in sorted(rng.sample(range(len(conversations)), count))):
            queries = draw_queries(c, most=self.settings.dev_questions, rng=rng)
            rows, left = split_rows(self.encoder, c, queries, self.context - ANSWER_TOKENS)
            if rows:
                kept = tuple(query for query in queries if query not in left)
                drawn.append(Conversation(c.id, c.text, kept, c.dataset))
        return drawn

    def run(self) -> dict[str, Any]:
        """Train, from the checkpoint if there is one of this very run. The best weights are in place afterwards.

        RETURNS (dict): facts for the manifest: tokens, seconds, tokens per second, losses, F1.
        RAISES (UniversalNERError): a loss or a gradient is not finite.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        self._resume()
        saved = time.monotonic()
        with keep_journal(
            self.work,
            rows=self.progress.rows,
            share=self.share,
            speaks=self.processes.first,
            report_to=self.settings.report_to,
            model=self.causal_lm,
        ) as journal:
            while self.share < 1 and not self._stale:
                self._advance(journal)
                if self.progress.step % STEPS_A_TRIM == 0:
                    give_back_freed_memory()
                if self.dev and self.progress.evals < self._evals_due() and self.share < 1:
                    self._evaluate(journal)
                if self.processes.agree(time.monotonic() - saved) > self.settings.save_minutes * 60:
                    self._save_checkpoint()
                    saved = time.monotonic()
            if self.dev and not self._stale:
                self._evaluate(journal)
        self._take_best()
        return self._facts()

    def _advance(self, journal: Journal) -> None:
        """One step, and a row about it."""
        progress = self.progress
        start = time.monotonic()
        lr = self._learning_rate()
        tokens, loss = self._step(self.steps[progress.step], lr)
        seconds = self.processes.agree(time.monotonic() - start)
        progress.step += 1
        progress.tokens += tokens
        progress.seconds += seconds
        progress.loss = round(loss, 4)
        row = {"step": progress.step, "tokens": progress.tokens, "loss": progress.loss, "lr": lr}
        rate = tokens / seconds
        self._log(journal, {**row, "tokens_per_s": round(rate, 1), "seconds": round(progress.seconds, 1)})
        left = progress.seconds / self.share * max(0.0, 1 - self.share)
        state = f"loss {loss:.3f}, {progress.tokens} tokens, {rate:.0f} tokens/s, about {left / 60:.1f} min left"
        journal.show(self.share, state, step=progress.step)

    def _log(self, journal: Journal, row: dict[str, Any]) -> None:
        journal.add(row)
        self.progress.rows += 1

    def _facts(self) -> dict[str, Any]:
        progress = self.progress
        watched = progress.best_f1 is not None
        return {
            "steps": progress.step,
            "planned_steps": len(self.steps),
            "tokens": progress.tokens,
            "seconds": round(progress.seconds, 1),
            "tokens_per_s": round(progress.tokens / max(progress.seconds, 1e-9), 1),
            "processes": self.processes.count,
            "loss": progress.loss,
            "dev_conversations": len(self.dev),
            "dev_loss": progress.best_loss if watched else progress.dev_loss,
            "dev_f1": progress.best_f1,
            "best_step": progress.best_step if watched else progress.step,
            "resumed": progress.resumed,
            **asdict(self.unused),
            "compute": str(self.dtype).removeprefix("torch."),
            "packed": self.packs,
        }

    def save(self, folder: Path, facts: dict[str, Any], made: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write the student: weights in bfloat16 safetensors, tokenizer, template, card, manifest. Replaces what was
        there.

        facts (dict): what `run` returned.
        made (Mapping | None): what else the manifest is to say, see `provenance.describe_training`.
        RETURNS (dict): the manifest; empty in all processes but the first.
        """
        model = self._whole_model()
        manifest: dict[str, Any] = {}
        if self.processes.first:
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            save_weights(
                model,
                part,
                base=self.folder,
                name=describe_start(self.base)["name"],
                method=self.settings.method,
                save=self.settings.save,
            )
            self.tokenizer.save_pretrained(part)
            self.template.save(part)
            told = {"base": describe_start(self.base), "method": self.settings.method, "template": self.template.name}
            manifest = write_student(part, {**told, "training": facts, **(made or {})})
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
        self.checkpoint.clear()
        self.processes.gather(None)  # none goes on before the student is there
        return manifest

    def _whole_model(self) -> Any:
        """The model with all its weights; in other processes than the first, the parts that they hold."""
        if self.processes.count == 1:
            return self.model
        weights = self.processes.whole(self.loss)
        if not self.processes.first:
            return self.model
        loss = AnswerLoss(self.load_model(device=torch.device("cpu"), empty=False))
        loss.load_state_dict(weights)
        return loss.model

    @torch.no_grad()
    def dev_loss(self) -> float:
        """Mean loss per learnt token on the dev conversations."""
        self.loss.eval()
        batches = [self._collate([row]) for row in self.dev_rows]
        total = sum(weight * float(self._loss(batch)) for batch, weight in self.processes.share(batches))
        self.loss.train()
        return self.processes.sum(total) / sum(len(batch.targets) for batch in batches)

    def dev_f1(self) -> float:
        """F1 of the answers to the questions about the dev conversations, asked as the engine asks them."""
        self.loss.eval()
        with self.processes.gathered(self.loss):
            extractor = Extractor(
                self.causal_lm,
                self.encoder,
                batch_tokens=self.settings.batch_tokens,
                max_new_tokens=ANSWER_TOKENS,
                constrain=True,
                min_score=MIN_SCORE,
            )
            types = [[query.type for query in c.queries] for c in self.dev]
            answers = extractor.extract([c.text for c in self.dev], types, [c.dataset for c in self.dev])
        self.loss.train()
        return self.processes.agree(self.score(self.dev, answers))

    @property
    def share(self) -> float:
        """How much of the run is done: of its steps, its tokens or its time, whichever is most."""
        settings, progress = self.settings, self.progress
        tokens = progress.tokens / settings.max_tokens if settings.max_tokens else 0.0
        return max(progress.step / len(self.steps), tokens, progress.seconds / (60 * settings.max_minutes))

    @property
    def _stale(self) -> bool:
        """Whether the F1 has not become better for so long that the run ends."""
        return 0 < self.settings.patience <= self.progress.stale

    def _collate(self, rows: Sequence[Row]) -> Batch:
        if self.packs:
            return pack(rows)
        return collate(rows, self.tokenizer.pad_token_id, isolated=self.settings.questions == "isolated")

    def _learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero over the share of the run that is done."""
        warmup = self.settings.warmup
        if self.share < warmup:
            return self.settings.learning_rate * min(1.0, self.share / warmup + 1 / len(self.steps))
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (self.share - warmup) / (1 - warmup)))

    def _step(self, step: Sequence[Sequence[Row]], lr: float) -> tuple[int, float]:
        """One optimiser step. RETURNS (tuple): tokens seen, mean loss per learnt token, of all processes."""
        learnt = sum(len(row.learnt) for rows in step for row in rows)
        count, rank = self.processes.count, self.processes.rank
        torch.manual_seed(self.settings.seed + self.progress.step * count + rank)  # a resumed run drops out the same
        total = 0.0
        for rows, weight in self.processes.share(step):
            loss = self._loss(self._collate(rows)) * weight
            loss.backward()
            total += float(loss.detach())
        total = self.processes.sum(total)
        self._check("loss", total, step)
        self.optimizer.set_lr(lr)
        norm = self.optimizer.step(count / learnt)  # gradients of several processes come as their mean
        self._check("gradient's norm", norm, step)
        return sum(row.width for rows in step for row in rows), total / learnt

    def _check(self, what: str, value: float, step: Sequence[Sequence[Row]]) -> None:
        """RAISES (UniversalNERError): the value is not finite; all processes have the same one."""
        if not math.isfinite(value):
            ids = ", ".join(row.id for rows in step for row in rows)
            raise UniversalNERError(Errors.U070.format(what=what, value=value, step=self.progress.step + 1, ids=ids))

    def _loss(self, batch: Batch) -> torch.Tensor:
        return self.loss(batch.layout, batch.predict, batch.targets)

    def _evals_due(self) -> int:
        """How many of the evaluations within the run should have been taken by now."""
        return int(self.share * (self.settings.dev_evals + 1))

    def _evaluate(self, journal: Journal) -> None:
        """Take the validation loss and F1, and remember the weights if they are the best so far."""
        progress = self.progress
        progress.evals = self._evals_due()
        progress.dev_loss = round(self.dev_loss(), 4)
        row = {"step": progress.step, "dev_loss": progress.dev_loss}
        if self.score is not None:
            progress.dev_f1 = row["dev_f1"] = round(self.dev_f1(), 2)
            if progress.best_f1 is None or progress.dev_f1 >= progress.best_f1:
                progress.best_loss, progress.best_f1 = progress.dev_loss, progress.dev_f1
                progress.best_step, progress.stale = progress.step, 0
                if self.share < 1:
                    self.checkpoint.save_best(progress.step, self.optimizer.weights_state())
            else:
                progress.stale += 1
        self._log(journal, row)

    def _take_best(self) -> None:
        """Put back the weights with the best F1, where they are not those of the last step."""
        best = self.progress.best_step
        if self.progress.best_f1 is not None and best < self.progress.step:
            self.optimizer.load_weights(self.checkpoint.load_best(best, self.device))

    def _save_checkpoint(self) -> None:
        state = {
            "compute": str(self.dtype).removeprefix("torch."),
            "progress": asdict(self.progress),
            "optimizer": self.optimizer.state_dict(),
        }
        self.checkpoint.save(self.progress.step, state, best=self.progress.best_step)

    def _resume(self) -> None:
        state = self.checkpoint.load(self.device)
        if state is None:
            return
        self.progress = Progress(**state["progress"])
        self.progress.resumed += 1
        self.optimizer.load_state_dict(state["optimizer"])
