"""A tuned student as a small difference to its base."""

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from spacy_universalner import tuning
from spacy_universalner.base import BASE_VARIABLE, describe_base, find_base
from spacy_universalner.causal import open_adapted, open_model
from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import PLAIN_V1
from spacy_universalner.records import read_json, write_rows
from spacy_universalner.student import ADAPTER, MANIFEST, WEIGHTS, check_manifest, write_manifest
from spacy_universalner.training.difference import DTYPE, Change, choose_ranks, find_changes, read_changes, shrink
from spacy_universalner.training.examples import collate, make_row
from spacy_universalner.training.loss import AnswerLoss
from spacy_universalner.training.model import load_model, save_adapter
from spacy_universalner.training.trainer import Trainer
from spacy_universalner.tuning import make_small

from ..conftest import CONVERSATIONS, make_settings

PLENTY = 10.0


@pytest.fixture(autouse=True)
def own_base(tiny_base, monkeypatch):
    monkeypatch.setenv(BASE_VARIABLE, str(tiny_base))


@pytest.fixture(scope="module")
def tuned(tiny_base, tmp_path_factory):
    """All weights but the embeddings and the first layer tuned."""
    work = tmp_path_factory.mktemp("tuned")
    settings = make_settings(epochs=8, frozen_layers=1, dev_conversations=4)
    trainer = Trainer(tiny_base, CONVERSATIONS, (), settings=settings, work=work, device="cpu")
    trainer.save(work / "student", trainer.run(), {"settings": settings.model_dump()})
    return work / "student"


def engine(student):
    kind = {"device": "cpu", "dtype": "float32", "batch_tokens": 4096, "max_new_tokens": 16}
    return TransformersEngine(model=str(student), **kind)


def weights(student):
    return engine(student).extractor.model.state_dict()


def norm_of_difference(one, other):
    return sum(float((one[key] - other[key]).square().sum()) for key in one if one[key].ndim == 2) ** 0.5


def test_with_room_for_all_directions_the_matrices_are_the_students_but_for_rounding(tuned, tiny_base, tmp_path):
    facts = shrink(tuned, tmp_path / "small", megabytes=PLENTY)
    assert facts["share"] == 1
    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).state_dict()
    student = weights(tuned)
    assert norm_of_difference(weights(tmp_path / "small"), student) < 0.04 * norm_of_difference(base, student)


def test_what_is_kept_can_be_multiplied(tuned, tiny_base, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).state_dict()
    distances = []
    for gain in (1.0, 1.5):
        shrink(tuned, tmp_path / "small", megabytes=0.01, gain=gain)
        distances.append(norm_of_difference(weights(tmp_path / "small"), base))
    assert distances[1] == pytest.approx(1.5 * distances[0], rel=0.01)


def test_a_smaller_difference_is_further_from_the_student_but_nearer_than_the_base(tuned, tiny_base, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).state_dict()
    student = weights(tuned)
    sizes, distances = [], [norm_of_difference(base, student)]
    for megabytes in (0.004, 0.01, 0.04):
        facts = shrink(tuned, tmp_path / "small", megabytes=megabytes)
        distances.append(norm_of_difference(weights(tmp_path / "small"), student))
        sizes.append((facts["share"], (tmp_path / "small" / ADAPTER).stat().st_size))
    assert sizes == sorted(sizes) and distances == sorted(distances, reverse=True)


def test_the_size_is_kept_to(tuned, tmp_path):
    facts = shrink(tuned, tmp_path / "small", megabytes=0.01)
    tensors = load_file(tmp_path / "small" / ADAPTER).values()
    assert {tensor.dtype for tensor in tensors} == {DTYPE}
    assert 0.009e6 < sum(tensor.numel() for tensor in tensors) <= 0.01e6
    assert facts["ranks"] == sum(len(tensor) for tensor in tensors if len(tensor) < tensor.shape[1])


