"""The shape of a model folder is read correctly, and every kind of broken folder is reported in one sentence."""

import json

import pytest

from studio.home import STARTER
from studio.models.shape import read_shape, target_names
from studio.words import StudioError
from tests.models.model_folders import damaged, model_folder, sharded, tensors

LINEARS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("make", [model_folder, sharded])
def test_a_complete_folder(make, tmp_path):
    shape = read_shape(make(tmp_path / "m"))
    assert (shape.hidden, shape.layers, shape.heads, shape.key_value_heads, shape.head_dim, shape.intermediate) == (
        16,
        2,
        4,
        2,
        4,
        24,
    )
    assert shape.vocab_size == 300 and shape.context == 64 and shape.tied
    assert shape.parameters == sum(array.size for array in tensors().values()) and shape.bytes == 2 * shape.parameters
    assert {name.rsplit(".", 1)[-1] for name in shape.linear_layers} == LINEARS
    assert shape.linear_layers["model.layers.0.self_attn.k_proj"] == (16, 8)  # input, output


def test_targets():
    assert target_names("all-linear") is None
    assert target_names(" q_proj , v_proj,") == ("q_proj", "v_proj")


def test_targets_of_a_shape(tmp_path):
    shape = read_shape(model_folder(tmp_path / "m"))
    assert len(shape.targets("all-linear")) == 14 and len(shape.targets("attention")) == 8
    assert {name.rsplit(".", 1)[-1] for name in shape.targets("q_proj,v_proj")} == {"q_proj", "v_proj"}
    assert shape.targets("nonsense") == {}


def test_text_part_of_a_vision_language_model(tmp_path):
    folder = model_folder(
        tmp_path / "m",
        {"text_config": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 8, "vocab_size": 9}},
    )
    shape = read_shape(folder)
    assert (shape.hidden, shape.layers, shape.head_dim, shape.intermediate) == (32, 3, 4, 128)


@pytest.mark.parametrize("how", ["cut", "empty", "text", "huge", "json"])
def test_damaged_weights(how, tmp_path):
    with pytest.raises(StudioError, match="incomplete or not safetensors.*download the model again"):
        read_shape(damaged(tmp_path / "m", how))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt"])
def test_pickle_weights(name, tmp_path):
    folder = model_folder(tmp_path / "m", weights=False)
    (folder / name).write_bytes(b"\x80\x04")
    with pytest.raises(StudioError, match="pickle weights"):
        read_shape(folder)


def test_no_weights(tmp_path):
    with pytest.raises(StudioError, match="no weights"):
        read_shape(model_folder(tmp_path / "m", weights=False))


def test_a_missing_shard(tmp_path):
    with pytest.raises(StudioError, match="lacks 1 of its weight files, such as 'model-2.safetensors'"):
        read_shape(sharded(tmp_path / "m", missing=True))


def test_remote_code(tmp_path):
    with pytest.raises(StudioError, match="remote code"):
        read_shape(
            model_folder(tmp_path / "m", {"auto_map": {"AutoModel": "modeling_x.X"}, "model_type": "of_its_own"})
        )
    assert read_shape(
        model_folder(tmp_path / "known", {"auto_map": {"AutoModel": "modeling_x.X"}})
    ).layers  # transformers has a class for it


def test_not_a_model_folder(tmp_path):
    with pytest.raises(StudioError, match="no folder"):
        read_shape(tmp_path / "nowhere")
    with pytest.raises(StudioError, match="no config.json"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(StudioError, match="not valid JSON"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x"}))
    with pytest.raises(StudioError, match="no weights"):
        read_shape(tmp_path)


@pytest.mark.parametrize(
    ("config", "patch", "positions"),
    [
        ({"image_size": 224, "patch_size": 16}, 16, 197),
        ({"image_size": [224, 224], "patch_size": [14, 14]}, 14, 257),
        ({"image_size": {"height": 32, "width": 32}, "patch_size": 8}, 8, 17),
        ({}, 0, 2048),
    ],
)
def test_patches_of_an_image_model(tmp_path, config, patch, positions):
    shape = read_shape(model_folder(tmp_path / "m", {"vocab_size": 0, "max_position_embeddings": None, **config}))
    assert (shape.patch, shape.context) == (patch, positions)


def test_the_image_starter():
    shape = read_shape(STARTER.parent / "starter_vit")
    assert (shape.patch, shape.context, shape.modality) == (8, 6 * 6 + 1, "image")


@pytest.mark.parametrize("kind", ["ViT", "DeiT", "Beit", "Dinov2"])
def test_layers_are_named_as_transformers_loads_them(tmp_path, kind):
    """transformers renames them while it loads; target modules and adapters use the loaded names."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        num_labels=2,
    )
    model = getattr(transformers, f"{kind}ForImageClassification")(config)
    model.save_pretrained(tmp_path / "m")
    linear_layers = {
        name for name, module in model.named_modules() if hasattr(module, "in_features") and name != "classifier"
    }
    assert linear_layers == set(read_shape(tmp_path / "m").linear_layers)


MIXTURES = {
    "Qwen3Moe": {"num_experts": 4, "num_experts_per_tok": 1, "moe_intermediate_size": 8},
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 1},
    "DeepseekV3": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 8,
        "n_group": 1,
        "topk_group": 1,
        "q_lora_rank": 4,
        "kv_lora_rank": 4,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 4,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
    },
    "GptOss": {"num_local_experts": 4, "num_experts_per_tok": 1},
    "GraniteMoe": {"num_local_experts": 4, "num_experts_per_tok": 1},
    "Phimoe": {"num_local_experts": 4, "num_experts_per_tok": 1},
}


@pytest.mark.parametrize("kind", MIXTURES)
def test_a_mixture_of_experts_has_the_layers_outside_its_mlps(tmp_path, kind):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        **{
            "vocab_size": 32,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **MIXTURES[kind],
        }
    )
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    model.save_pretrained(tmp_path / "m")
    shape = read_shape(tmp_path / "m")
    outside = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if hasattr(module, "in_features") and "self_attn" in name
    }
    assert shape.linear_layers == outside and shape.experts
    assert (
        shape.active_expert_share == 0.25
        and sum(rows * columns for rows, columns in outside.values()) < shape.active_weights < shape.parameters
    )


def test_a_dense_model_uses_all_its_matrices():
    shape = read_shape(STARTER)
    assert (
        not shape.experts
        and shape.active_expert_share == 1
        and shape.active_weights == sum(rows * columns for rows, columns in shape.linear_layers.values())
    )
