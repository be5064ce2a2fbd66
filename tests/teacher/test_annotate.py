import json
import logging
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import spacy
from spacy_llm.registry import registry

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.records import Passage, Reply, write_json, write_rows
from spacy_universalner.teacher import batch
from spacy_universalner.teacher.annotate import (
    Annotation,
    Unanswered,
    annotate,
    estimate_cost,
    get_teacher,
    load_teacher,
    read_kinds,
)
from spacy_universalner.teacher.batch import BatchRun, check_no_open_jobs
from spacy_universalner.teacher.replay import recording
from spacy_universalner.teacher.store import ReplyStore
from tests.chat_server import Fault

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "teacher.cfg"
LOCAL = ROOT / "configs" / "local.cfg"
SCRIPT = ROOT / "scripts" / "annotate.py"
SECRET = "sk-secret-4711"
PASSAGES = [Passage(f"p{number}", f"Bob has {number} cats.") for number in range(5)]
REPLIES = [Reply(p.id, p.text, '[("Bob", "person")]', "gpt", TYPE_V1.sha, {"total_tokens": 3}) for p in PASSAGES]


@pytest.fixture
def nlp(tmp_path):
    write_rows(tmp_path / "r.jsonl", (recording(reply, TYPE_V1) for reply in REPLIES))
    config = spacy.util.load_config(CONFIG, overrides={"paths.replies": str(tmp_path / "r.jsonl")})
    return spacy.util.load_model_from_config(config)


def test_replies_come_back_in_order(nlp):
    nlp.batch_size = 2
    assert list(annotate(get_teacher(nlp), PASSAGES)) == REPLIES


def test_passages_are_streamed(nlp):
    taken = []
    nlp.batch_size = 1
    replies = annotate(get_teacher(nlp), (taken.append(passage) or passage for passage in PASSAGES))
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


# with a chat model


def write_config(path, server, **changes):
    """configs/local.cfg with the server's address and other values."""
    text = LOCAL.read_text(encoding="utf8")
    values = {"base_url": server.base_url, "store": str(path.parent / "out" / "store.jsonl"), "max_tries": 1, **changes}
    for name, value in values.items():
        head, line, rest = text.partition(f"\n{name} = ")
        assert line, name
        text = head + line + json.dumps(value) + "\n" + rest.partition("\n")[2]
    path.write_text(text, encoding="utf8")
    return path


@pytest.fixture
def config(server, tmp_path):
    return write_config(tmp_path / "chat.cfg", server)


@pytest.fixture
def make_teacher(server, tmp_path):
    """Makes teachers that share a store."""
    made = []

    def make(**changes):
        for teacher in made:
            teacher.model.close()
        made.append(get_teacher(load_teacher(write_config(tmp_path / "chat.cfg", server, **changes))))
        return made[-1]

    yield make
    for teacher in made:
        teacher.model.close()


def test_a_chat_model_answers_passages(make_teacher, server):
    replies = list(annotate(make_teacher(), PASSAGES))
    assert [(reply.passage_id, reply.text, reply.prompt_sha) for reply in replies] == [
        (passage.id, passage.text, TYPE_V1.sha) for passage in PASSAGES
    ]
    assert {reply.raw for reply in replies} == {'[("Bob", "name")]'}
    assert {reply.model for reply in replies} == {"local-2026-01-01"}


def test_a_passage_without_a_reply_is_told(make_teacher, server):
    server.faults = lambda _, body: Fault(500) if "3 cats" in body["messages"][-1]["content"] else None
    results = list(annotate(make_teacher(), PASSAGES))
    assert [type(result) for result in results] == [Reply, Reply, Reply, Unanswered, Reply]
    assert (results[3].passage_id, results[3].kind, "500" in results[3].error) == ("p3", "failed", True)


def test_an_annotation_counts_and_lets_the_store_go(make_teacher, server):
    server.faults = [Fault(500)]
    teacher = make_teacher(concurrency=1)
    with Annotation(teacher) as annotation:
        set_aside = []
        assert len(list(annotation.replies(PASSAGES, set_aside=set_aside.append))) == 4
    assert annotation.counts == {"replies": 4, "failed": 1}
    assert [row["passage_id"] for row in set_aside] == ["p0"]
    assert annotation.facts == {"replies": 4, "unanswered": 1, "cost": 0.0}
    assert ReplyStore(teacher.model.path).close() is None


