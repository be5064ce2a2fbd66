"""vLLM on the CPU, in its own environment, which need not hold this package: `python ask_vllm.py JOB RESULT`."""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Answer prompts given as ids. The time of the engine's start is not counted, nor that of the first answers.

    RETURNS (dict): the shortest time, that of stopping at a closed list, and the ids of each answer.
    """
    import psutil
    from vllm import LLM, SamplingParams

    start = time.perf_counter()
    engine = LLM(
        model=job["student"],
        dtype=job["dtype"],
        max_model_len=job["context"],
        enable_prefix_caching=True,
        block_size=32,  # the smallest one for the CPU; by default 128, longer than most passages, so none is shared
        skip_tokenizer_init=True,
        generation_config="vllm",
    )
    started = time.perf_counter() - start
    prompts = [{"prompt_token_ids": ids} for ids in job["prompts"]]

    def ask(prompts: list[dict[str, Any]], stop: list[int]) -> tuple[float, list[list[int]]]:
        engine.reset_prefix_cache()
        params = SamplingParams(
            temperature=0, max_tokens=job["max_new_tokens"], stop_token_ids=stop, ignore_eos=True, detokenize=False
        )
        start = time.perf_counter()
        outputs = engine.generate(prompts, params, use_tqdm=False)
        return time.perf_counter() - start, [list(output.outputs[0].token_ids) for output in outputs]

    ask(prompts[:64], [job["end"]])
    runs = [ask(prompts, [job["end"]]) for _ in range(job["rounds"])]
    early = [ask(prompts, [job["end"], *job["closing"]]) for _ in range(job["rounds"])]
    me = psutil.Process()
    memory = sum(process.memory_info().rss for process in (me, *me.children(recursive=True)))
    return {
        "seconds": min(seconds for seconds, _ in runs),
        "seconds_closing": min(seconds for seconds, _ in early),
        "start_seconds": started,
        "ids": runs[-1][1],
        "rss_mb": memory >> 20,
    }


if __name__ == "__main__":
    asked, result = map(Path, sys.argv[1:])
    result.write_text(json.dumps(main(json.loads(asked.read_text(encoding="utf8")))), encoding="utf8")
