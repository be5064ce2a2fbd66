"""Seconds and peak memory of `universal_ner` on one long document, at a quarter, half and all of its length.

    python benchmarks/documents.py --data BENCHMARK

Twice: around the student of `training/student` (`weasel run train`), and, longer, around an engine without a model,
which shows what windows and merging cost. Each length is a process of its own; seconds are those of the component, with
the model loaded and the document tokenised before. The document is the passages of the corpus, over and over. Seconds
should grow as the length, and the peak hardly. Where a benchmark folder is named, also what the overlap of two windows
is worth: F1 on sentences of a set that were joined to documents. The last line is JSON.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer

from spacy_universalner.component import UniversalNER
from spacy_universalner.engines import make_transformers_engine
from spacy_universalner.evaluation.metrics import score
from spacy_universalner.gold.datasets import DATASETS
from spacy_universalner.gold.readers import Example, load
from spacy_universalner.records import Passage, read_records
from spacy_universalner.registry import Answer, Engine

ROOT = Path(__file__).parents[1]
LABELS = ["person", "organization", "location"]
OVERLAPS = (0, 16, 32, 64)
JOINED = 30


class Capitals:
    """An engine without a model: the capitalised words of the passage, whatever is asked."""

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine."""
        words = ((word.strip(".,;:") for word in text.split()) for text in passages)
        found = [Answer(tuple(dict.fromkeys(word for word in some if word.istitle()))) for some in words]
        return [[answer] * len(names) for answer, names in zip(found, types, strict=True)]


def make_text(length: int) -> str:
    """So many characters of the corpus, over and over."""
    texts, size = [], 0
    for passage in cycle(list(read_records(ROOT / "assets" / "passages.jsonl", Passage))):
        texts.append(passage.text)
        size += len(passage.text) + 1
        if size > length:
            return "\n".join(texts)[:length]
    return ""


def peak_mb() -> int:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def measure(characters: int, student: str) -> dict[str, Any]:
    """Annotate a document of so many characters; without a student, by an engine without a model."""
    engine: Engine = make_transformers_engine(student, device="cpu") if student else Capitals()
    nlp = spacy.blank("en")
    nlp.max_length = max(nlp.max_length, characters)
    pipe = UniversalNER(labels=LABELS, engine=engine)
    pipe(nlp.make_doc("Ada met Grace in Paris."))
    doc = nlp.make_doc(make_text(characters))
    before, start = peak_mb(), time.perf_counter()
    pipe(doc)
    seconds = time.perf_counter() - start
    return {
        "characters": characters,
        "seconds": round(seconds, 2),
        "characters_per_s": round(characters / seconds),
        "peak_rss_mb": peak_mb(),
        "before_mb": before,
        "spans": len(doc.spans[pipe.spans_key]),
    }


def join(examples: Sequence[Example]) -> Example:
    """One document of consecutive sentences."""
    spans, starts = [], [0]
    for example in examples:
        spans += [(starts[-1] + start, starts[-1] + end, type_) for start, end, type_ in example.spans]
        starts.append(starts[-1] + len(example.text) + 1)
    return Example(examples[0].id, " ".join(e.text for e in examples), examples[0].types, frozenset(spans))


def measure_overlap(overlap: int, student: str, data: str, name: str, sentences: int) -> dict[str, Any]:
    """F1 on the first sentences of a set, joined, with windows that share so many tokens."""
    examples = load(DATASETS[name], Path(data))[:sentences]
    documents = [join(examples[i : i + JOINED]) for i in range(0, len(examples), JOINED)]
    nlp = spacy.blank("en")
    pipe = UniversalNER(engine=make_transformers_engine(student, device="cpu"), overlap_tokens=overlap)
    start = time.perf_counter()
    said = pipe.predict([nlp.make_doc(document.text) for document in documents], [list(d.types) for d in documents])
    seconds = round(time.perf_counter() - start, 1)
    scores = score(documents, said)
    f1 = {name: scores[name] for name in ("span_f1", "string_f1")}
    return {"set": name, "documents": len(documents), "overlap": overlap, **f1, "seconds": seconds}


def main(
    student: Annotated[Path, typer.Option(help="The student")] = Path("training/student"),
    characters: Annotated[int, typer.Option(help="Length of the longest document of the student; 0 for none")] = 40_000,
    alone: Annotated[int, typer.Option(help="Length of the longest document without a model")] = 1_000_000,
    data: Annotated[str, typer.Option(help="Folder of the benchmark data; without it no overlap is measured")] = "",
    sets: Annotated[str, typer.Option(help="The sets whose sentences are joined")] = "bc5cdr,ai",
    sentences: Annotated[int, typer.Option(help="Sentences of each set")] = 300,
) -> None:
    """Measure three lengths with the student, three without, and overlaps."""
    rows: dict[str, list[dict[str, Any]]] = {"student": [], "no_model": [], "overlap": []}
    for name, length, folder in (("student", characters, str(student)), ("no_model", alone, "")):
        for size in (length // 4, length // 2, length) if length else ():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows[name].append(row := pool.submit(measure, size, folder).result())
            typer.echo(f"{name:9} {size:9,} characters  {row['seconds']:8} s  {row['peak_rss_mb']} MB")
    for name in sets.split(",") if data else ():
        for overlap in OVERLAPS:
            rows["overlap"].append(row := measure_overlap(overlap, str(student), data, name, sentences))
            typer.echo(f"{name}: {overlap} tokens shared: span F1 {row['span_f1']}, {row['seconds']} s")
    typer.echo(json.dumps(rows))


if __name__ == "__main__":
    typer.run(main)
