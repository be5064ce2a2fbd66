"""What a teacher model hands to the task: its words, and how it came to them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Completion:
    """One answer of a chat model.

    text (str): what it said.
    model (str): its name, as it gives it.
    usage (dict): tokens used, as it reports them.
    finish_reason (str): why it stopped; "stop" if it does not say.
    """

    text: str
    model: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    finish_reason: str = "stop"

    def __str__(self) -> str:
        return self.text


def as_completion(response: Any) -> Completion:
    """Take what any spacy-llm model returns: a Completion, a string, or None where it refused."""
    if isinstance(response, Completion):
        return response
    if response is None:
        return Completion("", finish_reason="none")
    return Completion(str(response))
