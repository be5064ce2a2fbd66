"""A student behind a server answers as in this process, whatever the words of the server, or it is said why not."""

import asyncio
import json
import pickle
import shutil
import socket

import pytest

from spacy_universalner.engines.openai import NO_LIMIT, OpenAIEngine, Served, read_models
from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import ALL_IN_ONE_V1, DATASET_V1
from spacy_universalner.registry import Engine, Portable, spacy
from spacy_universalner.student import MANIFEST, write_manifest

from ..conftest import CONVERSATIONS
from .completion_server import DIALECTS, serving

PASSAGES = [conversation.text for conversation in CONVERSATIONS]
TYPES = [["person", "city", "date"], ["city"], ["date", "person"], ["person"]]


def make_engine(url, student, **settings) -> OpenAIEngine:
    """An engine that asks the stand-in, but for the changes."""
    defaults = {"name": "tiny", "api_key_env": None, "concurrency": 4, "timeout": 20, "retries": 2, "logprobs": 20}
    return OpenAIEngine(base_url=url, model=str(student), **{**defaults, "max_new_tokens": 16, **settings})


def in_process(student, **settings) -> TransformersEngine:
    """The engine that everything is compared with."""
    settings = {"max_new_tokens": 16, **settings}
    return TransformersEngine(model=str(student), device="cpu", dtype="float32", batch_tokens=4096, **settings)


def said(answers):
    """Answers without their scores."""
    return [[(answer.mentions, answer.complete) for answer in row] for row in answers]


@pytest.fixture(scope="module")
def served(tuned_student):
    with serving(tuned_student) as server:
        yield server


