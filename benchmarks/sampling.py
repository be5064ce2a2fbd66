"""Peak memory and passages a second of the stage `sample`, over ever more documents, each run in a process of its own.

    python benchmarks/sampling.py

Documents of about 200 words, some of them copies or near copies of one before, are written to a temporary folder as
JSONL, packed. The memory must not grow once the reservoir (limit and spare) is full. The last line is JSON.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

LIMIT = 50_000
SPARE = 0.25
EXACT, NEAR = 0.02, 0.05  # share of the documents that are copies, and near copies


def documents(number: int) -> Iterator[dict[str, str]]:
    """Texts of random words, the frequent ones short; copies are of one of the last thousand texts."""
    rng = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(rng.choices(letters, k=2 + rank % 3 + rank.bit_length() // 3)) for rank in range(1, 50_000)]
    ranks = [int(len(words) ** rng.random()) for _ in range(200_000)]  # Zipf's law, nearly
    recent: list[list[str]] = [["one"]]
    for place in range(number):
        draw = rng.random()
        if draw < EXACT + NEAR:
            text = list(rng.choice(recent))
            if draw > EXACT:
                text[rng.randrange(len(text))] = "another"
        else:
            start = rng.randrange(len(ranks) - 400)
            text = [words[ranks[start + rng.randrange(400)] - 1] for _ in range(rng.randint(170, 230))]
        recent = [*recent[-999:], text]
        yield {"text": " ".join(text) + ".", "domain": f"domain {place % 7}"}


def write(path: Path, number: int) -> None:
    from zstandard import ZstdCompressor

    with path.open("wb") as file, ZstdCompressor().stream_writer(file) as packed:
        for row in documents(number):
            packed.write((json.dumps(row) + "\n").encode())


def measure(path: Path, number: int, limit: int, strata: str) -> dict[str, float]:
    """Sample the first documents of a file. RETURNS (dict): counts, rate and peak memory."""
    import resource

    from spacy_universalner.corpus.documents import read_documents
    from spacy_universalner.corpus.duplicates import drop_near_duplicates
    from spacy_universalner.corpus.passages import draw, finish

    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    start = time.perf_counter()
    some = islice(read_documents(path), number)
    reservoir = draw(some, max_tokens=256, limit=limit, seed=0, strata=strata, spare=SPARE)
    drawn = time.perf_counter()
    result = finish(reservoir, limit=limit, near_duplicates=0.8)
    finished = time.perf_counter()
    texts = [passage.text for passage in result.passages[:5000]]
    for _ in drop_near_duplicates(texts, 0.8):
        pass
    return {
        **result.counts,
        "passages_per_s": round(result.counts["passages"] / (finished - start)),
        "draw_ms_a_passage": round(1000 * (drawn - start) / result.counts["passages"], 3),
        "near_duplicates_ms_a_passage": round(1000 * (time.perf_counter() - finished) / len(texts), 3),
        "imports_mb": imported,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main(
    number: Annotated[int, typer.Option(help="Documents of the largest run")] = 200_000,
    limit: Annotated[int, typer.Option(help="Passages to keep, 0 for 50,000 of 200,000 and in proportion")] = 0,
    strata: Annotated[str, typer.Option(help="'domain' or 'source', empty for none")] = "",
    only: Annotated[str, typer.Option(help="Measure on this file in this process and print it")] = "",
) -> None:
    """Measure a quarter of the documents, half of them and all."""
    limit = limit or min(LIMIT, number // 4)
    if only:
        typer.echo(json.dumps(measure(Path(only), number, limit, strata)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl.zst"
        write(path, number)
        for part in (number // 4, number // 2, number):
            options = {"--only": path, "--number": part, "--limit": limit, "--strata": strata}
            command = [sys.executable, __file__, *(str(word) for pair in options.items() for word in pair)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            found = rows[-1]
            typer.echo(
                f"{part:8d} documents  {found['kept']:6d} kept  {found['peak_rss_mb']:4d} MB  "
                f"{found['passages_per_s']:6d} passages/s"
            )
    typer.echo(json.dumps(rows))


if __name__ == "__main__":
    typer.run(main)
