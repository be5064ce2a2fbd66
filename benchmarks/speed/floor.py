"""The arithmetic that a set of questions cannot do without, whatever answers them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """What of a model multiplies.

    layers (int): transformer layers.
    weights (int): weights of all their matrices, each of which multiplies every token; embeddings are looked up.
    width (int): numbers that a token's queries have in a layer, over all heads.
    head (int): weights of the matrix that makes logits.
    """

    layers: int
    weights: int
    width: int
    head: int


def read_shape(student: Path) -> Shape:
    """The shape of a student, from its configuration: nothing is loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from spacy_universalner.causal import head, layers

    config = AutoConfig.from_pretrained(student).get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    blocks = layers(model)
    weights = sum(p.numel() for block in blocks for p in block.parameters() if p.dim() > 1)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Shape(len(blocks), weights, heads * size, head(model).weight.numel())


def count_flops(shape: Shape, documents: Iterable[tuple[int, Sequence[tuple[int, int]]]]) -> float:
    """Each passage once, each question once behind it, each token of an answer once.

    A token costs two operations for each weight, and four for each number of each token it sees (scores, then values).
    Logits are made where the next token is read from them: behind each question, and behind each token of an answer but
    the last, which is never computed either.

    documents (Iterable): tokens of a passage, and of each question about it (prompt, answer).
    """
    total = 0
    for passage, questions in documents:
        tokens, seen = passage, _seen(0, passage)
        for prompt, answer in questions:
            behind = prompt + max(0, answer - 1)
            tokens += behind
            seen += _seen(passage, behind)
            total += 2 * shape.head * max(1, answer)
        total += 2 * shape.weights * tokens + 4 * shape.layers * shape.width * seen
    return float(total)


def _seen(before: int, tokens: int) -> int:
    """What so many tokens see together: all before them, those of their own before each, and itself."""
    return tokens * before + tokens * (tokens + 1) // 2
