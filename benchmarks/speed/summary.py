"""From the numbers of the parts to the line of results; a part that is not there is null in it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

DTYPES = ("float32", "bfloat16")


def share_identical(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float | None:
    """How many of their answers are ours too; None where they gave none."""
    same = [[list(said) for said in ours[key]] == [list(said) for said in answer] for key, answer in theirs.items()]
    return round(sum(same) / len(same), 4) if same else None


def summarize(names: Iterable[str], parts: Mapping[str, Mapping[str, Any]], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The line of results.

    names (Iterable): all parts that there are.
    parts (Mapping): the numbers of each part that was measured, {"missing": reason} of one that could not be.
    ours (Mapping): the plain engine's mentions by question.
    """
    engine, generate, vllm = (parts.get(name, {}) for name in ("engine", "generate", "vllm"))
    dtype = engine.get("dtype")
    rates = {
        "questions_per_s": engine.get("questions_per_s"),
        "plain": parts.get("plain", {}).get("questions_per_s"),
        "pipeline": parts.get("pipeline", {}).get("questions_per_s"),
        "one_by_one": _best(generate, "one_by_one"),
        "batched_generate": _best(generate, "batched_generate"),
        "vllm": _best(vllm, "questions_per_s"),
        **{f"vllm_{name}": vllm.get(name, {}).get("questions_per_s") for name in DTYPES},
        "vllm_closing": _best(vllm, "questions_per_s_closing"),
        "gliner": parts.get("gliner", {}).get("questions_per_s"),
    }
    others = {"vllm": "vllm", "one_by_one": "one_by_one", "batched": "batched_generate", "gliner": "gliner"}
    theirs = generate.get(dtype, {})
    return {
        **{name: _round(rate, 2) for name, rate in rates.items()},
        **{f"ratio_{name}": _ratio(rates["questions_per_s"], rates[key]) for name, key in others.items()},
        **{f"plain_ratio_{name}": _ratio(rates["plain"], rates[key]) for name, key in others.items()},
        "floor_share": share_of_floor(engine, "bfloat16"),
        "floor_share_dtype": share_of_floor(engine, dtype),
        "identical_share": share_identical(ours, theirs.get("single_answers", {})),
        "identical_share_batched": share_identical(ours, theirs.get("batched_answers", {})),
        "identical_share_ended": share_identical(ours, _ended(theirs)),
        **{f"identical_share_vllm_{name}": _identical(ours, vllm.get(name, {})) for name in DTYPES},
        "latency_ms": _round(parts.get("curves", {}).get("latency", {}).get("median_ms"), 1),
        "peak_rss_mb": engine.get("peak_rss_mb"),
        "questions": engine.get("questions"),
        "dtype": dtype,
        **{f"matmul_gflops_{name}": engine.get(f"matmul_gflops_{name}") for name in DTYPES},
        "missing": {**{name: "not asked for" for name in names if name not in parts}, **dict(list_missing(parts))},
    }


def share_of_floor(engine: Mapping[str, Any], dtype: str | None) -> float | None:
    """The least time for the engine's useful arithmetic in a number format, over the time it took."""
    peak = engine.get(f"matmul_gflops_{dtype}")
    return round(engine["flops"] / (1e9 * peak) / engine["seconds"], 4) if peak else None


def list_missing(found: Mapping[Any, Any], name: str = "") -> Iterator[tuple[str, str]]:
    """What could not be measured and why, wherever it stands in the numbers."""
    if "missing" in found:
        yield name, found["missing"]
        return
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from list_missing(value, f"{name}: {key}" if name else str(key))


def _ended(generate: Mapping[str, Any]) -> dict[str, Any]:
    """The answers in batches that came to their end: of one that goes round in circles the engine keeps less."""
    ended = set(generate.get("batched_ended", ()))
    return {key: answer for key, answer in generate.get("batched_answers", {}).items() if key in ended}


def _identical(ours: Mapping[str, Any], part: Mapping[str, Any]) -> float | None:
    return share_identical(ours, part.get("answers", {}))


def _best(part: Mapping[str, Any], key: str) -> float | None:
    return max((value[key] for value in part.values() if isinstance(value, Mapping) and key in value), default=None)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 2) if ours and theirs else None


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
