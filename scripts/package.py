"""Build a wheel of the pipeline with `spacy package`."""

from pathlib import Path
from typing import Annotated

from spacy.cli.package import package
from typer import Option

from spacy_universalner.records import sha256_file, write_json
from spacy_universalner.stage import run, stage


def main(
    pipeline: Annotated[Path, Option(help="The pipeline")] = Path("training/pipeline"),
    packages: Annotated[Path, Option(help="Folder for the package")] = Path("packages"),
    manifest: Annotated[Path, Option(help="Names and sha256 of the wheel")] = Path("packages/manifest.json"),
) -> None:
    """Build the wheel, and write down its sha256: weasel would read the whole wheel to hash it."""
    with stage("package", outputs=[manifest]) as facts:
        packages.mkdir(parents=True, exist_ok=True)
        package(pipeline, packages, create_sdist=False, create_wheel=True, force=True, silent=False)
        wheel = max(packages.glob("*/dist/*.whl"), key=lambda path: path.stat().st_mtime)
        write_json(manifest, {"wheel": wheel.name, "sha256": sha256_file(wheel)})
        facts.update(wheel=wheel.name, megabytes=wheel.stat().st_size // 2**20)


if __name__ == "__main__":
    run(main)
