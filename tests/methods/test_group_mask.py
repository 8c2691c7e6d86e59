"""The structured group mask teaches the groups that the score picks, once and for all, and stock peft loads them."""

import pytest
import torch
from peft import PeftModel

from studio.home import STARTER
from studio.methods import METHODS, Setting
from studio.models.load import load_base
from studio.models.shape import read_shape

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])
SETTING = Setting(batches=lambda count: [{"input_ids": IDS + at, "labels": IDS + at} for at in range(count)])


def labelled(model) -> set[str]:
    return {
        name.removeprefix("base_model.model.").partition(".ln_tuning_layers")[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(IDS).logits


def test_groups_are_chosen_by_score():
    scores = {
        f"layers.{block}.{kind}": float(value)
        for kind, values in {"a": (1, 9, 3, 2), "b": (8, 1, 2, 50)}.items()
        for block, value in enumerate(values)
    }
    pick = {groups: METHODS["group_mask"](groups=groups, kept=25).pick(scores) for groups in ("matrix", "block")}
    assert pick == {"matrix": ["layers.1.a", "layers.3.b"], "block": ["layers.3.a", "layers.3.b"]}


@pytest.mark.parametrize("score", ["fisher", "gradient", "magnitude"])
def test_the_same_data_picks_the_same_and_the_run_remembers(score):
    method = METHODS["group_mask"](score=score)
    first, again = (labelled(method.wrap(load_base(STARTER), SETTING)) for _ in range(2))
    assert first == again and len(first) == 9  # of 5 blocks, one layer of each of the 9 kinds
    base = load_base(STARTER)
    held = Setting(batches=None, once=lambda name, make: ["model.layers.4.mlp.down_proj"])
    assert labelled(method.wrap(base, held)) == {"model.layers.4.mlp.down_proj"}


def test_the_scores_are_of_the_data():
    """A batch that pulls at the last block only (nothing else learns from it) is seen."""
    base = load_base(STARTER)
    modules = {
        f"model.layers.{at}.self_attn.q_proj": base.get_submodule(f"model.layers.{at}.self_attn.q_proj")
        for at in range(5)
    }
    for at in range(4):
        modules[f"model.layers.{at}.self_attn.q_proj"].weight.data.zero_()  # with k = 0, nothing pulls at q
        base.get_submodule(f"model.layers.{at}.self_attn.k_proj").weight.data.zero_()
        base.get_submodule(f"model.layers.{at}.self_attn.k_proj").bias.data.zero_()
    scores = METHODS["group_mask"]()._scores(base, modules, SETTING)
    assert max(scores, key=scores.get) == "model.layers.4.self_attn.q_proj"
    assert not any(parameter.requires_grad for parameter in base.parameters())


def test_stock_peft_loads_and_merges_it(tmp_path):
    method = METHODS["group_mask"](groups="block", kept=40)
    model = method.wrap(load_base(STARTER), SETTING)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    fine_tuned = logits(model)
    method.save(model, tmp_path)
    again = PeftModel.from_pretrained(load_base(STARTER), str(tmp_path))
    assert torch.equal(logits(again), fine_tuned)
    with again.disable_adapter():
        assert torch.equal(logits(again), logits(load_base(STARTER)))
    assert torch.equal(logits(again.merge_and_unload()), fine_tuned)


def test_a_model_without_blocks_is_refused():
    shape = read_shape(STARTER)
    bare = shape.__class__(**{**vars(shape), "tensors": {"table.weight": (4, 4)}})
    assert "numbered blocks" in str(METHODS["group_mask"]().refusal(bare, "chat", "none"))
