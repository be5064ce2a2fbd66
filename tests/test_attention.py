"""Attention by a plan against plain attention, one sequence at a time."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from spacy_universalner.attention import Blocks, Packed, Rows, Seen, Step, attend, attend_by_products, can_pack, planned
from spacy_universalner.encoding import Encoder
from spacy_universalner.extraction import Extractor
from spacy_universalner.prompts import PLAIN_V1
from spacy_universalner.training.examples import collate, make_row, pack, split_rows
from spacy_universalner.training.loss import AnswerLoss

from .conftest import CONVERSATIONS
from .training.test_model import ARCHITECTURES, make_model

MASKED = {"gemma2"}  # its scores are capped


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_which_architectures_attend_by_a_plan(kind):
    model = make_model(kind, 64, **ARCHITECTURES[kind])
    assert can_pack(model) is (kind not in MASKED)
    assert can_pack(model) is (kind not in MASKED), "asked again, it is the same"


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_a_model_without_a_plan_is_as_it_was(kind, tmp_path):
    model = make_model(kind, 64, **ARCHITECTURES[kind])
    ids = torch.tensor([[5, 9, 7]])
    before = model(input_ids=ids).logits, model.generate(ids, max_new_tokens=5, do_sample=False)
    can_pack(model)
    after = model(input_ids=ids).logits, model.generate(ids, max_new_tokens=5, do_sample=False)
    model.save_pretrained(tmp_path)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert "universal_ner" not in (tmp_path / "config.json").read_text(encoding="utf8")


def test_attention_that_is_not_the_default_is_left_alone():
    config = CONFIG_MAPPING["llama"](hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=32)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert not can_pack(model)
    assert model.config._attn_implementation == "eager"


def test_the_loss_is_that_of_training(tiny_base):
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), PLAIN_V1)
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    rows = [row for c in CONVERSATIONS for row in split_rows(encoder, c, c.queries, 512)[0]]
    batch = collate(rows, 0, isolated=True)
    before = AnswerLoss(model)(batch.layout, batch.predict, batch.targets)
    can_pack(model)
    after = AnswerLoss(model)(batch.layout, batch.predict, batch.targets)
    after.backward()
    assert torch.equal(before, after)
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-3), (torch.bfloat16, 0.15)], ids=str)
@pytest.mark.parametrize("kind", sorted(ARCHITECTURES.keys() - MASKED))
def test_rows_without_padding_are_learnt_from_alike(kind, dtype, close, tiny_base):
    """Loss and gradients, where what questions begin with alike is computed once."""
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), PLAIN_V1)
    model = make_model(kind, len(encoder.tokenizer), **ARCHITECTURES[kind]).to(dtype)
    assert can_pack(model)
    rows = [row for c in CONVERSATIONS for row in split_rows(encoder, c, c.queries, 512)[0]]
    padded, packed = (learn(model, batch) for batch in (collate(rows, 0, isolated=True), pack(rows)))
    for (name, expected), got in zip(padded.items(), packed.values(), strict=True):
        assert float((got - expected).norm() / expected.norm()) < close, name


def learn(model, batch):
    """The loss of a batch and the gradients of all weights."""
    model.zero_grad()
    loss = AnswerLoss(model)(batch.layout, batch.predict, batch.targets)
    loss.backward()
    used = {name: weight.grad.float().clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return {"loss": loss.detach(), **used}


def test_a_row_without_padding_is_shorter(tiny_base):
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_base), PLAIN_V1)
    conversation = CONVERSATIONS[0]
    row = make_row(encoder, conversation, conversation.queries)
    assert len(conversation.queries) > 1
    assert row.starts[0] < len(pack([row]).layout.ids) < row.width


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(("kind", "dropout"), [("llama", "attention_dropout"), ("gpt2", "attn_pdrop")])
def test_plans_have_no_dropout(kind, dropout, learns):
    model = make_model(kind, 64, **{**ARCHITECTURES[kind], dropout: 0.5})
    model.train(learns)
    assert can_pack(model) is not learns
    assert model.training is learns


def test_what_is_dropped_elsewhere_does_no_harm():
    model = make_model("gpt2", 64, **{**ARCHITECTURES["gpt2"], "attn_pdrop": 0.0, "resid_pdrop": 0.5}).train()
    assert can_pack(model)


def test_a_plan_that_a_model_cannot_follow(monkeypatch):
    def fail(*args):
        raise RuntimeError("odd shapes")

    model = make_model("llama", 64)
    monkeypatch.setattr(Packed, "attend", fail)
    assert not can_pack(model)
    assert model.config._attn_implementation == "sdpa"


# Sets of tokens


def plain(query, key, value, mask, scale):
    """Attention of one sequence, a head at a time. Tensors are (tokens, heads, dim), the mask (tokens, tokens)."""
    shared = query.shape[1] // key.shape[1]
    outputs = []
    for head in range(query.shape[1]):
        scores = query[:, head] @ key[:, head // shared].T * scale
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        outputs.append(weights @ value[:, head // shared])
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
def test_heads_that_share_keys(heads):
    torch.manual_seed(0)
    many, few = heads
    query, key, value = torch.randn(2, 3, many, 8), torch.randn(2, 5, few, 8), torch.randn(2, 5, few, 6)
    mask = torch.rand(2, 3, 5) > 0.4
    mask[..., 0] = True
    got = attend(query, key, value, Seen(mask), 0.5)
    assert got.shape == (2, 3, many, 6)
    assert all(torch.allclose(got[i], plain(query[i], key[i], value[i], mask[i], 0.5), atol=1e-6) for i in range(2))


def test_a_mask_serves_layers_that_share_keys_differently():
    seen, like = Seen(torch.ones(1, 3, 5, dtype=torch.bool)), torch.zeros(1)
    assert [seen.added(shared, like).shape[2] for shared in (1, 2, 1)] == [3, 6, 3]


@pytest.mark.parametrize("learns", [False, True])
def test_half_precision(learns):
    """What is learnt on a CPU is multiplied out; it gives the same."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 5, heads, 8).requires_grad_(learns) for heads in (4, 2, 2))
    mask = torch.ones(2, 5, 5, dtype=torch.bool).tril()
    got = attend(*(states.bfloat16() for states in (query, key, value)), Seen(mask), 0.5).float()
    for i in range(2):
        torch.testing.assert_close(got[i], plain(query[i], key[i], value[i], mask[i], 0.5), atol=0.03, rtol=0.03)


