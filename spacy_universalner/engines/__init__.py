"""The engines a pipeline's config can name. Each module imports its heavy library when it is first used."""

from typing import Literal

from ..answering import MIN_SCORE
from ..registry import Engine, spacy


@spacy.registry.universal_ner_engines("universal_ner.Transformers.v1")
def make_transformers_engine(
    model: str | None = None,
    device: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "int8"] = "auto",
    batch_tokens: int = 16384,
    max_new_tokens: int = 128,
    constrain: bool = True,
    min_score: float = MIN_SCORE,
    dataset: str = "",
) -> Engine:
    """A student run with Hugging Face transformers.

    model (str | None): directory of the student; None takes the environment's or an installed one.
    device (str | None): "cpu", "cuda", "cuda:1", "mps"; None takes an accelerator if there is one.
    dtype (str): "float32", "bfloat16" or "auto", the faster one of the device; "int8" for float32 with linear layers
        rounded to 8 bits, on CPUs: faster, with answers that differ here and there (README, "Speed").
    batch_tokens (int): tokens computed or held at a time: of passages with all their questions, then of open questions.
    max_new_tokens (int): longest answer about a type, in tokens; 99.9% of those in the embedded corpus have 64 or
        fewer. A student asked all types in one question (all-in-one.v1) has so many for each type.
    constrain (bool): let the student name only what stands in the passage, so that every mention can be placed.
    min_score (float): an answer ends before a mention whose score is lower, 0 to 1. The default is the best of the
        default student on held-out passages. With `constrain` off and 0 here, answers are those of plain greedy
        generation.
    dataset (str): the data set whose rules labels should follow, one that a student tuned with dataset.v1 was told in
        training; "" for none.
    """
    from .transformers import TransformersEngine

    return TransformersEngine(
        model=model,
        device=device,
        dtype=dtype,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        constrain=constrain,
        min_score=min_score,
        dataset=dataset,
    )


@spacy.registry.universal_ner_engines("universal_ner.Replay.v1")
def make_replay_engine(answers: dict[str, dict[str, list[str]]]) -> Engine:
    """Canned answers, for tests and demonstrations.

    answers (dict): passage -> type -> mentions.
    """
    from .replay import ReplayEngine

    return ReplayEngine(answers)
