"""Cut documents into passages to be labelled."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.corpus.documents import list_sources, read_documents
from spacy_universalner.corpus.passages import draw, draw_file, finish, merge
from spacy_universalner.distributed import spread
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.progress import track
from spacy_universalner.records import write_records
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage


def main(
    documents: Annotated[
        Path,
        Option(help="File (.txt, .jsonl, also with .gz or .zst, .parquet), folder of such files, or profile (.cfg)"),
    ] = Path("assets/passages.jsonl"),
    config: Annotated[Path, Option(help="Settings, section sample")] = Path("configs/distil.cfg"),
    passages: Annotated[Path, Option(help="Passages to be labelled")] = Path("corpus/passages.jsonl"),
    ray: Annotated[str, Option(help="Address of a Ray cluster that shares the files, or local; empty for none")] = "",
) -> None:
    """Cut DOCUMENTS to size, drop duplicates and keep a sample, as the section sample of CONFIG says."""
    settings = load_settings(config, "sample")
    drawn = settings.model_dump(exclude={"near_duplicates"})
    with stage("sample", [passages]) as facts:
        read: Counter[str] = Counter()
        if ray:
            files = list_sources(documents, read)
            reservoir = merge(track(spread(partial(draw_file, **drawn), files, ray), "sample, files"))
        else:
            reservoir = draw(track(read_documents(documents, read), "sample"), **drawn)
        result = finish(reservoir, limit=settings.limit, near_duplicates=settings.near_duplicates)
        if not result.passages:
            hint = "Every document should have a text."
            raise UniversalNERError(Errors.U004.format(path=documents, kind="document with visible text", hint=hint))
        write_records(passages, result.passages)
        facts.update({**read, **result.counts})


if __name__ == "__main__":
    run(main)
