"""The component among others of spaCy: training data, scorers, other components, processes, the command line."""

import json
import os
import subprocess
import sys

import pytest
import spacy
from spacy.tokens import DocBin, Span
from spacy.training import Example

from spacy_universalner.annotation import scored
from spacy_universalner.assemble import assemble
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.registry import Answer

from .conftest import CONVERSATIONS, ROOT
from .pipelines import REPLAY, Stub, ents, group, replaying, scoring, with_engine

STREAM = {
    "Ada slept.": {"person": ["Ada"], "city": []},
    "Bob left Rome.": {"person": ["Bob"], "city": ["Rome"]},
    "It rained.": {"person": [], "city": []},
}


def example(nlp, text, entities):
    return Example.from_dict(nlp.make_doc(text), {"entities": entities})


INITIAL = {
    "of the examples": ([], {}, ("city", "person")),
    "configured": (["date"], {}, ("date",)),
    "given": (["date"], {"labels": ["event", "animal"]}, ("event", "animal")),
}


@pytest.mark.parametrize(("configured", "settings", "expected"), INITIAL.values(), ids=INITIAL)
def test_initialize(configured, settings, expected):
    nlp = replaying({"": {}}, labels=configured)
    nlp.config["initialize"]["components"] = {"universal_ner": settings}
    examples = [example(nlp, "Ada slept.", [(0, 3, "person")]), example(nlp, "Ada left Rome.", [(9, 13, "city")])]
    nlp.initialize(lambda: examples)
    assert nlp.get_pipe("universal_ner").labels == expected


def test_evaluate():
    nlp = replaying(STREAM)
    examples = [
        example(nlp, "Ada slept.", [(0, 3, "person")]),
        example(nlp, "Bob left Rome.", [(0, 3, "person")]),
        example(nlp, "It rained.", [(0, 9, "event")]),
    ]
    scores = nlp.evaluate(examples)
    assert scores["ents_p"] == pytest.approx(2 / 3)
    assert scores["ents_r"] == pytest.approx(2 / 3)
    assert scores["ents_per_type"]["person"]["f"] == 1.0


def test_evaluate_spans():
    """Where the gold docs have the group; else there is nothing to say."""
    nlp = replaying({"Bank of York.": {"company": ["Bank of York"], "city": ["York"]}})
    gold = nlp.make_doc("Bank of York.")
    gold.spans["universal_ner"] = [Span(gold, 0, 3, "company"), Span(gold, 2, 3, "town")]
    scores = nlp.evaluate([Example(nlp.make_doc(gold.text), gold)])
    assert (scores["spans_universal_ner_p"], scores["spans_universal_ner_r"]) == (0.5, 0.5)
    assert nlp.evaluate([example(nlp, gold.text, [(0, 12, "company")])])["spans_universal_ner_f"] is None


def test_evaluate_spans_of_another_key():
    nlp = replaying({"Ada.": {"person": ["Ada"]}}, spans_key="sc", annotate="spans")
    gold = nlp.make_doc("Ada.")
    gold.spans["sc"] = [Span(gold, 0, 1, "person")]
    assert nlp.evaluate([Example(nlp.make_doc(gold.text), gold)])["spans_sc_f"] == 1.0


def test_default_score_weights():
    weights = replaying({"": {}}).config["training"]["score_weights"]
    assert {name: weight for name, weight in weights.items() if weight} == {"ents_f": 1.0}
    assert {"ents_per_type", "spans_universal_ner_f", "spans_universal_ner_per_type"} <= set(weights)


# Initialization


class Slow(Stub):
    """An engine with a model to load, which may be missing."""

    def __init__(self, fault=None):
        super().__init__(lambda text, name: Answer())
        self.fault = fault
        self.loaded = False

    def load(self):
        if self.fault:
            raise self.fault
        self.loaded = True


def test_initialize_loads_the_model():
    nlp = with_engine(Slow())
    nlp.initialize()
    assert nlp.get_pipe("universal_ner").engine.loaded


def test_initialize_shows_what_is_wrong_with_the_model():
    nlp = with_engine(Slow(UniversalNERError("[U050] No student found.")))
    with pytest.raises(UniversalNERError, match="U050"):
        nlp.initialize()


