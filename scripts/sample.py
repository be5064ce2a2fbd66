"""Cut documents into passages to be labelled."""

from pathlib import Path

from spacy_universalner.corpus.passages import read_documents, sample
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.records import write_records
from spacy_universalner.schemas import load_settings
from spacy_universalner.stage import run, stage


def main(
    documents: Path = Path("assets/passages.jsonl"),
    config: Path = Path("configs/distil.cfg"),
    passages: Path = Path("corpus/passages.jsonl"),
) -> None:
    """Cut DOCUMENTS to size, drop duplicates and keep a sample, as the section [sample] of CONFIG says."""
    with stage("sample", [passages]) as facts:
        settings = load_settings(config, "sample")
        result = sample(
            read_documents(documents), max_tokens=settings.max_tokens, limit=settings.limit, seed=settings.seed
        )
        if not result.passages:
            hint = "Every line should be a JSON object with a text."
            raise UniversalNERError(Errors.U004.format(path=documents, kind="document with visible text", hint=hint))
        write_records(passages, result.passages)
        facts.update(result.counts)


if __name__ == "__main__":
    run(main)