def test_the_small_student_is_a_student_with_all_that_the_manifest_told(tuned, tmp_path):
    facts = shrink(tuned, tmp_path / "small", megabytes=PLENTY)
    manifest = check_manifest(tmp_path / "small")
    told = {key: value for key, value in read_json(tuned / MANIFEST).items() if key != "files"}
    assert {key: manifest[key] for key in told} == told
    assert manifest["difference"] == facts
    assert WEIGHTS not in manifest["files"]
    answers = engine(tmp_path / "small").extract(["Ada met Grace in Paris."], [["person", "city"]])
    assert [len(said) for said in answers] == [2]


def test_directions_are_kept_where_they_explain_most_for_their_bytes():
    strong, weak, long = (
        Change(name, torch.zeros(rows, 3), torch.tensor(values), torch.zeros(3, 10))
        for name, rows, values in (
            ("strong", 10, [9.0, 5.0, 1.0]),
            ("weak", 10, [2.0, 1.0, 0.5]),
            ("long", 90, [6.0, 1.0, 1.0]),
        )
    )
    assert choose_ranks([weak, long, strong], 2 * strong.cost) == {"weak": 0, "long": 0, "strong": 2}
    assert choose_ranks([weak, long, strong], 3 * strong.cost) == {"weak": 1, "long": 0, "strong": 2}


def test_a_student_that_does_not_differ_from_its_base(tiny_base, tmp_path):
    student = shutil.copytree(tiny_base, tmp_path / "student")
    PLAIN_V1.save(student)
    write_manifest(student, {"base": describe_base(read_json(tiny_base / MANIFEST)), "template": PLAIN_V1.name})
    with pytest.raises(UniversalNERError, match="U260.*does not differ"):
        shrink(student, tmp_path / "small", megabytes=PLENTY)


def test_a_student_that_is_adapters_already(tuned, tmp_path):
    shrink(tuned, tmp_path / "small", megabytes=PLENTY)
    with pytest.raises(UniversalNERError, match="U260.*adapters already"):
        shrink(tmp_path / "small", tmp_path / "smaller", megabytes=PLENTY)


def test_a_size_into_which_nothing_fits(tuned, tmp_path):
    with pytest.raises(UniversalNERError, match="U260.*nothing.*1e-06 megabytes"):
        shrink(tuned, tmp_path / "small", megabytes=1e-6)
    assert not (tmp_path / "small").exists()


@pytest.fixture
def made(tuned, tmp_path):
    """How a small student is made of `tuned` and trained further."""
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train", "dev")}
    for path in files.values():
        write_rows(path, (conversation.to_sharegpt() for conversation in CONVERSATIONS))
    what = {"megabytes": 0.02, "gain": 1.2, "minutes": 1, "learning_rate": 5e-3, "device": "cpu"}
    return {"student": tuned, "small": tmp_path / "small", **what, **files}


def test_what_was_left_out_is_made_up_for(made, tuned, tmp_path):
    """Trained further, a small student is as small, and loses less on what its student was tuned on."""
    start = shrink(tuned, tmp_path / "start", megabytes=0.02, gain=1.2)
    told = make_small(**made)
    assert loss_of(made["small"]) < loss_of(tmp_path / "start")
    tensors = [load_file(folder / ADAPTER).values() for folder in (tmp_path / "start", made["small"])]
    assert sorted(t.shape for t in tensors[1]) == sorted(t.shape for t in tensors[0]), "the ranks are as they were"
    manifest = check_manifest(made["small"])
    assert manifest["difference"] == told
    recovery = told.pop("recovery")
    assert told.keys() == start.keys()
    assert {key: value for key, value in told.items() if key != "megabytes"}.items() <= start.items()
    assert recovery["settings"]["learning_rate"] == 5e-3
    assert recovery["training"]["dev_loss"] < recovery["before"]["dev_loss"]
    tune = read_json(tuned / MANIFEST)
    assert {key: manifest[key] for key in ("method", "training")} == {key: tune[key] for key in ("method", "training")}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["small", "start"]


