"""Asking a teacher about passages, through an ordinary spaCy pipeline."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc
from spacy_llm.util import assemble_from_config

from ..errors import Errors, UniversalNERError
from ..records import Passage, Reply
from ..schemas import read_config
from .task import TASK, USER_DATA, OpenNERTask


def load_teacher(config: Path) -> Language:
    """Build a teacher's pipeline.

    config (Path): an ordinary spaCy config, as configs/teacher.cfg.
    RAISES (UniversalNERError): no such file, or spaCy cannot build what it describes.
    """
    described = read_config(config)
    try:
        return assemble_from_config(described)
    except ValueError as err:
        raise UniversalNERError(Errors.U011.format(path=config, reason=err)) from err


def annotate(nlp: Language, passages: Iterable[Passage], *, batch_size: int = 16) -> Iterator[Reply]:
    """Ask the teacher in a pipeline about each passage.

    nlp (Language): a pipeline with an `llm` component, as of configs/teacher.cfg.
    passages (Iterable[Passage]): streamed.
    batch_size (int): passages asked before their replies come back, and at most lost when the pipeline is stopped.
    RETURNS (Iterator): a reply a passage, in order, as batches arrive.
    RAISES (UniversalNERError): the pipeline has no such component.
    """
    if not any(isinstance(getattr(pipe, "task", None), OpenNERTask) for _, pipe in nlp.pipeline):
        raise UniversalNERError(Errors.U033.format(pipes=nlp.pipe_names, task=TASK))
    pairs = ((passage.text, passage) for passage in passages)
    return (_reply(doc, passage) for doc, passage in nlp.pipe(pairs, as_tuples=True, batch_size=batch_size))


def _reply(doc: Doc, passage: Passage) -> Reply:
    return Reply(passage_id=passage.id, text=passage.text, **doc.user_data[USER_DATA])
