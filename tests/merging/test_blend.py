"""Blends against plain dense arithmetic, against peft where peft is right, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.merging import blend as blending
from studio.merging import lora_delta
from studio.merging.lora_delta import Factors, Rank
from studio.words import StudioError
from tests.merging.conftest import dense, lora


def blended(adapters, tmp_path, names, weights, **how):
    """(layer → ΔW of the blend as stock peft merges it, layer → what was kept)."""
    way = blending.METHODS[how["name"]](**how)
    made = blending.blend([(name, adapters / name) for name in names], weights, way, tmp_path / "blend")
    return dense(adapters / "base", tmp_path / "blend"), made


def weighted_sum(adapters, names, weights):
    found = {}
    for name, weight in zip(names, weights, strict=True):
        for layer, delta in dense(adapters / "base", adapters / name).items():
            found[layer] = found.get(layer, 0) + weight * delta
    return found


def distance(one, other) -> float:
    assert one.keys() == other.keys()
    difference = sum(float((one[key] - other[key]).square().sum()) for key in one)
    return (difference / sum(float(value.square().sum()) for value in other.values())) ** 0.5


@pytest.mark.parametrize("way", ["linear", "cat"])
@pytest.mark.parametrize(
    "names, weights",
    [
        (("a", "b"), (0.7, 0.3)),
        (("a", "b"), (1.0, -0.5)),  # subtraction
        (("pattern", "rslora"), (0.6, 0.9)),  # other ranks, scalings and targets in each
        (("a", "embedding", "rslora"), (1.0, 0.4, -1.2)),
    ],
)
def test_exact_ways_are_the_weighted_sum(adapters, tmp_path, way, names, weights):
    made, kept = blended(adapters, tmp_path, names, weights, name=way)
    assert distance(made, weighted_sum(adapters, names, weights)) < 1e-6
    assert lora_delta.total_error(kept) < 1e-6


def test_svd_is_the_closest_of_its_rank_and_says_its_error(adapters, tmp_path):
    names, weights = ("a", "pattern"), (1.0, -0.7)
    made, kept = blended(adapters, tmp_path, names, weights, name="svd", rank=3)
    wanted = weighted_sum(adapters, names, weights)
    best = {}
    for layer, delta in wanted.items():
        u, s, v = torch.linalg.svd(delta, full_matrices=False)
        best[layer] = (u[:, :3] * s[:3]) @ v[:3]
        error = float((made[layer] - delta).norm() / delta.norm())
        assert abs(kept[layer].error - error) < 1e-6 and abs(kept[layer].norm - float(delta.norm())) < 1e-6
    assert distance(made, best) < 1e-6
    assert abs(lora_delta.total_error(kept) - distance(made, wanted)) < 1e-6


def test_the_smallest_rank_that_holds_the_sum(adapters, tmp_path):
    _, kept = blended(adapters, tmp_path, ("a", "a"), (0.5, 0.7), name="linear")
    assert {one.factors.rank for one in kept.values()} == {4}
    made, kept = blended(adapters, tmp_path, ("a", "a"), (1.0, -1.0), name="linear")
    assert max(float(delta.abs().max()) for delta in made.values()) < 1e-12  # nothing is left, and it still loads


def peft_blend(adapters, names, weights, way, **more):
    """ΔW of peft's own `add_weighted_adapter`."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(adapters / "base", dtype=torch.float64)
    model = PeftModel.from_pretrained(base, adapters / names[0], adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(adapters / name, adapter_name=name)
    model.double()
    model.add_weighted_adapter(list(names), list(weights), "mix", combination_type=way, **more)
    return {
        name.removeprefix(lora_delta.PREFIX): module.get_delta_weight("mix")
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }


@pytest.mark.parametrize("majority", ["total", "frequency"])
@pytest.mark.parametrize("way", ["svd", "ties_svd", "magnitude_prune_svd", "cat"])
def test_equals_peft_where_peft_is_right(adapters, tmp_path, way, majority):
    names, weights = ("a", "b"), (0.7, 0.4)
    ours = {"svd": {"rank": 5}, "ties_svd": {"rank": 5, "density": 0.3, "majority_sign_method": majority},
            "magnitude_prune_svd": {"rank": 5, "density": 0.3}, "cat": {}}[way]  # fmt: skip
    more = {"svd_rank": 5} if "svd" in way else {}
    if "density" in ours:
        more |= {"density": 0.3, "majority_sign_method": majority}
    made, _ = blended(adapters, tmp_path, names, weights, name=way, **ours)
    # peft makes its matrices in float32
    assert distance(made, peft_blend(adapters, names, weights, way, **more)) < 1e-5


def test_what_peft_does_wrong_silently(adapters, tmp_path):
    """The reasons for what is done otherwise here; a peft that has changed fails this, and can be trusted again."""
    names, weights = ("a", "b"), (0.7, 0.3)
    wanted = weighted_sum(adapters, names, weights)
    assert distance(peft_blend(adapters, names, weights, "linear"), wanted) > 0.5  # cross terms
    # rank-stabilised scaling is kept in the config, so that the exact way of blending is scaled once too often
    lora(tmp_path / "r1", adapters / "base", 8, use_rslora=True)
    shutil.copytree(adapters / "base", tmp_path / "base")
    wrong = peft_blend(tmp_path, ("r1", "r1"), (0.5, 0.5), "cat")
    assert distance(wrong, dense(adapters / "base", tmp_path / "r1")) > 0.5
    # pruned factors depend on how ΔW is split into A and B: here the same ΔW, split otherwise
    tensors = load_file(adapters / "a" / "adapter_model.safetensors")
    turned = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    for name in [name for name in tensors if "lora_A" in name]:
        other = name.replace("lora_A", "lora_B")
        tensors[name], tensors[other] = (turned @ tensors[name]).contiguous(), (tensors[other] @ turned.T).contiguous()
    shutil.copytree(adapters / "a", tmp_path / "turned")
    save_file(tensors, tmp_path / "turned" / "adapter_model.safetensors", metadata={"format": "pt"})
    shutil.copytree(adapters / "b", tmp_path / "b")
    shutil.copytree(adapters / "a", tmp_path / "a")
    both = [peft_blend(tmp_path, (name, "b"), weights, "ties", density=0.5) for name in ("a", "turned")]
    assert distance(*both) > 0.1
    for way in ("svd", "ties_svd"):
        ours = [
            blended(tmp_path, tmp_path / way / name, (name, "b"), weights, name=way, rank=4)[0]
            for name in ("a", "turned")
        ]
        assert distance(*ours) < 1e-3


def test_dare_drops_at_random_and_is_right_on_average(adapters):
    generator = torch.Generator().manual_seed(0)
    found = [
        (weight, Factors(torch.randn(3, 40, generator=generator), torch.randn(30, 3, generator=generator)))
        for weight in (0.8, -0.5)
    ]
    wanted = sum(weight * factors.up @ factors.down for weight, factors in found)
    way = blending.METHODS["dare_linear_svd"]
    draws = [way(rank=30, density=0.5, seed=seed).layer(found, 0).factors for seed in range(200)]
    mean = sum(draw.up @ draw.down for draw in draws) / len(draws)
    single = (draws[0].up @ draws[0].down - wanted).norm() / wanted.norm()
    assert single > 0.5 and (mean - wanted).norm() / wanted.norm() < 3 * single / len(draws) ** 0.5
    again = way(rank=30, density=0.5, seed=0).layer(found, 0).factors
    assert torch.equal(again.up, draws[0].up)  # what was tried in Chat is what is saved
    other = way(rank=30, density=0.5, seed=0).layer(found, 1).factors
    assert not torch.allclose(other.up, draws[0].up)
    whole = way(rank=30, density=1.0).layer(found, 0).factors
    assert torch.allclose(whole.up @ whole.down, wanted.double(), atol=1e-5)


def test_ties_subtracts_what_a_negative_weight_names():
    one, other = torch.tensor([[3.0, 2.0], [1.0, 0.0]]), torch.tensor([[1.0, -4.0], [2.0, 5.0]])
    means = blending._agreeing_mean([1.0, -1.0], [one, other], "total")
    # votes: one − other = [2, 6], [−1, −5]; those who agree are averaged
    assert means.tolist() == [[3.0, 3.0], [-2.0, -5.0]]


@pytest.mark.parametrize("embedding", [False, True])
def test_large_matrices_are_decomposed_by_sampling(monkeypatch, embedding):
    generator = torch.Generator().manual_seed(0)
    delta = torch.randn(60, 5, generator=generator) @ torch.randn(5, 80, generator=generator)
    delta += 0.01 * torch.randn(60, 80, generator=generator)
    exact = lora_delta.factor_dense(delta, Rank(5), embedding)
    monkeypatch.setattr(lora_delta, "_FULL_SVD", 10)
    sampled = lora_delta.factor_dense(delta, Rank(5), embedding)
    assert abs(sampled.error - exact.error) < 1e-4 and sampled.factors.embedding == embedding
    assert 0 < sampled.error < 0.05


def test_ranks_are_chosen_by_energy():
    singular = torch.tensor([4.0, 2.0, 1.0, 1e-9]).double()  # energies 16, 4, 1
    assert Rank().kept(singular) == 3 and Rank(2).kept(singular) == 2
    assert Rank(energy=16 / 21).kept(singular) == 1 and Rank(energy=0.8).kept(singular) == 2
    assert Rank(energy=1.0).kept(singular) == 3 and Rank(energy=0.99).kept(singular) == 3
    assert Rank(5).kept(torch.zeros(3)) == 1 and Rank(1, 0.99).kept(singular) == 1


REFUSED = {
    "dora": "“dora” uses DoRA",
    "bias": "“bias” also trains biases",
    "head": "“head” also brings weights that are saved whole, such as lm_head.weight",
    "pissa": "belongs to a base model that pissa_niter_4 has changed",
    "ia3": "“ia3” is of the type IA3, and only LoRA adapters can be blended. Convert it to LoRA first.",
    "rope": "“rope” and “a” were trained with different context lengths.",
}


@pytest.fixture(scope="module")
def refused(adapters, tmp_path_factory):
    """Adapters that cannot be blended with `a`."""
    from tests.chat.tiny_models import make_adapter

    root = tmp_path_factory.mktemp("refused")
    for name in ("a", "dora", "bias"):
        shutil.copytree(adapters / name, root / name)
    lora(root / "head", adapters / "base", 9, modules_to_save=["lm_head"])
    make_adapter(adapters / "base", root / "ia3", "ia3")
    for name in ("pissa", "rope"):
        shutil.copytree(adapters / "b", root / name)
    config = json.loads((root / "pissa" / "adapter_config.json").read_text())
    (root / "pissa" / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": "pissa_niter_4"}))
    (root / "rope" / "rope.json").write_text("{}")
    return root


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_blended_is_refused_in_a_sentence(refused, name):
    parts = [("a", refused / "a", {"base": "x"}), (name, refused / name, {"base": "x"})]
    assert REFUSED[name] in str(blending.refusal(parts, [0.5, 0.5]))
    if name != "rope":
        with pytest.raises(StudioError):
            lora_delta.read_lora(refused / name, name)


def test_other_refusals(adapters):
    a = ("a", adapters / "a", {"base": "x"})
    assert blending.refusal([a, ("b", adapters / "b", {"base": "x"})], [1, -1]) is None
    other = ("b", adapters / "b", {"base": "y"})
    assert "only adapters of one base model can be blended" in str(blending.refusal([a, other], [1, 1]))
    assert "whole model" in str(blending.refusal([a, ("m", adapters / "base", {"base": "x", "kind": "model"})], [1, 1]))
    assert "Choose 2 to 8 adapters" in str(blending.refusal([a], [1]))
    assert "All weights are 0" in str(blending.refusal([a, a], [0, 0]))


def test_another_base_that_is_called_the_same_is_noticed(adapters, tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    Qwen2ForCausalLM(
        Qwen2Config(vocab_size=300, hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    ).save_pretrained(tmp_path / "narrow")
    lora(tmp_path / "c", tmp_path / "narrow", 1)
    with pytest.raises(StudioError, match="has another size in “c” than in “a”"):
        blending.blend([("a", adapters / "a"), ("c", tmp_path / "c")], [1, 1], blending.Linear(), tmp_path / "blend")


def test_the_window_needs_no_torch_for_refusals():
    import subprocess
    import sys

    program = (
        "import sys; from studio.merging import blend, convert, jobs; from studio.library import previews; "
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"
