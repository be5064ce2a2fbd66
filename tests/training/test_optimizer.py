import pytest
import torch

from spacy_universalner.training.optimizer import MasterAdamW

SETTINGS = {"lr": 1e-4, "weight_decay": 0.0, "max_grad_norm": 1e9}


def weight(value=0.5, shape=(2, 2), dtype=torch.bfloat16):
    return torch.nn.Parameter(torch.full(shape, value, dtype=dtype))


def step(optimizer, parameters, times=1, grad=1.0):
    for _ in range(times):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, grad)
        norm = optimizer.step(1.0)
    return norm


def test_updates_too_small_for_bfloat16_add_up():
    """One step of 1e-4 is lost beside 0.5 in bfloat16 (its next value is 2e-3 away), forty are not."""
    kept = weight()
    optimizer = MasterAdamW([kept], **SETTINGS)
    step(optimizer, [kept])
    assert torch.equal(kept, weight())
    step(optimizer, [kept], 39)
    assert kept.float().mean().item() == pytest.approx(0.5 - 40e-4, abs=1e-3)


def test_without_masters_they_would_be_lost():
    lost = weight()
    optimizer = torch.optim.AdamW([lost], lr=1e-4, weight_decay=0.0)
    for _ in range(40):
        lost.grad = torch.ones_like(lost)
        optimizer.step()
    assert torch.equal(lost, weight())


def test_float32_weights_are_their_own_masters():
    own = weight(dtype=torch.float32)
    optimizer = MasterAdamW([own], **SETTINGS)
    assert optimizer.masters[0] is own
    step(optimizer, [own])
    assert own.mean().item() == pytest.approx(0.5 - 1e-4)


def test_masters_are_float32():
    assert [master.dtype for master in MasterAdamW([weight()], **SETTINGS).masters] == [torch.float32]


def test_frozen_weights_stay():
    frozen = weight().requires_grad_(False)
    free = weight()
    optimizer = MasterAdamW([frozen, free], **SETTINGS)
    step(optimizer, [free], 40)
    assert torch.equal(frozen, weight())
    assert not torch.equal(free, weight())


def test_a_weight_without_a_gradient_stays():
    used, unused = weight(dtype=torch.float32), weight(dtype=torch.float32)
    step(MasterAdamW([used, unused], **SETTINGS), [used])
    assert torch.equal(unused, weight(dtype=torch.float32))


def test_gradients_are_cleared():
    kept = weight()
    optimizer = MasterAdamW([kept], **SETTINGS)
    step(optimizer, [kept])
    assert kept.grad is None
    assert optimizer.masters[0].grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_norm_is_that_of_the_scaled_gradient(dtype):
    kept = weight(dtype=dtype)
    optimizer = MasterAdamW([kept], **SETTINGS)
    kept.grad = torch.full_like(kept, 3.0)
    assert optimizer.step(0.5) == pytest.approx(3.0)  # four gradients of 1.5


def test_gradients_are_clipped():
    kept = weight(dtype=torch.float32)
    optimizer = MasterAdamW([kept], **{**SETTINGS, "max_grad_norm": 1.0})
    step(optimizer, [kept], grad=100.0)
    assert optimizer.adamw.state[kept]["exp_avg"].norm().item() == pytest.approx(0.1, rel=1e-3)


def test_weight_decay_is_for_matrices():
    matrix, vector = weight(dtype=torch.float32), weight(shape=(2,), dtype=torch.float32)
    optimizer = MasterAdamW([matrix, vector], lr=0.1, weight_decay=0.5, max_grad_norm=1.0)
    step(optimizer, [matrix, vector], grad=0.0)
    assert matrix.mean().item() == pytest.approx(0.5 * (1 - 0.1 * 0.5))
    assert vector.mean().item() == 0.5


def test_the_learning_rate_can_be_set():
    kept = weight(dtype=torch.float32)
    optimizer = MasterAdamW([kept], **SETTINGS)
    optimizer.set_lr(0.25)
    step(optimizer, [kept])
    assert kept.mean().item() == pytest.approx(0.25)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_state_goes_round_a_file(tmp_path, dtype):
    unbroken, broken = weight(dtype=dtype), weight(dtype=dtype)
    optimizer = MasterAdamW([unbroken], **SETTINGS)
    step(optimizer, [unbroken], 7, grad=0.3)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    step(optimizer, [unbroken], 7, grad=-2.0)

    resumed = MasterAdamW([broken], **SETTINGS)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    step(resumed, [broken], 7, grad=-2.0)
    assert torch.equal(broken, unbroken)
    assert torch.equal(resumed.masters[0], optimizer.masters[0])


def test_loading_sets_the_weights():
    source, target = weight(), weight(0.25)
    target_optimizer = MasterAdamW([target], **SETTINGS)
    target_optimizer.load_state_dict(MasterAdamW([source], **SETTINGS).state_dict())
    assert torch.equal(target, source)
