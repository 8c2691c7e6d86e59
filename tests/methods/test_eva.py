"""EVA starts from the directions in which a layer's inputs vary most, and ships stock LoRA."""

import pytest
import torch

from studio.home import STARTER
from studio.methods import METHODS, Setting
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.words import StudioError

pytestmark = pytest.mark.slow
LAYER = "base_model.model.model.layers.2.mlp.down_proj"


def batches(count: int) -> list[dict]:
    ids = torch.randint(3, 3000, (count, 4, 32), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in ids]


def test_a_spans_most_of_what_the_layer_sees_and_is_the_same_again():
    model = METHODS["eva"](sample=2, targets="down_proj").wrap(load_base(STARTER), Setting(batches=batches))
    layer, seen = model.get_submodule(LAYER), []
    handle = layer.base_layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].flatten(0, 1)))
    with torch.no_grad(), model.disable_adapter():
        for batch in batches(2):
            model(batch["input_ids"])
    handle.remove()
    x = torch.cat(seen)
    x = x - x.mean(0)
    a = layer.lora_A["default"].weight.detach()
    assert (a @ a.T - torch.eye(8)).abs().max() < 1e-3 and not layer.lora_B["default"].weight.any()
    best = torch.linalg.svdvals(x)[:8].square().sum()
    assert (x @ a.T).square().sum() > 0.95 * best
    again = METHODS["eva"](sample=2, targets="down_proj").wrap(load_base(STARTER), Setting(batches=batches))
    assert torch.equal(again.get_submodule(LAYER).lora_A["default"].weight, a)


def test_batches_with_too_few_tokens_raise_a_studio_error():
    with pytest.raises(StudioError, match="at least 200 tokens that are trained on"):
        METHODS["eva"](rank=200).wrap(load_base(STARTER), Setting(batches=batches))
    rows = [
        {"input_ids": torch.tensor([[5, 6, 7]]), "labels": torch.tensor([1])}
    ]  # classes: no token has a label, so all count
    with pytest.raises(StudioError, match="at least 8 tokens that are trained on"):
        METHODS["eva"]().wrap(
            load_base(STARTER, head="text_classification", labels=["a", "b"]),
            Setting(task_type="SEQ_CLS", batches=lambda count: rows * count),
        )
    assert "at most 256" in METHODS["eva"](rank=300).refusal(read_shape(STARTER), "chat", "none").say()
