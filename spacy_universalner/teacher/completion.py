"""What a teacher model hands to the task: its words, and how it came to them."""

from dataclasses import dataclass, field
from typing import Any

ANSWER, REFUSAL, EMPTY, CUT_OFF, FAILED, NOT_ASKED = KINDS = (
    "answer",
    "refusal",
    "empty",
    "cut off",
    "failed",
    "not asked",
)
RENEWABLE = (REFUSAL, EMPTY, CUT_OFF)
"""Kinds that may be asked again on request; failures always are."""


@dataclass(frozen=True)
class Completion:
    """One answer of a chat model, or why there is none.

    text (str): what it said.
    model (str): its name, as it gives it.
    usage (dict): tokens used, as it reports them.
    finish_reason (str): why it stopped; "stop" if it does not say.
    kind (str): one of KINDS. "failed": asked without success; "not asked": the budget did not allow it.
    error (str): what went wrong, for these two.
    """

    text: str
    model: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    finish_reason: str = "stop"
    kind: str = ANSWER
    error: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def given(self) -> bool:
        """Whether the model said something, be it nothing."""
        return self.kind not in (FAILED, NOT_ASKED)


def as_completion(response: Any) -> Completion:
    """Take what any spacy-llm model returns: a Completion, a string, or None where it refused."""
    if isinstance(response, Completion):
        return response
    if response is None:
        return Completion("", finish_reason="none", kind=EMPTY)
    text = str(response)
    return Completion(text, kind=read_kind(text, refusal=None, finish_reason="stop"))


def read_kind(text: str | None, *, refusal: str | None, finish_reason: str) -> str:
    """What kind of reply it is, from what the chat protocol says about it.

    text (str | None): the content of the message.
    refusal (str | None): the refusal that stands in place of it.
    finish_reason (str): why the model stopped.
    """
    if refusal or finish_reason == "content_filter":
        return REFUSAL
    if finish_reason == "length":
        return CUT_OFF
    return ANSWER if text and text.strip() else EMPTY