def test_the_ledger_tells_of_this_run_and_of_all(make_teacher, server):
    for _ in range(2):
        with Annotation(make_teacher()) as annotation:
            list(annotation.replies(PASSAGES))
    ledger = annotation.ledger()
    assert ledger["this_run"]["requests"] == 0
    assert (ledger["store"]["requests"], ledger["store"]["replies"]) == (5, {"answer": 5})
    assert ledger["store"]["tokens"]["prompt_tokens"] == server.prompt_tokens


def test_kinds_are_asked_again_in_one_run_only(make_teacher, server):
    server.faults = lambda number, _: Fault(action="refusal") if number < 2 else None
    teacher = make_teacher()
    list(annotate(teacher, PASSAGES))
    with Annotation(teacher, again="refusal, empty") as annotation:
        list(annotation.replies(PASSAGES))
    assert len(server.requests) == 7
    assert teacher.model.again == frozenset()


def test_batch_jobs_leave_the_model_as_it_was(make_teacher, server, monkeypatch):
    monkeypatch.setitem(BatchRun.__init__.__kwdefaults__, "poll_seconds", 0.001)
    teacher, told = make_teacher(), []
    with Annotation(teacher) as annotation:
        annotation.ask_by_batch(PASSAGES, told.append)
        assert len(list(annotation.replies(PASSAGES, told.append))) == 5
    assert sum(told) == 5
    assert server.requests == []
    assert [type(result) for result in annotate(teacher, [Passage("new", "Ada left.")])] == [Reply]


def test_a_reader_that_breaks_off_loses_no_reply(make_teacher, server):
    server.delay = 0.05
    passages = [Passage(f"p{number}", f"Ada saw A{number}.") for number in range(300)]
    teacher = make_teacher(concurrency=8)
    with pytest.raises(ZeroDivisionError), Annotation(teacher) as annotation:
        for _ in annotation.replies(passages):
            raise ZeroDivisionError
    stored = teacher.model.path.read_text(encoding="utf8").splitlines()
    assert len(stored) == server.answered == len(server.requests) < 30


def test_an_estimate(make_teacher, server):
    prices = [{"model": "local", "input": 1.0, "output": 2.0}]
    list(annotate(make_teacher(prices=prices), PASSAGES[:2]))
    sent = len(server.requests)
    cost = estimate_cost(make_teacher(prices=prices), PASSAGES)
    assert (cost.passages, cost.answered) == (5, 2)
    assert 0 < cost.batch_cost < cost.cost < cost.most
    assert len(server.requests) == sent


OPTIONS = {"--estimate": estimate_cost, "--again": lambda teacher, _: Annotation(teacher, again="refusal")}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_chat_models(nlp, option):
    with pytest.raises(UniversalNERError, match=f"U131.*{option}"):
        OPTIONS[option](get_teacher(nlp), PASSAGES)


def test_without_a_store_nothing_is_asked_again(make_teacher):
    with pytest.raises(UniversalNERError, match="U131.*local.*--again"):
        Annotation(make_teacher(store=None), again="refusal")


def test_kinds_are_read():
    assert read_kinds("refusal, cut off") == {"refusal", "cut off"}
    with pytest.raises(UniversalNERError, match="U132.*'refused'.*refusal, empty, cut off"):
        read_kinds("refused")


# the script


@pytest.fixture
def run_script(tmp_path, monkeypatch, config):
    """Runs scripts/annotate.py in a folder of its own. RETURNS: the exit code."""

    def run(*options, passages=PASSAGES):
        write_rows(tmp_path / "passages.jsonl", ({"id": p.id, "text": p.text} for p in passages))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [*arguments(tmp_path), *options])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return ended.value.code

    return run


