"""Pipelines for tests: around canned answers, around functions, around students."""

import spacy

from spacy_universalner.registry import Answer

REPLAY = {"@universal_ner_engines": "universal_ner.Replay.v1"}
TRANSFORMERS = {
    "@universal_ner_engines": "universal_ner.Transformers.v1",
    "device": "cpu",
    "dtype": "float32",
    "max_new_tokens": 24,
}


def replaying(answers, labels=None, **config):
    """A pipeline that answers {text: {label: mentions}}; its labels are those of the first text."""
    nlp = spacy.blank("en")
    labels = list(next(iter(answers.values()))) if labels is None else labels
    nlp.add_pipe("universal_ner", config={"labels": labels, "engine": {**REPLAY, "answers": answers}, **config})
    return nlp


def with_student(folder, labels=("person", "city", "date")):
    nlp = spacy.blank("en")
    nlp.add_pipe("universal_ner", config={"labels": list(labels), "engine": {**TRANSFORMERS, "model": str(folder)}})
    return nlp


def with_engine(engine, labels=("person",), **config):
    """A pipeline around an engine made here."""
    labels = dict(labels) if isinstance(labels, dict) else list(labels)
    nlp = replaying({"": {}}, labels=labels, **config)
    nlp.get_pipe("universal_ner").engine = engine
    return nlp


class Stub:
    """Answers every question with a function of the passage and the label."""

    def __init__(self, answer):
        self.answer = answer

    def extract(self, passages, types):
        return [[self.answer(text, name) for name in names] for text, names in zip(passages, types, strict=True)]


def ents(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def group(doc, key="universal_ner"):
    return sorted((span.start_char, span.end_char, span.label_) for span in doc.spans[key])


def scoring(scores):
    """An engine that finds every mention with its score: {label: {mention: score}}."""
    return Stub(lambda text, name: Answer(tuple(scores[name]), tuple(scores[name].values())))
