"""How much memory a run takes, part by part: counted from architecture and settings before anything is loaded."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from wasabi import table

from ..causal import layers
from ..errors import Errors, UniversalNERError
from ..hardware import pick_dtype
from ..prompts import Template, get_template
from ..records import Conversation
from ..tree import BLOCK_TOKENS

GIB = 2**30
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
# As their authors published them in config.json.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "SmolLM2-135M-Instruct": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    "LLaMA-7B": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
    "LLaMA-13B": {
        "model_type": "llama",
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 40,
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
}
BASES = {"default": ("SmolLM2-135M-Instruct", 1), "uniner-7b": ("LLaMA-7B", 8), "uniner-13b": ("LLaMA-13B", 8)}
"""The base of each profile, and the processes it is meant for."""
PROFILES = {name: Path("configs", f"{'train' if name == 'default' else name}.cfg") for name in BASES}

# Measured with benchmarks/memory.py on the embedded corpus and SmolLM2-135M; the last three on CPUs only.
LEARNT = 0.3
"""Share of the tokens of a batch that are learnt: 0.2 in the mean, 0.3 in the batch with most."""
CHARACTERS = 3.5
"""Characters of a token, at least."""
FRAGMENTS, ADAPTER_FRAGMENTS = 1.4, 2.0
"""What a process holds for activations, over what they are. It is glibc: small tensors of adapters lie between large
ones, and what is freed around them does not fit again. With each large tensor mapped by itself it is 1.0."""
RUNTIME = int(0.47 * GIB)
"""Python with torch, transformers and the data. On an accelerator the same is set aside for its libraries."""
ROLES = 30
"""Characters that a template puts around a question and its answer, at most."""
FOUR_BIT = 0.52
"""Bytes of a weight in four bits, with the scales of its block."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a causal language model that its memory follows from.

    layers (int): how many.
    hidden (int): width between them.
    attention (int): width of all heads together.
    heads (int): how many.
    inner (int): the widest place in a layer.
    vocabulary (int): ids.
    layer (int): parameters of one layer.
    maps (int): linear maps of one layer.
    matrices (int): parameters of these.
    sides (int): in- and outputs of these together; adapters of rank r have r parameters for each.
    embedding (int): parameters of the input embedding.
    head (int): of the output head, 0 where it is the embedding.
    rest (int): of what is neither a layer nor one of these.
    """

    layers: int
    hidden: int
    attention: int
    heads: int
    inner: int
    vocabulary: int
    layer: int
    maps: int
    matrices: int
    sides: int
    embedding: int
    head: int
    rest: int

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layers * self.layer + self.outside

    @property
    def outside(self) -> int:
        """Parameters outside the layers."""
        return self.embedding + self.head + self.rest


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at their peak, by what they are for.

    weights (int): in the format they are computed in; of several processes, the part this one keeps, in float32.
    masters (int): float32 copies of trained half-precision weights.
    gradients (int): in float32, as the optimiser takes them.
    moments (int): AdamW's two, in float32.
    gathered (int): of several processes: weights and gradients that are whole for a while.
    activations (int): what the backward pass needs, and what it works with.
    runtime (int): Python and its libraries.
    """

    weights: int
    masters: int
    gradients: int
    moments: int
    gathered: int
    activations: int
    runtime: int = RUNTIME

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Build an architecture without its weights and count.

    config (Mapping): as in a config.json.
    RAISES (UniversalNERError): the layers are not found.
    """
    described = AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(described)
    text = described.get_text_config()
    stack = layers(model)
    maps = [part for part in stack[-1].modules() if isinstance(part, torch.nn.Linear)]
    layer = _count(stack[-1])
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    own_head = 0 if head is None or head.weight is embedding.weight else _count(head)
    heads = text.num_attention_heads
    return Shape(
        layers=len(stack),
        hidden=text.hidden_size,
        attention=heads * (getattr(text, "head_dim", None) or text.hidden_size // heads),
        heads=heads,
        inner=max((part.out_features for part in maps), default=4 * text.hidden_size),
        vocabulary=text.vocab_size,
        layer=layer,
        maps=len(maps),
        matrices=sum(part.weight.numel() for part in maps),
        sides=sum(part.in_features + part.out_features for part in maps),
        embedding=_count(embedding),
        head=own_head,
        rest=_count(model) - sum(map(_count, stack)) - _count(embedding) - own_head,
    )


def estimate(
    shape: Shape,
    *,
    method: str,
    dtype: torch.dtype,
    frozen_embeddings: bool,
    frozen_layers: int,
    batch_tokens: int,
    checkpoint_activations: bool,
    rank: int,
    longest: int,
    processes: int,
    scores: bool = False,
) -> Memory:
    """The memory of one process of a run, in the middle of its second step and later.

    shape (Shape): of the base.
    method (str): "full", "lora" or "qlora".
    dtype (dtype): computed in.
    frozen_embeddings (bool): the embeddings are left as they are.
    frozen_layers (int): lowest layers that are left as they are, with the embeddings.
    batch_tokens (int): tokens of a batch, padding included.
    checkpoint_activations (bool): layers are computed again in the backward pass. On a CPU the estimate is then too
        low: 2.5 GB for 3.8 measured with SmolLM2-135M, for a reason not found.
    rank (int): of the adapters.
    longest (int): tokens of the longest row.
    processes (int): that the weights are divided among (FSDP).
    scores (bool): attention keeps its scores, as it does in bfloat16 on CPUs where rows are not padded.
    """
    size, trained_layers = dtype.itemsize, shape.layers - frozen_layers
    kept = 4 if processes > 1 else size  # what is divided is float32, whatever is computed in
    adapters = 0 if method == "full" else trained_layers * rank * shape.sides
    frozen = shape.embedding if frozen_layers or frozen_embeddings else 0
    trained = adapters or trained_layers * shape.layer + shape.outside - frozen
    matrices = shape.layers * shape.matrices if method == "qlora" else 0
    weights = int(matrices * FOUR_BIT) + (shape.parameters - matrices) * kept + adapters * 4
    masters = trained * 4 if kept < 4 and not adapters else 0
    saved = _saved(shape, dtype, adapters=rank if adapters else 0, longest=longest)
    if scores:  # of a question about a passage that is half the longest row
        saved += shape.heads * (longest // 2 + BLOCK_TOKENS) * size
    tokens = max(batch_tokens, longest)
    if checkpoint_activations:
        stored, again = trained_layers * shape.hidden * size, saved
    else:
        stored, again = trained_layers * saved, 0
    backward = again + (3 * shape.inner + 3 * shape.hidden) * size
    logits = 3 * int(LEARNT * shape.vocabulary) * 4  # their softmax, its gradient and theirs
    activations = tokens * (stored + max(backward, logits) + 3 * shape.hidden * 4)
    return Memory(
        weights=weights // processes,
        masters=masters // processes,
        gradients=trained * 4 // processes,
        moments=trained * 8 // processes,
        gathered=_gathered(shape, size) if processes > 1 else 0,
        activations=int(activations * (ADAPTER_FRAGMENTS if adapters else FRAGMENTS)),
    )


def _saved(shape: Shape, dtype: torch.dtype, *, adapters: int, longest: int) -> int:
    """Bytes that one layer keeps of one token for the backward pass, as autograd's hooks count them in a LLaMA.

    Norms keep their input in float32; attention keeps queries, keys and values of all heads, its output, a number a
    head, and the mask's row; the rest is the gate, its activation, what it is multiplied with, and the product. Weights
    that are trained keep their input, normalised before and after the scale; adapters keep it in float32.
    """
    size = dtype.itemsize
    hidden, attention, inner = shape.hidden, shape.attention, shape.inner
    count = 2 * hidden * 4 + 4 * attention * size + 3 * inner * size + longest * size + shape.heads * 4
    if not adapters:
        return count + 4 * hidden * size + inner * size
    count += shape.maps * adapters * 4
    if size == 4:
        return count + 2 * hidden * 4 + inner * 4
    return count + (5 * hidden + attention + inner) * 4  # each adapter makes its own copy


def _gathered(shape: Shape, size: int) -> int:
    """Two layers and what is outside of them, whole; their gradients too, of one layer at a time."""
    return (2 * shape.layer + shape.outside) * size + (shape.layer + shape.outside) * size


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def longest_row(conversations: Iterable[Conversation], *, most: int, template: Template) -> int:
    """About how many tokens the longest row has, at most: a passage and its longest questions, as many as are drawn.

    conversations (Iterable[Conversation]): to be trained on.
    most (int): questions drawn of a conversation, 0 for all.
    template (Template): what it is rendered in.
    """
    longest = 0
    for conversation in conversations:
        turns = [turn["value"] for turn in conversation.to_sharegpt()["conversations"]]
        pairs = sorted((len(q) + len(a) for q, a in zip(turns[2::2], turns[3::2], strict=True)), reverse=True)
        asked = pairs[: most or None]
        passage = len(template.passage(conversation.text))
        longest = max(longest, passage + sum(asked) + ROLES * (len(asked) + 2))
    return int(longest / CHARACTERS)


def list_needs(
    base: Mapping[str, Any],
    settings: Mapping[str, Any],
    profiles: Mapping[str, Mapping[str, Any]],
    *,
    conversations: Iterable[Conversation],
    device: torch.device,
    processes: int,
) -> dict[str, Memory]:
    """What a run takes for these conversations, and what each profile would take for them.

    base (Mapping): the config.json of the run's base.
    settings (Mapping): [train] of the run.
    profiles (Mapping): [train] of some of PROFILES, by name.
    conversations (Iterable[Conversation]): to be trained on.
    device (device): of the run.
    processes (int): of the run.
    RETURNS (dict): the run first.
    """
    runs = [("this run", base, processes, settings)]
    runs += [(name, ARCHITECTURES[BASES[name][0]], BASES[name][1], own) for name, own in profiles.items()]
    longest = longest_row(conversations, most=settings["max_questions"], template=get_template(settings["template"]))
    return {
        f"{name}, {count} process{'es' if count > 1 else ''}": _estimate_run(
            config, own, longest=longest, device=device, processes=count
        )
        for name, config, count, own in runs
    }


def _estimate_run(
    config: Mapping[str, Any], settings: Mapping[str, Any], *, longest: int, device: torch.device, processes: int
) -> Memory:
    context = settings["context"] or config.get("max_position_embeddings") or longest
    packed = settings["questions"] == "isolated" and not settings["checkpoint_activations"]
    dtype = pick_dtype(settings["dtype"], device)
    same = ("method", "frozen_embeddings", "frozen_layers", "batch_tokens", "checkpoint_activations")
    return estimate(
        read_shape(config),
        **{name: settings[name] for name in same},
        dtype=dtype,
        scores=packed and dtype.itemsize == 2 and device.type == "cpu",
        rank=settings["lora"]["r"],
        longest=min(longest, context),
        processes=processes,
    )


def tabulate_needs(needs: Mapping[str, Memory]) -> str:
    """A row for each run, a column for each part, in GiB."""
    parts = [field.name for field in fields(Memory)]
    rows = [(name, *(f"{getattr(need, part) / GIB:.1f}" for part in (*parts, "total"))) for name, need in needs.items()]
    return table(rows, header=("GiB a process", *parts, "total"), divider=True, aligns=("l", *"r" * (len(parts) + 1)))


def check_run(
    base: Mapping[str, Any],
    settings: Mapping[str, Any],
    profiles: Mapping[str, Mapping[str, Any]],
    *,
    conversations: Iterable[Conversation],
    device: torch.device,
    ignore: bool,
) -> None:
    """Print what a run takes, and stop one that this machine has no room for. See `list_needs` for the arguments.

    ignore (bool): go on all the same.
    RAISES (UniversalNERError): there is not enough memory.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    run = {"conversations": conversations, "device": device, "processes": count}
    needs = list_needs(base, settings, profiles, **run)
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(tabulate_needs(needs) + "\n")
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", count)) if device.type == "cpu" else 1
    if not ignore:
        check_room(next(iter(needs.values())), find_room(device), processes=sharing)


