"""Comparison of adapters: recipe differences, figures, curves and norms, against a look at the things themselves."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.library.comparison import as_csv, compare, recipe_differences
from studio.library.weight_norms import weight_norms
from studio.recipe import Recipe
from tests.library.many import fill

PLACE = "base_model.model.model.layers.{}.self_attn.q_proj"


def lora(folder, dtype=torch.float32, **config):
    """A random LoRA of two layers in `folder`; returns its tensors."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    tensors = {}
    for layer in range(2):
        tensors[f"{PLACE.format(layer)}.lora_A.weight"] = torch.randn(4, 24).to(dtype)
        tensors[f"{PLACE.format(layer)}.lora_B.weight"] = torch.randn(16, 4).to(dtype)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, **config}))
    return tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("config", "scaling"), [({}, 2.0), ({"use_rslora": True}, 4.0), ({"alpha_pattern": {"self_attn.q_proj": 2}}, 0.5)]
)
def test_the_norm_of_a_lora_is_that_of_the_product(tmp_path, dtype, config, scaling):
    tensors = lora(tmp_path, dtype, **config)
    found = weight_norms(tmp_path)
    assert found.effective and list(found.layers) == [0, 1] and not found.other
    for layer, norm in found.layers.items():
        down, up = (tensors[f"{PLACE.format(layer)}.lora_{side}.weight"].double() for side in "AB")
        assert norm == pytest.approx(float((scaling * up @ down).norm()), rel=1e-9)


def test_the_norm_agrees_with_pefts_own_delta_weight(models):
    from studio.models.load import load_base
    from studio.models.rope_scaling import apply_adapter

    model = apply_adapter(load_base(models / "base"), models / "lora")
    squares: dict[int, float] = {}
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight") and getattr(module, "lora_A", None):
            layer = int(name.split(".layers.")[1].split(".")[0])
            squares[layer] = squares.get(layer, 0.0) + float(module.get_delta_weight("default").double().norm()) ** 2
    found = weight_norms(models / "lora")
    assert found.layers == {layer: pytest.approx(square**0.5, rel=1e-5) for layer, square in sorted(squares.items())}


def test_other_types_and_trained_modules_have_the_norm_of_what_is_stored(models, tmp_path):
    found = weight_norms(models / "ia3")
    tensors = load_file(models / "ia3" / "adapter_model.safetensors")
    stored = sum(float((tensor.double() ** 2).sum()) for tensor in tensors.values())
    squares = [norm**2 for norm in (*found.layers.values(), *found.other.values())]
    assert not found.effective and sum(squares) == pytest.approx(stored, rel=1e-6)
    assert weight_norms(models / "prompt").other.keys() == {"prompt_embeddings"}
    assert not weight_norms_of_dora(tmp_path).effective


def weight_norms_of_dora(folder):
    lora(folder, use_dora=True)
    return weight_norms(folder)


def test_damaged_files_have_no_norms_and_a_changed_file_is_read_again(tmp_path):
    lora(tmp_path)
    before = weight_norms(tmp_path)
    assert weight_norms(tmp_path) is before  # cached
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 50)
    assert weight_norms(tmp_path) is None and weight_norms(tmp_path / "nowhere") is None


def test_only_what_differs_is_listed():
    one = Recipe(method={"name": "lora", "rank": 4}, training={"epochs": 2}).to_dict()
    two = Recipe(method={"name": "lora", "rank": 8}, training={"epochs": 2}, name="other name").to_dict()
    assert recipe_differences([one, two]) == {("method", "rank"): [4, 8]}
    other = Recipe(method={"name": "ia3"}).to_dict()
    found = recipe_differences([one, other, {}])
    assert found["method", "rank"] == [4, None, None] and found["method", "name"] == ["lora", "ia3", None]
    assert recipe_differences([one, one]) == {}


def test_a_comparison_and_its_csv_hold_the_same_figures(home, store):
    fill(home, store, 6)
    store.change_adapter("adapter-0005", name=store.adapter("adapter-0003")["name"])
    rows = [store.adapter(f"adapter-000{at}") for at in (3, 5, 4)]
    found = compare(home, store, rows)
    assert found.names == ["Adapter 3", "Adapter 3 (2)", "Adapter 4"]
    assert found.metrics["exact_match"][0].value == rows[0]["card"]["metrics"]["exact_match"]
    assert found.metrics["exact_match"][2].value is None  # it was not measured
    assert found.metrics["exact_match"][0].interval[0] < found.metrics["exact_match"][0].value
    assert [len(curve) for curve in found.curves["loss"]] == [30, 30, 30]
    lines = {(line[0], line[1]): line[2:] for line in csv.reader(io.StringIO(as_csv(found)))}
    assert lines["metric", "exact_match"][0] == f"{found.metrics['exact_match'][0].value:.6g}"
    assert lines["metric", "exact_match"][2] == ""
    assert lines["weight norm", "layer 3"][1] == f"{found.norms[1].layers[3]:.6g}"
    assert lines["loss", "step 30"][2] == f"{found.curves['loss'][2][-1][1]:.6g}"
    assert lines["recipe", "method.name"] == [row["card"]["method"] for row in rows]
