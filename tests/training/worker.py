"""Runs of the trainer, alone or under torchrun: python worker.py CASES, a JSON list of what each run is."""

import json
import sys
from pathlib import Path

from spacy_universalner.evaluation.metrics import score_answers
from spacy_universalner.training.processes import end_processes
from spacy_universalner.training.trainer import Trainer
from tests.conftest import CONVERSATIONS, make_settings


def main(cases: list[dict]) -> None:
    for case in cases:
        work = Path(case["work"])
        trainer = Trainer(
            Path(case["base"]),
            CONVERSATIONS,
            CONVERSATIONS[:3],
            settings=make_settings(**case["changes"]),
            work=work,
            device="cpu",
            score=score_answers,
        )
        if "killed_at" in case:
            stop_at(trainer, case["killed_at"])
        try:
            facts = trainer.run()
        except KeyboardInterrupt:
            continue
        trainer.save(work / "student", facts)


def stop_at(trainer: Trainer, step: int) -> None:
    """End the run as a signal would, in the middle of a step."""
    original = trainer._step

    def patched(*args):
        if trainer.progress.step == step:
            raise KeyboardInterrupt
        return original(*args)

    trainer._step = patched


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf8")))
    end_processes()
