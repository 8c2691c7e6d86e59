"""Each method's formula counts exactly what it makes trainable on a real, tiny Qwen2; on a GPT-2, which stores its
layers the other way round; and on the starter for pictures, whose layers have other names in memory than on disk."""

from pathlib import Path

import pytest

from studio.home import STARTER
from studio.methods import METHODS
from studio.methods.capabilities import YES, cell
from studio.models.load import load_base
from studio.models.shape import read_shape
from tests.methods.method_cases import NEEDS, picture_needs
from tests.methods.settings import setting
from tests.sampling import METHOD_SAMPLE, sampled

VARIANTS = {
    **{
        name: {"name": name} for name in METHODS if name not in NEEDS
    },  # the others build on adapters: the suite counts them
    "psoft": {"name": "psoft", "rank": 16},  # its usual 32 are more directions than this model has
    "full, embeddings frozen": {"name": "full", "embeddings": False},
    "lora, attention": {"name": "lora", "targets": "attention", "rank": 3},
    "lora, two layers": {"name": "lora", "targets": "q_proj,down_proj", "rslora": True},
    "diff pruning, rows": {"name": "diff_pruning", "groups": "row"},
    "diff pruning, matrices": {"name": "diff_pruning", "groups": "matrix", "targets": "attention"},
    "group mask, blocks": {"name": "group_mask", "groups": "block", "kept": 50},
    "hybrid, parallel and biases": {"name": "hybrid", "place": "parallel", "bitfit": True, "targets": "all-linear"},
    "hybrid, LoRA and added biases": {
        "name": "hybrid",
        "adapter": False,
        "prefix": False,
        "bitfit": True,
        "added": True,
    },
    "dora, attention": {"name": "dora", "targets": "attention"},
    "ia3, attention": {"name": "ia3", "mlp": False},
    "ia3, mlp": {"name": "ia3", "attention": False},
    "adapter, houlsby": {"name": "adapter", "place": "houlsby", "size": 3},
    "adapter, parallel": {"name": "adapter", "place": "parallel", "size": 5, "activation": "gelu"},
    "bitfit, added": {"name": "bitfit", "added": True},
    "pissa, exact": {"name": "pissa", "decomposition": "exact", "rank": 4},
    "loha, attention": {"name": "loha", "targets": "attention", "rank": 3},
    "lokr, factor": {"name": "lokr", "factor": 4, "rank": 2},
    "lokr, factor that does not divide": {"name": "lokr", "factor": 5, "rank": 2},
    "lokr, both parts": {"name": "lokr", "both": True, "rank": 1},
    "lokr, two layers": {"name": "lokr", "targets": "k_proj,down_proj", "rank": 40},
    "oft": {"name": "oft", "block": 16},
    "oft, shared": {"name": "oft", "block": 8, "shared": True, "exact": True},
    "boft, attention": {"name": "boft", "block": 8, "targets": "attention"},
    "fourierft": {"name": "fourierft", "frequencies": 500},
    "waveft": {"name": "waveft", "coefficients": 512, "wavelet": "db2"},
    "vblora": {"name": "vblora", "length": 16},
    "vblora, attention": {"name": "vblora", "length": 8, "vectors": 5, "rank": 3, "mixed": 1, "targets": "attention"},
    "hra, perpendicular": {"name": "hra", "rank": 4, "gram_schmidt": True},
    "miss": {"name": "miss", "rank": 32},
    "miss, bat": {"name": "miss", "rank": 8, "variant": "bat"},
    "randlora, uneven": {"name": "randlora", "rank": 7},
    "c3a": {"name": "c3a", "block": 16},
    "gralora, hybrid": {"name": "gralora", "rank": 8, "parts": 4, "hybrid": 3},
    "hira, attention": {"name": "hira", "targets": "attention", "rank": 3},
    "delora, two layers": {"name": "delora", "targets": "q_proj,down_proj"},
    "road": {"name": "road", "group": 16},
    "road, 4": {"name": "road", "group": 8, "variant": "road_4"},
    "shira, magnitude": {"name": "shira", "mask": "magnitude", "rank": 3},
    "shira, gradient": {"name": "shira", "mask": "gradient", "rank": 3, "targets": "attention"},
    "fish, two layers": {"name": "fish", "targets": "q_proj,down_proj", "rank": 2},
    "layer_selection": {"name": "layer_selection", "layers": 1},
    "layer_selection, attention": {"name": "layer_selection", "layers": 2, "modules": "attention"},
    "layer_selection, norms": {"name": "layer_selection", "layers": 2, "modules": "input_layernorm,down_proj"},
    "glora, no biases": {"name": "glora", "biases": False, "rank": 3},
    "glora, attention": {"name": "glora", "targets": "attention", "rank": 5},
    "vera, attention": {"name": "vera", "targets": "attention", "rank": 7},
    "lora_fa, two layers": {"name": "lora_fa", "targets": "q_proj,down_proj", "rank": 3},
    "mica, attention": {"name": "mica", "targets": "attention", "rank": 3},
    "bdlora, four blocks": {"name": "bdlora", "blocks": 4, "rank": 8, "targets": "k_proj,o_proj,up_proj,down_proj"},
    "psoft, free": {"name": "psoft", "rotation": False, "rank": 5},
    "psoft, no stretching": {"name": "psoft", "stretch": False, "rank": 6, "targets": "attention"},
    "tinylora, half shared": {"name": "tinylora", "shared": 0.5, "parameters": 13},
    "tinylora, shared": {"name": "tinylora", "shared": 1.0, "parameters": 13},
    "peanut, deep": {"name": "peanut", "depth": 3, "rank": 5, "targets": "q_proj,down_proj"},
    "peanut, flat": {"name": "peanut", "depth": 0, "rank": 5},
    "unilora": {"name": "unilora", "length": 100},
    "pvera, attention": {"name": "pvera", "rank": 7, "targets": "attention"},
    "beft, queries": {"name": "beft", "targets": "q_proj,v_proj"},
    "osf, a third": {"name": "osf", "frozen": 0.33},
    "deft, attention": {"name": "deft", "targets": "attention", "rank": 3},
    "p_tuning, LSTM": {"name": "p_tuning", "encoder": "LSTM", "encoder_layers": 2, "encoder_hidden": 16},
    "p_tuning, LSTM of one layer": {"name": "p_tuning", "encoder": "LSTM", "encoder_layers": 1},
    "prefix_tuning, random": {"name": "prefix_tuning", "start": "random", "reparameterise": False, "virtual_tokens": 3},
    "prefix_tuning, network": {"name": "prefix_tuning", "width": 24, "virtual_tokens": 4},
    "p_tuning_v2, network": {"name": "p_tuning_v2", "reparameterise": True, "width": 9},
    "prompt_ensemble, random": {"name": "prompt_ensemble", "start": "random", "virtual_tokens": 3, "members": 2},
    "prompt_tuning, random": {"name": "prompt_tuning", "start": "random", "virtual_tokens": 3},
}


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def folder(request, tmp_path_factory):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=request.param,
    )
    folder = tmp_path_factory.mktemp("qwen2")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_formula_counts_what_is_built(folder, variant):
    from transformers import Qwen2ForCausalLM

    values = VARIANTS[variant]
    method = METHODS[values["name"]].model_validate({key: value for key, value in values.items() if key != "name"})
    shape = read_shape(folder)
    if variant == "prompt_tuning":  # random words come out of a tokenizer, which this model has none of
        method.start = "random"
    if method.artefact_type == "model":
        assert shape.parameters == sum(p.numel() for p in Qwen2ForCausalLM.from_pretrained(folder).parameters())
    model = method.wrap(Qwen2ForCausalLM.from_pretrained(folder), setting())
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == method.parameter_count(shape)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(
        GPT2Config(vocab_size=96, n_embd=64, n_layer=4, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(NEEDS)))
