"""Many passages and questions as one sequence of tokens without padding, each seeing only what it should.

Everything else in a transformer works on tokens one by one, so only attention has to know what belongs together. Models
on the attention interface of transformers get it from here; others are handed a mask over the whole sequence, which is
slower and gives the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, Cache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .causal import BY_PLAN, TOLERANCE

ROOM = 64
DROPOUTS = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")  # as configurations name it
NO_MASK = torch.ones(1, 1, 1, 1, dtype=torch.bool)  # keeps a model from making one that nobody reads


class Plan(Protocol):
    """Who sees whom in one forward pass."""

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> Any:
        """Attention of one layer. Tensors are (tokens, heads, dim), so is what is returned."""
        ...

    def keep(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take keys and values of this pass. RETURNS (tuple): all there are, (tokens, heads, dim)."""
        ...

    def dense(self) -> torch.Tensor:
        """Who sees whom, as booleans, (tokens of this pass, all tokens)."""
        ...


_PLAN: ContextVar[Plan | None] = ContextVar("plan", default=None)


@dataclass(frozen=True)
class Blocks:
    """Sets of tokens that see the same few keys, side by side.

    queries (Tensor): numbers of the tokens of each set, (sets, width); where fewer, filled up with 0.
    keys (Tensor): numbers of the tokens they may see, (sets, keys); filled up likewise.
    mask (Tensor): True where a token sees a key, (sets, width, keys).
    """

    queries: torch.Tensor
    keys: torch.Tensor
    mask: torch.Tensor

    @cached_property
    def seen(self) -> "Seen":
        return Seen(self.mask)

    @cached_property
    def targets(self) -> torch.Tensor:
        """The tokens that are queries, row by row."""
        return self.queries[self.mask.any(-1)]

    def take(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Iterator[torch.Tensor]:
        """What stands at its places, of tensors (tokens, heads, dim)."""
        for states, places in ((query, self.queries), (key, self.keys), (value, self.keys)):
            yield states.index_select(0, places.flatten()).unflatten(0, places.shape)


@dataclass
class Packed:
    """A first pass over whole passages and questions. Nothing was computed before it.

    blocks (Sequence): every token stands in one of them as a query.
    keys, values (dict): of each layer, (tokens, heads, dim), once it was computed.
    keeps (bool): whether these are wanted afterwards.
    """

    blocks: Sequence[Blocks]
    keys: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)
    keeps: bool = True

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        if self.keeps:
            self.keep(layer, key, value)
        found = [attend(*block.take(query, key, value), block.seen, scale).flatten(0, 1) for block in self.blocks]
        return torch.cat(found).index_select(0, self.order)

    @cached_property
    def order(self) -> torch.Tensor:
        """Of each token the place in all blocks, one after the other, at which it is a query."""
        real = torch.cat([block.mask.any(-1).flatten() for block in self.blocks]).nonzero()[:, 0]
        return real[torch.cat([block.targets for block in self.blocks]).argsort()]

    def keep(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys[layer], self.values[layer] = key, value
        return key, value

    def dense(self) -> torch.Tensor:
        count = sum(len(block.targets) for block in self.blocks)
        mask = torch.zeros(count, count, dtype=torch.bool, device=self.blocks[0].mask.device)
        for block in self.blocks:
            rows = block.queries[:, :, None].expand_as(block.mask)
            mask[rows[block.mask], block.keys[:, None].expand_as(block.mask)[block.mask]] = True
        return mask


class Rows:
    """Keys and values of passages with open questions: a row for each, with room for what is to come.

    A row that is let go of is used again, since new memory is slow: the system clears it page by page.

    keys, values (list): of each layer, (rows, width, heads, dim).
    """

    def __init__(self) -> None:
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self._free: list[int] = []

    @property
    def count(self) -> int:
        """How many rows there are, used or not."""
        return len(self.keys[0]) if self.keys else 0

    @property
    def width(self) -> int:
        return self.keys[0].shape[1] if self.keys else 0

    def put(self, packed: Packed, places: Sequence[Sequence[int]]) -> list[int]:
        """Take tokens out of a first pass. RETURNS (list): the row in which each sequence of them stands now."""
        width = max(map(len, places))
        index = torch.tensor([[*place, *[0] * (width - len(place))] for place in places]).to(packed.keys[0].device)
        self._make_room(packed, len(places), width)
        rows = sorted(self._free)[: len(places)]
        self._free = sorted(self._free)[len(places) :]
        for layer in range(len(self.keys)):
            self.keys[layer][rows, :width] = packed.keys[layer][index]
            self.values[layer][rows, :width] = packed.values[layer][index]
        return rows

    def let_go(self, row: int) -> None:
        """Use a row for something else."""
        self._free.append(row)

    def widen(self, width: int) -> None:
        """Make room for rows of so many tokens, and some more."""
        if width > self.width:
            self._grow(self.count, width + ROOM)

    def _make_room(self, packed: Packed, rows: int, width: int) -> None:
        if not self.keys:
            for kept, states in ((self.keys, packed.keys), (self.values, packed.values)):
                kept += [states[layer].new_zeros(0, width + ROOM, *states[layer].shape[1:]) for layer in sorted(states)]
        self.widen(width)
        if len(self._free) < rows:
            count = max(2 * self.count, self.count + rows)
            self._free += range(self.count, count)
            self._grow(count, self.width)

    def _grow(self, count: int, width: int) -> None:
        for kept in (self.keys, self.values):
            for layer, states in enumerate(kept):
                kept[layer] = states.new_zeros(count, width, *states.shape[2:])
                kept[layer][: len(states), : states.shape[1]] = states


@dataclass
class Step:
    """A pass that goes on with open answers.

    rows (Rows): what was computed before; what is computed now is written into it.
    row, slot (Tensor): where each token stands in it.
    place (Tensor): each token's place among those of its row in this pass.
    mask (Tensor): True where a token sees what stands in a slot, (rows, width of this pass, slots), without rows and
        slots at the end that nobody sees.
    """

    rows: Rows
    row: torch.Tensor
    slot: torch.Tensor
    place: torch.Tensor
    mask: torch.Tensor

    @cached_property
    def seen(self) -> "Seen":
        return Seen(self.mask)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        count, width, slots = self.mask.shape
        self._write(layer, key, value)
        side = query.new_zeros(count, width, *query.shape[1:])
        side[self.row, self.place] = query
        keys, values = self.rows.keys[layer][:count, :slots], self.rows.values[layer][:count, :slots]
        return attend(side, keys, values, self.seen, scale)[self.row, self.place]

    def keep(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._write(layer, key, value)
        return self.rows.keys[layer].flatten(0, 1), self.rows.values[layer].flatten(0, 1)

    def dense(self) -> torch.Tensor:
        mask = self.mask.new_zeros(len(self.row), self.rows.count, self.rows.width)
        mask[torch.arange(len(self.row)), self.row, : self.mask.shape[2]] = self.mask[self.row, self.place]
        return mask.flatten(1)

    def _write(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        self.rows.keys[layer][self.row, self.slot] = key
        self.rows.values[layer][self.row, self.slot] = value


class Seen:
    """A mask in the form in which attention adds it to its scores, made once for all layers that share keys alike.

    mask (Tensor): (sets, width, keys).
    """

    def __init__(self, mask: torch.Tensor):
        self.mask = mask
        self._added: dict[int, torch.Tensor] = {}

    def added(self, shared: int, like: torch.Tensor) -> torch.Tensor:
        """Numbers to add, for heads that share keys, (sets, 1, heads that share * width, keys)."""
        if shared not in self._added:
            lowest = torch.finfo(like.dtype).min
            added = torch.zeros(self.mask.shape, dtype=like.dtype, device=like.device)
            self._added[shared] = added.masked_fill_(~self.mask.to(like.device), lowest).repeat(1, shared, 1)[:, None]
        return self._added[shared]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: Seen, scale: float) -> torch.Tensor:
    """Attention in sets of tokens. Heads that share keys are put behind one another, so that no key is repeated.

    query (Tensor): (sets, width, heads, dim).
    key, value (Tensor): (sets, keys, heads of keys, dim).
    seen (Seen): of a mask (sets, width, keys).
    RETURNS (Tensor): (sets, width, heads, dim).
    """
    sets, width, heads, dim = query.shape
    shared = heads // key.shape[2]
    query = query.view(sets, width, key.shape[2], shared, dim).permute(0, 2, 3, 1, 4).flatten(2, 3)
    key, value, mask = key.transpose(1, 2), value.transpose(1, 2), seen.added(shared, query)
    if query.requires_grad and query.dtype == torch.bfloat16 and query.device.type == "cpu":
        output = attend_by_products(query, key, value, mask, scale)
    else:
        output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    output = output.unflatten(2, (shared, width))
    return output.permute(0, 3, 1, 2, 4).flatten(2, 3)


def attend_by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention with all scores at once, rounded to the type of the query: PyTorch's own takes twice as long to train
    in bfloat16 on CPUs.

    query (Tensor): (sets, heads, width, dim).
    key, value (Tensor): (sets, heads, keys, dim).
    mask (Tensor): numbers that are added to the scores, (sets, 1, width, keys).
    scale (float): what scores are multiplied by before that.
    RETURNS (Tensor): (sets, heads, width, dim).
    """
    mask = mask.expand(-1, query.shape[1], -1, -1).flatten(0, 1)
    sides = query.shape[:2]
    query, key, value = (states.flatten(0, 1) for states in (query, key, value))
    scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scale)
    return torch.bmm(scores.softmax(-1), value).unflatten(0, sides)


def _attend_by_plan(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """What layers call (transformers, AttentionInterface): by the plan at hand, else as by default."""
    plan = _PLAN.get()
    if plan is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    odd = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if odd:  # caught when the model is tried (`_is_right`), which then gets masks instead
        raise NotImplementedError(f"attention with {', '.join(odd)}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    output = plan.attend(module.layer_idx, *(states[0].transpose(0, 1) for states in (query, key, value)), scale)
    return output[None], None


def can_pack(model: Any) -> bool:
    """Let a model attend by plans, if its architecture can; without a plan it attends as before.

    One that is to be trained with dropout within its attention cannot, since plans have none.

    RETURNS (bool): whether it does.
    """
    if model.config._attn_implementation == BY_PLAN:
        return True
    if model.config._attn_implementation != "sdpa" or not model._can_set_attn_implementation():
        return False
    learns = model.training
    if learns and any(getattr(model.config.get_text_config(), name, 0) for name in DROPOUTS):
        return False
    model.set_attn_implementation(BY_PLAN)
    right = _is_right(model.eval())
    model.train(learns)
    if not right:
        model.set_attn_implementation("sdpa")
    return right


@torch.no_grad()
def _is_right(model: Any) -> bool:
    """Whether a few tokens in two sets get what each set gets alone."""
    ids = torch.tensor([[5, 9, 7, 11, 6]], device=model.device)
    parts = (slice(0, 3), slice(3, 5))
    alone = torch.cat([model(input_ids=ids[:, part]).logits[0] for part in parts]).float()
    numbers = torch.arange(5, device=model.device)
    sets = [Blocks(numbers[part][None], numbers[part][None], _causal(part, model.device)) for part in parts]
    plan = Packed(sets)
    try:
        with planned(plan):
            together = model(
                input_ids=ids,
                position_ids=torch.cat([numbers[:3], numbers[:2]])[None],
                attention_mask=NO_MASK.to(model.device),
                use_cache=False,
            ).logits[0]
    except Exception:  # whatever an architecture says to a plan that it does not know
        return False
    same = torch.allclose(together.float(), alone, rtol=0, atol=TOLERANCE[model.dtype] * float(alone.abs().max()))
    return same and len(plan.keys) == model.config.get_text_config().num_hidden_layers


def _causal(part: slice, device: torch.device) -> torch.Tensor:
    return torch.ones(1, part.stop - part.start, part.stop - part.start, dtype=torch.bool, device=device).tril()


AttentionInterface.register(BY_PLAN, _attend_by_plan)
AttentionMaskInterface.register(BY_PLAN, sdpa_mask)


@contextmanager
def planned(plan: Plan) -> Iterator[None]:
    """Within, models that `can_pack` attend by this plan."""
    token = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(token)


class _PlannedLayer(DynamicLayer):
    """A layer of a cache that belongs to a plan, for models that get a mask."""

    def __init__(self, plan: Plan, layer: int):
        super().__init__()
        self.plan, self.layer = plan, layer

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple:
        kept = self.plan.keep(self.layer, key_states[0].transpose(0, 1), value_states[0].transpose(0, 1))
        key, value = (states.transpose(0, 1)[None] for states in kept)
        return key, value


def planned_cache(plan: Plan, layers: int) -> Cache:
    """A cache that gives a model what a plan holds."""
    return Cache(layers=[_PlannedLayer(plan, layer) for layer in range(layers)])
