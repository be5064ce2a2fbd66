"""Linear layers in 8-bit integers against exact ones."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from spacy_universalner.engines.transformers import TransformersEngine
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.quantization import ROWS, Int8Linear, quantize
from spacy_universalner.registry import Answer

from .conftest import CONVERSATIONS, without_scores

SHAPES = {
    "one row": (1, 16),
    "odd": (5, 13),
    "three dimensions": (2, 3, 16),
    "more than are multiplied at a time": (2 * ROWS + 3, 16),
    "none": (0, 16),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_layer_is_as_near_as_rounding_allows(shape, bias):
    torch.manual_seed(0)
    linear, states = nn.Linear(shape[-1], 7, bias=bias), torch.randn(shape)
    with torch.no_grad():
        got, exact = Int8Linear(linear)(states), linear(states)
    # Each factor is off by half a step at most, a step being 1/127 of the largest of its row.
    most = states.abs().amax(-1, keepdim=True) if len(states) else states[..., :1]
    weight = linear.weight.detach()
    bound = (
        most / 254 * weight.abs().sum(-1)
        + states.abs().sum(-1, keepdim=True) * weight.abs().amax(-1) / 254
        + shape[-1] * most * weight.abs().amax(-1) / 254**2
    )
    assert got.shape == exact.shape
    assert bool(((got - exact).abs() <= bound + 1e-5).all())


def test_integers_are_multiplied_exactly():
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[127.0, -3, 5, 0], [1, 2, 3, 127]]))
    states = torch.tensor([[127.0, 1, -1, 9]])
    assert torch.allclose(Int8Linear(linear)(states), linear(states).detach())


def test_a_row_of_zeros():
    linear = nn.Linear(4, 2)
    nn.init.zeros_(linear.weight[0])
    assert torch.equal(Int8Linear(linear)(torch.zeros(1, 4))[0], linear.bias.detach())


def test_a_row_does_not_depend_on_those_beside_it():
    torch.manual_seed(0)
    layer, states = Int8Linear(nn.Linear(16, 8)), torch.randn(3, 16)
    states[1] *= 1000
    assert torch.equal(layer(states)[:1], layer(states[:1]))


def test_numbers_stay_of_their_kind():
    assert Int8Linear(nn.Linear(4, 2).bfloat16())(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_all_linear_layers_are_replaced_and_no_embedding(tiny_base):
    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    embeddings = model.get_input_embeddings().weight.clone()
    quantize(model)
    assert not [name for name, part in model.named_modules() if type(part) is nn.Linear]
    assert torch.equal(model.get_input_embeddings().weight, embeddings)


def test_only_cpus(tiny_base):
    model = AutoModelForCausalLM.from_pretrained(tiny_base).to("meta")
    with pytest.raises(UniversalNERError, match=r"U056.*meta"):
        quantize(model)


def test_an_architecture_without_linear_layers():
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16))
    with pytest.raises(UniversalNERError, match=r"U057.*GPT2LMHeadModel"):
        quantize(model)
    assert isinstance(model.lm_head, nn.Linear)


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_answers_are_right_in_fewer_bits(tuned_student, dtype):
    engine = TransformersEngine(
        model=str(tuned_student), device="cpu", dtype=dtype, batch_tokens=4096, max_new_tokens=16
    )
    answers = engine.extract([c.text for c in CONVERSATIONS], [[q.type for q in c.queries] for c in CONVERSATIONS])
    assert without_scores(answers) == [[Answer(q.mentions) for q in c.queries] for c in CONVERSATIONS]
    assert engine.extractor.packed
    quantized = any(isinstance(part, Int8Linear) for part in engine.extractor.model.modules())
    assert quantized is (dtype == "int8")