def test_formula_counts_what_is_built_on_gpt2(gpt2, name):
    """Or the method says that it does not go with GPT-2; none builds something else than it says."""
    from transformers import GPT2LMHeadModel

    shape, method = read_shape(gpt2), METHODS[name]()
    if name == "prompt_tuning":
        method.start = "random"
    if text := method.refusal(shape, "chat", "none"):
        assert "GPT2LMHeadModel" in str(text)
        return
    model = method.wrap(GPT2LMHeadModel.from_pretrained(gpt2), setting())
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == method.parameter_count(shape)


OTHER_SIZES = {
    "vblora": {"length": 24},
    "road": {"group": 24},
    "c3a": {"block": 24},
}  # their usual ones do not divide the width of the starter for pictures


IMAGE_METHODS = sorted(name for name in METHODS if cell(name, "image") == YES and METHODS[name].quantisation is None)


@pytest.mark.parametrize("name", sampled(IMAGE_METHODS, METHOD_SAMPLE & set(IMAGE_METHODS)))
def test_methods_for_image_models_are_offered_and_counted(name, tmp_path):
    """Beside the head, which every method learns whole."""
    import torch

    folder, method = (
        STARTER.parent / "starter_vit",
        METHODS[name](**OTHER_SIZES.get(name, {}), **picture_needs(name, STARTER.parent / "starter_vit", tmp_path)),
    )
    shape = read_shape(folder)
    assert method.refusal(shape, "image", "none") is None
    if name == "full":
        return
    batch = {
        "pixel_values": torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)),
        "labels": torch.tensor([0, 1]),
    }
    model = method.wrap(
        load_base(folder, head="image_classification", labels=["red", "green"]),
        setting(task_type="SEQ_CLS", base=folder, adapter=Path, batches=lambda count: [batch] * count),
    )
    assert sum(
        p.numel() for name, p in model.named_parameters() if p.requires_grad and "classifier" not in name
    ) == method.parameter_count(shape)


