import warnings

import pytest
import spacy
from spacy.tokens import DocBin
from spacy_llm.registry import registry

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.teacher.completion import Completion
from spacy_universalner.teacher.task import USER_DATA, make_open_ner_task

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
