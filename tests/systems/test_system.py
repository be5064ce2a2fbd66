"""Each system of the benchmark is asked through its file, and answers every type of every text in order."""

import re
import warnings
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Span

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import DATASET_V1, INSTRUCTUIE_V1
from spacy_universalner.records import Prediction, Query
from spacy_universalner.student import write_manifest
from spacy_universalner.systems import System, load_system, load_systems
from spacy_universalner.teacher import chat  # noqa: F401  (registers the model, as its entry point does)
from spacy_universalner.teacher.completion import Completion

from ..chat_server import MODEL, ChatServer
from ..conftest import CONVERSATIONS, make_tiny_base
from ..pipelines import with_student
from .models import TYPES, make_classifier, make_dataset, make_ner, make_seq2seq

SYSTEMS = Path(__file__).parents[2] / "configs" / "systems"
NAMES = ["alpaca", "bert", "chatgpt", "gliner", "instructuie", "spacy", "student", "supervised", "uniner", "vicuna"]
TEXTS = ["Ada lives in Rome .", "It rained .", "Bob met Ada in Paris ."]


def change(system: str, tmp_path: Path, /, **values: str) -> Path:
    """A shipped system with other values of some keys, as a file of the same name."""
    text = (SYSTEMS / f"{system}.cfg").read_text(encoding="utf8")
    for key, value in values.items():
        text, count = re.subn(rf"^{key} = .*$", lambda match: f"{key} = {value}", text, flags=re.MULTILINE)  # noqa: B023
        assert count, f"{key} is in no line of {system}.cfg"
    path = tmp_path / f"{system}.cfg"
    path.write_text(text, encoding="utf8")
    return path


def ask(system: System, texts=TEXTS, dataset=None) -> list[list[Prediction]]:
    """Ask a system all types of a data set about each text, and see that it answers them."""
    dataset = dataset or make_dataset()
    found = system.prepare(dataset)(list(texts), [list(dataset.types) for _ in texts])
    assert [[one.type for one in of_text] for of_text in found] == [list(dataset.types)] * len(texts)
    for text, of_text in zip(texts, found, strict=True):
        for one in of_text:
            assert {text[start:end] for start, end in one.spans} <= set(one.mentions)
            assert len(one.scores) in (0, len(one.spans))
    return found


def mentions(found):
    return [{one.type: one.mentions for one in of_text if one.mentions} for of_text in found]


@pytest.mark.parametrize("path", sorted(SYSTEMS.glob("*.cfg")), ids=lambda path: path.stem)
def test_the_shipped_systems_are_read_without_what_they_need(path):
    system = load_system(path)
    assert (system.name, bool(system.title)) == (path.stem, True)
    assert path.read_text(encoding="utf8").startswith("# "), "what it needs stands in comments"


def test_the_systems_of_the_paper_are_there():
    assert [path.stem for path in sorted(SYSTEMS.glob("*.cfg"))] == NAMES


# each system once, on a tiny model


def test_the_student(tuned_student, tmp_path):
    with_student(tuned_student).to_disk(tmp_path / "pipeline")
    system = load_system(change("student", tmp_path, pipeline=f'"{tmp_path / "pipeline"}"'))
    found = ask(system, [talk.text for talk in CONVERSATIONS[:2]])
    assert mentions(found)[0] == {"person": ("Ada", "Grace"), "city": ("Paris",)}