FALCON_WIDTHS = {"c3a": {"block": 32}, "vblora": {"length": 32}, "road": {"group": 32}}


@pytest.mark.parametrize("name", sampled(sorted(set(METHODS) - set(NEEDS)), METHOD_SAMPLE - set(NEEDS)))
@pytest.mark.parametrize("kind", ["Falcon", "Bloom"])
def test_methods_train_on_falcon_and_bloom_or_are_refused(kind, name, tmp_path):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=96, hidden_size=64, num_hidden_layers=4, num_attention_heads=4
    )
    base = getattr(transformers, f"{kind}ForCausalLM")(config)
    base.save_pretrained(tmp_path)
    base.config._name_or_path = str(tmp_path)
    shape, method = read_shape(tmp_path), METHODS[name](**FALCON_WIDTHS.get(name, {}))
    if name == "prompt_tuning":
        method.start = "random"
    if text := method.refusal(shape, "chat", "none"):
        assert name in {"beft", "hybrid", "long_lora", "mam", "p_tuning_v2", "prefix_tuning", "s4", "unipelt"} | (
            {"glora", "lora_ga", "bitfit"} if kind == "Falcon" else set()
        ), text
        return
    model = method.wrap(base.requires_grad_(name == "full"), setting(base=tmp_path))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == method.parameter_count(shape)
    model.train()(**setting().batches(1)[0]).loss.backward()


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    folder = tmp_path_factory.mktemp("mixture")
    Qwen2MoeForCausalLM(
        Qwen2MoeConfig(
            vocab_size=96,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=64,
            shared_expert_intermediate_size=48,
        )
    ).save_pretrained(folder)
    return folder


FITTING = {
    "c3a": {"block": 32},
    "vblora": {"length": 32},
    "road": {"group": 32},
    "waveft": {"coefficients": 500},
}  # what the sentences of their refusals say
UNKNOWN = {
    "adapter",
    "bitfit, added",
    "group_mask",
    "hybrid",
    "layer_selection, experts",
    "long_lora",
    "mam",
    "s4",
    "unipelt",
}
ON_A_MIXTURE = {
    **{name: {"name": name, **FITTING.get(name, {})} for name in sorted(set(METHODS) - set(NEEDS))},
    "lora, a list": {"name": "lora", "targets": "q_proj,o_proj"},
    "layer_selection, experts": {"name": "layer_selection", "modules": "down_proj"},
    "bitfit, added": VARIANTS["bitfit, added"],
}


@pytest.mark.parametrize("variant", sampled(ON_A_MIXTURE, (METHOD_SAMPLE | UNKNOWN) & set(ON_A_MIXTURE)))
def test_formula_counts_what_is_built_on_a_mixture_of_experts(mixture, variant):
    """transformers holds its experts as a few large tensors, on which no delta but LoRA's goes; so none is laid over
    them."""
    from transformers import Qwen2MoeForCausalLM

    values = ON_A_MIXTURE[variant]
    shape, method = (
        read_shape(mixture),
        METHODS[values["name"]](**{key: value for key, value in values.items() if key != "name"}),
    )
    if variant == "prompt_tuning":
        method.start = "random"
    text = method.refusal(shape, "chat", "none")
    assert (text is not None) == (variant in UNKNOWN), text
    if text:
        return
    model = method.wrap(Qwen2MoeForCausalLM.from_pretrained(mixture), setting(base=mixture))
    labelled = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sum(labelled.values()) == method.parameter_count(shape)
    if method.remark(shape):
        assert not any(".mlp." in name for name in labelled)


def test_expert_target_modules_raise_a_studio_error(mixture):
    assert "match no layer" in str(
        METHODS["lora"](targets="gate_proj,down_proj").refusal(read_shape(mixture), "chat", "none")
    )
