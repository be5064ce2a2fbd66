"""Tune students that differ in one thing, on one budget, and compare them."""

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option

from spacy_universalner.ablation import draw, read_training, run_study, split_types, take_share
from spacy_universalner.base import fetch_base
from spacy_universalner.gold.datasets import zero_shot_sets
from spacy_universalner.gold.readers import dev_examples, load_sets
from spacy_universalner.records import read_conversations, write_json
from spacy_universalner.report.study import write_study
from spacy_universalner.schemas import change_settings, load_settings
from spacy_universalner.stage import run, stage


def main(
    study: Annotated[str, Option(help="Which of the studies in CONFIG")] = "negatives",
    config: Annotated[Path, Option(help="Studies, section ablate")] = Path("configs/ablate.cfg"),
    records: Annotated[Path, Option(help="Passages with their mentions")] = Path("corpus/records.jsonl"),
    dev: Annotated[Path, Option(help="Conversations held out")] = Path("corpus/dev.jsonl"),
    absent: Annotated[Path, Option(help="Types known not to occur in passages")] = Path("assets/absent.jsonl"),
    supervised: Annotated[Path, Option(help="Conversations of gold data")] = Path("supervised/train.jsonl"),
    convert: Annotated[Path, Option(help="Settings, section convert")] = Path("configs/distil.cfg"),
    train: Annotated[Path, Option(help="Settings, section train")] = Path("configs/train.cfg"),
    data: Annotated[str, Option(help="Folder of the zero-shot sets, empty for none")] = "",
    work: Annotated[Path, Option(help="Folder of the students")] = Path("training/ablation"),
    metrics: Annotated[Path, Option(help="Folder of the results")] = Path("metrics/ablation"),
    seeds: Annotated[int, Option(min=1, help="Students of each kind, for what chance makes of them")] = 1,
    reports: Annotated[Path, Option(help="Folder of the pages")] = Path("reports/ablation"),
    device: Annotated[
        str, Option(help="cpu, cuda, mps; empty: what SPACY_UNIVERSALNER_DEVICE names, or what there is")
    ] = "",
) -> None:
    """Run a study, or go on with it; students that are done are not tuned again."""
    settings = load_settings(config, "ablate")
    if study not in settings.studies:
        raise BadParameter(f"{study!r} is no study of {config}: {', '.join(settings.studies)}", param_hint="--study")
    converting, training = load_settings(convert, "convert"), load_settings(train, "train")
    result, html, markdown = metrics / f"{study}.json", reports / f"{study}.html", reports / f"{study}.md"
    with stage(f"ablate-{study}", outputs=[result, html, markdown]) as facts:
        held_out, unseen = split_types(list(read_conversations(dev)), unseen=settings.unseen_share)
        budget = {"max_tokens": settings.max_tokens, "max_minutes": settings.max_minutes, "dev_evals": 0}
        sources = {
            "distilled": partial(read_training, records, absent=absent, unseen=settings.unseen_share),
            "supervised": lambda _: split_types(list(read_conversations(supervised)), unseen=settings.unseen_share)[0],
        }
        arms = {}
        for name, arm in settings.studies[study].items():
            converted = change_settings(converting, arm.convert, where=f"{config}, {study}.{name}.convert")
            tuned = change_settings(training, {**budget, **arm.train}, where=f"{config}, {study}.{name}.train")
            used = [read for source, read in sources.items() if arm.data in (source, "mixed")]
            arms[name] = take_share([c for read in used for c in read(converted)], arm.share), tuned
        found = run_study(
            arms,
            held_out,
            find_base=fetch_base,
            work=work,
            dev_examples=dev_examples(draw(held_out, settings.dev_limit, seed=settings.seed)),
            unseen_examples=dev_examples(unseen),
            sets=load_sets(zero_shot_sets(), data, limit=settings.limit, seed=settings.seed),
            seeds=seeds,
            device=device,
        )
        for name, arm in settings.studies[study].items():
            found[name]["share"] = arm.share
        write_json(result, found)
        write_study(study, found, html=html, markdown=markdown)
        facts.update({name: arm["dev"]["span_f1"] for name, arm in found.items()})


if __name__ == "__main__":
    run(main)