@pytest.mark.parametrize("name", ["uniner", "vicuna", "alpaca"])
def test_released_models_are_asked_in_their_templates(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SPACY_UNIVERSALNER_CACHE", str(tmp_path / "cache"))
    base = make_tiny_base(tmp_path / "base")
    (base / "manifest.json").unlink()
    values = {"model": f'"{base}"', "device": '"cpu"', "dtype": '"float32"', "max_new_tokens": "12"}
    system = load_system(change(name, tmp_path, **values))
    ask(system)
    (pipe,) = (pipe for _, pipe in system._made[1].pipeline)
    assert pipe.engine.extractor.template.name == f"{name}.v1"


def test_instructuie(tmp_path):
    asked = sorted(TYPES)  # labels are asked in one order
    queries = [Query("city", ("Rome",)), Query("date", ()), Query("person", ("Ada",))]
    folder = make_seq2seq(tmp_path / "t5", {INSTRUCTUIE_V1.ask(TEXTS[0], asked): INSTRUCTUIE_V1.answer(queries)})
    values = {"model": f'"{folder}"', "device": '"cpu"', "dtype": '"float32"', "max_new_tokens": "40"}
    found = ask(load_system(change("instructuie", tmp_path, **values)))
    assert mentions(found)[0] == {"person": ("Ada",), "city": ("Rome",)}


REPLIES = {"Ada lives": "person: Ada\ncity: Rome\ndate:", "It rained": "nothing here", "Bob met": "Person: Bob, Ada"}


def test_a_chat_model_through_spacy_llm(tmp_path):
    asked = []

    def reply(messages):
        asked.append(messages)
        return next(said for text, said in REPLIES.items() if text in messages[-1]["content"])

    with ChatServer(reply=reply) as server:
        values = {"name": f'"{MODEL}"', "base_url": f'"{server.base_url}"', "key_variable": "null"}
        values |= {"store": f'"{tmp_path / "store.jsonl"}"', "budget": "0"}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Task supports sharding")
            system = load_system(change("chatgpt", tmp_path, **values))
            found = ask(system)
            again = ask(system)
    assert mentions(found) == [{"person": ("Ada",), "city": ("Rome",)}, {}, {"person": ("Bob", "Ada")}]
    assert again == found
    assert len(asked) == len(TEXTS), "what is in the store is not asked again"
    assert all(f"{kind}: <comma delimited list of strings>" in asked[0][-1]["content"] for kind in TYPES)
    assert [message["role"] for message in asked[0]] == ["user"]


def test_a_set_with_other_types_is_asked_those(tmp_path):
    asked = []

    def reply(messages):
        asked.append(messages[-1]["content"])
        return "river: Rhine"

    with ChatServer(reply=reply) as server:
        values = {"name": f'"{MODEL}"', "base_url": f'"{server.base_url}"', "key_variable": "null"}
        values["store"] = f'"{tmp_path / "store.jsonl"}"'
        system = load_system(change("chatgpt", tmp_path, **values, budget="0"))
        ask(system, TEXTS[:1])
        found = ask(system, ["The Rhine ."], make_dataset("water", ["river", "lake"]))
    assert mentions(found) == [{"river": ("Rhine",)}]
    assert "river:" not in asked[0] and "person:" not in asked[1]


class Wrapper:
    """Answers as GLiNER's spaCy wrapper does: capitalised words are of its first label, as entities with a score."""

    def __init__(self, labels):
        self.labels = labels

    def __call__(self, doc):
        spans = [Span(doc, token.i, token.i + 1, label=self.labels[0]) for token in doc if token.is_title]
        for span in spans:
            span._.score = 0.75
        doc.ents = spans
        return doc


@pytest.fixture
def gliner():
    """A stand-in for the wrapper, which is not installed here, with its arguments. Its models are counted."""
    made = []

    @Language.factory("gliner_spacy", default_config={})
    def make(
        nlp,
        name,
        gliner_model: str,
        chunk_size: int,
        labels: list,
        style: str,
        threshold: float,
        map_location: str,
        load_onnx_model: bool,
        onnx_model_file: str,
    ):
        made.append(labels)
        return Wrapper(labels)

    if not Span.has_extension("score"):
        Span.set_extension("score", default=0)
    return made


def test_gliner_through_its_wrapper(gliner):
    system = load_system(SYSTEMS / "gliner.cfg")
    found = ask(system)
    assert mentions(found) == [{"person": ("Ada", "Rome")}, {"person": ("It",)}, {"person": ("Bob", "Ada", "Paris")}]
    assert [one.scores for one in found[0]] == [(0.75, 0.75), (), ()]
    assert mentions(ask(system, TEXTS[:1], make_dataset("water", ["river", "lake"]))) == [{"river": ("Ada", "Rome")}]
    assert len(gliner) == 1, "its model is loaded once"


def test_spacys_ner_answers_with_its_own_labels(tmp_path):
    make_ner(tmp_path / "spacy-tiny")
    words = '{"PERSON": "person", "GPE": "city"}'
    system = load_system(change("spacy", tmp_path, pipeline=f'"{tmp_path}/spacy-{{set}}"', words=words))
    with pytest.warns(UserWarning, match="U244.*'spacy'.*set 'tiny'.*: date. Its labels: .*PERSON"):
        found = ask(system)
    assert system.lacking == {"tiny": ("date",)}
    assert found[0][0].spans[0] == (0, 3)
    assert all(of_text[2] == Prediction("date") for of_text in found)


def test_a_token_classifier_answers_with_its_own_labels(tmp_path):
    make_classifier(TYPES).to_disk(tmp_path / "bert-tiny")
    system = load_system(change("bert", tmp_path, pipeline=f'"{tmp_path}/bert-{{set}}"'))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ask(system)
    assert system.lacking == {"tiny": ()}
    assert all(len(one.scores) == len(one.spans) for of_text in found for one in of_text)


def test_each_set_has_the_pipeline_trained_on_it(tmp_path):
    make_ner(tmp_path / "spacy-one", ["PERSON"])
    make_ner(tmp_path / "spacy-two", ["GPE"])
    path = change("spacy", tmp_path, pipeline=f'"{tmp_path}/spacy-{{set}}"')
    system = load_system(path)
    for name, label in (("one", "PERSON"), ("two", "GPE")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            system.prepare(make_dataset(name))
        assert label in system._made[1].get_pipe("ner").labels
    with pytest.raises(UniversalNERError, match=r"U242.*'spacy'.*spacy-three.*weasel run baseline"):
        system.prepare(make_dataset("three"))


@pytest.mark.parametrize(
    ("trained_on", "told"), [('["tiny"]', "tiny"), ('["{set}"]', "tiny"), ('["other"]', ""), ("[]", "")]
)
def test_the_student_is_told_the_data_set_it_has_learnt_from(tmp_path, trained_on, told):
    folder = make_tiny_base(tmp_path / "student")
    DATASET_V1.save(folder)
    write_manifest(folder, {"base": {"name": "tiny"}, "method": "full", "template": DATASET_V1.name})
    values = {"model": f'"{folder}"', "template": '"dataset.v1"', "device": '"cpu"', "max_new_tokens": "8"}
    system = load_system(change("vicuna", tmp_path, **values, tell_dataset="true", trained_on=trained_on))
    ask(system, TEXTS[:1])
    assert system._made[1].get_pipe("universal_ner").engine.dataset == told


def test_what_a_system_was_trained_on(tmp_path):
    system = load_system(change("spacy", tmp_path, trained_on='["{set}", "movie"]'))
    assert system.list_trained(make_dataset("ncbi")) == ("ncbi", "movie")


def test_the_fingerprint_changes_with_the_file_the_pipeline_and_the_code(tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    pipeline = tmp_path / "tiny" / "meta.json"
    pipeline.write_text("{}")
    path = change("spacy", tmp_path, pipeline=f'"{tmp_path}/{{set}}"')
    seen = {load_system(path).fingerprint(make_dataset())}
    assert load_system(path).fingerprint(make_dataset()) in seen
    pipeline.write_text('{"name": "other"}')
    seen.add(load_system(path).fingerprint(make_dataset()))
    path.write_text(path.read_text() + "\n# another\n")
    seen.add(load_system(path).fingerprint(make_dataset()))
    monkeypatch.setattr("spacy_universalner.systems.system.hash_code", lambda: "changed")
    seen.add(load_system(path).fingerprint(make_dataset()))
    assert len(seen) == 4


def test_systems_are_named_by_their_files_or_paths(tmp_path):
    path = change("spacy", tmp_path)
    assert [system.name for system in load_systems(f"student, {path}", SYSTEMS)] == ["student", path.stem]


@pytest.mark.parametrize(("names", "code"), [("student,gone", "U256.*gone"), ("student,student", "U257.*student")])
def test_systems_that_cannot_be_told_apart_or_found(names, code):
    with pytest.raises(UniversalNERError, match=code):
        load_systems(names, SYSTEMS)


def test_an_engine_that_is_told_no_data_set(tmp_path):
    values = {"model": '"anything"', "tell_dataset": "true"}
    with pytest.raises(UniversalNERError, match="U243.*engine is told data sets"):
        load_system(change("instructuie", tmp_path, **values)).prepare(make_dataset())


def test_a_pipeline_without_the_component(tmp_path):
    make_ner(tmp_path / "pipeline")
    system = load_system(change("student", tmp_path, pipeline=f'"{tmp_path / "pipeline"}"'))
    with pytest.raises(UniversalNERError, match="U243.*'universal_ner'.*it has ner"):
        system.prepare(make_dataset())


def test_a_wrapper_that_is_not_installed(tmp_path):
    path = change("gliner", tmp_path, factory='"no_such_wrapper"')
    with pytest.raises(UniversalNERError, match=r"U242.*'gliner'.*no_such_wrapper.*gliner.cfg"):
        load_system(path).prepare(make_dataset())


def test_a_text_that_was_changed_is_an_error(tmp_path):
    @Language.component("changes_texts")
    def changes_texts(doc):
        return doc[:1].as_doc()

    nlp = spacy.load(make_ner(tmp_path / "pipeline"))
    nlp.add_pipe("changes_texts")
    nlp.to_disk(tmp_path / "pipeline")
    system = load_system(change("spacy", tmp_path, pipeline=f'"{tmp_path / "pipeline"}"'))
    with pytest.warns(UserWarning, match="U244"), pytest.raises(UniversalNERError, match="U249.*'Ada.*expected 'Ada l"):
        ask(system, TEXTS[:1])


WRONG = {
    "a key is missing": ({"batch_size": None}, ["batch_size: Field required"]),
    "a key too many": ({"colour": '"red"'}, ["colour: Extra inputs"]),
    "wrong kinds": ({"batch_size": "0", "asked": '"loudly"'}, ["asked: ", "batch_size: "]),
    "words of another kind": ({"words": '{"a": "b"}'}, ["words: .*no meaning for asked = types"]),
    "no pipeline": ({"pipeline": "null"}, ["pipeline: got None, and none is below"]),
    "all at once": ({"pipeline": "null", "title": '""', "colour": "1"}, ["pipeline: ", "title: ", "colour: "]),
}


@pytest.mark.parametrize(("changes", "problems"), WRONG.values(), ids=WRONG)
def test_all_that_is_wrong_is_told_at_once(tmp_path, changes, problems):
    lines = dict(line.split(" = ", 1) for line in (SYSTEMS / "student.cfg").read_text().splitlines() if " = " in line)
    lines = {key: value for key, value in lines.items() if not key.startswith("#")} | changes
    path = tmp_path / "some.cfg"
    path.write_text("[benchmark]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value))
    with pytest.raises(UniversalNERError, match="U010.*some.cfg") as caught:
        load_system(path)
    said = str(caught.value).splitlines()[1:]
    assert len(said) == len(problems)
    assert all(any(re.search(problem, line) for line in said) for problem in problems)


def test_two_pipelines_and_an_unknown_section(tmp_path):
    path = change("gliner", tmp_path, pipeline='"training/pipeline"')
    path.write_text(path.read_text() + "\n[teacher]\nname = 1\n")
    with pytest.raises(UniversalNERError, match=r"(?s)\[teacher\]: unknown section.*one is below too"):
        load_system(path)


def test_no_such_system(tmp_path):
    with pytest.raises(UniversalNERError, match="U001.*none.cfg"):
        load_system(tmp_path / "none.cfg")


def test_a_completion_is_no_string():
    assert not isinstance(Completion("x"), str), "spacy-llm's own tasks are handed strings, see ChatModel"