def loss_of(student):
    """The loss of CONVERSATIONS."""
    extractor = engine(student).extractor
    batch = collate([make_row(extractor.encoder, c, c.queries) for c in CONVERSATIONS], 0, isolated=True)
    with torch.no_grad():
        return float(AnswerLoss(extractor.model)(batch.layout, batch.predict, batch.targets))


def test_a_small_student_is_there_when_all_is_done(made, tuned, monkeypatch):
    """A killed run leaves none, and the next one starts from the same adapters."""
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_small(**made)
        assert not made["small"].exists()
        patch.setattr(tuning, "shrink", None)
        with pytest.raises(ZeroDivisionError):
            make_small(**made)
    shrunk = []
    monkeypatch.setattr(tuning, "shrink", lambda *args, **kwargs: shrunk.append(shrink(*args, **kwargs)))
    make_small(**{**made, "gain": 1.0})
    assert [facts["gain"] for facts in shrunk] == [1.0], "another gain is another student"


def test_without_minutes_it_is_not_trained_further(made, tuned, tmp_path):
    told = make_small(**{**made, "minutes": 0})
    assert told == shrink(tuned, tmp_path / "other", megabytes=0.02, gain=1.2)


UNTOLD = {"nothing": (None, "U260.*how it was tuned"), "too little": ({"seed": 0}, "U010.*settings in.*Field required")}


@pytest.mark.parametrize(("settings", "message"), UNTOLD.values(), ids=UNTOLD)
def test_a_student_that_does_not_say_how_it_was_tuned(made, tuned, tmp_path, settings, message):
    student = shutil.copytree(tuned, tmp_path / "student")
    told = {key: value for key, value in read_json(student / MANIFEST).items() if key not in ("files", "settings")}
    write_manifest(student, {**told, "settings": settings} if settings else told)
    with pytest.raises(UniversalNERError, match=re.compile(message, re.DOTALL)):
        make_small(**{**made, "student": student})


def test_factors_say_what_they_change(tuned, tmp_path):
    shrink(tuned, tmp_path / "small", megabytes=0.02)
    base, small = (find_base(read_json(tuned / MANIFEST)["base"], tuned), tmp_path / "small")
    kind = {"dtype": torch.float32, "device": torch.device("cpu")}
    adapted = load_model(base, **LORA, **kind, adapters=small)
    whole, plain = open_adapted(base, small, **kind), open_model(base, **kind)
    expected = {change.name: change for change in find_changes(plain, whole)}
    for change in read_changes(adapted):
        matrix, other = (c.left * c.values @ c.right for c in (change, expected.pop(change.name)))
        torch.testing.assert_close(matrix, other, atol=1e-6, rtol=1e-4)
    assert not expected


LORA = {
    "method": "lora",
    "lora": {"r": 1, "alpha": 1, "dropout": 0.0},
    "frozen_embeddings": True,
    "frozen_layers": 0,
    "seed": 0,
}


def test_adapters_that_are_trained_further_begin_as_they_were(tuned, tmp_path):
    """Opened, and saved again."""
    shrink(tuned, tmp_path / "small", megabytes=0.02)
    base = find_base(read_json(tuned / MANIFEST)["base"], tuned)
    kind = {"dtype": torch.float32, "device": torch.device("cpu")}
    adapted = load_model(base, **LORA, **kind, adapters=tmp_path / "small").eval()
    save_adapter(adapted, tmp_path / "again", "base")
    ids = torch.tensor([[5, 9, 7]])
    expected = open_adapted(base, tmp_path / "small", **kind)(ids).logits
    torch.testing.assert_close(adapted(ids).logits, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        open_adapted(base, tmp_path / "again", **kind)(ids).logits, expected, atol=1e-5, rtol=1e-4
    )
