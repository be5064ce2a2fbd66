import json

import pytest
import spacy
from spacy.language import Language

from spacy_universalner.bulk import annotator
from spacy_universalner.bulk.annotator import Annotator, open_pipeline
from spacy_universalner.bulk.shards import cut
from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Passage
from spacy_universalner.registry import Answer

from ..pipelines import with_student
from ..test_component import TRANSFORMERS, replaying, with_engine

ANSWERS = {"Ada left Rome!": {"person": ["Ada"], "city": ["Rome"]}, "It rained!": {"person": [], "city": ["Oslo"]}}


class Counting:
    """Finds every "Ada", fails on whatever says so, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def extract(self, passages, types):
        self.asked.append(list(passages))
        if any("fail" in passage for passage in passages):
            raise RuntimeError("out of luck")
        return [[Answer(("Ada",)) for _ in names] for names in types]


def annotate(texts, nlp=None, **settings):
    nlp = with_engine(Counting()) if nlp is None else nlp
    work = Annotator(nlp, **{"form": "jsonl", "batch_size": 2, **settings})
    (shard,) = cut([Passage(str(number), text) for number, text in enumerate(texts)], 1000)
    return work(shard)


def ids(result):
    return [json.loads(line)["id"] for line in result.data.splitlines()]


def test_a_shard_is_annotated_and_counted():
    result = annotate(ANSWERS, replaying(ANSWERS))
    assert [json.loads(line)["text"] for line in result.data.splitlines()] == list(ANSWERS)
    assert result.row["seconds"] >= 0 and len(result.row["digest"]) == 64
    assert {name: value for name, value in result.row.items() if name not in ("seconds", "digest")} == {
        "part": 0,
        "documents": 2,
        "characters": 24,
        "spans": {"city": 1, "person": 1},
        "unused": {"not in the text": 1},
        "set_aside": [],
    }


@pytest.mark.parametrize("text", ["", " \n\t", "\u00a0"])
def test_an_empty_document_is_set_aside_and_not_asked_about(text):
    nlp = with_engine(Counting())
    result = annotate(["Ada slept.", text], nlp)
    assert result.row["set_aside"] == [{"id": "1", "reason": "empty"}]
    assert nlp.get_pipe("universal_ner").engine.asked == [["Ada slept."]]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_a_failing_document_is_set_aside_alone(batch_size):
    result = annotate(["Ada 0.", "Ada 1.", "fail", "Ada 3.", "Ada 4."], batch_size=batch_size)
    assert ids(result) == ["0", "1", "3", "4"]
    assert result.row["set_aside"] == [{"id": "2", "reason": "failed", "error": "RuntimeError: out of luck"}]
    assert (result.row["documents"], result.row["spans"]) == (4, {"person": 4})


def test_a_document_too_long_for_the_pipeline_is_set_aside():
    nlp = with_engine(Counting())
    nlp.max_length = 20
    result = annotate(["Ada slept.", "Ada slept. " * 3, "Ada left."], nlp)
    assert ids(result) == ["0", "2"]
    assert "E088" in result.row["set_aside"][0]["error"]


@pytest.mark.parametrize("form", ["spacy", "jsonl", "parquet"])
def test_a_document_that_cannot_be_written_is_set_aside(form):
    @Language.component("spoil")
    def spoil(doc):
        if "spoil" in doc.text:
            doc.spans["universal_ner"].attrs["scores"] = [0.1] * 9
            doc.user_data["object"] = object()
        return doc

    nlp = with_engine(Counting())
    nlp.add_pipe("spoil")
    result = annotate(["Ada slept.", "spoil Ada.", "Ada left."], nlp, form=form)
    assert [entry["id"] for entry in result.row["set_aside"]] == ["1"]
    assert result.row["spans"] == {"person": 2}


def test_many_failures_in_a_row_stop_the_work(monkeypatch):
    monkeypatch.setattr(annotator, "MAX_FAILURES", 3)
    with pytest.raises(UniversalNERError, match=r"U200.*3 documents.*\(3\).*out of luck"):
        annotate(["Ada 0.", "fail 1", "fail 2", "fail 3", "fail 4"])


def test_failures_with_others_between_them_do_not_stop_the_work(monkeypatch):
    monkeypatch.setattr(annotator, "MAX_FAILURES", 2)
    result = annotate(["fail 0", "Ada 1.", "fail 2", "Ada 3.", "fail 4"])
    assert ids(result) == ["1", "3"]


def test_progress_is_told_of_every_document_once():
    told = []
    annotate(["Ada 0.", "", "fail", "Ada 3."], advance=told.append)
    assert sum(told) == 4


def test_the_vocabulary_does_not_grow_with_the_documents():
    nlp = with_engine(Counting())
    before = len(nlp.vocab.strings)
    annotate([f"Ada met qx{number}." for number in range(50)], nlp, form="spacy")
    assert len(nlp.vocab.strings) <= before + 2  # labels may stay


# Pipelines


@pytest.fixture
def saved(tmp_path):
    replaying(ANSWERS).to_disk(tmp_path / "pipeline")
    return str(tmp_path / "pipeline")


@pytest.mark.parametrize(("labels", "expected"), [((), ("person", "city")), (("date", "city"), ("date", "city"))])
def test_labels_are_those_given_or_the_pipelines(saved, labels, expected):
    assert open_pipeline(saved, labels).get_pipe("universal_ner").labels == expected


@pytest.mark.parametrize("annotate", ["ents", "spans", "both"])
def test_what_a_pipeline_writes_to_its_docs_does_not_matter(tmp_path, annotate):
    replaying(ANSWERS, annotate=annotate).to_disk(tmp_path / "pipeline")
    work = Annotator(open_pipeline(str(tmp_path / "pipeline")), form="jsonl", batch_size=2)
    (shard,) = cut([Passage(str(number), text) for number, text in enumerate(ANSWERS)], 1000)
    assert work(shard).row["spans"] == {"city": 1, "person": 1}


def test_a_pipeline_is_opened_without_loading_its_student(tuned_student, tmp_path, monkeypatch):
    with_student(tuned_student).to_disk(tmp_path / "pipeline")
    monkeypatch.delattr(TransformersEngine, "extractor")
    assert open_pipeline(str(tmp_path / "pipeline"), ["city"]).get_pipe("universal_ner").labels == ("city",)


def test_a_label_that_cannot_be_asked_is_refused(saved):
    with pytest.raises(UniversalNERError, match="U041"):
        open_pipeline(saved, ["city", "city"])


def test_a_pipeline_that_is_not_there():
    with pytest.raises(UniversalNERError, match="U195.*no_such_pipeline"):
        open_pipeline("no_such_pipeline")


def test_a_pipeline_without_the_component(tmp_path):
    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(UniversalNERError, match="U196.*universal_ner"):
        open_pipeline(str(tmp_path))


def test_a_missing_student_is_no_fault_of_the_documents(saved, tmp_path):
    config = spacy.load(saved).config.copy()
    config["components"]["universal_ner"]["engine"] = {**TRANSFORMERS, "model": str(tmp_path / "gone")}
    config.to_disk(f"{saved}/config.cfg")
    with pytest.raises(UniversalNERError, match="U051"):
        Annotator.load(saved, ["person"], form="jsonl", batch_size=1)


def test_a_pipeline_without_labels_is_refused_at_once(tmp_path):
    replaying({"": {}}).to_disk(tmp_path)
    with pytest.raises(UniversalNERError, match="U040"):
        Annotator.load(str(tmp_path), [], form="jsonl", batch_size=1)
