"""The registry of engines, and the contract they keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import spacy


@dataclass(frozen=True)
class Answer:
    """What an engine says about one type in one passage.

    mentions (tuple): the surface forms, in the order given.
    scores (tuple): confidence in each mention, between 0 and 1; empty where the engine has none.
    complete (bool): False if the answer was cut off or was no list.
    """

    mentions: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    complete: bool = True


@runtime_checkable
class Engine(Protocol):
    """Passages and types in, answers out. Engines load their model at first use, never in the constructor."""

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """One answer per passage and type, in the order asked.

        passages (Sequence[str]): whole texts; all questions about one share it as their prefix.
        types (Sequence[Sequence[str]]): the entity types asked of each passage.
        """
        ...


@runtime_checkable
class Portable(Protocol):
    """An engine whose model can be carried in a pipeline directory."""

    model: str | None

    def save_model(self, folder: str) -> None:
        """Copy the whole student into a folder."""
        ...


@runtime_checkable
class Loadable(Protocol):
    """An engine that can load its model before it is first asked, so that errors come early."""

    def load(self) -> None:
        """Load the model, if it is not loaded."""
        ...


if "universal_ner_engines" not in spacy.registry.get_registry_names():
    spacy.registry.create("universal_ner_engines")
