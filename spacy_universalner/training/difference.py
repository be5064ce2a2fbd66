"""A tuned student as a small difference to its base: of each changed matrix, the product of two thin ones.

What full tuning changes lies mostly in few directions, which a singular value decomposition finds; adapters of that
form are read as any others are (LoRA: Hu et al., 2021).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..base import find_base, weights_of
from ..card.student import write_student
from ..causal import head, open_model
from ..errors import Errors, UniversalNERError
from ..progress import show_progress
from ..prompts import TEMPLATE_FILE
from ..student import ADAPTER, check_manifest, is_adapter
from .model import save_adapter

# With 8 bits a number a file holds twice the directions; rounding costs a hundredth of what a missing one does.
DTYPE = torch.float8_e4m3fn
SCALE = 2.0**8
"""So many times too large is the product on disk, for which alpha makes up: small numbers have fewer bits."""
LARGEST = torch.finfo(DTYPE).max


@dataclass(frozen=True)
class Change:
    """The difference of one matrix.

    name (str): of its layer.
    left, values, right (Tensor): its singular value decomposition, (rows, n), (n,), (n, columns), strongest first.
    """

    name: str
    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor

    @property
    def cost(self) -> int:
        """Bytes of one direction."""
        return DTYPE.itemsize * (len(self.left) + self.right.shape[1])

    @cached_property
    def energy(self) -> torch.Tensor:
        """What each direction adds to the squared difference."""
        return self.values.square()

    def strongest(self, rank: int, gain: float = 1.0) -> "Change":
        """So many of its directions, times the gain."""
        return Change(self.name, self.left[:, :rank], gain * self.values[:rank], self.right[:rank])


def shrink(student: Path, folder: Path, *, megabytes: float, gain: float = 1.0) -> dict[str, Any]:
    """Write a student as adapters to its base, of at most so many megabytes.

    The directions that are kept are those that explain most of the difference for the bytes they take, wherever they
    are. What changed beside the linear layers, the weights of norms and embeddings, is left out.

    student (Path): a student of which all weights were tuned.
    folder (Path): where the smaller one goes; replaces what is there.
    gain (float): what the difference that is kept is multiplied by, to make up for what is not.
    RETURNS (dict): what it is made of (the sha256 of the student's weights, the room and the gain that were given),
        ranks in all and of each matrix on average, share of the squared difference kept, megabytes.
    RAISES (UniversalNERError): a student that is adapters already, or does not differ from its base; its base cannot
        be had; no direction fits.
    """
    manifest = check_manifest(student)
    if is_adapter(manifest):
        raise UniversalNERError(Errors.U260.format(path=student, reason="it is adapters already"))
    base = find_base(manifest["base"], student)
    cpu = {"dtype": torch.float32, "device": torch.device("cpu")}
    changes = find_changes(open_model(base, **cpu), open_model(student, **cpu))
    if not changes:
        raise UniversalNERError(Errors.U260.format(path=student, reason=f"it does not differ from {base.name}"))
    ranks = choose_ranks(changes, int(megabytes * 1e6))
    kept = [change.strongest(ranks[change.name], gain) for change in changes if ranks[change.name]]
    if not kept:
        raise UniversalNERError(Errors.U260.format(path=student, reason=f"nothing of it fits {megabytes} megabytes"))
    share = sum(change.energy[: ranks[change.name]].sum() for change in changes) / sum(c.energy.sum() for c in changes)
    facts = {
        **tell_origin(manifest, megabytes=megabytes, gain=gain),
        "ranks": sum(ranks.values()),
        "mean_rank": round(sum(ranks.values()) / len(changes), 1),
        "share": round(float(share), 4),
    }
    return write_small(student, folder, kept, facts=facts)


def tell_origin(manifest: Mapping[str, Any], *, megabytes: float, gain: float) -> dict[str, Any]:
    """What a small student is made of: the weights of the one with this manifest, into so much room."""
    return {"of": weights_of(manifest), "room": megabytes, "gain": gain}


def write_small(student: Path, folder: Path, changes: Sequence[Change], *, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write a student whose weights are those of its base with some changes.

    student (Path): a student of that base, for all that is not weights.
    folder (Path): where it goes; replaces what is there.
    changes (Sequence[Change]): what is added to the base, all of it.
    facts (Mapping): what its manifest is to say of the difference.
    RETURNS (dict): the facts, with the megabytes of the file.
    """
    manifest = check_manifest(student)
    model = open_model(find_base(manifest["base"], student), dtype=torch.float32, device=torch.device("cpu"))
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    save_adapter(_adapt(model, changes), part, manifest["base"]["name"])
    for name in manifest["files"]:
        if name == TEMPLATE_FILE or name.startswith(("tokenizer", "special_tokens", "vocab", "merges")):
            shutil.copyfile(student / name, part / name)
    told = {**facts, "megabytes": round((part / ADAPTER).stat().st_size / 1e6, 2)}
    made = {key: value for key, value in manifest.items() if key not in ("files", "difference")}
    write_student(part, {**made, "difference": told})
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
    return told


def find_changes(base: Any, student: Any) -> list[Change]:
    """Decompose the differences of the linear layers that differ, but for the head."""
    of_base = {name: part for name, part in base.named_modules() if isinstance(part, nn.Linear)}
    of_student = dict(student.named_modules())
    names = [name for name, part in of_base.items() if part is not head(base)]
    changes = []
    with torch.no_grad(), show_progress(len(names), "shrink", unit=" matrices") as advance:
        for name in names:
            difference = of_student[name].weight - of_base[name].weight
            if difference.any():
                changes.append(Change(name, *torch.linalg.svd(difference, full_matrices=False)))
            advance(1)
    return changes


def choose_ranks(changes: list[Change], size: int) -> dict[str, int]:
    """How many directions of each matrix to keep, so that all fit: those of most energy for a byte come first."""
    ranks = dict.fromkeys((change.name for change in changes), 0)
    offers = [(float(energy) / change.cost, change) for change in changes for energy in change.energy]
    for _, change in sorted(offers, key=lambda offer: -offer[0]):
        if change.cost <= size:
            size -= change.cost
            ranks[change.name] += 1
    return ranks


@torch.no_grad()
def read_changes(adapted: Any) -> list[Change]:
    """What adapters (a PeftModel) change, without the matrices that they are the factors of."""
    from peft.tuners.lora import LoraLayer

    changes = []
    for name, part in adapted.get_base_model().named_modules():
        if isinstance(part, LoraLayer):
            right, left = (side["default"].weight.float() for side in (part.lora_A, part.lora_B))
            (of_left, left), (of_right, right) = torch.linalg.qr(left), torch.linalg.qr(right.T)
            rows, values, columns = torch.linalg.svd(part.scaling["default"] * left @ right.T)
            changes.append(Change(name, of_left @ rows, values, columns @ of_right.T))
    return changes


def _adapt(model: Any, changes: Sequence[Change]) -> Any:
    """The base with adapters that make these changes."""
    from peft import LoraConfig, get_peft_model

    ranks = {change.name: len(change.values) for change in changes}
    config = LoraConfig(
        r=1,
        rank_pattern=ranks,
        alpha_pattern={name: rank / SCALE for name, rank in ranks.items()},
        target_modules=list(ranks),
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    layers = dict(adapted.get_base_model().named_modules())
    with torch.no_grad():
        for change in changes:
            layer, root = layers[change.name], (SCALE * change.values).sqrt()
            layer.lora_A["default"].weight.copy_(root[:, None] * change.right)
            layer.lora_B["default"].weight.copy_(change.left * root)
            for part in (layer.lora_A, layer.lora_B):  # what is beyond the largest number would not be one
                part["default"].weight.clamp_(-LARGEST, LARGEST)
                part.to(DTYPE)
    return adapted
