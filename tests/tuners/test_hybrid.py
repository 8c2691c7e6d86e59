"""Hybrids mean the same packed, padded, checkpointed and cached; different mixes share one model; gates do what they
are for."""

import pytest
import torch
from peft import PeftModel

from studio.chat.multi_adapter import MultiAdapterModel, adapter_kind
from studio.home import STARTER
from studio.methods import METHODS
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.training.batches import flatten, pad

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])
MIXES = {"hybrid": {"place": "parallel", "bitfit": True, "targets": "all-linear"}, "mam": {}, "unipelt": {}, "s4": {}}


def fine_tuned(name: str):
    torch.manual_seed(len(name))
    model = METHODS[name](**MIXES[name]).wrap(load_base(STARTER))
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@torch.no_grad()
def logits(model, **given) -> torch.Tensor:
    return model.eval()(**(given or {"input_ids": IDS})).logits


@pytest.mark.parametrize("name", MIXES)
def test_packed_padded_and_cached_are_the_same(name):
    model = fine_tuned(name)
    items = [{"input_ids": IDS[0, :length].tolist(), "labels": IDS[0, :length].tolist()} for length in (3, 8, 5)]
    alone = [logits(model, input_ids=torch.tensor([item["input_ids"]]))[0] for item in items]
    packed = flatten(items)
    packed.pop("labels")
    assert (logits(model, **packed, use_cache=False)[0] - torch.cat(alone)).abs().max() < 1e-4
    found = logits(model, input_ids=pad(items, 0)["input_ids"])
    assert max((row[: len(one)] - one).abs().max() for row, one in zip(found, alone, strict=True)) < 1e-4
    ids, seen = torch.zeros(3, 8, dtype=torch.long), torch.zeros(3, 8, dtype=torch.long)
    for row, item in enumerate(items):  # padded in front, as the chat answers several at once
        ids[row, 8 - len(item["input_ids"]) :], seen[row, 8 - len(item["input_ids"]) :] = (
            torch.tensor(item["input_ids"]),
            1,
        )
    found = logits(model, input_ids=ids, attention_mask=seen, position_ids=(seen.cumsum(1) - 1).clamp(min=0))
    assert max((row[-len(one) :] - one).abs().max() for row, one in zip(found, alone, strict=True)) < 1e-4
    text = model.generate(input_ids=IDS, max_new_tokens=6, do_sample=False, eos_token_id=None)
    step_by_step = IDS
    for _ in range(6):
        step_by_step = torch.cat(
            [step_by_step, logits(model, input_ids=step_by_step, use_cache=False)[:, -1:].argmax(-1)], 1
        )
    assert torch.equal(text, step_by_step)


@pytest.mark.parametrize("name", MIXES)
def test_no_token_sees_a_later_one(name):
    model, other = fine_tuned(name), IDS.clone()
    other[0, -1] = 77
    assert torch.equal(logits(model)[:, :-1], logits(model, input_ids=other)[:, :-1])


@pytest.mark.parametrize("name", MIXES)
def test_checkpointing_changes_no_gradient(name):
    gradients = []
    for checkpointing in (False, True):
        model = fine_tuned(name).train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.enable_input_require_grads()
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        gradients.append(
            {key: parameter.grad for key, parameter in model.named_parameters() if parameter.requires_grad}
        )
    assert all(gradients[0][key].count_nonzero() > 0 for key in gradients[0])
    assert all(torch.allclose(gradients[0][key], gradients[1][key], atol=1e-5) for key in gradients[0])


def test_all_mixes_share_one_model_in_the_chat(tmp_path):
    expected = {}
    for name in MIXES:
        model = fine_tuned(name)
        expected[name] = logits(model)
        model.save_pretrained(tmp_path / name)
    base = load_base(STARTER)
    bare = logits(base)
    house = MultiAdapterModel(base)
    for name in MIXES:
        house.load(name, tmp_path / name, adapter_kind(name, tmp_path / name), keep=set(MIXES))
    for name in (*MIXES, "unipelt", "mam"):
        house.activate(name)
        assert torch.equal(logits(base), expected[name])
    house.activate(None)
    assert torch.equal(logits(base), bare)
    house.unload()
    assert (
        torch.equal(logits(base), bare)
        and base.config._attn_implementation == load_base(STARTER).config._attn_implementation
    )


def test_a_closed_gate_equals_the_base_model():
    model = fine_tuned("unipelt")
    for name, parameter in model.named_parameters():
        if "_gate." in name:
            parameter.data.fill_(0.0 if name.endswith("weight") else -40.0)
    assert (logits(model) - logits(load_base(STARTER))).abs().max() < 1e-4


def test_s4_groups_layers_in_a_spindle_pattern():
    mixes = METHODS["s4"]().mixes(12)
    sizes = [sum(set(group) == mix for mix in mixes) for group in METHODS["s4"].groups]
    assert sizes == [2, 4, 4, 2]
    small = read_shape(STARTER)
    small = small.__class__(**{**vars(small), "layers": 3})
    assert "four groups" in str(METHODS["s4"]().refusal(small, "chat", "none"))


def test_unsupported_mixes_raise_a_studio_error():
    shape = read_shape(STARTER)
    bare = shape.__class__(
        **{**vars(shape), "tensors": {key: size for key, size in shape.tensors.items() if not key.endswith(".bias")}}
    )
    strange = shape.__class__(**{**vars(shape), "tensors": {"layers.0.strange.weight": (4, 4)}})
    none = METHODS["hybrid"](adapter=False, prefix=False, lora=False)
    assert "no part" in str(none.refusal(shape, "chat", "none"))
    assert "biases" in str(METHODS["hybrid"](bitfit=True).refusal(bare, "chat", "none"))
    assert METHODS["hybrid"](bitfit=True, added=True).refusal(bare, "chat", "none") is None
    assert "layer names" in str(METHODS["mam"]().refusal(strange, "chat", "none"))
    assert "nothing_like_it" in str(METHODS["hybrid"](targets="nothing_like_it").refusal(shape, "chat", "none"))
    assert METHODS["hybrid"](adapter=False, prefix=False, bitfit=True).merge_refusal() is None
    assert "added biases" in str(
        METHODS["hybrid"](adapter=False, prefix=False, bitfit=True, added=True).merge_refusal()
    )


def test_stock_loading_needs_the_own_type(tmp_path):
    model = fine_tuned("mam")
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(load_base(STARTER), str(tmp_path))), logits(model))
