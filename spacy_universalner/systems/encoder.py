"""The encoder that a token classifier is trained from: a published one, or a small one made here."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import UniversalNERError
from ..remote import locate_model
from .token_classifier import open_classifier

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def make_classifier(
    tags: Sequence[str],
    words: Iterable[Sequence[str]],
    *,
    base: str | None,
    otherwise: str,
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    max_tokens: int,
    seed: int,
    device: str | None,
) -> tuple[Any, Any, dict[str, Any]]:
    """An encoder with a new layer of tags.

    tags (Sequence[str]): the tags.
    words (Iterable): the words of each sentence, for the word pieces of a small encoder.
    base (str | None): a folder or a repository of a hub; None for a small encoder of random weights.
    otherwise (str): where the base cannot be had: "small" takes a small one, "stop" does not.
    layers, width, heads, vocabulary, max_tokens (int): of a small one.
    seed (int): seed of the new weights.
    device (str | None): as for `hardware.pick_device`.
    RETURNS (tuple): model, tokenizer, and where the weights are from, for the meta of the pipeline.
    RAISES (UniversalNERError): the base cannot be had, and nothing else will do.
    """
    from transformers import set_seed

    set_seed(seed)
    named = {"id2label": dict(enumerate(tags)), "label2id": {tag: i for i, tag in enumerate(tags)}}
    because = "no base is named"
    if base is not None:
        try:
            folder = locate_model(base)
        except UniversalNERError as err:
            if otherwise != "small":
                raise
            because = str(err)
        else:
            model, tokenizer = open_classifier(folder, device, ignore_mismatched_sizes=True, **named)
            return model, tokenizer, {"encoder": base, "weights": "published"}
    model, tokenizer = make_small(
        words, layers=layers, width=width, heads=heads, vocabulary=vocabulary, max_tokens=max_tokens, **named
    )
    shape = f"BERT of {layers} layers, {width} wide, made for this set"
    return _move(model, device), tokenizer, {"encoder": shape, "weights": "random at the start", "because": because}


def make_small(
    words: Iterable[Sequence[str]],
    *,
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    max_tokens: int,
    **named: Any,
) -> tuple[Any, Any]:
    """A BERT of random weights, and word pieces of some sentences. NAMED are the names of its outputs."""
    from transformers import AutoModelForTokenClassification, BertConfig

    tokenizer = make_pieces(words, vocabulary)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=max_tokens,
        pad_token_id=tokenizer.pad_token_id,
        **named,
    )
    return AutoModelForTokenClassification.from_config(config), tokenizer


def make_pieces(words: Iterable[Sequence[str]], size: int) -> Any:
    """A WordPiece tokenizer of cased text. SIZE is that of its vocabulary at most."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token=SPECIAL["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIAL.values()), show_progress=False, min_frequency=2
    )
    backend.train_from_iterator((" ".join(sentence) for sentence in words), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def _move(model: Any, device: str | None) -> Any:
    from ..hardware import pick_device

    return model.to(pick_device(device))