def check_room(need: Memory, room: int | None, *, processes: int) -> None:
    """Hold what a run takes against what is free, before anything is loaded.

    need (Memory): of one process.
    room (int | None): bytes that are free, see `find_room`; None where that is not known.
    processes (int): how many share it.
    RAISES (UniversalNERError): it is not enough.
    """
    if room is not None and need.total * processes > room:
        parts = ", ".join(f"{field.name} {getattr(need, field.name) / GIB:.1f}" for field in fields(need))
        numbers = {"need": f"{need.total * processes / GIB:.1f}", "room": f"{room / GIB:.1f}"}
        raise UniversalNERError(Errors.U165.format(**numbers, processes=processes, parts=parts))


def find_room(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where nothing tells (an accelerator other than CUDA, a CPU without /proc).

    On a CPU it is what the kernel says is available, within the limit of the container.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or not MEMINFO.is_file():
        return None
    lines = dict(line.split(":") for line in MEMINFO.read_text(encoding="utf8").splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    limit = CGROUP / "memory.max"
    if not limit.is_file() or not (text := limit.read_text(encoding="utf8").strip()).isdecimal():
        return available
    return min(available, int(text) - _used(CGROUP))


def _used(cgroup: Path) -> int:
    """Bytes that a container holds, without the file cache that it would give back."""
    cached = dict(line.split() for line in (cgroup / "memory.stat").read_text(encoding="utf8").splitlines())
    return int((cgroup / "memory.current").read_text(encoding="utf8")) - int(cached["inactive_file"])
