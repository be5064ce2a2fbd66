"""Build a wheel of the pipeline with `spacy package`."""

from pathlib import Path
from typing import Annotated

from spacy.cli.package import package
from typer import Option

from spacy_universalner.card.student import CARD, read_scores, render_student_card, write_card
from spacy_universalner.component import NAME, STUDENT
from spacy_universalner.records import read_json, sha256_file, write_json
from spacy_universalner.stage import run, stage
from spacy_universalner.student import MANIFEST


def main(
    pipeline: Annotated[Path, Option(help="The pipeline")] = Path("training/pipeline"),
    dev: Annotated[Path, Option(help="Scores on the dev part, for the card")] = Path("metrics/dev.json"),
    zero_shot: Annotated[Path, Option(help="Scores on the zero-shot sets")] = Path("metrics/zero_shot.json"),
    packages: Annotated[Path, Option(help="Folder for the package")] = Path("packages"),
    manifest: Annotated[Path, Option(help="Names and sha256 of the wheel")] = Path("packages/manifest.json"),
) -> None:
    """Write the pipeline's card with its scores, build the wheel, and write down its sha256.

    Weasel would read the whole wheel to hash it.
    """
    with stage("package", outputs=[pipeline / CARD, manifest]) as facts:
        student, meta = read_json(pipeline / NAME / STUDENT / MANIFEST), read_json(pipeline / "meta.json")
        scores = {"dev": read_scores(dev), "zero_shot": read_scores(zero_shot)}
        write_card(pipeline, render_student_card(student, pipeline=meta, **scores))
        packages.mkdir(parents=True, exist_ok=True)
        package(pipeline, packages, create_sdist=False, create_wheel=True, force=True, silent=False)
        wheel = max(packages.glob("*/dist/*.whl"), key=lambda path: path.stat().st_mtime)
        write_json(manifest, {"wheel": wheel.name, "sha256": sha256_file(wheel)})
        facts.update(wheel=wheel.name, megabytes=wheel.stat().st_size // 2**20)


if __name__ == "__main__":
    run(main)
