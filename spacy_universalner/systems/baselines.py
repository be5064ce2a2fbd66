"""Supervised baselines: a BERT with a layer of tags and spaCy's `ner`, trained on a data set's own sentences.

Each becomes a spaCy pipeline in a folder of its own, which appears there when it is whole. A BERT whose training was
stopped goes on where it was, with the same data and settings; spaCy's own training begins anew.
"""

import io
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spacy
from filelock import FileLock, Timeout
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example as Pair
from spacy.training.initialize import init_nlp
from spacy.training.loop import DIR_MODEL_BEST, DIR_MODEL_LAST
from spacy.training.loop import train as spacy_train

from ..align import choose_flat
from ..errors import Errors, UniversalNERError
from ..gold.datasets import DATASETS
from ..gold.readers import Example, load
from ..progress import show_progress
from ..records import read_json, sha256_json, write_json
from .encoder import make_classifier
from .tagging import cut_words, tag_labels, write_tags
from .token_classifier import NAME, Pieces

BEGUN = "begun.json"
LOGGER = "universal_ner.Progress.v1"


def read_train(name: str, folder: Path, *, limit: int, seed: int) -> list[Example]:
    """The train split of a set of the benchmark, or a sample of it.

    RAISES (UniversalNERError): no such set, or none that was published with a train split; a file is missing or bad.
    """
    if name not in DATASETS:
        raise UniversalNERError(
            Errors.U246.format(name=name, reason=f"there is no such set, only {', '.join(DATASETS)}")
        )
    return load(DATASETS[name], folder, limit=limit, seed=seed, split="train")


def train_bert(
    examples: Sequence[Example],
    folder: Path,
    *,
    name: str,
    dev_share: float,
    seed: int,
    base: str | None,
    otherwise: str,
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    max_tokens: int,
    overlap: int,
    epochs: int,
    max_minutes: float,
    batch_size: int,
    learning_rate: float,
    warmup: float,
    weight_decay: float,
    save_minutes: float,
    device: str = "",
    progress: str | None = None,
) -> dict[str, Any]:
    """Train a token classifier, or go on where a stopped run was.

    examples (Sequence[Example]): the train split.
    folder (Path): the pipeline's.
    name (str): the data set.
    dev_share (float): share of the sentences that is held out, for the F1 in the pipeline's meta.
    seed (int): seed of everything random.
    base, otherwise, layers, width, heads, vocabulary: see `encoder.make_classifier`.
    max_tokens, overlap (int): see TokenClassifier.
    epochs, max_minutes, batch_size, learning_rate, warmup, weight_decay, save_minutes: see schemas.BertSettings.
    device (str): as for `hardware.pick_device`.
    progress (str | None): show progress on stderr under this name.
    RETURNS (dict): facts of the run, which are in the pipeline's meta too.
    RAISES (UniversalNERError): no sentence to learn from, another process at it, no base.
    """
    settings = {key: value for key, value in locals().items() if key not in ("examples", "folder", "progress")}
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(NAME, config={"device": device or None, "max_tokens": max_tokens, "overlap": overlap})
    train, dev, facts = _read(nlp, examples, name, dev_share, seed)
    with _work(folder, {"kind": "bert", **settings}, examples) as work:
        start = time.monotonic()
        tags = tag_labels(name for example in examples for name in example.types)
        sentences = [[token.text for token in doc if not token.is_space] for doc in train]
        model, tokenizer, origin = make_classifier(
            tags,
            sentences,
            base=base,
            otherwise=otherwise,
            layers=layers,
            width=width,
            heads=heads,
            vocabulary=vocabulary,
            max_tokens=max_tokens,
            seed=seed,
            device=device or None,
        )
        pipe.use(model, tokenizer, tags)
        rows = list(_make_rows(train, tags, pipe.room, Pieces(tokenizer), overlap))
        updates = _fit(
            model,
            tokenizer,
            rows,
            work=work,
            epochs=epochs,
            max_minutes=max_minutes,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            save_minutes=save_minutes,
            seed=seed,
            progress=progress,
        )
        pipe.use(model, tokenizer, tags)
        facts |= {**origin, "windows": len(rows), **updates, "seconds": round(time.monotonic() - start, 1)}
        return _publish(nlp, dev, work, folder, {"kind": "bert", "set": name, **facts, "settings": settings})