def test_products_are_attention():
    """In float64, with the gradients of what stands for a token; what stands for none has none."""
    torch.manual_seed(0)
    mask = torch.rand(3, 5, 7) > 0.4
    mask[:, 0] = False
    real = mask.any(-1)
    upstream = torch.randn(3, 5, 4, 8).double() * real[:, :, None, None]
    found = []
    for compute in (attend_by_products, scaled_dot_product_attention):
        torch.manual_seed(1)
        query, key, value = (torch.randn(3, n, 4, 8).double().requires_grad_() for n in (5, 7, 7))
        added = Seen(mask).added(1, query)
        output = compute(*(states.transpose(1, 2) for states in (query, key, value)), added, scale=0.5).transpose(1, 2)
        output.backward(upstream)
        found.append((output.detach()[real], *(states.grad for states in (query, key, value))))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected)


def make_packed() -> Packed:
    """A passage of three tokens and a question of two, and another passage of two."""
    own = Blocks(
        torch.tensor([[0, 1, 2], [5, 6, 0]]),
        torch.tensor([[0, 1, 2], [5, 6, 0]]),
        torch.tensor([[[1, 0, 0], [1, 1, 0], [1, 1, 1]], [[1, 0, 0], [1, 1, 0], [0, 0, 0]]]).bool(),
    )
    question = Blocks(
        torch.tensor([[3, 4]]), torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[[1, 1, 1, 1, 0], [1] * 5]]).bool()
    )
    return Packed([own, question])


def test_a_packed_pass_sees_what_its_mask_says():
    torch.manual_seed(0)
    plan, (query, key, value) = make_packed(), (torch.randn(7, heads, 8) for heads in (4, 2, 2))
    mask = plan.dense()
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 1],
    ]
    assert torch.allclose(plan.attend(0, query, key, value, 0.5), plain(query, key, value, mask, 0.5), atol=1e-6)
    assert torch.equal(plan.keys[0], key)


