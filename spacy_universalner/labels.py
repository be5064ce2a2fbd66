"""The types a user asks for: names, or names and the descriptions that are asked in their place."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from .errors import Errors, UniversalNERError
from .prompts import name_fault

Labels: TypeAlias = Iterable[str] | Mapping[str, str]


def check_labels(labels: Labels) -> dict[str, str]:
    """What is asked for each label, in the order given.

    labels (Iterable | Mapping): names, or the description of each by its name. Names may share a description.
    RAISES (UniversalNERError): neither; a name or description that is empty, or holds a line break or another control
        character; a name that is listed twice.
    """
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise UniversalNERError(Errors.U184.format(got=labels))
    pairs = list(labels.items()) if isinstance(labels, Mapping) else [(name, name) for name in labels]
    names = [name for name, _ in pairs]
    for name, description in pairs:
        if reason := name_fault(name):
            raise UniversalNERError(Errors.U042.format(label=name, reason=reason))
        if names.count(name) > 1:
            raise UniversalNERError(Errors.U041.format(label=name, count=names.count(name), labels=names))
        if reason := name_fault(description):
            raise UniversalNERError(Errors.U180.format(label=name, description=description, reason=reason))
    return dict(pairs)


def describe_labels(labels: Labels) -> dict[str, str]:
    """As `check_labels`, but unchecked: for types that come from data, which may hold anything."""
    return dict(labels) if isinstance(labels, Mapping) else {name: name for name in labels}


def simplify_labels(labels: Mapping[str, str]) -> list[str] | dict[str, str]:
    """Labels as a user would write them: a list of names where each is its own description."""
    plain = all(name == description for name, description in labels.items())
    return list(labels) if plain else dict(labels)