def arguments(folder):
    files = {"passages": "passages.jsonl", "config": "chat.cfg", "replies": "out/replies.jsonl"}
    files |= {"unanswered": "out/unanswered.jsonl", "ledger": "out/ledger.json"}
    return [str(SCRIPT), *(word for name, file in files.items() for word in (f"--{name}", str(folder / file)))]


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def test_the_script_writes_replies_failures_and_the_ledger(run_script, server, tmp_path):
    server.faults = lambda _, body: Fault(500) if "3 cats" in body["messages"][-1]["content"] else None
    assert run_script() == 0
    out = tmp_path / "out"
    assert [row["passage_id"] for row in read_lines(out / "replies.jsonl")] == ["p0", "p1", "p2", "p4"]
    assert [(row["passage_id"], row["kind"]) for row in read_lines(out / "unanswered.jsonl")] == [("p3", "failed")]
    ledger = json.loads((out / "ledger.json").read_text(encoding="utf8"))
    assert ledger["passages"] == {"replies": 4, "failed": 1}
    assert ledger["store"] == ledger["this_run"]
    assert ledger["store"]["requests"] == len(server.requests) == 5
    assert ledger["store"]["tokens"]["completion_tokens"] == server.completion_tokens
    server.faults = ()
    assert run_script() == 0
    assert len(server.requests) == 6


def test_an_estimate_sends_nothing(run_script, server, capsys):
    assert run_script("--estimate") == 0
    assert "passages: 5\nanswered: 0\n" in capsys.readouterr().out
    assert server.requests == []


def test_the_script_asks_by_batch(run_script, server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(BatchRun.__init__.__kwdefaults__, "poll_seconds", 0.001)
    monkeypatch.setattr(batch, "MAX_REQUESTS", 3)
    assert run_script("--batch") == 0
    assert len(read_lines(tmp_path / "out" / "replies.jsonl")) == 5
    assert (server.requests, server.batches) == ([], 2)
    assert "5/5" in (said := capsys.readouterr().err)
    assert said.count("annotate: ") == 1, "a passage is told once"


def test_the_script_asks_again(run_script, server):
    server.faults = [Fault(action="refusal")]
    assert run_script() == run_script() == 0
    assert len(server.requests) == 5
    assert run_script("--again", "refusal") == 0
    assert len(server.requests) == 6


def test_a_refused_key_ends_the_script_with_a_sentence(run_script, server, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    write_config(tmp_path / "chat.cfg", server, key_variable="TEACHER_KEY")
    server.faults = [None, Fault(action="echo auth")]
    caplog.set_level(logging.DEBUG)
    assert run_script() == 1
    said = capsys.readouterr()
    assert "[U036]" in said.err
    assert "Traceback" not in said.err
    assert SECRET not in said.out + said.err + caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert not (tmp_path / "out" / "replies.jsonl").exists()


def hear_interrupts():
    """What a shell sends to the background is deaf to them, and so are its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_script_stores_what_is_on_its_way(run_script, server, tmp_path):
    server.delay = 0.4
    passages = [Passage(f"p{number}", f"Ada saw A{number}.") for number in range(200)]
    write_rows(tmp_path / "passages.jsonl", ({"id": p.id, "text": p.text} for p in passages))
    command = [sys.executable, *arguments(tmp_path)]
    options = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": hear_interrupts}
    process = subprocess.Popen(command, cwd=tmp_path, **options)
    until = time.monotonic() + 60
    while server.answered < 5 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Traceback" not in said
    stored = read_lines(tmp_path / "out" / "store.jsonl")
    assert 5 <= len(stored) == server.answered == len(server.requests) < 200
    assert not (tmp_path / "out" / "replies.jsonl").exists()
    server.delay = 0.0
    assert run_script(passages=passages) == 0
    assert len(read_lines(tmp_path / "out" / "replies.jsonl")) == len(server.requests) == 200


def test_open_batch_jobs_are_not_asked_twice(tmp_path):
    job = {"requests": "1.jsonl", "count": 1, "most": 0.1}
    (tmp_path / "s.batches").mkdir()
    write_json(tmp_path / "s.batches" / "jobs.json", {"jobs": [{**job, "collected": True}]})
    check_no_open_jobs(tmp_path / "s.jsonl")
    write_json(tmp_path / "s.batches" / "jobs.json", {"jobs": [{**job, "collected": True}, job]})
    with pytest.raises(UniversalNERError, match="U138.*1 batch jobs"):
        check_no_open_jobs(tmp_path / "s.jsonl")
