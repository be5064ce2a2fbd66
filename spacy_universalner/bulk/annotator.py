"""A pipeline at work on shards: a document that fails is set aside alone, with its reason."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import ignore_error, raise_error

from ..component import NAME
from ..errors import Errors, UniversalNERError
from ..records import Passage
from ..registry import Loadable
from .formats import FORMATS
from .shards import Shard

EMPTY, FAILED = "empty", "failed"
MAX_FAILURES = 100
"""So many documents that fail in a row are not at fault themselves: a server is gone, or a device."""


@dataclass(frozen=True)
class Result:
    """A shard that was worked through.

    data (bytes): the file of its annotated documents.
    row (dict): what the journal says of it: part, digest, documents, characters, spans by label, what the component
        could not use by reason, the documents set aside and the seconds it took.
    """

    data: bytes
    row: dict[str, Any]


def open_pipeline(pipeline: str, labels: Sequence[str] = ()) -> Language:
    """Load a pipeline to ask for labels, which writes all it finds to the span group, whatever it is set to annotate.

    pipeline (str): its folder, or the name of its package.
    labels (Sequence[str]): the types to ask for; none for those of the pipeline.
    RAISES (UniversalNERError): no such pipeline, one without a `universal_ner`, or labels it refuses.
    """
    try:
        nlp = spacy.load(pipeline)
    except UniversalNERError:
        raise
    except (OSError, ValueError) as err:  # what spaCy raises for folders, packages and configs
        raise UniversalNERError(Errors.U195.format(pipeline=pipeline, reason=err)) from err
    if NAME not in nlp.pipe_names:
        raise UniversalNERError(Errors.U196.format(pipeline=pipeline, name=NAME, pipes=nlp.pipe_names))
    if nlp.get_pipe(NAME).annotate == "ents":
        nlp.get_pipe(NAME).annotate = "both"  # what is written is read from the span group
    if labels:
        nlp.get_pipe(NAME).set_labels(labels)
    return nlp


class Annotator:
    """Annotates shards.

    nlp (Language): the pipeline.
    form (str): one of FORMATS.
    batch_size (int): documents the pipeline is given at a time.
    advance (Callable): told how many documents were done.
    """

    def __init__(
        self, nlp: Language, *, form: str, batch_size: int, advance: Callable[[int], object] = lambda count: None
    ) -> None:
        self.nlp = nlp
        self.spans_key = nlp.get_pipe(NAME).spans_key
        self.format = FORMATS[form]
        self.batch_size = batch_size
        self.advance = advance
        self.failures = 0

    @classmethod
    def load(cls, pipeline: str, labels: Sequence[str], **settings: Any) -> "Annotator":
        """Load a pipeline and its student now, so that what is wrong with them is no fault of the first documents.

        RAISES (UniversalNERError): as of `open_pipeline`; no labels, no student, or not as its manifest says.
        """
        nlp = open_pipeline(pipeline, labels)
        pipe = nlp.get_pipe(NAME)
        pipe.predict([nlp.make_doc("")])  # no labels show here
        if isinstance(pipe.engine, Loadable):
            pipe.engine.load()
        return cls(nlp, **settings)

    def __call__(self, shard: Shard) -> Result:
        """Annotate a shard. RAISES (UniversalNERError): too many documents in a row fail."""
        start = time.perf_counter()
        self.counts: dict[str, Counter[str]] = {"spans": Counter(), "unused": Counter()}
        with self.nlp.memory_zone():  # else the vocabulary grows with the corpus
            encoded, set_aside = self._annotate(shard.documents)
            data = self.format.join(encoded[place] for place in sorted(encoded))
        row = {
            "part": shard.number,
            "digest": shard.digest,
            "documents": len(encoded),
            "characters": sum(len(shard.documents[place].text) for place in encoded),
            **{name: dict(sorted(counter.items())) for name, counter in self.counts.items()},
            "set_aside": set_aside,
            "seconds": round(time.perf_counter() - start, 3),
        }
        return Result(data, row)

    def _annotate(self, documents: Sequence[Passage]) -> tuple[dict[int, Any], list[dict[str, str]]]:
        """RETURNS (tuple): the docs as they will be written by their places, and the documents set aside."""
        encoded: dict[int, Any] = {}
        self.nlp.set_error_handler(ignore_error)
        for doc, place in self.nlp.pipe(self._docs(documents), as_tuples=True, batch_size=self.batch_size):
            try:
                encoded[place] = self._encode(doc, documents[place])
            except Exception:  # it fails again below, where its reason is kept
                continue
            self.advance(1)
        self.nlp.set_error_handler(raise_error)
        set_aside = []
        for place, document in enumerate(documents):
            if place in encoded:
                self.failures = 0
                continue
            fault = self._retry(document, place, encoded)
            if fault:
                set_aside.append({"id": document.id, **fault})
            self.advance(1)
        return encoded, set_aside

    def _docs(self, documents: Sequence[Passage]) -> Iterator[tuple[Doc, int]]:
        for place, document in enumerate(documents):
            try:
                doc = self.nlp.make_doc(document.text) if document.text.strip() else None
            except Exception:  # it fails again when it is tried alone
                continue
            if doc is not None:
                yield doc, place

    def _retry(self, document: Passage, place: int, encoded: dict[int, Any]) -> dict[str, str] | None:
        """Annotate a document whose batch has failed alone. RETURNS (dict): why it is set aside, None if it is not."""
        if not document.text.strip():
            return {"reason": EMPTY}
        try:
            encoded[place] = self._encode(self.nlp(document.text), document)
        except Exception as err:  # spaCy's contract: a component may raise whatever it likes
            self.failures += 1
            error = f"{type(err).__name__}: {err}"
            if self.failures >= MAX_FAILURES:
                about = {"count": self.failures, "id": document.id, "error": error}
                raise UniversalNERError(Errors.U200.format(**about)) from err
            return {"reason": FAILED, "error": error}
        self.failures = 0
        return None

    def _encode(self, doc: Doc, document: Passage) -> Any:
        encoded = self.format.encode(doc, document.id, self.spans_key)
        self.counts["spans"].update(span.label_ for span in doc.spans.get(self.spans_key, ()))
        self.counts["unused"].update(entry["reason"] for entry in doc.user_data.get(NAME, ()))
        return encoded
