"""Write the conversations as a data set to share, in the form of the authors' released data, with its card."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.card.dataset import check_same_run, choose_terms, render_card
from spacy_universalner.corpus.origin import read_embedded, trace_part
from spacy_universalner.corpus.released import describe, write_released
from spacy_universalner.records import atomic_write, read_conversations, read_json
from spacy_universalner.stage import run, stage


def main(
    corpus: Annotated[Path, Option(help="Folder of what filter and convert wrote")] = Path("corpus"),
    assets: Annotated[Path, Option(help="Folder of the embedded passages and replies")] = Path("assets"),
    name: Annotated[str, Option(help="Name of the data set")] = "universal_ner",
    license: Annotated[str, Option(help="Its licence; needed for all but the embedded corpus")] = "",
    language: Annotated[str, Option(help="Its language; needed for all but the embedded corpus")] = "",
    export: Annotated[Path, Option(help="Folder to write")] = Path("export"),
) -> None:
    """Export train.json, dev.json and README.md; nothing is written where the licence is not known."""
    files = {part: export / f"{part}.json" for part in ("train", "dev")}
    sources = {part: corpus / f"{part}.jsonl" for part in files}
    card = export / "README.md"
    with stage("export", outputs=[*files.values(), card]) as facts:
        own = read_embedded(assets)
        source = trace_part(corpus / "replies.jsonl", own=own)
        parts = {part: describe(read_conversations(path), own) for part, path in sources.items()}
        filtered = read_json(corpus / "filter_report.json")
        check_same_run(parts, source, filtered)
        embedded = source.embedded and all(part.embedded for part in parts.values())
        license, language = choose_terms(license, language, embedded=embedded)
        for part, path in files.items():
            write_released(path, read_conversations(sources[part]))
        about = {"name": name, "license": license, "language": language, "embedded": embedded}
        with atomic_write(card) as file:
            file.write(render_card(**about, parts=parts, source=source, filtered=filtered, files=files))
        facts.update(about, **{f"{key}_conversations": part.tally.conversations for key, part in parts.items()})


if __name__ == "__main__":
    run(main)
