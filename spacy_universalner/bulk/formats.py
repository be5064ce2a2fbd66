"""What annotated documents look like in files: `.spacy`, JSON lines or Parquet."""

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from spacy.tokens import Doc, DocBin


@dataclass(frozen=True)
class Format:
    """A kind of file.

    encode (Callable): doc, id and key of its span group -> the doc as it will be written; whatever fails, fails here.
    join (Callable): what `encode` gave for some docs -> the bytes of a file.
    """

    encode: Callable[[Doc, str, str], Any]
    join: Callable[[Iterable[Any]], bytes]


def describe(doc: Doc, id: str, spans_key: str) -> dict[str, Any]:
    """A doc as a row.

    RETURNS (dict): {"id", "text", "spans"}; a span is {"start", "end", "label", "text", "ent", "score"?} with offsets
        in characters; ent says whether it is in doc.ents, which do not overlap; a score stands where the engine has
        one.
    """
    ents = {(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents}
    group = doc.spans[spans_key] if spans_key in doc.spans else ()
    scores = getattr(group, "attrs", {}).get("scores") or [None] * len(group)
    spans = []
    for span, score in zip(group, scores, strict=True):
        place = (span.start_char, span.end_char, span.label_)
        row = {**dict(zip(("start", "end", "label"), place, strict=True)), "text": span.text, "ent": place in ents}
        spans.append(row if score is None else {**row, "score": float(score)})
    return {"id": id, "text": doc.text, "spans": spans}


def _encode_doc(doc: Doc, id: str, spans_key: str) -> DocBin:
    doc.user_data["id"] = id
    return DocBin(docs=[doc], store_user_data=True)


def _join_docs(bins: Iterable[DocBin]) -> bytes:
    merged = DocBin(store_user_data=True)
    for one in bins:
        merged.merge(one)
    return merged.to_bytes()


def _encode_line(doc: Doc, id: str, spans_key: str) -> bytes:
    return json.dumps(describe(doc, id, spans_key), ensure_ascii=False).encode("utf8") + b"\n"


def _join_rows(rows: Iterable[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    span = pyarrow.struct(
        [
            ("start", pyarrow.int64()),
            ("end", pyarrow.int64()),
            ("label", pyarrow.string()),
            ("text", pyarrow.string()),
            ("ent", pyarrow.bool_()),
            ("score", pyarrow.float64()),
        ]
    )
    fields = [("id", pyarrow.string()), ("text", pyarrow.string()), ("spans", pyarrow.list_(span))]
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=pyarrow.schema(fields)), file)
    return file.getvalue()


FORMATS = {
    "spacy": Format(_encode_doc, _join_docs),
    "jsonl": Format(_encode_line, b"".join),
    "parquet": Format(describe, _join_rows),
}
"""The formats by the ending of their files. `.spacy` docs have their id in doc.user_data["id"]."""
