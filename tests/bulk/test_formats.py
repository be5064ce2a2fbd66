import io
import json

import pytest
import spacy
from pyarrow import parquet
from spacy.tokens import DocBin, Span, SpanGroup
from spacy.vocab import Vocab

from spacy_universalner.bulk.formats import FORMATS, describe


def make_doc(scores=None):
    """A doc with two spans that overlap, of which one is an entity."""
    doc = spacy.blank("en")("Björk sang in New York City.")
    spans = [Span(doc, 0, 1, "person"), Span(doc, 3, 6, "city"), Span(doc, 3, 5, "state")]
    attrs = {} if scores is None else {"scores": scores}
    doc.spans["universal_ner"] = SpanGroup(doc, name="universal_ner", spans=spans, attrs=attrs)
    doc.ents = spans[:2]
    return doc


def span(start, end, label, text, ent, **score):
    return {"start": start, "end": end, "label": label, "text": text, "ent": ent, **score}


SPANS = [(0, 5, "person", "Björk", True), (14, 27, "city", "New York City", True), (14, 22, "state", "New York", False)]
SCORES = [0.9, 0.5, 0.25]


def rows(form, docs):
    """What is read back from a file of docs."""
    encoded = [FORMATS[form].encode(doc, f"d{number}", "universal_ner") for number, doc in enumerate(docs)]
    data = FORMATS[form].join(encoded)
    if form == "jsonl":
        return [json.loads(line) for line in data.splitlines()]
    if form == "parquet":
        return parquet.read_table(io.BytesIO(data)).to_pylist()
    read = DocBin().from_bytes(data).get_docs(Vocab())
    return [describe(doc, doc.user_data["id"], "universal_ner") for doc in read]


@pytest.mark.parametrize("form", FORMATS)
def test_all_spans_are_written_with_their_scores(form):
    spans = [span(*about, score=score) for about, score in zip(SPANS, SCORES, strict=True)]
    assert rows(form, [make_doc(SCORES)]) == [{"id": "d0", "text": "Björk sang in New York City.", "spans": spans}]


@pytest.mark.parametrize("form", FORMATS)
def test_without_scores_there_are_none(form):
    none = {"score": None} if form == "parquet" else {}
    assert rows(form, [make_doc()])[0]["spans"] == [span(*about, **none) for about in SPANS]


@pytest.mark.parametrize("form", FORMATS)
def test_docs_without_spans_are_written(form):
    nlp = spacy.blank("en")
    assert rows(form, [nlp("It rained."), nlp("It\nsnowed.")]) == [
        {"id": "d0", "text": "It rained.", "spans": []},
        {"id": "d1", "text": "It\nsnowed.", "spans": []},
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_no_docs_can_be_read(form):
    assert rows(form, []) == []


def test_scores_that_do_not_fit_the_spans_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        describe(make_doc([0.9]), "d0", "universal_ner")
