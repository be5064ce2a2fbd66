"""GLiNER with random weights, for its speed, in its own environment: `python ask_gliner.py JOB RESULT`.

The shape is that of the small published models: DeBERTa-v3 small, an LSTM, spans of up to 12 words. Its tokenizer is
the student's, which cuts English about as DeBERTa's does; its table of embeddings has DeBERTa's size. Random weights
find spans everywhere, so the threshold is one that none reaches: GLiNER is spared the work of sorting out its spans.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ENCODER = {
    "model_type": "deberta-v2",
    "vocab_size": 128100,
    "hidden_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "relative_attention": True,
    "max_relative_positions": -1,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-7,
}
SHAPE = {"hidden_size": 512, "max_width": 12, "max_len": 384, "span_mode": "markerV0", "num_rnn_layers": 1}
SPECIAL = ["[FLERT]", "<<ENT>>", "<<SEP>>"]
SIZES = (1, 8, 32)


def make_model(student: str, folder: str) -> Any:
    """A model of that shape, its tokenizer beside it: words come to it one by one, so each begins with a space."""
    import torch
    from gliner import GLiNER
    from tokenizers import Tokenizer, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_file(str(Path(student) / "tokenizer.json"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    tokenizer.add_tokens(SPECIAL, special_tokens=True)
    tokenizer.save_pretrained(folder)
    config = {
        **SHAPE,
        "model_name": folder,
        "encoder_config": ENCODER,
        "ent_token": SPECIAL[1],
        "sep_token": SPECIAL[2],
        "class_token_index": tokenizer.convert_tokens_to_ids(SPECIAL[1]),
        "vocab_size": ENCODER["vocab_size"],
    }
    torch.manual_seed(0)
    return GLiNER.from_config(config, backbone_from_pretrained=False)


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Documents a second in each number format and batch size, and in the best of them for each list of labels."""
    import torch

    texts, labels = job["texts"], job["labels"]
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(job["student"], folder)

    def rate(labels: list[str], size: int) -> float:
        times = []
        model.inference(texts[:size], labels, threshold=0.999, batch_size=size)
        for _ in range(job["rounds"]):
            start = time.perf_counter()
            model.inference(texts, labels, threshold=0.999, batch_size=size)
            times.append(time.perf_counter() - start)
        return len(texts) / min(times)

    rates = {}
    for name in ("float32", "bfloat16"):
        model.to(getattr(torch, name))
        for size in SIZES:
            try:
                rates[f"{name}, batches of {size}"] = rate(labels, size)
            except RuntimeError as err:  # a part of it that knows no other number format
                rates[f"{name}, batches of {size}"] = f"RuntimeError: {err}"
    measured = {key: value for key, value in rates.items() if isinstance(value, float)}
    best = max(measured, key=measured.__getitem__)
    name, _, size = best.partition(", batches of ")
    model.to(getattr(torch, name))
    return {
        "rates": rates,
        "best": best,
        "docs_per_s": measured[best],
        "curve": [(len(some), rate(some, int(size))) for some in job["label_lists"]],
        "parameters": sum(p.numel() for p in model.model.parameters()),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    asked, result = map(Path, sys.argv[1:])
    result.write_text(json.dumps(main(json.loads(asked.read_text(encoding="utf8")))), encoding="utf8")
