"""Delta-LoRA computes what the paper's loop over the weights computes, and ships it as stock LoRA."""

from types import SimpleNamespace

import pytest
import torch

from studio.home import STARTER
from studio.methods import METHODS, Setting
from studio.models.load import load_base

STEPS, START, RATIO = 12, 3, 2.0


def batches() -> list[torch.Tensor]:
    return list(torch.randint(3, 3000, (STEPS, 4, 24), generator=torch.Generator().manual_seed(1)))


def delta_lora(start: float):
    return METHODS["delta_lora"](ratio=RATIO, start=start)


def fine_tuned(start: float) -> tuple[list[float], torch.nn.Module]:
    """Losses of the studio's Delta-LoRA, and its model."""
    setting, method = Setting(total_steps=STEPS), delta_lora(start)
    torch.manual_seed(0)
    model = method.wrap(load_base(STARTER), setting).train()
    callback = method.callbacks(setting)[0]
    labelled = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.AdamW(labelled, lr=2e-3), []
    for step, ids in enumerate(batches()):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        callback.on_optimizer_step(None, SimpleNamespace(global_step=step), None, model=model)
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, model


def by_the_paper(start: int) -> list[float]:
    """The same with plain LoRA, its weights moved by hand after each step (Zi 2023, algorithm 1)."""
    from peft.tuners.lora import LoraLayer

    torch.manual_seed(0)
    model = METHODS["lora"]().wrap(load_base(STARTER)).train()
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    labelled = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.AdamW(labelled, lr=2e-3), []
    for step, ids in enumerate(batches()):
        before = [layer.get_delta_weight("default").detach() for layer in layers]
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step + 1 > start:
            for layer, old in zip(layers, before, strict=True):
                layer.get_base_layer().weight.data += RATIO * (layer.get_delta_weight("default").detach() - old)
        losses.append(loss.item())
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("start", [START, 0])
def test_training_equals_the_papers_algorithm_and_is_saved_as_lora(start, tmp_path):
    from peft import PeftModel

    losses, model = fine_tuned(start / STEPS)
    assert max(abs(ours - theirs) for ours, theirs in zip(losses, by_the_paper(start), strict=True)) < 1e-4
    delta_lora(start / STEPS).save(model, tmp_path)
    ids = batches()[0]
    with torch.no_grad():
        expected = model.eval()(input_ids=ids).logits
        again = PeftModel.from_pretrained(load_base(STARTER), str(tmp_path)).eval()
        assert again.peft_config["default"].r == (8 if start == 0 else 16)
        assert (again(input_ids=ids).logits - expected).abs().max() < 2e-4
        with model.disable_adapter():
            assert torch.equal(
                model(input_ids=ids).logits, load_base(STARTER)(input_ids=ids).logits
            )  # the base stayed as it was


def test_delta_lora_differs_from_lora():
    losses, _ = fine_tuned(0.25)
    torch.manual_seed(0)
    plain = by_the_paper(STEPS)
    assert (
        max(abs(ours - theirs) for ours, theirs in zip(losses[:4], plain[:4], strict=True))
        < 1e-4
        < abs(losses[-1] - plain[-1])
    )
