import json
import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Conversation, Query
from spacy_universalner.student import check_manifest
from spacy_universalner.training import trainer as trainer_module
from spacy_universalner.training.trainer import Trainer

from ..conftest import CONVERSATIONS, make_settings

EACH_STEP = 1e-9
STEPS = 12


class Killed(Exception):
    """What a test raises to end a run."""


@pytest.fixture
def make_trainer(tiny_base, tmp_path):
    """A run on CONVERSATIONS in a folder of its own."""

    def make(
        work="work", *, base=tiny_base, train=CONVERSATIONS, dev=CONVERSATIONS[:2], score=None, **changes
    ) -> Trainer:
        settings = make_settings(**changes)
        return Trainer(base, train, dev, settings=settings, work=tmp_path / work, device="cpu", score=score)

    return make


def kill(trainer, method, calls):
    """Let a trainer's method work so many times, and end the run at the next call."""
    original = getattr(trainer, method)
    left = iter(range(calls))

    def patched(*args):
        if next(left, None) is None:
            raise Killed
        return original(*args)

    setattr(trainer, method, patched)


def read_log(trainer):
    """The log without what a clock says."""
    lines = (trainer.work / "log.jsonl").read_text(encoding="utf8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "tokens_per_s")} for line in lines]


def losses(trainer):
    return [row["loss"] for row in read_log(trainer) if "loss" in row]


def same_weights(one, other):
    mine, theirs = one.model.state_dict(), other.model.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


# Learning

RUNS = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "multi-turn": {"questions": "multi-turn"},
    "LoRA": {"method": "lora"},
    "LoRA in bfloat16": {"method": "lora", "dtype": "bfloat16"},
    "all but the embeddings": {"frozen_embeddings": True},
    "upper layer only": {"frozen_layers": 1},
}
# For a student that knows CONVERSATIONS: adapters alone teach nothing to random embeddings.
NEW = (
    Conversation("e", "Paris met Rome in May.", (Query("person", ("Paris", "Rome")), Query("city", ()))),
    Conversation("f", "It snowed in Oslo.", (Query("city", ("Oslo",)), Query("date", ()))),
)


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_the_loss_falls(make_trainer, tuned_student, changes):
    trainer = make_trainer(base=tuned_student, train=NEW, epochs=20, **changes)
    facts = trainer.run()
    assert sum(losses(trainer)[-4:]) < 0.6 * sum(losses(trainer)[:4])
    assert facts["compute"] == changes.get("dtype", "float32")


def test_the_validation_loss_falls(make_trainer):
    trainer = make_trainer(dev_conversations=2, epochs=10)
    before = trainer.dev_loss()
    assert trainer.run()["dev_loss"] < 0.75 * before


def test_taking_the_validation_loss_changes_nothing(make_trainer):
    plain, watched = make_trainer("a"), make_trainer("b", dev_conversations=2, dev_evals=3)
    plain.run()
    watched.run()
    assert same_weights(plain, watched)


def test_a_step_is_the_same_in_one_batch_or_four(make_trainer):
    whole, parts = make_trainer("a", step_tokens=10_000, batch_tokens=10_000), make_trainer("b", step_tokens=10_000)
    assert [len(trainer.steps[0]) for trainer in (whole, parts)] == [1, 4]
    for trainer in (whole, parts):
        trainer.run()
    for mine, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-3)


def test_facts(make_trainer):
    trainer = make_trainer(dev_conversations=2, dev_evals=2)
    facts = trainer.run()
    assert facts["steps"] == facts["planned_steps"] == len(trainer.steps) == STEPS
    assert facts["tokens"] == sum(len(row.ids) for step in trainer.steps for rows in step for row in rows)
    assert (facts["resumed"], facts["skipped_conversations"]) == (0, 0)
    assert facts["loss"] == losses(trainer)[-1]
    assert [row["step"] for row in read_log(trainer) if "dev_loss" in row] == [4, 8, 12]


def test_the_learning_rate_rises_and_falls(make_trainer):
    trainer = make_trainer(warmup=0.25, epochs=6)
    trainer.run()
    rates = [row["lr"] for row in read_log(trainer)]
    top = rates.index(max(rates))
    assert rates[top] <= 1e-2
    assert 0 < top < len(rates) / 2
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-3


def test_the_learning_rate_never_exceeds_its_peak(make_trainer):
    trainer = make_trainer(warmup=0.17)
    rates = []
    for trainer.progress.step in range(STEPS):
        rates.append(trainer._learning_rate())
    assert max(rates) <= 1e-2


