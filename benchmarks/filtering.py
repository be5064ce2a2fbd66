"""Replies a second and peak memory of the filter command, over made-up replies, at a quarter, half and all of them.

    python benchmarks/filtering.py

Each size is filtered by scripts/filter.py in a process of its own, with the settings of configs/distil.cfg. A reply has
a passage of about 1.3 KB and 20 pairs, one of which is faulty; types are drawn from 5,000, the frequent ones far more
often. The peak should not grow with the replies. The last line is JSON.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import typer

from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.records import Passage, Reply, read_json, write_rows

ROOT = Path(__file__).parents[1]
WORDS = 200
PAIRS = 20
DOMAINS = ("general", "law", "finance", "STEM")
FAULTS = (
    ("Nowhere Land", "place"),
    ("", "person"),
    ("東京", "city"),
    ("it", "misc"),
    ("the", "a type that is a sentence."),
)


def make_replies(count: int, seed: int = 0) -> Iterator[Reply]:
    """Made-up replies, the same for the same seed."""
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(20000)]
    types = [" ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(5000)]
    weights = list(accumulate(1 / (rank + 1) for rank in range(len(types))))
    for number in range(count):
        text = rng.choices(words, k=WORDS)
        names = [" ".join(text[start : start + 2]) for start in rng.sample(range(WORDS - 2), PAIRS - 1)]
        pairs = [*zip(names, rng.choices(types, cum_weights=weights, k=PAIRS - 1), strict=True), rng.choice(FAULTS)]
        raw = f"[{', '.join(f'({json.dumps(entity)}, {json.dumps(type_)})' for entity, type_ in pairs)}]"
        yield Reply(f"p{number:08}", " ".join(text).capitalize() + ".", raw, "made-up", TYPE_V1.sha)


def measure(replies: int, folder: Path) -> dict[str, Any]:
    """Filter so many replies. RETURNS (dict): replies/s and peak of the process, and what the filter counted."""
    write_rows(folder / "corpus" / "replies.jsonl", (asdict(reply) for reply in make_replies(replies)))
    domains = (DOMAINS[number % len(DOMAINS)] for number in range(replies))
    passages = (asdict(Passage(f"p{number:08}", "", domain=domain)) for number, domain in enumerate(domains))
    write_rows(folder / "corpus" / "passages.jsonl", passages)
    command = [sys.executable, str(ROOT / "scripts" / "filter.py"), "--config", str(ROOT / "configs" / "distil.cfg")]
    subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    facts = read_json(folder / "metrics" / "stages" / "filter.json")
    return {
        "replies": replies,
        "replies_per_s": round(replies / facts["seconds"]),
        "peak_rss_mb": facts["peak_rss_mb"],
        "mentions": facts["mentions"],
        "types": facts["types"],
    }


def main(replies: Annotated[int, typer.Option(help="Replies of the largest run")] = 200_000) -> None:
    """Measure three sizes, and print the peak and the replies a second of each."""
    rows = []
    for size in (replies // 4, replies // 2, replies):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(size, Path(folder)))
        row = rows[-1]
        typer.echo(f"{row['replies']:9,} replies  {row['replies_per_s']:6,} replies/s  {row['peak_rss_mb']} MB")
    typer.echo(json.dumps({"sizes": rows, "peak_growth_mb": rows[-1]["peak_rss_mb"] - rows[0]["peak_rss_mb"]}))


if __name__ == "__main__":
    typer.run(main)
