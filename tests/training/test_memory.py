import json
from dataclasses import asdict
from functools import partial

import pytest
import torch
from transformers import LlamaConfig

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import PLAIN_V1, TWICE_V1
from spacy_universalner.records import Conversation, Query
from spacy_universalner.training import memory
from spacy_universalner.training.memory import (
    ARCHITECTURES,
    BASES,
    GIB,
    PROFILES,
    Memory,
    check_room,
    check_run,
    estimate,
    find_room,
    list_needs,
    longest_row,
    read_shape,
    tabulate_needs,
)

from ..conftest import CONVERSATIONS, ROOT, make_settings

SIZES = {"SmolLM2-135M-Instruct": 134_515_008, "LLaMA-7B": 6_738_415_616, "LLaMA-13B": 13_015_864_320}
CPU = torch.device("cpu")
RUN = {
    "method": "full",
    "dtype": torch.float32,
    "frozen_embeddings": False,
    "frozen_layers": 0,
    "batch_tokens": 2048,
    "checkpoint_activations": False,
    "rank": 32,
    "longest": 1024,
    "processes": 1,
}


@pytest.fixture(scope="module")
def shape():
    return read_shape(ARCHITECTURES["LLaMA-7B"])


def need(shape, **changes):
    return estimate(shape, **{**RUN, **changes})


@pytest.mark.parametrize(("name", "parameters"), SIZES.items(), ids=SIZES)
def test_parameters_are_those_published(name, parameters):
    assert read_shape(ARCHITECTURES[name]).parameters == parameters


def test_a_head_that_is_the_embedding_is_counted_once():
    shape = read_shape(ARCHITECTURES["SmolLM2-135M-Instruct"])
    assert (shape.embedding, shape.head) == (49152 * 576, 0)


def test_other_architectures_are_counted_too():
    config = {"model_type": "gpt_neox", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    shape = read_shape({**config, "intermediate_size": 64, "vocab_size": 100})
    assert (shape.layers, shape.inner, shape.head) == (3, 96, 3200)


def saved_bytes(count: int, dtype, rank: int) -> int:
    """Bytes that autograd keeps in the layers of a model, as its hooks see them."""
    from transformers import LlamaForCausalLM

    config = {"hidden_size": 32, "intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, num_hidden_layers=count, **config)).to(dtype)
    if rank:
        from peft import LoraConfig, get_peft_model

        lora = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, lora).get_base_model()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    mask = torch.ones(2, 1, 16, 16, dtype=torch.bool).tril()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.model(torch.ones(2, 16, dtype=torch.long), attention_mask=mask, use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


KEPT = {
    "full": (torch.float32, 0),
    "full, bfloat16": (torch.bfloat16, 0),
    "LoRA": (torch.float32, 4),
    "LoRA, bfloat16": (torch.bfloat16, 4),
}


@pytest.mark.parametrize(("dtype", "rank"), KEPT.values(), ids=KEPT)
def test_what_a_layer_keeps_is_what_autograd_keeps(dtype, rank):
    found = (saved_bytes(3, dtype, rank) - saved_bytes(2, dtype, rank)) / 32
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 80, "num_attention_heads": 4}
    shape = read_shape({**config, "num_key_value_heads": 2, "vocab_size": 50, "num_hidden_layers": 2})
    assert memory._saved(shape, dtype, adapters=rank, longest=16) == pytest.approx(found, rel=0.02)


PARTS = {
    "float32": ({}, {"weights": 4, "masters": 0, "gradients": 4, "moments": 8}),
    "bfloat16": ({"dtype": torch.bfloat16}, {"weights": 2, "masters": 4, "gradients": 4, "moments": 8}),
}


@pytest.mark.parametrize(("changes", "bytes_each"), PARTS.values(), ids=PARTS)
def test_full_tuning_by_parameter(shape, changes, bytes_each):
    found = asdict(need(shape, **changes))
    assert {name: found[name] / shape.parameters for name in bytes_each} == bytes_each


def test_adapters_train_few_weights(shape):
    found = need(shape, method="lora", dtype=torch.bfloat16)
    adapters = 32 * 32 * shape.sides
    assert (found.masters, found.moments) == (0, adapters * 8)
    assert found.weights == shape.parameters * 2 + adapters * 4


def test_four_bits_are_a_quarter_of_the_matrices(shape):
    full, four = (need(shape, method=name, dtype=torch.bfloat16).weights for name in ("lora", "qlora"))
    assert 0.25 < four / full < 0.35


LESS = {
    "fewer tokens": {"batch_tokens": 1024},
    "embeddings frozen": {"frozen_embeddings": True},
    "layers frozen": {"frozen_layers": 8},
    "adapters": {"method": "lora"},
    "activations computed again": {"checkpoint_activations": True},
    "more processes": {"processes": 8},
}


@pytest.mark.parametrize("changes", LESS.values(), ids=LESS)
def test_what_makes_a_run_smaller(shape, changes):
    assert need(shape, **changes).total < need(shape).total


def test_scores_that_are_kept_take_memory(shape):
    assert need(shape, scores=True).activations > need(shape).activations


def test_half_precision_makes_activations_smaller_and_adds_master_weights(shape):
    half, single = need(shape, dtype=torch.bfloat16), need(shape)
    assert half.activations < 0.7 * single.activations
    assert half.masters + half.weights > single.weights


def test_processes_share_float32_weights(shape):
    found = need(shape, processes=8, dtype=torch.bfloat16)
    assert (found.weights, found.masters) == (shape.parameters * 4 // 8, 0)
    assert found.gathered > shape.layer * 2


def test_a_row_wider_than_a_batch_is_a_batch(shape):
    assert need(shape, batch_tokens=100).activations == need(shape, batch_tokens=1024).activations


def test_the_longest_row_is_a_passage_with_its_longest_questions():
    short, long = (Conversation("a", "x" * 70, tuple(Query("t" * n, ()) for n in (1, 100))[:k]) for k in (1, 2))
    rows = partial(longest_row, template=PLAIN_V1)
    assert rows([short, long], most=0) > rows([long], most=1) > rows([short], most=1)
    assert rows([], most=0) == 0


def test_a_passage_read_twice_is_twice_as_long():
    read = [Conversation("a", "x" * 7000, (Query("t", ()),))]
    once, twice = (longest_row(read, most=0, template=template) for template in (PLAIN_V1, TWICE_V1))
    assert twice == pytest.approx(2 * once, rel=0.05)


def test_the_longest_row_is_not_too_short(tiny_base):
    from transformers import AutoTokenizer

    from spacy_universalner.encoding import Encoder
    from spacy_universalner.training.examples import make_row

    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), PLAIN_V1)
    rows = [make_row(encoder, conversation, conversation.queries) for conversation in CONVERSATIONS]
    assert longest_row(CONVERSATIONS, most=0, template=PLAIN_V1) > 0.5 * max(
        len(row.ids) for row in rows
    )  # its tokens are short