def train_spacy(
    examples: Sequence[Example],
    folder: Path,
    *,
    name: str,
    dev_share: float,
    seed: int,
    epochs: int,
    patience: int,
    eval_every: int,
    dropout: float,
    progress: str | None = None,
) -> dict[str, Any]:
    """Train spaCy's `ner` as `spacy train` does, with its default model, and keep the best on what is held out.

    examples, folder, name, dev_share, seed, progress: as for `train_bert`.
    epochs, patience, eval_every (int), dropout (float): see schemas.SpacySettings.
    RETURNS (dict): facts of the run, which are in the pipeline's meta too.
    RAISES (UniversalNERError): no sentence to learn from, another process at it.
    """
    settings = {key: value for key, value in locals().items() if key not in ("examples", "folder", "progress")}
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    train, dev, facts = _read(nlp, examples, name, dev_share, seed)
    with _work(folder, {"kind": "spacy", **settings}, examples) as work:
        start = time.monotonic()
        for part, docs in (("train", train), ("dev", dev)):
            DocBin(docs=docs).to_disk(work / f"{part}.spacy")
        config = nlp.config
        logger = config["training"]["logger"]
        config["paths"].update(train=str(work / "train.spacy"), dev=str(work / "dev.spacy"))
        config["system"]["seed"] = seed
        config["training"].update(
            max_epochs=epochs,
            max_steps=0,
            patience=patience,
            eval_frequency=eval_every,
            dropout=dropout,
            logger={"@loggers": LOGGER, "name": progress},
        )
        (work / "trained").mkdir(exist_ok=True)
        spacy_train(init_nlp(config), work / "trained", stdout=io.StringIO(), stderr=io.StringIO())
        nlp = _choose_best([work / "trained" / part for part in (DIR_MODEL_BEST, DIR_MODEL_LAST)], dev)
        nlp.config["paths"].update(train=None, dev=None)
        nlp.config["training"]["logger"] = logger
        facts |= {"encoder": "spaCy's own", "weights": "random at the start"}
        facts["seconds"] = round(time.monotonic() - start, 1)
        return _publish(nlp, dev, work, folder, {"kind": "spacy", "set": name, **facts, "settings": settings})


@spacy.registry.loggers(LOGGER)
def make_logger(name: str | None = None) -> Callable[..., tuple[Callable[..., None], Callable[[], None]]]:
    """A logger for spaCy's training that shows updates and the F1 on held-out sentences. NAME as of `show_progress`."""

    def set_up(nlp: Language, stdout: Any = None, stderr: Any = None) -> tuple[Callable[..., None], Callable[[], None]]:
        said = {"f1": ""}
        bar = show_progress(None, name, note=lambda: said["f1"], unit=" updates")
        advance = bar.__enter__()

        def log_step(info: dict[str, Any] | None) -> None:
            if info is not None:
                said["f1"] = f"F1 {100 * info['other_scores'].get('ents_f', 0):.2f}, epoch {info['epoch']}"
            advance(1)

        return log_step, lambda: bar.__exit__(None, None, None)

    return set_up


def _read(
    nlp: Language, examples: Sequence[Example], name: str, dev_share: float, seed: int
) -> tuple[list[Doc], list[Doc], dict[str, Any]]:
    """Gold docs to learn from and docs held out, and counts of what was read and set aside."""
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    held = set(order[: max(1, round(dev_share * len(order)))])
    set_aside: Counter[str] = Counter()
    parts: tuple[list[Doc], list[Doc]] = ([], [])
    for i, example in enumerate(examples):
        parts[i in held].append(make_gold(nlp, example, set_aside))
    train, dev = parts
    if not any(doc.ents for doc in train):
        reason = f"{len(train)} sentences to learn from, none with an entity, and {len(dev)} held out"
        raise UniversalNERError(Errors.U246.format(name=name, reason=reason))
    return train, dev, {"sentences": len(train), "held_out": len(dev), "set_aside": dict(set_aside)}


def make_gold(nlp: Language, example: Example, set_aside: Counter[str]) -> Doc:
    """A doc with the entities of an example, but for those counted as set aside.

    Entities within others are, as neither model says such, and those that end within a token.
    """
    doc = nlp.make_doc(example.text)
    flat = sorted(choose_flat(dict.fromkeys(example.spans)))
    set_aside["overlapping"] += len(example.spans) - len(flat)
    spans = [doc.char_span(start, end, label=label) for start, end, label in flat]
    doc.set_ents([span for span in spans if span is not None])
    set_aside["not at token boundaries"] += spans.count(None)
    return doc