def make_rows(places, rows=None, layers=2):
    """Rows filled out of a pass of nine tokens whose keys are their numbers."""
    rows = rows or Rows()
    states = {layer: torch.arange(9.0)[:, None, None].expand(9, 2, 8) + 10 * layer for layer in range(layers)}
    return rows, rows.put(Packed([], dict(states), {layer: -state for layer, state in states.items()}), places)


def test_rows_hold_what_was_put():
    rows, numbers = make_rows([[0, 1, 4], [5, 6]])
    assert rows.keys[1][numbers[0], :3, 0, 0].tolist() == [10, 11, 14]
    assert rows.values[0][numbers[1], :2, 1, 7].tolist() == [-5, -6]
    assert rows.count == 2 and rows.width > 3


def test_a_row_that_was_let_go_of_is_used_again():
    rows, (first, second) = make_rows([[0, 1, 4], [5, 6]])
    rows.let_go(first)
    _, numbers = make_rows([[7]], rows)
    assert numbers == [first]
    assert rows.count == 2
    assert rows.keys[0][first, 0, 0, 0] == 7
    assert rows.keys[0][second, :2, 0, 0].tolist() == [5, 6]


def test_more_and_wider_rows_keep_what_there_is():
    rows, (row,) = make_rows([[3, 4]])
    _, more = make_rows([[0], [1], [2]], rows)
    rows.widen(rows.width + 1)
    assert len({row, *more}) == 4
    assert rows.keys[0][[row, *more], 0, 0, 0].tolist() == [3, 0, 1, 2]
    assert rows.keys[1][row, :2, 0, 0].tolist() == [13, 14]


def test_a_row_that_is_wide_enough_is_not_moved():
    rows, _ = make_rows([[3, 4]])
    before = rows.keys[0]
    rows.widen(rows.width)
    assert rows.keys[0] is before


def test_a_step_sees_what_its_mask_says():
    """Two tokens of one row, one of another, beside a row that has none."""
    torch.manual_seed(0)
    rows, _ = make_rows([[0, 1], [2], [3, 4, 5]], layers=1)
    mask = torch.zeros(3, 2, 4, dtype=torch.bool)
    mask[:, :, 0] = True
    mask[0, 0, [0, 1, 2]] = mask[0, 1, [0, 1, 2, 3]] = mask[2, 0, [0, 2, 3]] = True
    row, slot, place = torch.tensor([[0, 0, 2], [2, 3, 3], [0, 1, 0]])
    step = Step(rows, row, slot, place, mask)
    query, key, value = (torch.randn(3, heads, 8) for heads in (4, 2, 2))
    got = step.attend(0, query, key, value, 0.5)
    keys, values = step.keep(0, key, value)
    assert torch.equal(rows.keys[0][row, slot], key)
    assert step.dense().shape == (3, rows.count * rows.width)
    assert torch.allclose(got, plain(query, keys, values, step.dense(), 0.5), atol=1e-6)


def test_a_plan_is_left_whatever_happens():
    model = make_model("llama", 64)
    can_pack(model)
    ids = torch.tensor([[5, 9, 7]])
    before = model(input_ids=ids).logits
    with pytest.raises(ZeroDivisionError), planned(make_packed()):
        raise ZeroDivisionError
    assert torch.equal(model(input_ids=ids).logits, before)


def test_threads_get_what_one_gets(tuned_student):
    model = AutoModelForCausalLM.from_pretrained(tuned_student).eval()
    encoder = Encoder(AutoTokenizer.from_pretrained(tuned_student), PLAIN_V1)
    extractor = Extractor(model, encoder, batch_tokens=300, max_new_tokens=12)
    asked = [([c.text], [[q.type for q in c.queries]]) for c in CONVERSATIONS] * 3
    expected = json.dumps([[[a.mentions for a in answers] for answers in extractor.extract(*ask)] for ask in asked])
    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda ask: extractor.extract(*ask), asked))
    assert json.dumps([[[a.mentions for a in answers] for answers in found] for found in got]) == expected
