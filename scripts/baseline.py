"""Train a supervised baseline of the benchmark."""

from enum import Enum
from pathlib import Path
from typing import Annotated

from typer import Option

from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, show, stage
from spacy_universalner.systems.baselines import read_train, train_bert, train_spacy


class Kind(str, Enum):
    bert = "bert"
    spacy = "spacy"


def main(
    kind: Annotated[Kind, Option(help="A BERT with a layer of tags, or spaCy's ner")] = Kind.bert,
    name: Annotated[str, Option(help="Data set of the benchmark")] = "restaurant",
    data: Annotated[str, Option(help="Folder of the benchmark's sets")] = "",
    config: Annotated[Path, Option(help="Settings, section [baseline]")] = Path("configs/baseline.cfg"),
    folder: Annotated[Path, Option(help="Folder of the baselines")] = Path("training/baselines"),
    device: Annotated[
        str, Option(help="cpu, cuda, mps; empty: what SPACY_UNIVERSALNER_DEVICE names, or what there is")
    ] = "",
) -> None:
    """Train on the train split of a set, and write a spaCy pipeline; the same command goes on after a stop (bert)."""
    settings = load_settings(config, "baseline")
    target = folder / f"{kind.value}-{name}"
    with stage("baseline", outputs=[target / "meta.json"]) as facts:
        examples = read_train(name, Path(data), limit=settings.limit, seed=settings.seed)
        given = {"name": name, "dev_share": settings.dev_share, "seed": settings.seed, "progress": target.name}
        if kind is Kind.bert:
            facts.update(train_bert(examples, target, **given, **settings.bert.model_dump(), device=device))
        else:
            facts.update(train_spacy(examples, target, **given, **settings.spacy.model_dump()))
        show({key: facts[key] for key in ("sentences", "encoder", "weights", "dev_f1")})


if __name__ == "__main__":
    run(main)