def test_initialize_with_an_engine():
    nlp = replaying({"": {}}, labels=["person"])
    engine = {**REPLAY, "answers": {"Ada": {"city": ["Ada"]}}}
    nlp.config["initialize"]["components"] = {"universal_ner": {"labels": ["city"], "engine": engine}}
    nlp.initialize()
    assert ents(nlp("Ada")) == [(0, 3, "city")]


def test_label_data_is_what_initialize_takes():
    labels = {"person": "a human being", "city": "city"}
    nlp, other = replaying({"": {}}, labels=labels), replaying({"": {}}, labels=["x"])
    other.config["initialize"]["components"] = {"universal_ner": {"labels": nlp.get_pipe("universal_ner").label_data}}
    other.initialize()
    assert other.get_pipe("universal_ner").label_data == labels


# Beside other components


def test_beside_an_entity_ruler():
    nlp = replaying({"Ada left Rome.": {"person": ["Ada"], "city": ["Rome"]}})
    ruler = nlp.add_pipe("entity_ruler", first=True)
    ruler.add_patterns([{"label": "CAPITAL", "pattern": "Rome"}])
    assert ents(nlp("Ada left Rome.")) == [(0, 3, "person"), (9, 13, "CAPITAL")]


def test_beside_a_sentencizer():
    nlp = replaying({"Ada slept. Bob woke.": {"person": ["Ada", "Bob"]}})
    nlp.add_pipe("sentencizer", first=True)
    doc = nlp("Ada slept. Bob woke.")
    assert [[ent.text for ent in sent.ents] for sent in doc.sents] == [["Ada"], ["Bob"]]


def test_beside_a_trained_recognizer():
    nlp = replaying({"Ada slept": {"person": ["Ada"]}})
    ner = nlp.add_pipe("ner", first=True)
    ner.add_label("PERSON")
    nlp.initialize()
    doc = nlp("Ada slept")
    assert group(doc) == [(0, 3, "person")]
    assert all(token.ent_iob_ for token in doc)


def test_switched_off_for_a_while():
    nlp = replaying({"Ada.": {"person": ["Ada"]}})
    with nlp.select_pipes(disable=["universal_ner"]):
        assert ents(nlp("Ada.")) == []
    assert ents(nlp("Ada.")) == [(0, 3, "person")]


def test_what_the_component_assigns():
    nlp = replaying({"": {}})
    assert "doc.spans" in nlp.analyze_pipes()["summary"]["universal_ner"]["assigns"]


# Processes


@pytest.mark.parametrize("n_process", [1, 2])
def test_a_stream_through_processes(n_process):
    nlp = with_engine(scoring({"person": {"Ada": 0.5}, "city": {"Rome": 0.25}}), ["person"])
    docs = [nlp.make_doc(text) for text in ("Ada left Rome.", "Rome.", "Ada.")]
    docs[1].user_data["universal_ner_labels"] = ["city"]
    found = list(nlp.pipe(docs, n_process=n_process, batch_size=1))
    assert [[(span.text, score) for span, score in scored(doc)] for doc in found] == [
        [("Ada", 0.5)],
        [("Rome", 0.25)],
        [("Ada", 0.5)],
    ]
    assert [item["text"] for item in found[1].user_data["universal_ner"]] == []


def test_a_failing_doc_in_a_process_is_left_out():
    nlp = replaying(STREAM)
    nlp.set_error_handler(spacy.util.ignore_error)
    docs = nlp.pipe(["Ada slept.", "Nobody knows.", "It rained."], n_process=2, batch_size=3)
    assert [doc.text for doc in docs] == ["Ada slept.", "It rained."]


@pytest.fixture(scope="module")
def pipeline(tuned_student, tmp_path_factory):
    """A saved pipeline around the tiny tuned student."""
    folder = tmp_path_factory.mktemp("citizen") / "pipeline"
    nlp = assemble(ROOT / "configs" / "pipeline.cfg", tuned_student, name="tiny", version="1.2.3")
    nlp.get_pipe("universal_ner").add_label("city")
    nlp.to_disk(folder)
    return folder