# The run of this machine

TINY = {**ARCHITECTURES["SmolLM2-135M-Instruct"], "num_hidden_layers": 2, "max_position_embeddings": 64}


def settings(**changes):
    return make_settings(batch_tokens=64, **changes).model_dump()


def needs(**changes):
    run = {"conversations": CONVERSATIONS, "device": CPU, "processes": 1}
    return list_needs(TINY, settings(**changes), {"default": settings()}, **run)


def test_the_run_stands_before_the_profiles():
    found = needs()
    assert list(found) == ["this run, 1 process", "default, 1 process"]
    header, line, *rows = tabulate_needs(found).strip().splitlines()
    assert header.split()[:3] == ["GiB", "a", "process"] and header.split()[-1] == "total"
    assert rows[0].startswith("this run, 1 process") and len(rows) == 2


def test_no_row_is_longer_than_the_context():
    long = [Conversation("a", "x " * 9000, (Query("t", ()),))]
    run = {"device": CPU, "processes": 1, "conversations": long}
    by_base = list_needs(TINY, settings(), {}, **run)
    by_settings = list_needs(TINY, settings(context=32), {}, **run)
    assert next(iter(by_settings.values())).total < next(iter(by_base.values())).total < 2 * GIB


def test_every_profile_is_known():
    assert set(PROFILES) == set(BASES) and all((ROOT / path).is_file() for path in PROFILES.values())
    assert {base for base, _ in BASES.values()} <= set(ARCHITECTURES)


NEED = Memory(weights=GIB, masters=0, gradients=GIB, moments=2 * GIB, gathered=0, activations=GIB, runtime=0)
FITS = {"room": (6 * GIB, 1), "room for two": (10 * GIB, 2), "not known": (None, 8)}


@pytest.mark.parametrize(("room", "processes"), FITS.values(), ids=FITS)
def test_a_run_that_fits_goes_on(room, processes):
    check_room(NEED, room, processes=processes)


@pytest.mark.parametrize(("room", "processes"), [(4 * GIB, 1), (9 * GIB, 2)])
def test_a_run_that_does_not_fit_is_stopped(room, processes):
    said = rf"U165.*about {5 * processes}\.0 GiB in {processes} process.*{room / GIB} GiB are free.*batch_tokens"
    with pytest.raises(UniversalNERError, match=said):
        check_room(NEED, room, processes=processes)


def test_memory_can_be_ignored(monkeypatch, capsys):
    monkeypatch.setattr(memory, "find_room", lambda device: 1)
    run = {"conversations": CONVERSATIONS, "device": CPU}
    check_run(TINY, settings(), {}, **run, ignore=True)
    assert "this run" in capsys.readouterr().out
    with pytest.raises(UniversalNERError, match="U165"):
        check_run(TINY, settings(), {}, **run, ignore=False)


def test_one_of_several_processes_speaks(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    check_run(TINY, settings(), {}, conversations=CONVERSATIONS, device=CPU, ignore=True)
    assert capsys.readouterr().out == ""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 MB available; `limit` puts this process in a container."""
    (tmp_path / "meminfo").write_text("MemTotal: 16384 kB\nMemAvailable: 8192 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)

    def limit(text):
        (tmp_path / "memory.max").write_text(text)
        (tmp_path / "memory.current").write_text(json.dumps(3 * 2**20))
        (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {2**20}\n")

    return limit


LIMITS = {"a wide container": ("max\n", 8), "a narrow one": (f"{6 * 2**20}\n", 4), "a wider one": (f"{2**30}\n", 8)}


@pytest.mark.parametrize(("text", "room"), LIMITS.values(), ids=LIMITS)
def test_the_room_in_a_container(machine, text, room):
    machine(text)
    assert find_room(CPU) == room * 2**20


def test_the_room_of_a_machine(machine):
    assert find_room(CPU) == 8 * 2**20


def test_where_nothing_tells_of_the_room(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert find_room(CPU) is None
    assert find_room(torch.device("mps")) is None
