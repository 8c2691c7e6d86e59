"""The norms per layer stay one small file that costs next to nothing, whatever happens to the run."""

import math

import pytest
import torch

from studio.training import layer_norms
from studio.training.layer_norms import COLUMNS, FILE, LayerNorms, layer_of, read


@pytest.fixture
def model():
    """Two numbered layers and a head; the gradient of each parameter is twice the parameter."""
    made = torch.nn.ModuleDict({"layers": torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(2))})
    made["head"] = torch.nn.Linear(2, 1)
    for parameter in made.parameters():
        parameter.grad = 2 * parameter.detach()
    return made


def record(norms, first, last, seconds=10.0, scale=1.0):
    for step in range(first, last + 1):
        if norms.due(step):
            norms.collect()
            norms.write(step, seconds, scale)


def test_norms_by_layer(model, tmp_path):
    norms = LayerNorms(tmp_path)
    norms.begin(model, 0)
    model["head"].bias.grad = None
    record(norms, 1, 1, scale=3.0)
    found = read(tmp_path / FILE)
    assert found["layers"] == ["0", "1", "head"]
    wanted = [
        math.hypot(*(p.detach().norm().item() for p in part.parameters())) for part in (*model["layers"], model["head"])
    ]
    row = found["rows"][0]
    assert row["weight"] == pytest.approx(wanted, rel=1e-3)
    assert row["gradient"][:2] == pytest.approx([6 * norm for norm in wanted[:2]], rel=1e-3)
    assert row["gradient"][2] == pytest.approx(6 * model["head"].weight.norm().item(), rel=1e-3)


def test_a_long_run_keeps_a_bounded_number_of_steps_evenly(model, tmp_path):
    norms = LayerNorms(tmp_path)
    norms.begin(model, 0)
    record(norms, 1, 1000)
    steps = [row["step"] for row in read(tmp_path / FILE)["rows"]]
    assert COLUMNS // 2 <= len(steps) <= COLUMNS and len({b - a for a, b in zip(steps, steps[1:], strict=False)}) == 1


def test_short_steps_are_recorded_less_often(model, tmp_path):
    norms = LayerNorms(tmp_path)
    norms.begin(model, 0)
    record(norms, 1, 8, seconds=1e-3)  # as long as the recording itself, or shorter
    cost = sorted(norms._costs)[4]
    assert cost / (norms.stride * 1e-3) <= layer_norms.BUDGET


def test_a_resumed_run_goes_on_from_its_checkpoint(model, tmp_path):
    norms = LayerNorms(tmp_path)
    norms.begin(model, 0)
    record(norms, 1, 300)
    (tmp_path / FILE).open("a").write('{"step": 30')  # a line that was cut by a kill
    again = LayerNorms(tmp_path)
    again.begin(model, 200)
    assert again.stride == 4 and max(row["step"] for row in read(tmp_path / FILE)["rows"]) == 200
    model["more"] = torch.nn.Linear(2, 1)
    LayerNorms(tmp_path).begin(model, 200)  # other layers than before
    assert read(tmp_path / FILE)["rows"] == []


def test_no_file_and_no_number(tmp_path, model):
    assert read(tmp_path / FILE) is None
    norms = LayerNorms(tmp_path)
    norms.begin(model, 0)
    model["head"].weight.grad.fill_(math.nan)
    record(norms, 1, 1)
    assert read(tmp_path / FILE)["rows"][0]["gradient"][2] is None


def test_layers_by_name():
    names = {
        "base_model.model.model.layers.11.self_attn.q_proj.lora_A.default.weight": "11",
        "transformer.h.3.mlp.weight": "3",
        "base_model.model.lm_head.lora_B.default.weight": "lm_head",
        "prompt_encoder.default.embedding.weight": "prompt_encoder.embedding",
    }
    assert {name: layer_of(name) for name in names} == names