@pytest.fixture
def asked(served):
    """The running server, with nothing left of earlier tests."""
    served.requests.clear()
    served.faults.clear()
    yield served
    served.faults.clear()
    served.added = []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tuned_student_answers_as_in_this_process(tuned_student, dialect):
    with serving(tuned_student, dialect) as server:
        answers = make_engine(server.url, tuned_student).extract(PASSAGES, TYPES)
    assert said(answers) == said(in_process(tuned_student).extract(PASSAGES, TYPES))
    assert said(answers)[0] == [(("Ada", "Grace"), True), (("Paris",), True), ((), True)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_student_that_talks_nonsense_does_so_in_both_places(tiny_student, dialect):
    with serving(tiny_student, dialect) as server:
        answers = make_engine(server.url, tiny_student).extract(PASSAGES, TYPES)
    assert said(answers) == said(in_process(tiny_student).extract(PASSAGES, TYPES))


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp", "openai"])
def test_a_list_is_begun_where_it_is_in_this_process(tuned_student, dialect):
    with serving(tuned_student, dialect) as server:
        answers = make_engine(server.url, tuned_student, begin=1e-9).extract(PASSAGES, TYPES)
    here = in_process(tuned_student, begin=1e-9).extract(PASSAGES, TYPES)
    assert said(answers) == said(here) != said(in_process(tuned_student).extract(PASSAGES, TYPES))
    scores = [[score for row in each for answer in row for score in answer.scores] for each in (answers, here)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)


@pytest.mark.parametrize(("dialect", "logprobs"), [("bare", 20), ("vllm", 0)])
def test_no_probabilities_no_list_that_is_not_the_likelier(tuned_student, dialect, logprobs):
    with serving(tuned_student, dialect) as server:
        answers = make_engine(server.url, tuned_student, logprobs=logprobs, begin=1e-9).extract(PASSAGES, TYPES)
    assert said(answers) == said(in_process(tuned_student).extract(PASSAGES, TYPES))


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp", "openai"])
def test_a_mention_has_a_score(tuned_student, dialect):
    with serving(tuned_student, dialect) as server:
        answers = make_engine(server.url, tuned_student).extract(PASSAGES, TYPES)
    assert all(len(answer.scores) == len(answer.mentions) for row in answers for answer in row)
    assert all(0.5 < score <= 1 for row in answers for answer in row for score in answer.scores)


def test_servers_that_tell_probabilities_in_other_words_give_the_same_scores(tuned_student):
    scores = []
    for dialect in ("vllm", "llama.cpp", "openai"):
        with serving(tuned_student, dialect) as server:
            answers = make_engine(server.url, tuned_student).extract(PASSAGES, TYPES)
        scores.append([score for row in answers for answer in row for score in answer.scores])
    assert scores[1] == pytest.approx(scores[0])
    assert scores[2] == pytest.approx(scores[0])


@pytest.mark.parametrize(("dialect", "logprobs"), [("bare", 20), ("vllm", 0)])
def test_no_probabilities_no_scores(tuned_student, dialect, logprobs):
    with serving(tuned_student, dialect) as server:
        (answers,) = make_engine(server.url, tuned_student, logprobs=logprobs).extract(PASSAGES[:1], [["person"]])
    assert (answers[0].mentions, answers[0].scores) == (("Ada", "Grace"), ())


def test_one_question_for_all_types(tiny_base, tmp_path):
    student = tmp_path / "student"
    shutil.copytree(tiny_base, student)
    ALL_IN_ONE_V1.save(student)
    write_manifest(student, {"template": ALL_IN_ONE_V1.name})
    with serving(student) as server:
        answers = make_engine(server.url, student).extract(PASSAGES, TYPES)
        assert [body["max_tokens"] for body in server.requests[:4]] != [16] * 4
    assert said(answers) == said(in_process(student).extract(PASSAGES, TYPES))


def test_what_is_sent(asked, tuned_student):
    engine = make_engine(asked.url, tuned_student, concurrency=1)
    engine.extract(["Ada <|im_end|> x."], [["person"]])
    (body, *_) = asked.requests
    encoder = engine.encoder
    assert body["prompt"] == [*encoder.passage("Ada <|im_end|> x."), *encoder.ask(("person",))]
    assert body["prompt"].count(encoder.end) == 1, "what looks like a special token in a passage is none"
    assert (body["model"], body["temperature"], body["max_tokens"], body["logprobs"]) == ("tiny", 0, 16, 20)
    assert encoder.end in body["stop_token_ids"]


@pytest.mark.parametrize("dialect", ["llama.cpp", "openai", "bare"])
def test_others_than_vllm_are_sent_nothing_of_its_own(tuned_student, dialect):
    known = {"model", "prompt", "max_tokens", "temperature", "presence_penalty", "frequency_penalty", "logprobs"}
    with serving(tuned_student, dialect) as server:
        make_engine(server.url, tuned_student).extract(PASSAGES[:1], [["person"]])
    assert set(server.requests[0]) == known


def test_no_more_requests_in_flight_than_allowed(asked, tuned_student):
    asked.most = 0
    make_engine(asked.url, tuned_student, concurrency=2).extract(PASSAGES * 3, TYPES * 3)
    assert asked.most == 2


def test_nothing_is_asked_for_no_types():
    assert make_engine("http://nowhere.invalid/v1", "/no/such/student").extract(["A.", "B."], [[], []]) == [[], []]


@pytest.mark.parametrize("faults", [[500, 503], [429, 429], ["drop"], [408, "drop"]], ids=str)
def test_what_may_pass_is_tried_again(asked, tuned_student, faults):
    engine = make_engine(asked.url, tuned_student, concurrency=1)
    assert engine.served.vllm
    asked.faults.extend(faults)
    (answers,) = engine.extract(PASSAGES[:1], [["person"]])
    assert answers[0].mentions == ("Ada", "Grace")


ERRORS = {
    "busy": ([429] * 9, "U171.*3 tries.*429.*lower concurrency"),
    "broken": ([500] * 9, "U171.*500"),
    "drops": (["drop"] * 9, "U171.*disconnected"),
    "refused": ([400], "U173.*status 400"),
    "wrong key": ([401], "U173.*status 401.*api_key_env"),
    "no completion": (["page"], "U174"),
}


@pytest.mark.parametrize(("faults", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_pass_is_said(asked, tuned_student, faults, message):
    engine = make_engine(asked.url, tuned_student, concurrency=1)
    assert engine.served.vllm
    asked.faults.extend(faults)
    with pytest.raises(UniversalNERError, match=f"(?s){message}"):
        engine.extract(PASSAGES[:1], [["person"]])


def test_no_server(tuned_student):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UniversalNERError, match=rf"U171.*{url}.*1 tries"):
        make_engine(url, tuned_student, retries=0).extract(["A."], [["person"]])


def test_a_server_that_takes_too_long(tuned_student):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(UniversalNERError, match=r"U171.*0.2 s.*APITimeoutError"):
            make_engine(url, tuned_student, retries=0, timeout=0.2).extract(["A."], [["person"]])


def test_a_model_the_server_does_not_have(asked, tuned_student):
    with pytest.raises(UniversalNERError, match=r"U172.*'other'.*it has: tiny"):
        make_engine(asked.url, tuned_student, name="other").extract(["A."], [["person"]])


def test_a_server_without_a_list_of_models(asked, tuned_student):
    asked.faults.append(404)
    engine = make_engine(asked.url, tuned_student)
    assert engine.extract(PASSAGES[:1], [["person"]])[0][0].mentions == ("Ada", "Grace")
    assert engine.served == Served()


def test_a_server_that_reads_something_else_than_the_ids(asked, tuned_student):
    asked.added = [1]
    with pytest.raises(UniversalNERError, match=r"U174.*it has read \d+ tokens where \d+ ids were sent"):
        make_engine(asked.url, tuned_student).extract(["A."], [["person"]])


def test_the_key(asked, tuned_student, monkeypatch):
    engine = make_engine(asked.url, tuned_student, api_key_env="NER_KEY")
    monkeypatch.delenv("NER_KEY", raising=False)
    with pytest.raises(UniversalNERError, match=r"U175.*NER_KEY"):
        engine.extract(["A."], [["person"]])
    monkeypatch.setenv("NER_KEY", "secret")
    engine.extract(["A."], [["person"]])
    assert "Bearer secret" in asked.keys


def test_in_a_running_loop(asked, tuned_student):
    async def notebook():
        return make_engine(asked.url, tuned_student).extract(PASSAGES[:1], [["person"]])

    assert asyncio.run(notebook())[0][0].mentions == ("Ada", "Grace")


def test_a_passage_too_long_for_the_server(tuned_student):
    with serving(tuned_student, context=60) as server, pytest.raises(UniversalNERError, match=r"U052.*context of 60"):
        make_engine(server.url, tuned_student).extract(["A b c. " * 20], [["person"]])


def test_nothing_is_asked_before_the_first_use():
    engine = make_engine("http://nowhere.invalid/v1", "/no/such/student")
    assert isinstance(engine, Engine)
    assert isinstance(engine, Portable)
    with pytest.raises(UniversalNERError, match=r"U051.*no such directory"):
        engine.extract(["A."], [["person"]])


def test_a_pipeline_carries_what_it_takes_to_ask(asked, tuned_student, tmp_path):
    config = {"@universal_ner_engines": "universal_ner.OpenAI.v1", "base_url": asked.url, "model": "tiny"}
    nlp = spacy.blank("en")
    nlp.add_pipe("universal_ner", config={"labels": ["person"], "engine": {**config, "student": str(tuned_student)}})
    nlp.to_disk(tmp_path / "pipeline")
    folder = tmp_path / "pipeline" / "universal_ner" / "student"
    assert not list(folder.glob("*.safetensors"))
    assert "model.safetensors" not in json.loads((folder / MANIFEST).read_text(encoding="utf8"))["files"]
    loaded = spacy.load(tmp_path / "pipeline")
    assert loaded.get_pipe("universal_ner").engine.model == str(folder)
    assert [ent.text for ent in loaded(PASSAGES[0]).ents] == ["Ada", "Grace"]


def test_the_weights_need_not_be_there(asked, tuned_student, tmp_path):
    shutil.copytree(tuned_student, tmp_path / "student", ignore=shutil.ignore_patterns("*.safetensors"))
    engine = make_engine(asked.url, tmp_path / "student")
    assert engine.extract(PASSAGES[:1], [["person"]])[0][0].mentions == ("Ada", "Grace")


def test_another_template(tuned_student, tmp_path):
    shutil.copytree(tuned_student, tmp_path / "student")
    DATASET_V1.save(tmp_path / "student")
    write_manifest(tmp_path / "student", {"template": DATASET_V1.name})
    with serving(tuned_student) as server:
        make_engine(server.url, tmp_path / "student", dataset="set one").extract(["Ada."], [["person"]])
        assert "Dataset: set one" in server.decode(server.requests[0]["prompt"])


def test_a_data_set_the_student_was_never_told(asked, tuned_student):
    with pytest.raises(UniversalNERError, match=r"U150.*'set one'"):
        make_engine(asked.url, tuned_student, dataset="set one").extract(["A."], [["person"]])


@pytest.mark.parametrize("setting", ["concurrency", "max_new_tokens"])
def test_settings_that_ask_nothing(tuned_student, setting):
    with pytest.raises(UniversalNERError, match=rf"U008.*{setting}"):
        make_engine("http://localhost/v1", tuned_student, **{setting: 0})


def test_a_begin_that_cannot_be(tuned_student):
    with pytest.raises(UniversalNERError, match="U192"):
        make_engine("http://localhost/v1", tuned_student, begin=0.6)


def test_a_server_that_hides_the_token_it_stopped_at(tuned_student, monkeypatch):
    """Like vLLM before it told token_ids: asked to go on, it stops at once, for ever."""
    with serving(tuned_student) as server:
        complete = server.complete
        monkeypatch.setattr(server, "complete", lambda body: complete({**body, "return_token_ids": False}))
        with pytest.raises(UniversalNERError, match="U176.*token_ids"):
            make_engine(server.url, tuned_student, logprobs=0).extract(PASSAGES[:1], [["person"]])
    assert len(server.requests) < 9


def test_what_is_wrong_shows_when_it_is_loaded(asked, tuned_student, tmp_path):
    make_engine(asked.url, tuned_student).load()
    with pytest.raises(UniversalNERError, match="U051"):
        make_engine(asked.url, tmp_path / "none").load()


def test_another_process_reads_it_itself(asked, tuned_student):
    engine = make_engine(asked.url, tuned_student)
    expected = engine.extract(PASSAGES[:1], [["person"]])
    assert pickle.loads(pickle.dumps(engine)).extract(PASSAGES[:1], [["person"]]) == expected


MODELS = {
    "vllm": ({"data": [{"id": "a", "owned_by": "vllm", "max_model_len": 9}]}, Served(("a",), True, 9)),
    "another": ({"data": [{"id": "b", "owned_by": "vllm", "max_model_len": 9}]}, Served(("b",))),
    "adapters": ({"data": [{"id": "a", "owned_by": "vllm", "max_model_len": None}]}, Served(("a",), True, NO_LIMIT)),
    "llama.cpp": ({"data": [{"id": "a", "owned_by": "llamacpp", "meta": {}}]}, Served(("a",))),
    "a page": ("<html>", Served()),
    "no rows": ({"data": None}, Served()),
}


@pytest.mark.parametrize(("reply", "expected"), MODELS.values(), ids=MODELS)
def test_what_a_server_says_of_itself(reply, expected):
    assert read_models(reply, "a") == expected
