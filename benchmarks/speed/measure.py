"""Measurements in this package's own environment: `python measure.py JOB RESULT`, started by jobs.run_job."""

import inspect
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job. RETURNS (dict): what was found, with the memory that the process and its children had at most."""
    kind = job.pop("kind")
    found = KINDS[kind](**job)
    own, child = (resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {**found, "peak_rss_mb": own, "child_peak_rss_mb": child}


def make_engine(student: str, settings: dict[str, Any]) -> Any:
    """The default engine, with other settings than its defaults where they are named."""
    from spacy_universalner.engines import make_transformers_engine

    unknown = set(settings) - set(inspect.signature(make_transformers_engine).parameters)
    if unknown:
        sys.exit(f"ValueError: the engine has no setting {', '.join(sorted(unknown))}")
    return make_transformers_engine(model=student, **settings)


def best_of(rounds: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """The shortest time of several, since others may be at work on the machine, and the last result."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def measure_engine(
    student: str,
    settings: dict[str, Any],
    texts: list[str],
    types: list[list[str]],
    rounds: int,
    per_call: int = 0,
    warm_up: Sequence[str] = (),
    peaks: bool = False,
) -> dict[str, Any]:
    """Questions a second of the engine, so many documents a call, 0 for all."""
    import torch

    from spacy_universalner.hardware import matmul_gflops, pick_device, pick_dtype

    engine = make_engine(student, settings)
    warm_up = list(warm_up or texts[:2])
    engine.extract(warm_up, types[: len(warm_up)])
    step = per_call or len(texts)

    def ask() -> list[Any]:
        calls = range(0, len(texts), step)
        return [answers for i in calls for answers in engine.extract(texts[i : i + step], types[i : i + step])]

    seconds, answers = best_of(rounds, ask)
    named = settings.get("dtype", "auto")
    picked = str(pick_dtype("auto", pick_device(None))).removeprefix("torch.")  # as the engine did, in this process
    found = {
        "seconds": seconds,
        "questions": sum(map(len, types)),
        "answers": [[answer.mentions for answer in row] for row in answers],
        "incomplete": sum(not answer.complete for row in answers for answer in row),
        "dtype": picked if named == "auto" else named,
    }
    if peaks:
        for name in ("float32", "bfloat16"):
            found[f"matmul_gflops_{name}"] = round(matmul_gflops(getattr(torch, name), size=2048, repeats=5), 1)
    return found


def make_pipeline(student: str, settings: dict[str, Any], labels: list[str]) -> Any:
    import spacy

    from spacy_universalner.component import UniversalNER

    nlp = spacy.blank("en")
    config = {"labels": labels, "engine": {"@universal_ner_engines": "universal_ner.Transformers.v1", **settings}}
    pipe = nlp.add_pipe("universal_ner", config=config)
    assert isinstance(pipe, UniversalNER)
    pipe.engine.model = student
    return nlp


def measure_pipe(
    student: str, settings: dict[str, Any], texts: list[str], labels: list[str], rounds: int
) -> dict[str, Any]:
    """Questions a second of the whole pipeline, in this process, with the settings spaCy has by default."""
    nlp = make_pipeline(student, settings, labels)
    list(nlp.pipe(texts[:2]))
    seconds, docs = best_of(rounds, lambda: list(nlp.pipe(texts)))
    return {"seconds": seconds, "questions": len(texts) * len(labels), "ents": sum(len(doc.ents) for doc in docs)}


def measure_processes(
    student: str, texts: list[str], labels: list[str], processes: int, batch_size: int
) -> dict[str, Any]:
    """Documents a second of so many processes: with their start, and once each has answered its first batch."""
    nlp = make_pipeline(student, {}, labels)
    if processes == 1:
        list(nlp.pipe(texts[:2]))
    first = processes * batch_size
    start = time.perf_counter()
    for count, _ in enumerate(nlp.pipe(texts, n_process=processes, batch_size=batch_size), 1):
        if count == first:
            begun = time.perf_counter()
    end = time.perf_counter()
    return {"docs_per_s": (len(texts) - first) / (end - begun), "docs_per_s_with_start": len(texts) / (end - start)}


def measure_latency(student: str, texts: list[str], labels: list[str]) -> dict[str, Any]:
    """Milliseconds for a document alone."""
    nlp = make_pipeline(student, {}, labels)
    nlp(texts[0])
    times = []
    for text in texts:
        start = time.perf_counter()
        nlp(text)
        times.append(1000 * (time.perf_counter() - start))
    return {"median_ms": statistics.median(times), "p90_ms": sorted(times)[int(0.9 * len(times))]}


def measure_f1(student: str, settings: dict[str, Any], data: str, sample: int) -> dict[str, Any]:
    """The mean F1 of a sample of each zero-shot set, through the component."""
    from spacy_universalner.evaluation.evaluate import evaluate_sets
    from spacy_universalner.gold.datasets import zero_shot_sets
    from spacy_universalner.gold.readers import load_sets

    nlp = make_pipeline(student, settings, [])
    pipe = nlp.get_pipe("universal_ner")
    sets = load_sets(zero_shot_sets(), data, limit=sample)
    scores = evaluate_sets(sets, lambda texts, types: pipe.predict([nlp.make_doc(text) for text in texts], types))
    return scores["mean"]


def measure_generate(
    student: str,
    dtype: str,
    prompts: list[list[int]],
    single: list[int],
    batched: list[int],
    end: int,
    max_new_tokens: int,
    batch_size: int,
    rounds: int,
) -> dict[str, Any]:
    """Prompts a second of `generate`, some of them one at a time, some in batches padded on the left.

    single, batched (list): numbers of the prompts.
    RETURNS (dict): seconds, and the ids generated for each of these prompts.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(student, dtype=getattr(torch, dtype)).eval()

    @torch.inference_mode()
    def answer(batch: list[list[int]]) -> list[list[int]]:
        width = max(map(len, batch))
        ids = torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in batch])
        made = model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=end,
            pad_token_id=end,
        )
        return made[:, width:].tolist()

    def answer_batched() -> dict[int, list[int]]:
        order = sorted(batched, key=lambda i: len(prompts[i]))  # like lengths together: least padding
        parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        return {i: ids for part in parts for i, ids in zip(part, answer([prompts[i] for i in part]), strict=True)}

    answer([prompts[0]])
    seconds, alone = best_of(rounds, lambda: [answer([prompts[i]])[0] for i in single])
    answer([prompts[i] for i in batched[:batch_size]])
    batched_seconds, together = best_of(rounds, answer_batched)
    return {
        "one_by_one": len(single) / seconds,
        "batched_generate": len(batched) / batched_seconds,
        "single_ids": alone,
        "batched_ids": [together[i] for i in batched],
    }


KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "engine": measure_engine,
    "pipe": measure_pipe,
    "processes": measure_processes,
    "latency": measure_latency,
    "f1": measure_f1,
    "generate": measure_generate,
}

if __name__ == "__main__":
    asked, result = map(Path, sys.argv[1:])
    result.write_text(json.dumps(main(json.loads(asked.read_text(encoding="utf8")))), encoding="utf8")
