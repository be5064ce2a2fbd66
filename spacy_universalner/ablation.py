"""Studies: students that differ in one thing, tuned on one budget and asked the same questions."""

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import spacy

from .component import NAME
from .corpus.conversations import converse_part, make_sampler, survey_part
from .evaluation.evaluate import evaluate, evaluate_sets
from .gold.readers import Example
from .provenance import hash_code
from .records import Conversation, Prediction, read_json, sha256_json, write_json
from .schemas import ConvertSettings, TrainSettings
from .student import MANIFEST
from .training.trainer import Trainer

RESULT = "result.json"
SCORES = ("span_precision", "span_recall", "span_f1", "ents_f1", "string_f1", "lost")
FACTS = ("steps", "tokens", "seconds", "loss", "dev_loss", "compute")
Score = Callable[[Path], dict[str, Any]]


def read_training(records: Path, settings: ConvertSettings, *, absent: Path, unseen: float = 0.0) -> list[Conversation]:
    """The conversations that `convert` would train on with these settings; those it holds out are left out.

    absent (Path): types known not to occur in passages, read where the settings ask for them.
    unseen (float): the share of types that are not asked about, see `split_types`.
    """
    survey = survey_part(records, seed=settings.seed, dev_limit=settings.dev_limit)
    split = survey.finish(dev_share=settings.dev_share)
    conversations = converse_part(
        records,
        sampler=make_sampler(split.type_counts, strategy=settings.negatives, absent=absent),
        number=settings.negatives_number,
        per=settings.negatives_per,
        seed=settings.seed,
    )
    return split_types([c for c in conversations if c.id not in split.dev], unseen=unseen)[0]


def split_types(
    conversations: Sequence[Conversation], *, unseen: float
) -> tuple[list[Conversation], list[Conversation]]:
    """Conversations with the questions about types that may be learnt, and with those about the others.

    unseen (float): the share of types that are not to be learnt; which ones is told by their names alone, so that the
        same are held out of any conversations.
    """
    kept = [_choose(c, lambda name: _place(name) >= unseen) for c in conversations]
    held = [_choose(c, lambda name: _place(name) < unseen) for c in conversations]
    return kept, [conversation for conversation in held if conversation.queries]


def _choose(conversation: Conversation, test: Callable[[str], bool]) -> Conversation:
    return replace(conversation, queries=tuple(q for q in conversation.queries if test(q.type.casefold())))


def draw(conversations: Sequence[Conversation], limit: int, *, seed: int) -> list[Conversation]:
    """So many of the conversations, 0 for all, in a random order."""
    return random.Random(seed).sample(list(conversations), min(limit or len(conversations), len(conversations)))


def take_share(conversations: Sequence[Conversation], share: float) -> list[Conversation]:
    """The share of the conversations with the smallest places in an order that their ids tell, in the order given."""
    ranked = sorted(range(len(conversations)), key=lambda i: _place(conversations[i].id))
    return [conversations[i] for i in sorted(ranked[: max(1, round(share * len(conversations)))])]


def _place(name: str) -> float:
    """A place in [0, 1) that a name has for good."""
    return int(sha256_json(name)[:12], 16) / 16**12


def run_arm(
    train: Sequence[Conversation],
    dev: Sequence[Conversation],
    *,
    base: Path,
    settings: TrainSettings,
    work: Path,
    score: Score,
    questions: Any,
    device: str | None = None,
) -> dict[str, Any]:
    """Tune one student and score it; what an earlier run has done is not done again.

    train (Sequence[Conversation]): to learn from.
    dev (Sequence[Conversation]): for the validation loss.
    base (Path): folder of the base student.
    settings (TrainSettings): of this student.
    work (Path): folder of all students; this one has a folder in it, named by a hash of all that makes it, the code
        of this package included.
    score (Callable): takes the folder of a student, gives its scores.
    questions (Any): what is asked, as JSON holds it: the same student asked something else is another result.
    RETURNS (dict): counts of the data, facts of the training, scores.
    """
    data = [conversation.to_sharegpt() for conversation in (*train, *dev)]
    key = sha256_json([settings.model_dump(), read_json(base / MANIFEST)["files"], data, questions, hash_code()])
    folder = work / key[:16]
    if (folder / RESULT).is_file():
        return read_json(folder / RESULT)
    student = folder / "student"
    if not (student / MANIFEST).is_file():
        trainer = Trainer(base, train, dev, settings=settings, work=folder, device=device)
        trainer.save(student, trainer.run())
    facts = read_json(student / MANIFEST)["training"]
    asked = [query for conversation in train for query in conversation.queries]
    result = {
        "conversations": len(train),
        "questions": len(asked),
        "negatives": sum(not query.mentions for query in asked),
        **{key: facts[key] for key in FACTS},
        **score(student),
    }
    write_json(folder / RESULT, result)
    shutil.rmtree(student)
    return result


