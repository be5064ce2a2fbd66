"""What bases leave open, decided once when one is installed: the end token, the pad token, the context."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

# Where architectures write how many tokens they see.
LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
NO_LIMIT = 2048


@dataclass(frozen=True)
class Choice:
    """A token that was chosen.

    token (str): as the tokenizer writes it.
    id (int): its id.
    because (str): why this one.
    """

    token: str
    id: int
    because: str


def choose_end(tokenizer: Any, config: Any, *, named: str | None) -> Choice | None:
    """The token that ends a turn: the one named, else the tokenizer's, else the configuration's.

    named (str | None): what is known of this base.
    RETURNS (Choice | None): None if none of them is a token of the model.
    """
    ids = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    listed = [tokenizer.convert_ids_to_tokens(i) for i in ids if i is not None]
    return _first(
        tokenizer,
        config,
        [
            (named, "it ends the turns this base was tuned on"),
            (tokenizer.eos_token, "the tokenizer names it"),
            *((token, "config.json names it, the tokenizer names none") for token in listed),
        ],
    )


def choose_pad(tokenizer: Any, config: Any, end: Choice, *, named: str | None) -> Choice:
    """The token that fills a batch: one the model has, and not the end token, which is learnt, if there is another."""
    choice = _first(
        tokenizer,
        config,
        [
            (named, "it stands for no text in this base"),
            (tokenizer.pad_token, "the tokenizer names it"),
            (tokenizer.unk_token, "the tokenizer's pad token is none or the end token; this is its unknown token"),
            *((token, "a special token that is not the end token") for token in tokenizer.all_special_tokens),
        ],
        but=end.id,
    )
    return choice or Choice(end.token, end.id, "the only special token; what fills a batch is masked and never learnt")


def context_of(config: Any) -> tuple[int, str]:
    """Most tokens that see one another. RETURNS (tuple): how many, and where that is from."""
    text = config.get_text_config()
    tokens, because = next(_limits(text, LIMITS), (NO_LIMIT, "its configuration names no limit"))
    kinds = getattr(text, "layer_types", None) or ["sliding_attention", "chunked_attention"]
    names = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
    windows = [limit for kind in names if kind in kinds for limit in _limits(text, [names[kind]])]
    return min([(tokens, because), *windows])


def _limits(config: Any, names: Iterable[str]) -> Iterator[tuple[int, str]]:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            yield value, f"{name} in its configuration"


def _first(
    tokenizer: Any, config: Any, candidates: Iterable[tuple[str | None, str]], *, but: int | None = None
) -> Choice | None:
    """The first candidate that is in the vocabulary and has a row among the embeddings."""
    vocabulary = tokenizer.get_vocab()
    rows = config.get_text_config().vocab_size
    for token, because in candidates:
        number = vocabulary.get(token)
        if number is not None and number < rows and number != but:
            return Choice(token, number, because)
    return None
