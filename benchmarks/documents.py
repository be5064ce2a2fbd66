"""Seconds and peak memory of `universal_ner` on one long document, at a quarter, half and all of its length.

    python benchmarks/documents.py

Twice: around the student of `training/student` (`weasel run train`), and, longer, around an engine without a model,
which shows what windows and merging cost. Each length is a process of its own; seconds are those of the component, with
the model loaded and the document tokenised before. The document is the passages of the corpus, over and over. Seconds
should grow as the length, and the peak hardly. The last line is JSON.
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
from spacy_universalner.records import Passage, read_records
from spacy_universalner.registry import Answer, Engine

ROOT = Path(__file__).parents[1]
LABELS = ["person", "organization", "location"]


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


def main(
    student: Annotated[Path, typer.Option(help="The student")] = Path("training/student"),
    characters: Annotated[int, typer.Option(help="Length of the longest document of the student; 0 for none")] = 40_000,
    alone: Annotated[int, typer.Option(help="Length of the longest document without a model")] = 1_000_000,
) -> None:
    """Measure three lengths with the student, and three without."""
    rows: dict[str, list[dict[str, Any]]] = {"student": [], "no_model": []}
    for name, length, folder in (("student", characters, str(student)), ("no_model", alone, "")):
        for size in (length // 4, length // 2, length) if length else ():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows[name].append(row := pool.submit(measure, size, folder).result())
            typer.echo(f"{name:9} {size:9,} characters  {row['seconds']:8} s  {row['peak_rss_mb']} MB")
    typer.echo(json.dumps(rows))


if __name__ == "__main__":
    typer.run(main)
