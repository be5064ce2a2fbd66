from pathlib import Path

import pytest
import spacy
from spacy_llm.registry import registry

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.records import Passage, Reply, write_rows
from spacy_universalner.teacher.annotate import annotate, get_teacher, load_teacher
from spacy_universalner.teacher.replay import recording

CONFIG = Path(__file__).parents[2] / "configs" / "teacher.cfg"
PASSAGES = [Passage(f"p{number}", f"Bob has {number} cats.") for number in range(5)]
REPLIES = [Reply(p.id, p.text, '[("Bob", "person")]', "gpt", TYPE_V1.sha, {"total_tokens": 3}) for p in PASSAGES]


@pytest.fixture
def nlp(tmp_path):
    write_rows(tmp_path / "r.jsonl", (recording(reply, TYPE_V1) for reply in REPLIES))
    config = spacy.util.load_config(CONFIG, overrides={"paths.replies": str(tmp_path / "r.jsonl")})
    return spacy.util.load_model_from_config(config)


def test_replies_come_back_in_order(nlp):
    assert list(annotate(get_teacher(nlp), PASSAGES, batch_size=2)) == REPLIES


def test_passages_are_streamed(nlp):
    taken = []
    replies = annotate(get_teacher(nlp), (taken.append(passage) or passage for passage in PASSAGES), batch_size=1)
    next(replies)
    assert len(taken) < len(PASSAGES)


def test_equal_texts_get_a_reply_each(nlp):
    twins = [Passage("a", PASSAGES[0].text), Passage("b", PASSAGES[0].text)]
    assert [reply.passage_id for reply in annotate(get_teacher(nlp), twins)] == ["a", "b"]


def test_an_error_of_the_model_arrives(nlp):
    with pytest.raises(UniversalNERError, match="U030"):
        list(annotate(get_teacher(nlp), [Passage("x", "Never recorded.")]))


def test_no_passages_no_replies(nlp):
    assert list(annotate(get_teacher(nlp), [])) == []


def test_a_pipeline_without_the_task_is_an_error():
    with pytest.raises(UniversalNERError, match="U033.*OpenNER"):
        get_teacher(spacy.blank("en"))


def test_a_pipeline_with_another_task_is_an_error():
    nlp = spacy.blank("en")
    config = {"task": {"@llm_tasks": "spacy.NoOp.v1"}, "model": {"@llm_models": "spacy.NoOp.v1"}}
    nlp.add_pipe("llm", config=config)
    with pytest.raises(UniversalNERError, match="U033"):
        get_teacher(nlp)


def test_a_saved_pipeline_answers_alike(nlp, tmp_path):
    nlp.to_disk(tmp_path / "nlp")
    assert list(annotate(get_teacher(spacy.load(tmp_path / "nlp")), PASSAGES)) == REPLIES


def test_the_teacher_is_loaded_without_its_replies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_teacher(CONFIG).pipe_names == ["llm"]


def test_a_missing_config(tmp_path):
    with pytest.raises(UniversalNERError, match="U001"):
        load_teacher(tmp_path / "none.cfg")


def test_an_unknown_model_in_the_config(tmp_path):
    path = tmp_path / "t.cfg"
    path.write_text(CONFIG.read_text(encoding="utf8").replace("Replay.v1", "Nope.v1"), encoding="utf8")
    with pytest.raises(UniversalNERError, match="U011.*Nope"):
        load_teacher(path)


def test_any_registered_model_can_be_the_teacher(nlp, tmp_path):
    def make():
        def model(prompts):
            return [[f'[("{messages[1]["content"][-5:-1]}", "animal")]' for messages in of_doc] for of_doc in prompts]

        return model

    registry.llm_models("test.Echo.v1", func=make)
    nlp = spacy.blank("en")
    task = {"@llm_tasks": "spacy-universalner.OpenNER.v1"}
    nlp.add_pipe("llm", config={"task": task, "model": {"@llm_models": "test.Echo.v1"}, "validate_types": False})
    assert [reply.raw for reply in annotate(get_teacher(nlp), PASSAGES[:1])] == ['[("cats", "animal")]']