def run(*command, cwd, timeout=300):
    """Run Python in a process of its own. RETURNS (str): what it printed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=cwd, env=env, timeout=timeout
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


FORK = """
import json, sys, spacy, torch
torch.set_num_threads(2)
nlp = spacy.load(sys.argv[1])
texts = json.loads(sys.argv[2])
one = [[[ent.text, ent.label_] for ent in doc.ents] for doc in nlp.pipe(texts)] if sys.argv[3] == "used" else None
torch.relu(torch.randn(10**6)).sum() if one else None  # by several threads, which a forked process does not have
two = [[[ent.text, ent.label_] for ent in doc.ents] for doc in nlp.pipe(texts, n_process=2, batch_size=1)]
print(json.dumps([one or two, two]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["used", "not used"])
def test_a_student_in_forked_processes(pipeline, before, tmp_path):
    texts = json.dumps([conversation.text for conversation in CONVERSATIONS])
    one, two = json.loads(run("-c", FORK, pipeline, texts, before, cwd=tmp_path).splitlines()[-1])
    assert one == two
    assert ["Ada", "person"] in two[0]


# The command line


@pytest.fixture(scope="module")
def gold(tmp_path_factory):
    """A file of two docs with entities."""
    nlp = spacy.blank("en")
    docs = [nlp.make_doc(conversation.text) for conversation in CONVERSATIONS[:2]]
    docs[0].ents = [Span(docs[0], 0, 1, "person"), Span(docs[0], 2, 3, "person"), Span(docs[0], 4, 5, "city")]
    docs[1].ents = [Span(docs[1], 0, 1, "person")]
    path = tmp_path_factory.mktemp("gold") / "gold.spacy"
    DocBin(docs=docs).to_disk(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "benchmark accuracy"])
def test_spacy_evaluate(command, pipeline, gold, tmp_path):
    run("-m", "spacy", *command.split(), pipeline, gold, "--output", "scores.json", cwd=tmp_path)
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf8"))
    assert scores["ents_r"] == 1.0
    assert scores["ents_per_type"]["person"]["f"] == 1.0


@pytest.mark.slow
def test_spacy_benchmark_speed(pipeline, gold, tmp_path):
    said = run("-m", "spacy", "benchmark", "speed", pipeline, gold, "--batches", "30", "--warmup", "1", cwd=tmp_path)
    assert "words/s" in said


@pytest.mark.slow
@pytest.mark.parametrize("n_process", [1, 2])
def test_spacy_apply(pipeline, tmp_path, n_process):
    lines = [json.dumps({"text": conversation.text}) for conversation in CONVERSATIONS]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines), encoding="utf8")
    run("-m", "spacy", "apply", pipeline, "texts.jsonl", "out.spacy", "--n-process", n_process, cwd=tmp_path)
    docs = list(DocBin().from_disk(tmp_path / "out.spacy").get_docs(spacy.blank("en").vocab))
    assert [doc.text for doc in docs] == [conversation.text for conversation in CONVERSATIONS]
    assert ("Ada", "person") in [(ent.text, ent.label_) for ent in docs[0].ents]
    assert "Ada" in [span.text for span, _ in scored(docs[0])]


@pytest.mark.slow
def test_spacy_debug_config(pipeline, tmp_path):
    paths = ["--paths.train", "train.spacy", "--paths.dev", "dev.spacy"]
    said = run("-m", "spacy", "debug", "config", pipeline / "config.cfg", *paths, cwd=tmp_path)
    assert "Config validation" in said


@pytest.mark.slow
def test_spacy_assemble(pipeline, tuned_student, tmp_path):
    student = f"--components.universal_ner.engine.model={tuned_student}"
    labels = '--components.universal_ner.labels=["person", "city"]'
    run("-m", "spacy", "assemble", pipeline / "config.cfg", "assembled", student, labels, cwd=tmp_path)
    nlp = spacy.load(tmp_path / "assembled")
    assert nlp.get_pipe("universal_ner").engine.model == str(tmp_path / "assembled" / "universal_ner" / "student")
    assert ents(nlp(CONVERSATIONS[0].text)) == [(0, 3, "person"), (8, 13, "person"), (17, 22, "city")]
