"""Ask a teacher about every passage."""

from collections.abc import Iterator
from pathlib import Path

from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.progress import show_progress
from spacy_universalner.records import Passage, Reply, read_records, write_records
from spacy_universalner.stage import run, stage
from spacy_universalner.teacher.annotate import annotate, load_teacher


def main(
    passages: Path = Path("corpus/passages.jsonl"),
    config: Path = Path("configs/teacher.cfg"),
    replies: Path = Path("corpus/replies.jsonl"),
) -> None:
    """Write the teacher's raw reply to each of PASSAGES. CONFIG names the teacher."""
    with stage("annotate", [replies]) as facts:
        asked = list(read_records(passages, Passage))
        if not asked:
            raise UniversalNERError(Errors.U004.format(path=passages, kind="passage", hint="Run `weasel run sample`."))
        nlp = load_teacher(config)

        def answers() -> Iterator[Reply]:
            with show_progress(len(asked), "annotate") as advance:
                for reply in annotate(nlp, asked):
                    yield reply
                    advance(1)

        facts["replies"] = write_records(replies, answers())


if __name__ == "__main__":
    run(main)
