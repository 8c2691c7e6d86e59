"""Intrinsic Prompt Tuning: both stages through whole runs; what each ships is a stock prompt, and stage 2 stays in the
subspace."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from studio.export.archive import zip_adapter
from studio.home import STARTER
from studio.methods import METHODS, Setting
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.tuners import prompt_subspace
from studio.words import StudioError

SHORT = {"evaluations": 0, "evaluation_rows": 0, "sample_prompts": 0}
pytestmark = pytest.mark.slow


def test_the_subspace_reconstructs_its_prompts_and_zero_is_their_mean(tmp_path):
    torch.manual_seed(0)
    prompts = torch.randn(4, 3, 8)
    prompt = prompt_subspace.find(prompts, 4, 32)
    optimizer = torch.optim.Adam(prompt.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        distance = prompt.distance()
        distance.backward()
        optimizer.step()
    assert distance < 0.05
    prompt_subspace.save(prompt, tmp_path)
    again = prompt_subspace.load(tmp_path, 3)
    assert torch.allclose(again.weight, prompt.weight, atol=1e-5) and again.numbers.requires_grad
    assert [name for name, parameter in again.named_parameters() if parameter.requires_grad] == ["numbers"]
    with pytest.raises(ValueError, match="no 5 tokens"):
        prompt_subspace.load(tmp_path, 5)


def test_from_trained_prompts_to_a_task_in_five_numbers(runs, tmp_path):
    one = runs.start("prompt_tuning", learning_rate=3e-2, max_steps=3, **SHORT)
    two = runs.start({"name": "prompt_tuning", "start": "random"}, learning_rate=3e-2, max_steps=3, **SHORT)
    found = runs.start(
        {"name": "intrinsic_prompt", "prompts": [one, two], "width": 16}, learning_rate=1e-2, max_steps=3, **SHORT
    )
    fine_tuned = {"name": "intrinsic_prompt", "stage": "train", "subspace": found}
    whole = runs.start(fine_tuned, learning_rate=1e-1, **SHORT)
    card = runs.store.adapter(whole)["card"]
    assert card["parameters"] == 5 and card["artefact_type"] == "PROMPT_TUNING"
    shipped = load_file(runs.home.adapter(whole) / "adapter_model.safetensors")
    assert list(shipped) == ["prompt_embeddings"] and shipped["prompt_embeddings"].shape == (20, 256)
    assert (
        PeftModel.from_pretrained(load_base(STARTER), str(runs.home.adapter(whole))).peft_config["default"].peft_type
        == "PROMPT_TUNING"
    )
    run = runs.start(fine_tuned, stop_after=3, learning_rate=1e-1, **SHORT)
    runs.resume(run)
    curve, resumed = runs.losses(whole), runs.losses(run)
    assert sorted(resumed) == sorted(curve) and all(abs(resumed[step] - curve[step]) < 1e-5 for step in curve)
    import zipfile

    assert "subspace.safetensors" in zipfile.ZipFile(zip_adapter(runs.home, runs.store, found, tmp_path)).namelist()

    setting = Setting(adapter=runs.home.adapter)
    for options, word in (
        ({"subspace": one}, "holds no subspace"),
        ({"subspace": found, "intrinsic": 6}, "set Intrinsic size to 5"),
        ({"subspace": found, "virtual_tokens": 7}, "another length"),
    ):
        with pytest.raises(StudioError, match=word):
            METHODS["intrinsic_prompt"](stage="train", **options).wrap(load_base(STARTER), setting)
    with pytest.raises(StudioError, match="has 20 virtual tokens"):
        METHODS["intrinsic_prompt"](prompts=[one, two], virtual_tokens=7).wrap(load_base(STARTER), setting)
    fine_tuned = METHODS["intrinsic_prompt"](stage="train", subspace=found)
    assert fine_tuned.refusal(read_shape(STARTER), "chat", "none") is None and fine_tuned.unfinished() is None
