"""Rows of the reply store: what is kept of every request that was sent."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .completion import FAILED, NOT_ASKED, REFUSAL, Completion, read_kind
from .money import Price

if TYPE_CHECKING:
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


def read_reply(said: Any, price: Price | None, *, batch: bool = False) -> dict[str, Any]:
    """What the body of a chat completion says, as a part of a row. Nothing of a paid reply is thrown away for its form.

    RAISES (ValueError): it is none.
    """
    choice = _get(_get(said, "choices"), 0)
    message, finish_reason = _get(choice, "message"), _get(choice, "finish_reason") or "stop"
    if message is None:
        raise ValueError(str(said)[:200])
    text, refusal, usage = _get(message, "content"), _get(message, "refusal"), read_usage(_get(said, "usage"))
    return {
        "kind": read_kind(text, refusal=refusal, finish_reason=finish_reason),
        "reply": text,
        "refusal": refusal,
        "finish_reason": finish_reason,
        "answered_by": _get(said, "model"),
        "usage": usage,
        "cost": price.cost(usage, batch=batch) if price else 0.0,
        "error": "",
    }


def read_usage(usage: Any) -> dict[str, int]:
    """The tokens a server reports, flat; empty if it leaves out those of the messages or the reply, so has no cost."""
    counts = {name: _get(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    counts["cached_tokens"] = _get(_get(usage, "prompt_tokens_details"), "cached_tokens")
    counts["reasoning_tokens"] = _get(_get(usage, "completion_tokens_details"), "reasoning_tokens")
    known = {name: count for name, count in counts.items() if isinstance(count, int)}
    return known if {"prompt_tokens", "completion_tokens"} <= known.keys() else {}


def _get(value: Any, key: str | int) -> Any:
    """A part of a JSON value, None where there is none."""
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None


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
