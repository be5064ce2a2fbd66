"""Questions a second: the engine against Hugging Face `generate` one prompt at a time, same student, same questions.

    python benchmarks/inference.py

It needs `training/student` (`weasel run train`). Passages are those of the corpus, each asked about the same types.
Answers are compared too; they differ where one repeats itself, at which the engine stops and `generate` goes on.
The last line is JSON.
"""

import json
import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import typer

from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.hardware import matmul_gflops
from spacy_universalner.parsing import parse_list
from spacy_universalner.records import Passage, read_records

TYPES = ["person", "organization", "city", "date", "event", "product", "animal", "technology", "law", "disease"]


def one_by_one(engine: TransformersEngine, passages: list[str]) -> list[list[tuple[str, ...]]]:
    """Answers of `generate` on each prompt, parsed as the engine parses its own."""
    student = engine.extractor
    found = []
    for passage in passages:
        answers = []
        for name in TYPES:
            prompt = torch.tensor([[*student.encoder.passage(passage), *student.encoder.ask((name,))]])
            ids = student.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=engine.max_new_tokens,
                eos_token_id=student.encoder.end,
                pad_token_id=0,
            )
            mentions = parse_list(student.encoder.decode(ids[0, prompt.shape[1] :].tolist())) or []
            answers.append(tuple(dict.fromkeys(mentions)))
        found.append(answers)
    return found


def main(
    student: Annotated[Path, typer.Option(help="The student")] = Path("training/student"),
    count: Annotated[int, typer.Option(help="Passages")] = 16,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or auto")] = "float32",
) -> None:
    """Measure both on the same questions, in one process."""
    passages = [p.text for p in islice(read_records(Path("assets/passages.jsonl"), Passage), 0, None, 25)][:count]
    engine = TransformersEngine(model=str(student), device="cpu", dtype=dtype, batch_tokens=16384, max_new_tokens=128)
    engine.extract(passages[:1], [TYPES[:1]])
    asked = len(passages) * len(TYPES)
    start = time.perf_counter()
    ours = [[a.mentions for a in answers] for answers in engine.extract(passages, [TYPES] * len(passages))]
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    theirs = one_by_one(engine, passages)
    theirs_seconds = time.perf_counter() - start
    same = sum(a == b for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True))
    result = {
        "questions": asked,
        "questions_per_s": round(asked / seconds, 2),
        "one_by_one": round(asked / theirs_seconds, 2),
        "ratio": round(theirs_seconds / seconds, 2),
        "identical_share": round(same / asked, 4),
        "matmul_gflops": round(matmul_gflops(next(engine.extractor.model.parameters()).dtype)),
    }
    typer.echo(json.dumps(result))


if __name__ == "__main__":
    typer.run(main)