def test_frozen_layers_stay(make_trainer):
    trainer = make_trainer(frozen_layers=1)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.run()
    after = trainer.model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key.split(".")[2] for key in changed if ".layers." in key} == {"1"}
    assert not any("embed" in key for key in changed)


def test_frozen_embeddings_stay(make_trainer):
    trainer = make_trainer(frozen_embeddings=True)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.run()
    after = trainer.model.state_dict()
    assert {key for key in before if torch.equal(before[key], after[key])} == {
        "model.embed_tokens.weight",
        "lm_head.weight",
    }


PACKED = {
    "by default": ({}, True),
    "multi-turn": ({"questions": "multi-turn"}, False),
    "activations computed again": ({"checkpoint_activations": True}, False),
}


@pytest.mark.parametrize(("changes", "packed"), PACKED.values(), ids=PACKED)
def test_what_is_trained_without_padding(make_trainer, changes, packed):
    assert make_trainer(epochs=1, **changes).run()["packed"] is packed


def test_a_run_ends_when_its_time_is_up(make_trainer):
    facts = make_trainer(max_minutes=1e-6).run()
    assert (facts["steps"], facts["planned_steps"]) == (1, STEPS)


# Stopped and started again

STOPS = {
    "before the second step": ("_step", 1),
    "in the middle": ("_step", 5),
    "before the last step": ("_step", STEPS - 1),
    "after a step was logged, before it was saved": ("_save_checkpoint", 3),
    "before the first checkpoint": ("_save_checkpoint", 0),
}


@pytest.mark.parametrize(("method", "calls"), STOPS.values(), ids=STOPS)
def test_a_run_goes_on_where_it_was_stopped(make_trainer, method, calls):
    settings = {"save_minutes": EACH_STEP, "dev_conversations": 2, "dev_evals": 2}
    unbroken = make_trainer("unbroken", **settings)
    expected = unbroken.run()
    stopped = make_trainer(**settings)
    kill(stopped, method, calls)
    with pytest.raises(Killed):
        stopped.run()

    resumed = make_trainer(**settings)
    facts = resumed.run()
    assert same_weights(resumed, unbroken)
    assert read_log(resumed) == read_log(unbroken)
    assert facts["resumed"] == (calls > 0)
    for key in ("steps", "tokens", "loss", "dev_loss"):
        assert facts[key] == expected[key]


KINDS = {
    "bfloat16": {"dtype": "bfloat16"},
    "LoRA": {"method": "lora"},
    "LoRA with dropout": {"method": "lora", "lora": {"r": 4, "alpha": 8, "dropout": 0.5}},
}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_runs_of_every_kind_go_on(make_trainer, changes):
    unbroken = make_trainer("unbroken", **changes)
    unbroken.run()
    stopped = make_trainer(save_minutes=EACH_STEP, **changes)
    kill(stopped, "_step", 4)
    with pytest.raises(Killed):
        stopped.run()
    resumed = make_trainer(save_minutes=EACH_STEP, **changes)
    resumed.run()
    assert losses(resumed) == losses(unbroken)
    assert same_weights(resumed, unbroken)


def test_a_resumed_run_computes_in_what_it_began_in(make_trainer, monkeypatch):
    begun = make_trainer(dtype="auto", save_minutes=EACH_STEP)
    other = {torch.float32: "bfloat16", torch.bfloat16: "float32"}[begun.dtype]
    kill(begun, "_step", 3)
    with pytest.raises(Killed):
        begun.run()
    pick = trainer_module.pick_dtype
    monkeypatch.setattr(
        trainer_module, "pick_dtype", lambda name, device: pick(other if name == "auto" else name, device)
    )
    assert make_trainer(dtype="auto", save_minutes=EACH_STEP).dtype == begun.dtype
    assert make_trainer("fresh", dtype="auto").dtype != begun.dtype


def test_a_run_stopped_after_its_last_step_has_only_to_be_saved(make_trainer):
    first = make_trainer(save_minutes=EACH_STEP)
    expected = first.run()
    again = make_trainer(save_minutes=EACH_STEP)
    kill(again, "_step", 0)
    facts = again.run()
    assert (facts["loss"], facts["steps"], facts["resumed"]) == (expected["loss"], STEPS, 1)
    assert same_weights(first, again)


