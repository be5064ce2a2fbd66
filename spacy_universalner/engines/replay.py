"""Canned answers: an engine without a model."""

from collections.abc import Mapping, Sequence

from ..errors import Errors, UniversalNERError
from ..registry import Answer


class ReplayEngine:
    """Answers from a table, and refuses what is not in it.

    answers (Mapping): passage -> type -> mentions.
    """

    def __init__(self, answers: Mapping[str, Mapping[str, Sequence[str]]]):
        self.answers = answers

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """RAISES (UniversalNERError): a question without a recorded answer."""
        return [[self._answer(passage, name) for name in names] for passage, names in zip(passages, types, strict=True)]

    def _answer(self, passage: str, name: str) -> Answer:
        try:
            return Answer(tuple(self.answers[passage][name]))
        except KeyError as err:
            raise UniversalNERError(Errors.U053.format(engine="Replay", passage=passage, type=name)) from err
