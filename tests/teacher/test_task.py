import warnings

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training import Example
from spacy_llm.registry import registry

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import DEFINITION_V1, TYPE_V1
from spacy_universalner.teacher.completion import Completion
from spacy_universalner.teacher.task import USER_DATA, make_open_ner_task
from tests.chat_server import MODEL, Fault

TEXT = "Bob Lee moved to New York."


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


@pytest.fixture
def task():
    return make_open_ner_task()


def answered(task, nlp, response, text=TEXT):
    return next(iter(task.parse_responses([nlp.make_doc(text)], [response])))


def labelled(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def test_the_prompt_is_the_chat_messages(task, nlp):
    assert list(task.generate_prompts([nlp.make_doc(TEXT)])) == [TYPE_V1.messages(TEXT)]


def test_the_task_and_its_model_are_found_by_name():
    assert registry.llm_tasks.get("spacy-universalner.OpenNER.v1")().prompt_sha == TYPE_V1.sha
    assert callable(registry.llm_models.get("spacy-universalner.Replay.v1"))
    assert callable(registry.llm_models.get("spacy-universalner.ReplayDefined.v1"))


def test_an_unknown_prompt_is_an_error():
    with pytest.raises(UniversalNERError, match="U020.*type.v1"):
        make_open_ner_task("type.v99")


def test_everything_said_is_kept(task, nlp):
    doc = answered(task, nlp, [Completion("[]", "m", {"total_tokens": 3}, "length")])
    assert doc.user_data[USER_DATA] == {
        "raw": "[]",
        "model": "m",
        "usage": {"total_tokens": 3},
        "finish_reason": "length",
        "prompt_sha": TYPE_V1.sha,
    }


def test_what_is_kept_survives_a_doc_bin(task, nlp):
    doc = answered(task, nlp, [Completion("[]", "m", {"total_tokens": 3})])
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    assert next(DocBin().from_bytes(data).get_docs(nlp.vocab)).user_data[USER_DATA] == doc.user_data[USER_DATA]


RESPONSES = {
    "completion in a list": ([Completion("[]")], "[]"),
    "string in a list": (["[]"], "[]"),
    "string": ("[]", "[]"),
    "refusal": ([None], ""),
}


@pytest.mark.parametrize(("response", "raw"), RESPONSES.values(), ids=RESPONSES)
def test_any_models_response_is_taken(task, nlp, response, raw):
    assert answered(task, nlp, response).user_data[USER_DATA]["raw"] == raw


ENTITIES = {
    "placed": ('[("New York", "city"), ("Bob Lee", "person")]', [("Bob Lee", "person"), ("New York", "city")]),
    "longest of two": ('[("York", "name"), ("New York", "city")]', [("New York", "city")]),
    "first of two types": ('[("Bob Lee", "person"), ("Bob Lee", "man")]', [("Bob Lee", "person")]),
    "not in the text": ('[("Paris", "city")]', []),
    "no type": ('[("Bob Lee", "")]', []),
    "unreadable": ("I cannot help with that.", []),
}


@pytest.mark.parametrize(("reply", "expected"), ENTITIES.values(), ids=ENTITIES)
def test_entities(task, nlp, reply, expected):
    assert labelled(answered(task, nlp, [reply])) == expected


def test_a_mention_that_ends_inside_a_token_is_left_out(task, nlp):
    assert not answered(task, nlp, ['[("mail", "thing")]'], text="me@mail.com").ents


def test_too_few_responses_are_an_error(task, nlp):
    with pytest.raises(ValueError, match="shorter"):
        list(task.parse_responses([nlp.make_doc("a"), nlp.make_doc("b")], [["[]"]]))


def test_bytes_round_trip(task):
    assert make_open_ner_task().from_bytes(task.to_bytes()).prompt_template == task.prompt_template


def test_disk_round_trip(task, tmp_path):
    task.to_disk(tmp_path / "task")
    assert make_open_ner_task().from_disk(tmp_path / "task").prompt_sha == task.prompt_sha


def test_a_saved_prompt_of_other_text_is_an_error(task, tmp_path):
    task.to_disk(tmp_path)
    file = tmp_path / "prompt.json"
    file.write_text(file.read_text(encoding="utf8").replace("all entities", "some entities"), encoding="utf8")
    with pytest.raises(UniversalNERError, match="U021"):
        task.from_disk(tmp_path)


def test_spacy_llm_accepts_the_hints(nlp):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spacy.blank("en").add_pipe(
            "llm",
            config={
                "task": {"@llm_tasks": "spacy-universalner.OpenNER.v1"},
                "model": {"@llm_models": "spacy-universalner.Replay.v1", "path": "none.jsonl"},
            },
        )


def test_a_model_of_spacy_llm_works():
    nlp = spacy.blank("en")
    task = {"@llm_tasks": "spacy-universalner.OpenNER.v1"}
    nlp.add_pipe("llm", config={"task": task, "model": {"@llm_models": "spacy.NoOp.v1"}, "save_io": True})
    doc = nlp(TEXT)
    assert doc.user_data[USER_DATA]["raw"] == doc.user_data["llm_io"]["llm"]["response"]


def test_half_a_surrogate_pair_can_be_kept_and_written(task, nlp):
    doc = answered(task, nlp, ['[("Bob Lee", "person \ud83d")]'])
    assert labelled(doc) == [("Bob Lee", "person \ufffd")]
    assert DocBin(docs=[doc], store_user_data=True).to_bytes()


# with a chat model, as a component


@pytest.fixture
def make_llm(server, tmp_path):
    """Makes pipelines of one `llm` component that asks the server."""
    made = []

    def make(prompt="type.v1", **changes):
        model = {"name": MODEL, "store": str(tmp_path / "store.jsonl"), "base_url": server.base_url}
        model |= {"@llm_models": "spacy-universalner.Chat.v1", "key_variable": None, "max_tries": 1, **changes}
        nlp = spacy.blank("en")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            config = {"task": {"@llm_tasks": "spacy-universalner.OpenNER.v1", "prompt": prompt}, "model": model}
            nlp.add_pipe("llm", config=config)
        made.append(nlp.get_pipe("llm")._model)
        return nlp

    yield make
    for model in made:
        model.close()


NAMES = [("Bob", "name"), ("Lee", "name"), ("New", "name"), ("York", "name")]


def test_a_chat_model_in_a_pipeline(make_llm, server):
    doc = make_llm()(TEXT)
    assert labelled(doc) == doc._.teacher_entities == NAMES
    assert doc._.teacher_reply["model"] == f"{MODEL}-2026-01-01"
    assert doc._.teacher_reply["usage"]["completion_tokens"] == server.completion_tokens
    assert doc._.teacher_reply["finish_reason"] == "stop"
    assert server.requests == [{"model": MODEL, "messages": TYPE_V1.messages(TEXT)}]


def test_many_docs_keep_their_order(make_llm, server):
    server.delay = 0.005
    docs = list(make_llm().pipe([f"Ada saw A{n}." for n in range(60)], batch_size=25))
    assert [doc.ents[1].text for doc in docs] == [f"A{n}" for n in range(60)]


def test_the_definition_prompt(make_llm, server):
    make_llm("definition.v1")(TEXT)
    assert server.requests[0]["messages"] == DEFINITION_V1.messages(TEXT)


def test_a_teacher_can_be_scored(make_llm):
    nlp = make_llm()
    example = Example.from_dict(nlp.make_doc(TEXT), {"entities": [(0, 3, "name"), (4, 7, "name")]})
    scores = nlp.evaluate([example])
    assert (scores["ents_r"], scores["ents_p"], scores["ents_f"]) == (1.0, 0.5, pytest.approx(2 / 3))


def test_a_saved_pipeline_asks_nothing_again(make_llm, server, tmp_path):
    nlp = make_llm()
    nlp(TEXT)
    nlp.to_disk(tmp_path / "nlp")
    nlp.get_pipe("llm")._model.close()
    copy = spacy.load(tmp_path / "nlp")
    assert labelled(copy(TEXT)) == NAMES
    assert len(server.requests) == 1
    copy.get_pipe("llm")._model.close()


def test_a_failure_is_an_error_that_the_pipeline_can_handle(make_llm, server):
    server.faults = lambda number, _: Fault(500) if number == 0 else None
    nlp = make_llm(concurrency=1)
    with pytest.raises(UniversalNERError, match="U130.*failed.*500.*reply store"):
        nlp(TEXT)
    server.faults = lambda _, body: Fault(500) if "Eve" in body["messages"][-1]["content"] else None
    failures = []
    nlp.set_error_handler(lambda *failure: failures.append(failure))
    docs = list(nlp.pipe(["Ada met Bob.", "Eve left."], batch_size=1))
    assert [doc.text for doc in docs] == ["Ada met Bob."]
    assert len(failures) == 1


def test_a_refusal_gives_no_entities(make_llm, server):
    server.faults = [Fault(action="refusal")]
    doc = make_llm()(TEXT)
    assert not doc.ents
    assert (doc._.teacher_entities, doc._.teacher_reply["finish_reason"]) == ([], "content_filter")


def test_several_processes_are_told_that_one_is_enough(make_llm, server, capfd):
    nlp = make_llm()
    nlp(TEXT)
    with pytest.raises(ValueError, match="U136.*n_process to 1"):
        list(nlp.pipe([f"Ada saw A{n}." for n in range(8)], n_process=2, batch_size=2))
    assert labelled(nlp("Ada left.")) == [("Ada", "name")]
