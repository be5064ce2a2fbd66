import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.docs import list_files, name_labels, read_docs

NLP = spacy.blank("en")


def make_doc(text, *ents, sentences=(), missing=False):
    """A doc with (surface, label) entities; SENTENCES are the words a sentence starts with, none for no boundaries."""
    doc = NLP.make_doc(text)
    spans = [doc.char_span(text.index(surface), text.index(surface) + len(surface), label) for surface, label in ents]
    doc.set_ents(spans, default="missing" if missing else "outside")
    if sentences:
        for token in doc:
            token.is_sent_start = token.text in sentences
    return doc


def write(folder, *docs, name="train.spacy"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    DocBin(docs=docs).to_disk(path)
    return path


def read(path, labels=None, spans_key=None):
    return read_docs(list_files(path), name="mine", labels=labels, spans_key=spans_key)


def answers(example):
    return sorted((example.text[start:end], type_) for start, end, type_ in example.spans)


SENTENCES = make_doc(
    "Ada saw Rome. Bob left.", ("Ada", "PER"), ("Rome", "GPE"), ("Bob", "PER"), sentences=("Ada", "Bob")
)


def test_a_sentence_is_an_example(tmp_path):
    examples, set_aside = read(write(tmp_path, SENTENCES))
    assert [(e.id, e.text) for e in examples] == [("mine-train-0.0", "Ada saw Rome."), ("mine-train-0.1", "Bob left.")]
    assert [answers(e) for e in examples] == [[("Ada", "per"), ("Rome", "gpe")], [("Bob", "per")]]
    assert not set_aside


def test_a_doc_without_sentence_boundaries_is_one_example(tmp_path):
    (example,), _ = read(write(tmp_path, make_doc("Ada left. Bob left.", ("Bob", "PER"))))
    assert (example.id, example.text, answers(example)) == ("mine-train-0", "Ada left. Bob left.", [("Bob", "per")])


# A map, and the types and answers of the doc above with it.
MAPS = {
    "none": (None, ("gpe", "per"), ["Ada", "Bob", "Rome"]),
    "natural words": ({"PER": "person", "GPE": "place"}, ("person", "place"), ["Ada", "Bob", "Rome"]),
    "a tag left out": ({"PER": "person", "GPE": None}, ("person",), ["Ada", "Bob"]),
    "two tags of one type": ({"PER": "name", "GPE": "name"}, ("name",), ["Ada", "Bob", "Rome"]),
    "a tag that does not occur": (
        {"PER": "person", "GPE": "place", "ORG": "company"},
        ("person", "place", "company"),
        ["Ada", "Bob", "Rome"],
    ),
}


@pytest.mark.parametrize(("labels", "types", "surfaces"), MAPS.values(), ids=MAPS)
def test_tags_are_asked_for_in_the_words_of_the_map(tmp_path, labels, types, surfaces):
    examples, _ = read(write(tmp_path, SENTENCES), labels)
    assert {e.types for e in examples} == {types}
    assert sorted(surface for e in examples for surface, _ in answers(e)) == surfaces


def test_words_for_tags_without_a_map():
    tags = ["PERSON", "WORK_OF_ART", "Cell_Line", "__X__"]
    assert list(name_labels(tags).values()) == ["person", "work of art", "cell line", "x"]


def test_labels_the_map_does_not_know_are_named_at_once(tmp_path):
    path = write(tmp_path, SENTENCES)
    with pytest.raises(UniversalNERError, match=r"U157.*train\.spacy.*'GPE', 'PER'.*'mine'.*ORG.*null"):
        read(path, {"ORG": "company"})


@pytest.mark.parametrize("label", ["", "_"])
def test_a_label_without_a_word_in_it_is_an_error(tmp_path, label):
    doc = make_doc("Ada left.")
    doc.spans["sc"] = [Span(doc, 0, 1, label)]
    with pytest.raises(UniversalNERError, match=rf"U157.*train\.spacy.*'{label}'"):
        read(write(tmp_path, doc), spans_key="sc")


def test_offsets_are_exact_where_space_is_odd(tmp_path):
    words, spaces = ["\n", "Ada", " ", "B.", "\n\n", "left", "."], [False, True, False, False, False, False, False]
    doc = Doc(NLP.vocab, words=words, spaces=spaces)
    doc.ents = [Span(doc, 1, 4, "PER")]
    doc.spans["sc"] = [Span(doc, 0, 5, "PER")]
    path = write(tmp_path, doc)
    assert [answers(e) for key in (None, "sc") for e in read(path, spans_key=key)[0]] == [[("Ada  B.", "per")]] * 2


def test_spans_of_a_key_may_overlap(tmp_path):
    doc = make_doc("New York City grew.")
    doc.spans["sc"] = [Span(doc, 0, 2, "STATE"), Span(doc, 0, 3, "CITY")]
    (example,), _ = read(write(tmp_path, doc), spans_key="sc")
    assert answers(example) == [("New York", "state"), ("New York City", "city")]


def test_an_empty_key_is_an_answer_and_no_key_is_none(tmp_path):
    marked, bare, unknown = (make_doc(text) for text in ("Ada left.", "It rained.", "Bob left."))
    marked.spans["sc"], bare.spans["sc"] = [Span(marked, 0, 1, "PER")], []
    examples, set_aside = read(write(tmp_path, marked, bare, unknown), spans_key="sc")
    assert [e.text for e in examples] == ["Ada left.", "It rained."]
    assert set_aside == {"sentences not annotated": 1}


def test_sentences_whose_entities_are_missing_are_set_aside(tmp_path):
    partly = make_doc("Ada met Bob.", ("Ada", "PER"), missing=True)
    examples, set_aside = read(write(tmp_path, partly, NLP.make_doc("Eve left."), make_doc("It rained.")))
    assert [(e.text, e.spans) for e in examples] == [("It rained.", frozenset())]
    assert set_aside == {"sentences not annotated": 2, "entities not in one sentence": 1}


def test_an_entity_across_a_sentence_end_is_set_aside(tmp_path):
    doc = make_doc("Ada saw St. Ives.", ("Ada", "PER"), ("St. Ives", "GPE"), sentences=("Ada", "Ives"))
    examples, set_aside = read(write(tmp_path, doc))
    assert [answers(e) for e in examples] == [[("Ada", "per")], []]
    assert set_aside == {"entities not in one sentence": 1}


def test_the_files_of_a_folder_are_read_in_order(tmp_path):
    for name, text in (("b.spacy", "Bob left."), ("a.spacy", "Ada left."), ("more/c.spacy", "Eve left.")):
        write(tmp_path, make_doc(text), name=name)
    (tmp_path / "notes.txt").write_text("no docs", encoding="utf8")
    examples, _ = read(tmp_path)
    assert [(e.id, e.text[:3]) for e in examples] == [
        ("mine-train-0", "Ada"),
        ("mine-train-1", "Bob"),
        ("mine-train-2", "Eve"),
    ]


def damage(content):
    return lambda folder: (folder / "train.spacy").write_bytes(content)


BAD = {
    "no such file": (lambda folder: None, r"U001.*train\.spacy"),
    "no docs": (lambda folder: write(folder), r"U158.*'mine'.*0 documents"),
    "no entities": (lambda folder: write(folder, NLP.make_doc("Eve left.")), r"U158.*not annotated': 1.*doc\.ents"),
    "empty": (damage(b""), r"U100.*train\.spacy"),
    "another format": (damage(b"\x78\x9c\x63\x04\x00\x00\x02\x00\x02"), r"U100.*train\.spacy"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_files_that_cannot_be_learnt_from_are_errors(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(UniversalNERError, match=message):
        read(tmp_path / "train.spacy")


def test_a_folder_without_files_is_an_error(tmp_path):
    with pytest.raises(UniversalNERError, match=r"U004.*\.spacy file"):
        list_files(tmp_path)
