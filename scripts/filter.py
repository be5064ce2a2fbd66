"""Keep what a student can learn from: parse and align the replies, drop the rest with a counted reason."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.corpus.filtering import FilterReport, count_domains, filter_part
from spacy_universalner.corpus.origin import Origin, read_embedded, trace_part
from spacy_universalner.distributed import spread
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.progress import show_progress
from spacy_universalner.records import Record, split_file, write_json, write_records
from spacy_universalner.report.corpus import write_corpus_page
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage


def main(
    replies: Annotated[Path, Option(help="Raw replies")] = Path("corpus/replies.jsonl"),
    passages: Annotated[Path, Option(help="Passages, for their domains")] = Path("corpus/passages.jsonl"),
    assets: Annotated[Path, Option(help="Folder of the embedded passages and replies")] = Path("assets"),
    config: Annotated[Path, Option(help="Settings, section filter")] = Path("configs/distil.cfg"),
    records: Annotated[Path, Option(help="Passages with the mentions kept")] = Path("corpus/records.jsonl"),
    report: Annotated[Path, Option(help="Counts and examples of what was dropped")] = Path("corpus/filter_report.json"),
    origin: Annotated[Path, Option(help="Teachers, prompts and terms of the replies")] = Path("corpus/origin.json"),
    html: Annotated[Path, Option(help="The page of the corpus")] = Path("reports/corpus.html"),
    ray: Annotated[str, Option(help="Address of a Ray cluster that shares the files, or local; empty for none")] = "",
) -> None:
    """Filter the teacher's replies, and write a page of what they hold."""
    settings = load_settings(config, "filter").model_dump()
    counts = FilterReport()

    def kept() -> Iterator[Record]:
        with show_progress(None, "filter") as advance:
            for found, part in spread(partial(filter_part, **settings), split_file(replies), ray):
                yield from found
                counts.merge(part)
                advance(part.replies)

    with stage("filter", outputs=[records, report, origin, html]) as facts:
        write_records(records, kept())
        counts.domains = count_domains(passages)
        found = {**counts.to_json(), "settings": settings}
        write_json(report, found)
        source = Origin()
        for part in spread(partial(trace_part, own=read_embedded(assets)), split_file(replies), ray):
            source.merge(part)
        write_json(origin, source.to_json({path.name: path for path in (passages, replies)}))
        write_corpus_page(found, html, rules=settings["rules"])
        if not counts.records:
            hint = f"Read {counts.replies} replies; {html} shows why they were dropped."
            raise UniversalNERError(Errors.U004.format(path=records, kind="record", hint=hint))
        facts.update(records=counts.records, mentions=counts.mentions, types=len(counts.type_counts))


if __name__ == "__main__":
    run(main)
