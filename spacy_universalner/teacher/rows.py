"""Rows of the reply store: what is kept of every request that was sent."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .completion import FAILED, NOT_ASKED, REFUSAL, Completion, read_kind
from .money import Price

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

    from .chat import ChatSettings

Messages = Sequence[Mapping[str, str]]


def make_row(settings: "ChatSettings", key: str, messages: Messages) -> dict[str, Any]:
    """A row of the reply store before its reply is known."""
    return {
        "key": key,
        "kind": FAILED,
        "model": settings.name,
        "params": settings.params,
        "messages": list(messages),
        "reply": None,
        "refusal": None,
        "finish_reason": None,
        "answered_by": None,
        "usage": {},
        "cost": 0.0,
        "at_risk": 0.0,
        "requests": 0,
        "unanswered": 0,
        "error": "",
        "time": round(time.time(), 3),
    }


def read_reply(completion: "ChatCompletion", price: Price | None, *, batch: bool = False) -> dict[str, Any]:
    """What a chat completion says, as a part of a row. RAISES (ValueError): it is none."""
    choices = getattr(completion, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise ValueError(str(completion)[:200])
    message, finish_reason = choices[0].message, choices[0].finish_reason or "stop"
    refusal = getattr(message, "refusal", None)
    usage = read_usage(completion.usage)
    return {
        "kind": read_kind(message.content, refusal=refusal, finish_reason=finish_reason),
        "reply": message.content,
        "refusal": refusal,
        "finish_reason": finish_reason,
        "answered_by": completion.model,
        "usage": usage,
        "cost": price.cost(usage, batch=batch) if price else 0.0,
        "error": "",
    }


def read_usage(usage: Any) -> dict[str, int]:
    """The tokens a server reports, flat; empty if it leaves out those of the messages or the reply, so has no cost."""
    if usage is None:
        return {}
    inner = {
        "cached_tokens": getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None),
        "reasoning_tokens": getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", None),
    }
    counts = {name: getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    known = {name: count for name, count in {**counts, **inner}.items() if isinstance(count, int)}
    return known if {"prompt_tokens", "completion_tokens"} <= known.keys() else {}


def to_completion(row: Mapping[str, Any]) -> Completion:
    """What the task is told of a row of the store."""
    refused = row["kind"] == REFUSAL
    return Completion(
        text=row["reply"] or row["refusal"] or "",
        model=row["answered_by"] or row["model"],
        usage=row["usage"],
        finish_reason="content_filter" if refused else row["finish_reason"] or "",
        kind=row["kind"],
        error=row["error"],
    )


def not_asked(model: str, why: str) -> Completion:
    """The completion of a passage that was not sent."""
    return Completion("", model=model, finish_reason="", kind=NOT_ASKED, error=why)
