"""Diff pruning: what is measured is what is shipped, exactly as many numbers as promised, in a file that stock peft
loads."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from studio.home import STARTER
from studio.methods import METHODS, Setting
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.tuners.diff_pruning import FIXED_GATE, hard_concrete, open_probability, sample_gates, shira_rank_limit

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])
WEIGHTS = sum(rows * columns for rows, columns in read_shape(STARTER).linear_layers.values())


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(IDS).logits


def fine_tuned(**options):
    """(method, model) with random differences and random gates."""
    torch.manual_seed(0)
    method = METHODS["diff_pruning"](**options)
    model = method.wrap(load_base(STARTER), Setting(total_steps=10))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05 if "diff_weight" in name else 2.0)
    return method, model


def test_gates_are_what_the_paper_says():
    torch.manual_seed(0)
    gate = torch.full((200_000,), 0.7, requires_grad=True)
    draws = sample_gates(gate)
    assert draws.min() == 0 and draws.max() == 1
    assert (draws > 0).float().mean().item() == pytest.approx(open_probability(gate[0]).item(), abs=0.005)
    draws.sum().backward()
    assert gate.grad.count_nonzero() > 0
    assert hard_concrete(torch.tensor([-FIXED_GATE, FIXED_GATE])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("groups", ["none", "row", "matrix"])
def test_stock_peft_loads_exactly_what_was_measured(groups, tmp_path):
    method, model = fine_tuned(groups=groups, kept=0.5)
    base, measured = logits(load_base(STARTER)), logits(model)
    assert (measured - base).abs().max() > 0.1
    method.save(model, tmp_path)
    shipped = PeftModel.from_pretrained(load_base(STARTER), str(tmp_path))
    assert (logits(shipped) - measured).abs().max() < 1e-5
    numbers = sum(
        tensor.count_nonzero().item()
        for name, tensor in load_file(tmp_path / "adapter_model.safetensors").items()
        if "weight" in name
    )
    assert numbers == round(0.005 * WEIGHTS)
    assert (logits(shipped.merge_and_unload()) - measured).abs().max() < 1e-4
    with model.disable_adapter():
        assert torch.equal(logits(model), base)


def test_a_pruned_group_saves_no_weights(tmp_path):
    method, model = fine_tuned(groups="matrix")
    shut, *_ = model.base_model.layers().items()
    shut[1].diff_group["default"].data.fill_(-9.0)
    method.save(model, tmp_path)
    assert not any(shut[0] in name for name in load_file(tmp_path / "adapter_model.safetensors"))


def test_fixing_the_mask_keeps_the_selection_and_training_goes_on():
    _, model = fine_tuned(kept=0.5)
    before = logits(model)
    model.base_model.fix_gates("default")
    assert torch.equal(logits(model), before)
    model.train()(IDS, labels=IDS).loss.backward()
    layer = next(iter(model.base_model.layers().values()))
    kept = hard_concrete(layer.diff_gate["default"]) == 1
    assert layer.diff_gate["default"].grad is None
    assert (
        layer.diff_weight["default"].grad[~kept].count_nonzero() == 0
        and layer.diff_weight["default"].grad[kept].count_nonzero() > 0
    )
    weight = {key: each.diff_weight["default"].clone() for key, each in model.base_model.layers().items()}
    model.base_model.fix_gates("default")  # as after a resume
    assert all(torch.equal(each.diff_weight["default"], weight[key]) for key, each in model.base_model.layers().items())


def test_the_penalty_closes_gates():
    method, model = fine_tuned(sparsity=10)
    before = method.penalty(model)
    before.backward()
    with torch.no_grad():
        for layer in model.base_model.layers().values():
            layer.diff_gate["default"] -= 1e3 * layer.diff_gate["default"].grad.sign()
    assert method.penalty(model) < 1e-3 < before < 10
    assert METHODS["diff_pruning"](sparsity=0).penalty(model) is None


def test_no_matrix_gets_more_than_its_file_can_hold():
    assert shira_rank_limit([(128, 256), (256, 640)]) == 85
    _, model = fine_tuned(kept=20)
    layers = list(model.base_model.layers().values())
    layers[0].diff_gate["default"].data.fill_(FIXED_GATE)
    for layer in layers[1:]:
        layer.diff_weight["default"].data.zero_()
    model.base_model.prune("default")
    assert layers[0].kept.count_nonzero() == shira_rank_limit([layer.size for layer in layers]) * sum(layers[0].size)


def test_models_whose_layers_lie_the_other_way_are_refused():
    shape = read_shape(STARTER)
    gpt2 = shape.__class__(**{**vars(shape), "model_type": "gpt2"})
    assert "other way round" in str(METHODS["diff_pruning"]().refusal(gpt2, "chat", "none"))
