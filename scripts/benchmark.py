"""Measure systems on the benchmark: those of its 43 data sets that are there, each in a row beside the paper's."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from spacy_universalner.evaluation.benchmark import MOST_QUESTIONS, Sample, measure, said_folder
from spacy_universalner.evaluation.mistakes import find_mistakes
from spacy_universalner.evaluation.rescore import score_sets
from spacy_universalner.gold.counts import count_set, format_counts
from spacy_universalner.gold.datasets import choose_sets
from spacy_universalner.gold.obtain import format_status, list_there, obtain_sets, status
from spacy_universalner.report.benchmark import write_benchmark
from spacy_universalner.stage import run, stage
from spacy_universalner.systems import load_systems


def main(
    data: Annotated[str, Option(help="The benchmark folder")] = "benchmark",
    systems: Annotated[str, Option(help="Names in configs/systems, or paths; commas between")] = "student",
    sets: Annotated[str, Option(help="Names of data sets, commas between; none for all that are there")] = "",
    split: Annotated[str, Option(help="train, dev or test")] = "test",
    limit: Annotated[int, Option(help="Sentences of each set; 0 for all")] = 0,
    questions: Annotated[int, Option(help="Pairs of sentence and type of each set; 0 for all")] = MOST_QUESTIONS,
    seed: Annotated[int, Option(help="Of what is drawn")] = 0,
    tell: Annotated[bool, Option("--status", help="Only tell which sets are there, and how the rest is got")] = False,
    counts: Annotated[bool, Option("--counts", help="Only count the sets beside the paper's counts")] = False,
    get: Annotated[bool, Option("--get", help="Only get the sets that can be got, and say how to get others")] = False,
    unverified: Annotated[bool, Option("--unverified", help="Get files whose checksum is not known, too")] = False,
    rescore: Annotated[str, Option(help="Only score a file of what was said again, without a model")] = "",
    metrics: Annotated[Path, Option(help="The results; what was said is beside it")] = Path("metrics/benchmark.json"),
    html: Path = Path("reports/benchmark.html"),
    markdown: Path = Path("reports/benchmark.md"),
) -> None:
    """Ask SYSTEMS about SETS in DATA, and write the page; run again to go on after a stop."""
    folder, chosen = Path(data), choose_sets(sets)
    if tell:
        typer.echo(format_status(status(folder, chosen, check=True)))
    elif counts:
        typer.echo(format_counts(count_set(dataset, folder) for dataset in list_there(folder, chosen)))
    elif get:
        for line in obtain_sets(chosen, folder, unverified=unverified):
            typer.echo(line)
    elif rescore:
        typer.echo(json.dumps(score_sets(Path(rescore), seed=seed)))
    else:
        sample = Sample(split, limit, questions, seed)
        with stage("benchmark", [metrics, html, markdown]) as facts:
            results = measure(
                load_systems(systems, Path("configs/systems")),
                chosen if sets else list_there(folder, chosen),
                folder,
                sample=sample,
                output=metrics,
                show=True,
            )
            said = said_folder(metrics, sample)
            write_benchmark(results, said, find_mistakes=find_mistakes, html=html, markdown=markdown)
            for lost in results["unread"]:
                typer.echo(f"{lost['system']} on {lost['set']}: {lost['reason']}", err=True)
            facts.update(rows=len(results["rows"]), unread=len(results["unread"]))
        if not results["rows"]:
            raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
