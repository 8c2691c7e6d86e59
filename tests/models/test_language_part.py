"""The shape of a vision-language model is that of the language model which transformers loads from it."""

import pytest
from safetensors.numpy import load_file, save_file

from studio.models.load import load_base
from studio.models.shape import read_shape

TEXT = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "max_position_embeddings": 256,
}  # fmt: skip
VISION = {
    "depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32,
    "num_position_embeddings": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Qwen3.5 as it is published: with a vision tower and multi-token prediction layers."""
    import transformers

    path = tmp_path_factory.mktemp("qwen3_5")
    config = transformers.Qwen3_5Config(text_config=TEXT, vision_config=VISION)
    transformers.Qwen3_5ForConditionalGeneration(config).save_pretrained(path)
    stored = load_file(path / "model.safetensors")
    ahead = stored["model.language_model.layers.3.mlp.up_proj.weight"]
    stored |= {"mtp.fc.weight": ahead, "mtp.layers.0.mlp.up_proj.weight": ahead}
    save_file(stored, path / "model.safetensors", {"format": "pt"})
    return path


def test_the_shape_is_that_of_the_loaded_model(folder):
    shape, model = read_shape(folder), load_base(folder, precision="fp32")
    held = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if hasattr(module, "in_features")
    }
    held.pop("lm_head")
    assert shape.linear_layers == held and any("linear_attn" in name for name in held)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (shape.layers, shape.context, shape.modality) == (4, 256, "text")


def test_the_files_still_hold_all_tensors(folder):
    shape = read_shape(folder)
    assert shape.bytes > 4 * shape.parameters


def test_lora_trains_on_it(folder):
    import torch

    from studio.methods.lora import LoRA

    method = LoRA(rank=2)
    model = method.wrap(load_base(folder, precision="fp32"))
    ids = torch.arange(3, 12)[None]
    model.train()(input_ids=ids, labels=ids).loss.backward()
    labelled = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(parameter.grad is not None for parameter in labelled.values())
    assert sum(parameter.numel() for parameter in labelled.values()) == 2 * sum(
        sum(size) for size in read_shape(folder).linear_layers.values()
    )