def score_student(
    folder: Path,
    *,
    dev: Sequence[Example],
    unseen: Sequence[Example],
    sets: Mapping[str, Sequence[Example]],
    device: str | None = None,
) -> dict[str, Any]:
    """Scores on dev passages and on the zero-shot sets.

    folder (Path): the student.
    dev (Sequence[Example]): held-out passages.
    unseen (Sequence[Example]): held-out passages with types that no student learnt.
    sets (Mapping): sentences of each set, by name.
    RETURNS (dict): "dev", "unseen" (None where there are none), "sets" and their "mean".
    """
    nlp = spacy.blank("en")
    engine = {"@universal_ner_engines": "universal_ner.Transformers.v1", "model": str(folder), "device": device or None}
    pipe = nlp.add_pipe(NAME, config={"engine": engine})

    def predict(texts: list[str], types: list[list[str]]) -> list[list[Prediction]]:
        return pipe.predict([nlp.make_doc(text) for text in texts], types)

    report, _ = evaluate_sets(sets, predict, show=True)
    return {
        "dev": _pick(evaluate(dev, predict, progress="dev")[0]),
        "unseen": _pick(evaluate(unseen, predict, progress="unseen types")[0]) if unseen else None,
        "sets": {name: _pick(scores) for name, scores in report["sets"].items()},
        "mean": report["mean"],
    }


def run_study(
    arms: Mapping[str, tuple[Sequence[Conversation], TrainSettings]],
    dev: Sequence[Conversation],
    *,
    find_base: Callable[[str], Path],
    work: Path,
    dev_examples: Sequence[Example],
    unseen_examples: Sequence[Example],
    sets: Mapping[str, Sequence[Example]],
    seeds: int = 1,
    device: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Run the arms of a study one after the other.

    arms (Mapping): conversations and settings of each student, by its name in the study.
    dev (Sequence[Conversation]): for the validation losses.
    find_base (Callable): gives the folder of the base that settings name.
    work (Path): folder of all students.
    dev_examples (Sequence[Example]): held-out passages that are asked about.
    unseen_examples (Sequence[Example]): likewise, with the types that no student learns; may be empty.
    sets (Mapping): sentences of each zero-shot set, by name.
    seeds (int): students of each arm, which differ in the seed of their training alone.
    RETURNS (dict): the result of each arm, by its name: what `run_arm` gives, averaged over its students, and "runs",
        the results of each.
    """
    score = partial(score_student, dev=dev_examples, unseen=unseen_examples, sets=sets, device=device)
    asked = (dev_examples, unseen_examples, *sets.values())
    questions = [[(e.id, e.text, e.types, sorted(e.spans)) for e in examples] for examples in asked]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for more in range(seeds):  # all arms once, then again: a study that is stopped early can be compared
        for name, (train, settings) in arms.items():
            result = run_arm(
                train,
                dev,
                base=find_base(settings.base),
                settings=settings.model_copy(update={"seed": settings.seed + more}),
                work=work,
                score=score,
                questions=questions,
                device=device,
            )
            runs[name].append(result)
    return {name: {**_average(of_arm), "runs": of_arm} for name, of_arm in runs.items()}


def _average(values: Sequence[Any]) -> Any:
    """The mean of numbers, whole if they are, else to four decimals; of dicts, that of each of their values."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _average([value[key] for value in values]) for key in first}
    if len(values) == 1 or not isinstance(first, int | float):
        return first
    return round(mean(values), None if isinstance(first, int) else 4)


def _pick(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {key: scores[key] for key in SCORES}
