"""A tuned student as a small difference to its base."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from spacy_universalner.base import BASE_VARIABLE, describe_base
from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import PLAIN_V1
from spacy_universalner.records import read_json, write_rows
from spacy_universalner.student import ADAPTER, MANIFEST, WEIGHTS, check_manifest, write_manifest
from spacy_universalner.training.difference import DTYPE, Change, choose_ranks, shrink
from spacy_universalner.training.examples import collate, make_row
from spacy_universalner.training.loss import AnswerLoss
from spacy_universalner.training.trainer import Trainer
from spacy_universalner.tuning import recover

from ..conftest import CONVERSATIONS, make_settings

PLENTY = 10.0


@pytest.fixture(autouse=True)
def own_base(tiny_base, monkeypatch):
    monkeypatch.setenv(BASE_VARIABLE, str(tiny_base))


@pytest.fixture(scope="module")
def tuned(tiny_base, tmp_path_factory):
    """All weights but the embeddings and the first layer tuned."""
    work = tmp_path_factory.mktemp("tuned")
    settings = make_settings(epochs=8, frozen_layers=1)
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


def test_what_was_left_out_is_made_up_for(tuned, tiny_base, tmp_path):
    """Trained further, a small student is as small, and loses less on what its student was tuned on."""
    small, files = tmp_path / "small", {}
    for name in ("train", "dev"):
        files[name] = tmp_path / f"{name}.jsonl"
        write_rows(files[name], (conversation.to_sharegpt() for conversation in CONVERSATIONS))
    before = shrink(tuned, small, megabytes=0.02)
    loss = loss_of(small)
    told = recover(small, **files, minutes=1, learning_rate=5e-3, megabytes=0.02, device="cpu")
    assert loss_of(small) < loss
    assert (small / ADAPTER).stat().st_size <= 0.02e6 + 20_000, "the file has a header"
    manifest = check_manifest(small)
    assert told == manifest["difference"] and told["recovery"]["start"] == before
    assert {key: manifest[key] for key in ("method", "training")} == {
        key: read_json(tuned / MANIFEST)[key] for key in ("method", "training")
    }
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["small"]


def loss_of(student):
    """The loss of CONVERSATIONS."""
    model, encoder = engine(student).extractor.model, engine(student).extractor.encoder
    rows = [make_row(encoder, c, c.queries) for c in CONVERSATIONS]
    batch = collate(rows, 0, isolated=True)
    with torch.no_grad():
        return float(AnswerLoss(model)(batch.layout, batch.predict, batch.targets))


def test_a_student_that_does_not_say_how_it_was_trained(tuned, tmp_path):
    student = shutil.copytree(tuned, tmp_path / "student")
    manifest = read_json(student / MANIFEST)
    write_manifest(student, {key: value for key, value in manifest.items() if key not in ("files", "settings")})
    shrink(student, tmp_path / "small", megabytes=0.02)
    files = {"train": tmp_path / "train.jsonl", "dev": tmp_path / "dev.jsonl"}
    with pytest.raises(UniversalNERError, match="U260.*how it was trained"):
        recover(tmp_path / "small", **files, minutes=1, learning_rate=5e-3, megabytes=0.02, device="cpu")
