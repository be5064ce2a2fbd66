"""Ask a teacher about every passage."""

from pathlib import Path
from typing import Annotated

from typer import Option
from wasabi import msg

from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.progress import show_progress
from spacy_universalner.records import Passage, open_rows, read_records, write_json, write_records
from spacy_universalner.stage import run, show, stage
from spacy_universalner.teacher.annotate import Annotation, estimate_cost, get_teacher, load_teacher


def main(
    passages: Annotated[Path, Option(help="Passages to ask about")] = Path("corpus/passages.jsonl"),
    config: Annotated[Path, Option(help="The teacher, a spaCy pipeline")] = Path("configs/teacher.cfg"),
    replies: Annotated[Path, Option(help="Raw replies")] = Path("corpus/replies.jsonl"),
    unanswered: Annotated[Path, Option(help="Passages without one, and why")] = Path("corpus/unanswered.jsonl"),
    ledger: Annotated[Path, Option(help="What was asked, answered and paid")] = Path("corpus/ledger.json"),
    estimate: Annotated[bool, Option("--estimate", help="Say what it will cost, and send nothing")] = False,
    batch: Annotated[bool, Option("--batch", help="Ask by batch jobs: half the price, within a day")] = False,
    again: Annotated[str, Option(help="Ask these kinds of reply again: refusal, empty, cut off")] = "",
) -> None:
    """Write the teacher's raw reply to each of PASSAGES. What its store holds is not asked again."""
    teacher = get_teacher(load_teacher(config))
    annotation = Annotation(teacher, again=again)
    count = sum(1 for _ in read_records(passages, Passage))
    if not count:
        raise UniversalNERError(Errors.U004.format(path=passages, kind="passage", hint="Run `weasel run sample`."))
    if estimate:
        return show(estimate_cost(teacher, read_records(passages, Passage)).to_json())
    with stage("annotate", [replies, unanswered, ledger]) as facts:
        try:
            with (
                annotation,
                open_rows(unanswered) as set_aside,
                show_progress(count, "annotate", note=annotation.note) as advance,
            ):
                if batch:
                    annotation.ask_by_batch(read_records(passages, Passage), advance)
                write_records(replies, annotation.replies(read_records(passages, Passage), advance, set_aside))
        finally:  # also of a run that was stopped
            write_json(ledger, annotation.ledger())
        facts.update(annotation.facts)
    if annotation.unanswered:
        hint = f"{unanswered} says why. To ask again those that failed: python scripts/annotate.py --config {config}"
        msg.warn(f"{annotation.unanswered} of {count} passages have no reply", hint)


if __name__ == "__main__":
    run(main)
