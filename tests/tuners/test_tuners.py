"""The studio's own tuners behave like peft's: off is the base, reload is the same, two live side by side; and merge or
say why not."""

import pytest
import torch
from peft import PeftModel
from peft.utils import PeftType

from studio import tuners
from studio.home import STARTER
from studio.methods import METHODS
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.tuners.register import register

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])
VARIANTS = [("adapter", {"place": place}) for place in ("houlsby", "pfeiffer", "parallel")] + [
    ("bitfit", {}),
    ("bitfit", {"added": True}),
]
VARIANTS += [
    ("hybrid", {}),
    ("hybrid", {"place": "parallel", "bitfit": True}),
    ("hybrid", {"adapter": False, "prefix": False, "bitfit": True}),
    ("hybrid", {"adapter": False, "prefix": False, "targets": "all-linear"}),
    ("mam", {}),
    ("unipelt", {}),
    ("s4", {}),
]


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(IDS).logits


def test_registering_twice_is_registering_once():
    before = list(PeftType)
    assert (
        register("bottleneck", tuners.BottleneckConfig, tuners.BottleneckModel)
        is PeftType("BOTTLENECK")
        is PeftType.BOTTLENECK
    )
    assert list(PeftType) == before and len(set(before)) == len(before)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_own_tuners_have_the_behaviour_of_peft_tuners(name, options, tmp_path):
    torch.manual_seed(0)
    method = METHODS[name](**options)
    model = method.wrap(load_base(STARTER))
    base = logits(load_base(STARTER))
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    fine_tuned = logits(model)
    assert (fine_tuned - base).abs().max() > 0.1
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(load_base(STARTER), str(tmp_path))
    again.load_adapter(str(tmp_path), adapter_name="second")
    again.set_adapter("second")
    assert torch.equal(logits(again), fine_tuned)
    again.delete_adapter("second")
    again.set_adapter("default")
    if method.merge_refusal():
        with pytest.raises(ValueError, match="merged"):
            again.merge_and_unload()
    else:
        assert (logits(again.merge_and_unload()) - fine_tuned).abs().max() < 1e-4


def test_two_places_of_adapters_live_in_one_model(tmp_path):
    """As in the chat: adapters of one peft type share the model, whatever their options are."""
    expected = {}
    for place in ("houlsby", "parallel", "pfeiffer"):
        model = METHODS["adapter"](place=place).wrap(load_base(STARTER))
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        expected[place] = logits(model)
        model.save_pretrained(tmp_path / place)
    both = PeftModel.from_pretrained(load_base(STARTER), str(tmp_path / "houlsby"), adapter_name="houlsby")
    both.load_adapter(str(tmp_path / "parallel"), adapter_name="parallel")
    both.load_adapter(str(tmp_path / "pfeiffer"), adapter_name="pfeiffer")
    for place in ("parallel", "houlsby", "pfeiffer", "parallel"):
        both.set_adapter(place)
        assert torch.equal(logits(both), expected[place])


def test_unsupported_models_raise_a_studio_error():
    shape = read_shape(STARTER)
    bare = shape.__class__(**{**vars(shape), "tensors": {"model.layers.0.strange.weight": (4, 4)}})
    assert "biases" in str(METHODS["bitfit"]().refusal(bare, "chat", "none"))
    assert "layer names" in str(METHODS["adapter"]().refusal(bare, "chat", "none"))
    assert METHODS["adapter"](place="parallel").refusal(shape, "chat", "none") is None
