"""Write the report of a run: a page, its Markdown form and a summary."""

from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.report.run import read_run, write_reports
from spacy_universalner.stage import run, stage


def main(
    stages: Annotated[Path, Option(help="Folder of the stages' own reports.")] = Path("metrics/stages"),
    corpus: Annotated[Path, Option(help="Report of the filter.")] = Path("corpus/filter_report.json"),
    log: Annotated[Path, Option(help="Training log.")] = Path("training/log.jsonl"),
    manifest: Annotated[Path, Option(help="The manifest of the student in the pipeline.")] = Path(
        "training/pipeline/universal_ner/student/manifest.json"
    ),
    dev: Annotated[Path, Option(help="Scores on the dev part.")] = Path("metrics/dev.json"),
    zero_shot: Annotated[Path, Option(help="Scores on the benchmark samples.")] = Path("metrics/zero_shot.json"),
    predictions: Annotated[Path, Option(help="Dev passages, predicted.")] = Path("metrics/dev_predictions.jsonl"),
    html: Annotated[Path, Option(help="The page to write.")] = Path("reports/index.html"),
    markdown: Annotated[Path, Option(help="The Markdown report to write.")] = Path("reports/report.md"),
    summary: Annotated[Path, Option(help="The summary to write.")] = Path("metrics/summary.json"),
) -> None:
    """Write the report of a run; optional inputs that are missing are named in it."""
    with stage("report", outputs=[html, markdown, summary]) as facts:
        found = read_run(
            stages=stages,
            corpus=corpus,
            log=log,
            manifest=manifest,
            dev=dev,
            zero_shot=zero_shot,
            predictions=predictions,
        )
        write_reports(found, html=html, markdown=markdown, summary=summary)
        facts["passages_shown"], facts["missing_inputs"] = len(found.passages), len(found.missing)


if __name__ == "__main__":
    run(main)