def test_a_run_stopped_after_its_last_evaluation_logs_it_once(make_trainer):
    settings = {"save_minutes": EACH_STEP, "dev_conversations": 2, "dev_evals": 2}
    stopped = make_trainer(**settings)
    kill(stopped, "_take_best", 0)
    with pytest.raises(Killed):
        stopped.run()
    make_trainer(**settings).run()
    assert [row["step"] for row in read_log(stopped) if "dev_loss" in row] == [4, 8, 12]


def scores(*given):
    """An F1 for each evaluation, whatever the answers are."""
    left = iter(given)
    return lambda conversations, answers: next(left)


WATCHED = {"dev_conversations": 1, "dev_questions": 1, "dev_evals": 5}


def test_the_best_weights_are_those_with_the_best_f1(make_trainer):
    trainer = make_trainer(score=scores(1, 5, 3, 2, 4, 3), **WATCHED)
    facts = trainer.run()
    assert (facts["dev_f1"], facts["best_step"], facts["steps"]) == (5, 4, STEPS)
    assert facts["dev_loss"] == next(row["dev_loss"] for row in read_log(trainer) if row.get("dev_f1") == 5)
    until = make_trainer("until", **WATCHED)
    kill(until, "_step", 4)
    with pytest.raises(Killed):
        until.run()
    assert same_weights(trainer, until)


def test_a_run_that_gets_no_better_stops(make_trainer):
    facts = make_trainer(score=scores(1, 5, 3, 2), patience=2, **WATCHED).run()
    assert (facts["best_step"], facts["steps"]) == (4, 8)


def test_best_weights_after_the_checkpoint_do_not_replace_its_own(make_trainer):
    """A run on a clock is evaluated at other steps when it goes on: the best after its checkpoint may not return."""
    stopped = make_trainer(score=scores(4, 9), **WATCHED)
    evaluate = stopped._evaluate

    def evaluate_and_save_once(journal):
        evaluate(journal)
        if stopped.progress.evals == 1:
            stopped._save_checkpoint()

    stopped._evaluate = evaluate_and_save_once
    kill(stopped, "_step", 5)
    with pytest.raises(Killed):
        stopped.run()
    resumed = make_trainer(score=scores(3, 3, 3, 3, 3), **WATCHED)
    facts = resumed.run()
    assert (facts["dev_f1"], facts["best_step"]) == (4, 2)
    until = make_trainer("until", **WATCHED)
    kill(until, "_step", 2)
    with pytest.raises(Killed):
        until.run()
    assert same_weights(resumed, until)


SAME = {"tracker": {"report_to": ["none"]}, "minutes between checkpoints": {"save_minutes": 30}}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_a_checkpoint_stays_good_when_only_its_keeping_changes(make_trainer, changes):
    stopped = make_trainer(save_minutes=EACH_STEP)
    kill(stopped, "_step", 3)
    with pytest.raises(Killed):
        stopped.run()
    resumed = make_trainer(**changes)
    resumed._resume()
    assert resumed.progress.step == 3


OTHER = {
    "seed": {"seed": 1},
    "settings": {"learning_rate": 5e-3},
    "conversations": {"train": CONVERSATIONS[1:]},
    "dev conversations": {"dev": CONVERSATIONS[:1]},
}


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER)
def test_a_checkpoint_of_another_run_is_not_used(make_trainer, changes):
    other = make_trainer(save_minutes=EACH_STEP, **changes)
    kill(other, "_step", 3)
    with pytest.raises(Killed):
        other.run()
    fresh = make_trainer("fresh", save_minutes=EACH_STEP)
    fresh.run()
    trainer = make_trainer(save_minutes=EACH_STEP)
    assert trainer.run()["resumed"] == 0
    assert same_weights(trainer, fresh)
    assert read_log(trainer) == read_log(fresh)


# The student


@pytest.mark.parametrize("changes", [{}, {"method": "lora"}, {"dtype": "bfloat16"}], ids=["full", "LoRA", "bfloat16"])
def test_the_student(make_trainer, tmp_path, changes):
    trainer = make_trainer(**changes)
    facts = trainer.run()
    manifest = trainer.save(tmp_path / "student", facts)
    assert check_manifest(tmp_path / "student") == manifest
    assert manifest["training"] == facts
    assert (manifest["base"]["name"], manifest["base"]["source"]) == ("tiny", "random weights")
    assert (manifest["method"], manifest["template"]) == (changes.get("method", "full"), "plain.v1")
    engine = TransformersEngine(
        model=str(tmp_path / "student"), device="cpu", dtype="float32", batch_tokens=4096, max_new_tokens=8
    )
    assert [len(answers) for answers in engine.extract(["Ada slept."], [["person", "city"]])] == [2]