def _make_rows(
    docs: Sequence[Doc], tags: Sequence[str], room: int, pieces: Pieces, overlap: int
) -> Iterator[dict[str, list[int]]]:
    """Windows as they are learnt: the first piece of each word has its tag, the rest is not learnt."""
    numbers = {tag: i for i, tag in enumerate(tags)}
    for doc in docs:
        words = [token for token in doc if not token.is_space]
        places = {token.i: i for i, token in enumerate(words)}
        spans = [(places[ent[0].i], places[ent[-1].i] + 1, ent.label_) for ent in doc.ents]
        said = write_tags(len(words), spans)
        cut = pieces.cut([token.text for token in words], room)
        for first, last in cut_words([len(ids) for ids in cut], room, overlap):
            ids, starts = pieces.frame(cut[first:last])
            labels = [-100] * len(ids)
            for start, tag in zip(starts, said[first:last], strict=True):
                labels[start] = numbers[tag]
            yield {"input_ids": ids, "labels": labels}


def _fit(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, list[int]]],
    *,
    work: Path,
    epochs: int,
    max_minutes: float,
    batch_size: int,
    learning_rate: float,
    warmup: float,
    weight_decay: float,
    save_minutes: float,
    seed: int,
    progress: str | None,
) -> dict[str, Any]:
    """Train with transformers' Trainer. RETURNS (dict): updates made, of how many."""
    import torch
    from transformers import DataCollatorForTokenClassification, PrinterCallback, Trainer, TrainingArguments
    from transformers.trainer import TRAINER_STATE_NAME
    from transformers.trainer_utils import get_last_checkpoint

    from .pace import Pace, Watch

    updates = -(-len(rows) // batch_size) * epochs
    pace = Pace(updates, 60 * max_minutes, warmup)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    arguments = TrainingArguments(
        output_dir=str(work / "checkpoints"),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=model.device.type == "cpu",
        seed=seed,
    )
    with show_progress(updates, progress, unit=" updates") as advance:
        watch = Watch(pace, save_minutes=save_minutes, advance=advance)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=list(rows),
            data_collator=DataCollatorForTokenClassification(tokenizer),
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, pace)),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        (work / "checkpoints").mkdir(exist_ok=True)
        for folder in (work / "checkpoints").glob("checkpoint-*"):
            if not (folder / TRAINER_STATE_NAME).is_file():  # which is written last: the run was killed while it saved
                shutil.rmtree(folder)
        done = trainer.train(resume_from_checkpoint=get_last_checkpoint(str(work / "checkpoints")))
    return {"updates": done.global_step, "of": updates}


def _choose_best(folders: Sequence[Path], dev: Sequence[Doc]) -> Language:
    """The pipeline with the highest F1 on what is held out: the last updates of a run are not evaluated in it."""
    pipelines = [spacy.load(folder) for folder in folders if folder.is_dir()]
    return max(pipelines, key=lambda nlp: _measure(nlp, dev))


def _measure(nlp: Language, dev: Sequence[Doc]) -> float:
    """F1 on gold docs, 0-100."""
    pairs = [Pair(nlp.make_doc(doc.text), doc) for doc in dev]
    return round(100 * (nlp.evaluate(pairs)["ents_f"] or 0), 2)


def _publish(nlp: Language, dev: Sequence[Doc], work: Path, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Measure a pipeline on what is held out, and put it in its place in one step."""
    facts["dev_f1"] = _measure(nlp, dev)
    nlp.meta.update(name=f"{facts['kind']}_{facts['set']}".replace("-", "_"), version="0.0.0", baseline=facts)
    ready = work / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    nlp.to_disk(ready)
    shutil.rmtree(folder, ignore_errors=True)
    ready.replace(folder)
    return facts


@contextmanager
def _work(folder: Path, settings: dict[str, Any], examples: Sequence[Example]) -> Iterator[Path]:
    """A folder beside a pipeline's for its making, one process at a time; kept if that stops before its end.

    What is in it is of the same data and settings, or it is emptied first.
    """
    work = folder.with_name(f".{folder.name}.work")
    work.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work.with_name(f"{work.name}.lock"), timeout=0):
            rows = [[*map(str, (e.id, e.text, e.types)), sorted(map(list, e.spans))] for e in examples]
            begun = {"settings": settings, "data": sha256_json(rows)}
            if not (work / BEGUN).is_file() or read_json(work / BEGUN) != begun:
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                write_json(work / BEGUN, begun)
            yield work
            shutil.rmtree(work)
    except Timeout as err:
        raise UniversalNERError(Errors.U247.format(path=folder)) from err
