"""Keep what a student can learn from: parse and align the replies, drop the rest with a counted reason."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.corpus.filtering import FilterReport, filter_reply
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.records import Reply, read_records, write_json, write_records
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage


def main(
    replies: Annotated[Path, Option(help="Raw replies")] = Path("corpus/replies.jsonl"),
    config: Annotated[Path, Option(help="Settings, section [filter]")] = Path("configs/distil.cfg"),
    records: Annotated[Path, Option(help="Passages with the mentions kept")] = Path("corpus/records.jsonl"),
    report: Annotated[Path, Option(help="Counts and examples of what was dropped")] = Path("corpus/filter_report.json"),
) -> None:
    """Filter the teacher's replies."""
    settings = load_settings(config, "filter")
    counts = FilterReport()

    def kept():
        for reply in read_records(replies, Reply):
            record, rejections = filter_reply(reply, else_types=settings.else_types)
            counts.add(record, rejections)
            if record is not None:
                yield record

    with stage("filter", outputs=[records, report]) as facts:
        if not write_records(records, kept()):
            raise UniversalNERError(
                Errors.U004.format(path=records, kind="record", hint=f"Read {counts.replies} replies.")
            )
        write_json(report, counts.to_json())
        facts.update(records=counts.records, mentions=counts.mentions, types=len(counts.type_counts))


if __name__ == "__main__":
    run(main)