def test_a_manifest_says_what_the_student_was_made_of(make_trainer, tmp_path):
    trainer = make_trainer(max_tokens=1)
    manifest = trainer.save(tmp_path / "student", trainer.run(), {"git_commit": "c" * 40})
    assert manifest["git_commit"] == "c" * 40
    assert "c" * 40 in (tmp_path / "student" / "README.md").read_text(encoding="utf8")


def test_layers_computed_again_learn_the_same(make_trainer):
    trainers = [make_trainer(str(again), checkpoint_activations=again) for again in (False, True)]
    assert trainers[0].run()["loss"] == pytest.approx(trainers[1].run()["loss"], abs=1e-3)


def test_adapters_are_merged_into_a_plain_model(make_trainer, tiny_base, tmp_path):
    trainer = make_trainer(method="lora", epochs=6)
    facts = trainer.run()
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    trainer.model.eval()
    with torch.no_grad():
        expected = trainer.model(ids).logits
    trainer.save(tmp_path / "student", facts)

    weights = {folder: load_file(folder / "model.safetensors") for folder in (tiny_base, tmp_path / "student")}
    assert weights[tiny_base].keys() == weights[tmp_path / "student"].keys()
    assert not list((tmp_path / "student").glob("adapter*"))
    merged, plain = (
        AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (tmp_path / "student", tiny_base)
    )
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, expected, atol=0.02, rtol=0.02)
        assert (plain(ids).logits - expected).abs().max() > 0.1


def test_weights_are_saved_in_bfloat16(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.save(tmp_path / "student", trainer.run())
    assert {value.dtype for value in load_file(tmp_path / "student" / "model.safetensors").values()} == {torch.bfloat16}


def test_saving_replaces_the_student_and_ends_the_run(make_trainer, tmp_path):
    student = tmp_path / "student"
    student.mkdir()
    (student / "old").touch()
    trainer = make_trainer(save_minutes=EACH_STEP)
    facts = trainer.run()
    assert [path.name for path in trainer.work.glob("checkpoint*")] == [f"checkpoint.{STEPS}.0.pt"]
    trainer.save(student, facts)
    assert not (student / "old").exists()
    assert sorted(path.name for path in trainer.work.iterdir()) == ["log.jsonl"]


# What cannot be trained on


def test_a_loss_that_is_no_number(make_trainer):
    trainer = make_trainer(step_tokens=10_000)
    assert len(trainer.steps) == 3
    with torch.no_grad():
        trainer.model.model.norm.weight.fill_(math.nan)
    with pytest.raises(
        UniversalNERError, match=r"U070.*nan at step 1 \(conversations [abcd], [abcd], [abcd], [abcd]\)"
    ):
        trainer.run()


def test_a_gradient_that_is_no_number(make_trainer):
    """The loss is still one: the weights stay as they are, and the conversations are named."""
    trainer = make_trainer()
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.model.model.norm.weight.register_hook(lambda grad: grad * math.nan)
    with pytest.raises(UniversalNERError, match=r"U070.*gradient.*nan at step 1 \(conversations [abcd]\)"):
        trainer.run()
    assert all(torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())


LONG = Conversation("long", "Paris " * 600, (Query("city", ("Paris",)),))
SILENT = Conversation("silent", "It rained.", ())
UNUSABLE = {
    "none": ([], "0 read, 0 without a question, 0 longer than 512"),
    "no questions": ([SILENT], "1 read, 1 without a question, 0 longer"),
    "too long": ([LONG], "1 read, 0 without a question, 1 longer"),
    "both": ([LONG, SILENT, SILENT], "3 read, 2 without a question, 1 longer"),
}


@pytest.mark.parametrize(("train", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_no_usable_conversation(make_trainer, train, message):
    with pytest.raises(UniversalNERError, match=f"U071.*{message}"):
        make_trainer(train=train)


def test_unusable_conversations_are_counted(make_trainer):
    assert make_trainer(train=[*CONVERSATIONS, LONG, SILENT]).run()["skipped_conversations"] == 2


def test_dev_conversations_that_are_unusable(make_trainer):
    assert make_trainer(dev=[LONG], dev_conversations=1).run()["dev_loss"] is None
