"""Throughput and peak memory of the stage `annotate` against a stand-in server in a process of its own.

    python benchmarks/annotating.py                                   # 64 in flight, replies after 200 ms
    python benchmarks/annotating.py --delay 0 --number 200000         # memory over ever more passages

The limit is requests in flight over the server's delay. Every run asks a new store about passages of about 200 words,
each run in a process of its own. The last line is JSON.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
TEXT = "Ada Lovelace met Charles Babbage in London in June. " * 22
SERVER = [sys.executable, "-m", "tests.chat_server", "--port", "0", "--delay"]


def measure(folder: Path, url: str, number: int, concurrency: int) -> dict[str, float]:
    """Ask about passages. RETURNS (dict): rate, CPU time and peak memory."""
    from spacy_universalner.records import Passage, write_records
    from spacy_universalner.teacher.annotate import Annotation, get_teacher, load_teacher

    config = (ROOT / "configs" / "local.cfg").read_text(encoding="utf8")
    config = config.replace("http://127.0.0.1:8000/v1", url).replace("concurrency = 32", f"concurrency = {concurrency}")
    (folder / "teacher.cfg").write_text(config.replace("corpus/store.jsonl", f"{folder}/store.jsonl"), encoding="utf8")
    teacher = get_teacher(load_teacher(folder / "teacher.cfg"))

    def passages() -> Iterator[Passage]:
        return (Passage(f"p{place}", f"{TEXT}{place}") for place in range(number))

    with Annotation(teacher) as annotation:
        start, cpu = time.perf_counter(), time.process_time()
        write_records(folder / "replies.jsonl", annotation.replies(passages()))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "passages": number,
        "replies": annotation.counts["replies"],
        "seconds": round(seconds, 1),
        "replies_per_second": round(number / seconds, 1),
        "cpu_ms_per_reply": round(1000 * cpu / number, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main(
    number: Annotated[int, typer.Option(help="Passages of the longest run")] = 4000,
    concurrency: Annotated[int, typer.Option(help="Requests in flight")] = 64,
    delay: Annotated[float, typer.Option(help="Seconds the server takes for a reply")] = 0.2,
    worker: Annotated[str, typer.Option(help="Internal: measure against this server, here")] = "",
) -> None:
    if worker:
        with tempfile.TemporaryDirectory() as folder:
            return typer.echo(json.dumps(measure(Path(folder), worker, number, concurrency)))
    server = subprocess.Popen([*SERVER, str(delay)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        url, runs = server.stdout.readline().strip(), []
        for share in (4, 2, 1):
            options = ["--number", str(number // share), "--concurrency", str(concurrency), "--worker", url]
            done = subprocess.run([sys.executable, __file__, *options], check=True, stdout=subprocess.PIPE, text=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            typer.echo(runs[-1])
    finally:
        server.terminate()
        server.wait()
    ideal = round(concurrency / delay, 1) if delay else None
    share = round(runs[-1]["replies_per_second"] / ideal, 3) if ideal else None
    typer.echo(json.dumps({"ideal": ideal, "share_of_ideal": share, "runs": runs}))


if __name__ == "__main__":
    typer.run(main)
