"""Time and peak memory of `convert` on generated records, each size in a process of its own.

    python benchmarks/converting.py

Records are shaped like the paper's data: 250 words and five mentions each, their types drawn by rank from a long tail
of 13,020 names or of 353,092 sentences. All sizes of a variant know the same types and differ in the number of records
only. The last line is JSON.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import typer

from spacy_universalner.corpus.conversations import NegativeSampler, Survey
from spacy_universalner.records import Mention, Record, write_records

ROOT = Path(__file__).parents[1]
TYPES = {"type": 13_020, "definition": 353_092}
WORDS = [f"w{i:x}" for i in range(20_000)]
MENTIONS = 5
"""Mentions a passage, as in the paper's data: 240,725 in 45,889."""


def name_types(variant: str) -> list[str]:
    """Names of types as long as those of a variant."""
    form = "type {}" if variant == "type" else "A kind of thing that belongs to the group with the number {}."
    return [form.format(i) for i in range(TYPES[variant])]


def make_records(count: int, variant: str):
    """Yield records; the first of each variant name every type once, so that all sizes know all types."""
    rng = random.Random(0)
    names = name_types(variant)
    cumulative = list(accumulate(1 / (rank + 1) for rank in range(len(names))))
    spread = -(-len(names) // min(count, 50_000))
    for number in range(count):
        words = rng.choices(WORDS, k=250)
        types = rng.choices(names, cum_weights=cumulative, k=MENTIONS)
        types += names[number * spread : (number + 1) * spread]
        mentions = tuple(Mention(words[7 * i % 250], name) for i, name in enumerate(types))
        yield Record(f"passage-{number}", " ".join(words), mentions)


def convert(count: int, variant: str, folder: Path) -> dict[str, float]:
    """Run the script on so many records. RETURNS (dict): its seconds and peak, and records a second."""
    write_records(folder / "records.jsonl", make_records(count, variant))
    outputs = {name: folder / name for name in ("train", "dev", "array")}
    command = [sys.executable, str(ROOT / "scripts" / "convert.py"), "--records", str(folder / "records.jsonl")]
    command += [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    command += ["--config", str(ROOT / "configs" / "distil.cfg"), "--absent", str(ROOT / "assets" / "absent.jsonl")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    facts = json.loads((folder / "metrics" / "stages" / "convert.json").read_text(encoding="utf8"))
    rate = round(count / facts["seconds"])
    return {"seconds": facts["seconds"], "peak_rss_mb": facts["peak_rss_mb"], "records_per_s": rate}


def draw(variant: str, passages: int = 2000) -> dict[str, float]:
    """Draw negatives for passages that hold five types each, in this process."""
    survey = Survey(seed=0, dev_limit=1)
    for record in make_records(50_000, variant):
        survey.add(record)
    start = time.perf_counter()
    sampler = NegativeSampler(survey.type_counts, strategy="frequency")
    built = time.perf_counter()
    rng = random.Random(0)
    for i in range(passages):
        sampler.draw(sampler.types[5 * i : 5 * i + 5], 4, rng)
    drawn = time.perf_counter()
    return {
        "types": len(sampler.types),
        "build_s": round(built - start, 2),
        "us_a_passage": round(1e6 * (drawn - built) / passages, 1),
    }


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of records")] = "50000,100000,200000",
    variants: Annotated[str, typer.Option(help="Lengths of type lists")] = "type,definition",
) -> None:
    """Measure both variants at each size."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for variant in variants.split(","):
        found[variant] = {"draw": draw(variant)}
        typer.echo(f"{variant:12s} {found[variant]['draw']}")
        for size in map(int, sizes.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                found[variant][str(size)] = result = convert(size, variant, Path(folder))
            typer.echo(f"{variant:12s} {size:8d} records  {result}")
    typer.echo(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
