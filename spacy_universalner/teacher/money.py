"""What a teacher costs: prices, a budget that is never passed, an estimate before anything is sent, the ledger."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .completion import KINDS

CHARS_PER_TOKEN = 4.0
"""Of English text, until replies of the teacher itself say better."""
REPLY_LENGTH = 2.0
"""Characters of a reply for each of its passage, in the embedded corpus; ChatGPT listed less for the paper."""
MESSAGE_TOKENS = 16
"""Tokens that the markup of a message may take."""
ENOUGH = 20
"""Replies from which an estimate is drawn, if there are as many."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens.

    input (float): tokens of the messages.
    output (float): tokens of the reply, reasoning included.
    cached_input (float | None): tokens of the messages the vendor had cached; None for the price of the others.
    batch (float): share of these prices that is charged for batch jobs.
    """

    input: float
    output: float
    cached_input: float | None = None
    batch: float = 0.5

    def cost(self, usage: Mapping[str, int], *, batch: bool = False) -> float:
        """What tokens cost: prompt_tokens, completion_tokens and, as a part of the former, cached_tokens."""
        prompt = usage.get("prompt_tokens", 0)
        cached = 0 if self.cached_input is None else min(usage.get("cached_tokens", 0), prompt)
        dollars = (prompt - cached) * self.input + cached * (self.cached_input or 0)
        dollars += usage.get("completion_tokens", 0) * self.output
        return dollars / 1e6 * (self.batch if batch else 1)


def bound_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """More tokens than these messages can have: no tokenizer makes more of a text than it has bytes."""
    return sum(len(message["content"].encode("utf8", "surrogatepass")) + MESSAGE_TOKENS for message in messages)


class Budget:
    """Money to spend. What a request may cost at most is set aside before it is sent, so the limit is never passed.

    limit (float): US dollars, 0 for no limit.
    spent (float): dollars spent before.
    """

    def __init__(self, limit: float, spent: float = 0.0) -> None:
        self.limit, self.spent, self.reserved = limit, spent, 0.0
        self._changed = asyncio.Condition()
        self._flying = 0

    def fits(self, amount: float) -> bool:
        """Whether that much can be set aside now."""
        return not self.limit or self.spent + self.reserved + amount <= self.limit

    async def reserve(self, amount: float) -> bool:
        """Set money aside; waits while it does not fit and requests in flight may give some back.

        RETURNS (bool): False if it cannot be had.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.fits(amount) or not self._flying)
            if not self.fits(amount):
                return False
            self.reserved += amount
            self._flying += 1
            return True

    async def settle(self, reserved: float, spent: float) -> None:
        """Turn what was set aside into what was spent."""
        async with self._changed:
            self.reserved -= reserved
            self.spent += spent
            self._flying -= 1
            self._changed.notify_all()


@dataclass
class Ledger:
    """What was asked, what came back, what it cost.

    requests (int): sent, repetitions included.
    replies (Counter): by kind, failures among them.
    tokens (Counter): as reported by the teacher, by name.
    cost (float): dollars for them.
    unanswered (int): requests that were sent and may be billed, though no whole reply came back.
    at_risk (float): dollars these may cost at most.
    """

    requests: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cost: float = 0.0
    unanswered: int = 0
    at_risk: float = 0.0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row of the reply store."""
        self.requests += row["requests"]
        self.replies[row["kind"]] += 1
        self.tokens.update(row["usage"])
        self.cost += row["cost"]
        self.unanswered += row["unanswered"]
        self.at_risk += row["at_risk"]

    @property
    def spent(self) -> float:
        """What a budget counts."""
        return self.cost + self.at_risk

    def to_json(self) -> dict[str, Any]:
        known = {kind: self.replies[kind] for kind in KINDS if self.replies[kind]}
        return {
            **asdict(self),
            "replies": known,
            "tokens": dict(self.tokens),
            "cost": round(self.cost, 6),
            "at_risk": round(self.at_risk, 6),
        }


@dataclass
class Estimate:
    """What asking would cost.

    passages (int): in all.
    answered (int): of these in the store, free.
    input_tokens, output_tokens (int): of the rest.
    cost, batch_cost (float | None): dollars, asked one by one and as batch jobs; None without a price.
    most (float | None): dollars if every reply is as long as it may be; None without a price or a longest reply.
    basis (str): where the lengths come from.
    """

    passages: int
    answered: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    batch_cost: float | None
    most: float | None
    basis: str

    def to_json(self) -> dict[str, Any]:
        dollars = {name: getattr(self, name) for name in ("cost", "batch_cost", "most")}
        missing = "no price" if self.cost is None else "no longest reply"
        shown = {name: missing if value is None else f"${value:,.2f}" for name, value in dollars.items()}
        return {**asdict(self), **shown}


def estimate(
    prompts: Iterable[tuple[Sequence[Mapping[str, str]], bool]],
    *,
    frame: int,
    known: Iterable[Mapping[str, Any]],
    price: Price | None,
    longest: int | None,
) -> Estimate:
    """Say what prompts will cost, without sending anything.

    prompts (Iterable): the messages of each passage, streamed, and whether their reply is in the store.
    frame (int): characters of the messages that are no passage.
    known (Iterable): rows of the store for the same teacher; if there are enough, their tokens tell the lengths.
    price (Price | None): of the teacher.
    longest (int | None): tokens a reply may have.
    """
    per_char, per_reply, basis = _measure(known)
    passages = answered = chars = passage_chars = asked = 0
    for messages, is_known in prompts:
        passages += 1
        answered += is_known
        if not is_known:
            size = sum(len(message["content"]) for message in messages)
            chars, passage_chars, asked = chars + size, passage_chars + max(0, size - frame), asked + 1
    input_tokens = round(chars * per_char)
    output_tokens = round(passage_chars * REPLY_LENGTH * per_char if per_reply is None else asked * per_reply)
    if longest is not None:
        output_tokens = min(output_tokens, asked * longest)
    usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}
    most = price and longest and price.cost({**usage, "completion_tokens": asked * longest})
    return Estimate(
        passages,
        answered,
        input_tokens,
        output_tokens,
        price and price.cost(usage),
        price and price.cost(usage, batch=True),
        most,
        basis,
    )


def _measure(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float | None, str]:
    """Tokens per character of the messages, tokens per reply if enough are known, and how this is known."""
    chars = tokens = replies = output = 0
    for row in rows:
        if row["usage"].get("prompt_tokens") and row["usage"].get("completion_tokens") is not None:
            chars += sum(len(message["content"]) for message in row["messages"])
            tokens += row["usage"]["prompt_tokens"]
            output += row["usage"]["completion_tokens"]
            replies += 1
    if replies >= ENOUGH:
        return tokens / max(1, chars), output / replies, f"the {replies:,} replies of this teacher in the store"
    assumed = f"assumed: {CHARS_PER_TOKEN:g} characters a token, replies {REPLY_LENGTH:g} times as long as passages"
    return 1 / CHARS_PER_TOKEN, None, assumed
