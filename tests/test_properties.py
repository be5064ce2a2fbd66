"""What holds for every document and every label, whatever is in them."""

import re
from zlib import crc32

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_universalner.component import UniversalNER
from spacy_universalner.prompts import name_fault
from spacy_universalner.registry import Answer
from spacy_universalner.windows import ask

from .test_component import Stub, ents, group, with_student

PIECES = [
    "Ada",
    "Paris",
    "New York",
    "Zoe\u0308",
    "İstanbul",
    "東京。",
    "مرحبا",
    "שלום",
    "\u202eabc\u202c",
    "👩‍👩‍👧‍👦",
    "👍🏽🇫🇷",
    "\u200b\u00ad\ufeff",
    "\0\x07\x1b[31m",
    "\r\n\n\t\u2028\u3000",
    "x" * 99,
    ". ",
    " ",
    "USER:",
    "ASSISTANT:",
    "<|im_end|>",
    "<|endoftext|>",
    "</s>",
    '["Ada", "',
    '{"person": [',
    "\\u00e9\\",
    "{text}",
]
chars = st.characters(exclude_categories=["Cs"])
texts = st.lists(st.sampled_from(PIECES) | st.text(chars, max_size=8), max_size=16).map("".join)
names = (st.sampled_from(PIECES) | st.text(chars, min_size=1, max_size=12)).map(str.strip)
labels = st.lists(names.filter(lambda name: not name_fault(name)), min_size=1, max_size=3, unique=True)
NLP = spacy.blank("en")
WINDOW = {"max_passage_tokens": 12, "overlap_tokens": 3}


def answer(text, name):
    """Some words and phrases of the passage, others for each label, and one that is not in it."""
    words = re.findall(r"\S+", text)
    phrases = [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False)), text[1:4], "nowhere at all"]
    found = [phrase for phrase in phrases if crc32(f"{name}/{phrase}".encode()) % 3 == 0]
    return Answer(tuple(found), tuple(crc32(phrase.encode()) % 100 / 100 for phrase in found))


@pytest.fixture(params=["stub", "tiny_student", "tuned_student"], scope="module")
def make(request):
    """Makes a component with the labels given, around an engine that is loaded once."""
    if request.param == "stub":
        engine = Stub(answer)
    else:
        engine = with_student(request.getfixturevalue(request.param)).get_pipe("universal_ner").engine
    return lambda labels: UniversalNER(labels=labels, engine=engine, **WINDOW)


def hold(test, examples, **given_):
    """Try a property, the same examples each time."""
    settings(max_examples=examples, deadline=None, derandomize=True, database=None)(given(**given_)(test))()


def found(doc):
    return ents(doc), group(doc)


def test_every_span_is_a_mention_in_its_doc(make):
    def check(text, labels):
        pipe = make(labels)
        (predictions,) = pipe.predict([doc := NLP.make_doc(text)])
        pipe(doc)
        said = {p.type: {mention.strip() for mention in p.mentions} for p in predictions}
        assert doc.text == text
        for span in [*doc.spans["universal_ner"], *doc.ents]:
            assert 0 <= span.start < span.end <= len(doc)
            assert span.text in said[span.label_]
        for p in predictions:
            assert all(text[start:end] in said[p.type] for start, end in p.spans)
            assert list(p.spans) == sorted(set(p.spans))
            assert set(p.lost) <= set(p.mentions)

    hold(check, 30, text=texts, labels=labels)


def test_a_stream_in_any_order_equals_one_by_one(make):
    def check(texts, labels, order):
        pipe = make(labels)
        alone = [found(pipe(NLP.make_doc(text))) for text in texts]
        assert [found(doc) for doc in pipe.pipe(map(NLP.make_doc, texts), batch_size=3)] == alone
        order.shuffle(mixed := list(range(len(texts))))
        together = list(pipe.pipe(NLP.make_doc(texts[i]) for i in mixed))
        assert [found(doc) for doc in together] == [alone[i] for i in mixed]

    hold(check, 10, texts=st.lists(texts, max_size=4), labels=labels, order=st.randoms(use_true_random=False))


def test_the_order_of_labels_changes_nothing_that_is_predicted(make):
    def check(text, labels):
        pipe, turned = make(labels), make(labels[::-1])
        (predictions,), (others,) = (one.predict([NLP.make_doc(text)]) for one in (pipe, turned))
        assert others == predictions[::-1]
        assert group(pipe(NLP.make_doc(text))) == group(turned(NLP.make_doc(text)))

    hold(check, 20, text=texts, labels=labels)


def test_windows_find_all_that_one_passage_finds():
    """Where what is answered of a word does not depend on the words around it."""

    def check(text, labels):
        engine = Stub(lambda passage, name: Answer(tuple(re.findall(r"\w+", passage))))
        whole, parts = (
            [p.spans for p in ask(engine, [text], [labels], max_tokens=size, overlap=3)[0]] for size in (10**6, 12)
        )
        if all(len(word) <= 72 for word in re.findall(r"\w+", text)):
            assert parts == whole

    hold(check, 50, text=texts, labels=labels)
