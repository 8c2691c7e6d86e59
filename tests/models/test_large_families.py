"""GPT-OSS, whose experts are stored in 4 bits, and families that read pictures besides text (Llama 4, Gemma 3 and 4,
Mistral 3): what the files say is what is loaded, LoRA learns in the text part alone, and stock peft over stock
transformers loads the adapter."""

import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file

from studio.forecast.memory import memory_parts
from studio.methods.base import Setting
from studio.methods.lora import LoRA
from studio.methods.qlora import QLoRA
from studio.models.catalogue import catalogue_entry
from studio.models.folder_checks import folder_refusal
from studio.models.load import load_base
from studio.models.shape import DEFAULTS, read_shape
from studio.recipe import recipe_from
from studio.words import StudioError
from tests.models.families import MULTIMODAL, make_model, packed
from tests.models.model_folders import tokenizer_folder

KINDS = ["gpt_oss", "gpt_oss in MXFP4", *MULTIMODAL]
IDS = torch.arange(3, 19)[None]
ON_DISK = {
    "gpt_oss": "model.layers.0.mlp.experts.gate_up_proj",
    "gpt_oss in MXFP4": "model.layers.0.mlp.experts.gate_up_proj_blocks",
    **{
        kind: f"{'model.language_model' if kind.startswith('gemma4') else 'language_model.model'}"
        ".layers.0.self_attn.q_proj.weight"
        for kind in MULTIMODAL
    },
    "llama4": "language_model.model.layers.0.feed_forward.experts.gate_up_proj",
}
"""A name of each family's public weights."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return {kind: packed(root / kind) if "MXFP4" in kind else make_model(kind, root / kind) for kind in KINDS}


def stock(folder):
    """The model as whoever has no Delta Studio loads it: whole, eyes included."""
    import transformers

    auto = transformers.AutoModelForImageTextToText if "mistral3" in str(folder) else transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


def fine_tuned(folder):
    """LoRA over the model in `folder` after one step."""
    torch.manual_seed(0)
    model = LoRA(rank=2).wrap(load_base(folder, precision="fp32"), Setting(base=folder))
    labelled = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimiser = torch.optim.SGD(labelled.values(), lr=1.0)
    for _ in range(2):  # at first A has no gradient but zero, because B is zero
        optimiser.zero_grad()
        model.train()(input_ids=IDS, labels=IDS).loss.backward()
        optimiser.step()
    return model.eval(), labelled


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_say_what_is_loaded(kind, folders):
    shape, model = read_shape(folders[kind]), load_base(folders[kind], precision="fp32")
    assert ON_DISK[kind] in load_file(folders[kind] / "model.safetensors")
    assert shape.tensors == {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shape.parameters == model.num_parameters() and {parameter.dtype for parameter in model.parameters()} == {
        torch.float32
    }
    outside = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if hasattr(module, "in_features") and "lm_head" not in name and ("self_attn" in name or not shape.experts)
    }
    assert shape.linear_layers == outside and outside
    assert (shape.layers, shape.context, shape.vocab_size, shape.modality) == (
        4 if kind.startswith("gemma4") else 2,
        256,
        320,
        "text",
    )


def test_keys_that_no_layer_uses_are_not_counted(folders, tmp_path):
    """Gemma 4's E2B and E4B store keys and values also for the layers that use those of another layer."""
    from safetensors.torch import save_file

    stored = load_file(folders["gemma4 with shared keys"] / "model.safetensors")
    more = {
        name.replace("layers.1.", f"layers.{at}."): tensor.clone()
        for name, tensor in stored.items()
        for at in (2, 3)
        if "layers.1.self_attn.k_" in name or "layers.1.self_attn.v_" in name
    }
    assert len(more) == 6 and not more.keys() & stored.keys()
    folder = shutil.copytree(folders["gemma4 with shared keys"], tmp_path / "m")
    save_file(stored | more, folder / "model.safetensors", metadata={"format": "pt"})
    assert read_shape(folder).tensors == read_shape(folders["gemma4 with shared keys"]).tensors
    assert load_base(folder, precision="fp32").num_parameters() == read_shape(folder).parameters


@pytest.mark.parametrize("kind", KINDS)
def test_lora_trains_the_text_part_and_stock_peft_loads_it(kind, folders, tmp_path):
    from peft import PeftModel

    shape = read_shape(folders[kind])
    model, labelled = fine_tuned(folders[kind])
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in labelled.values())
    assert sum(parameter.numel() for parameter in labelled.values()) == LoRA(rank=2).parameter_count(shape)
    assert not any(word in name for name in labelled for word in ("vision", "projector", "experts", "router"))
    model.save_pretrained(tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)  # peft only warns of what it does not find
        again = PeftModel.from_pretrained(stock(folders[kind]), tmp_path / "adapter")
    assert {name for name, _ in again.named_parameters() if "lora_" in name} == set(labelled)
    with torch.no_grad():
        there, here, bare = (
            again(input_ids=IDS).logits,
            model(input_ids=IDS).logits,
            stock(folders[kind])(input_ids=IDS).logits,
        )
    assert torch.equal(there, here) and (here - bare).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_is_a_base_again(kind, folders, tmp_path):
    from studio.models.text_part import restore_other_parts

    model, _ = fine_tuned(folders[kind])
    with torch.no_grad():
        before = model(input_ids=IDS).logits
    restore_other_parts(model.merge_and_unload()).save_pretrained(tmp_path / "m")
    again = load_base(tmp_path / "m", precision="fp32")
    assert folder_refusal(tokenizer_folder(tmp_path / "m"), "causal_lm") is None
    assert (
        read_shape(tmp_path / "m").tensors == read_shape(folders[kind]).tensors
        and read_shape(tmp_path / "m").stored_as == ""
    )
    with torch.no_grad():
        assert torch.allclose(again(input_ids=IDS).logits, before, atol=1e-3)


@pytest.mark.parametrize("kind", ["gemma3", "mistral3"])
def test_a_whole_model_keeps_its_eyes(kind, folders, tmp_path):
    from studio.models.text_part import restore_other_parts

    whole = load_file(folders[kind] / "model.safetensors")
    model, _ = fine_tuned(folders[kind])
    restore_other_parts(model.merge_and_unload()).save_pretrained(tmp_path / "merged")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    assert merged.keys() == whole.keys()
    same = {name for name in whole if torch.equal(whole[name], merged[name])}
    assert {name for name in whole if "vision" in name} <= same and not any(
        "q_proj" in name and "language_model" in name for name in same
    )


def test_full_fine_tuning_keeps_the_eyes(folders, tmp_path):
    from studio.methods import METHODS
    from studio.training.artefact import save

    method = METHODS["full"]()
    model = method.wrap(load_base(folders["gemma3"], precision="fp32"))
    assert sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    ) == method.parameter_count(read_shape(folders["gemma3"]))
    model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    save(method, model, tmp_path / "m", folders["gemma3"])
    assert (
        load_file(tmp_path / "m" / "model.safetensors").keys()
        == load_file(folders["gemma3"] / "model.safetensors").keys()
    )
    assert read_shape(tmp_path / "m").tensors == read_shape(folders["gemma3"]).tensors


# ---- MXFP4 --------------------------------------------------------------------------------------------------------


def test_mxfp4_becomes_what_it_stands_for(folders):
    """Of each block: 4 bits a number (E2M1: sign, two bits of exponent, one of mantissa) times two to the scale − 127
    (OCP Microscaling Formats, §5.3.3)."""
    folder = folders["gpt_oss in MXFP4"]
    stored = load_file(folder / "model.safetensors")
    blocks, scales = (stored[f"model.layers.1.mlp.experts.down_proj_{part}"] for part in ("blocks", "scales"))
    held = load_base(folder, precision="fp32").get_parameter("model.layers.1.mlp.experts.down_proj")
    values = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    for expert, output, number in ((0, 0, 0), (1, 5, 33), (3, 31, 63)):
        group, place = divmod(number, 32)
        byte = int(blocks[expert, output, group, place // 2])
        code = byte >> 4 if place % 2 else byte & 15
        wanted = values[code & 7] * (-1 if code & 8 else 1) * 2.0 ** (int(scales[expert, output, group]) - 127)
        assert float(held[expert, number, output]) == wanted


@pytest.mark.parametrize("what", ["nf4", "int8"])
def test_mxfp4_is_not_quantised_again(what, folders):
    folder = folders["gpt_oss in MXFP4"]
    assert folder_refusal(folder, "causal_lm") is None and LoRA().refusal(read_shape(folder), "chat", "none") is None
    assert "is stored in MXFP4 and becomes 16 bit" in str(LoRA().refusal(read_shape(folder), "chat", what))
    assert "is stored in MXFP4 and becomes 16 bit" in str(QLoRA().refusal(read_shape(folder), "chat", "nf4"))
    assert QLoRA().refusal(read_shape(folders["gpt_oss"]), "chat", "nf4") is None
    assert "become 16 bit while they are loaded" in str(LoRA().remark(read_shape(folder)))
    with pytest.raises(StudioError, match="stored in MXFP4 and become 16 bit"):
        load_base(folder, quantisation=what)


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("bf16", 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_forecast_counts_the_weights_as_they_are_held(kind, precision, width, folders):
    recipe, shape = recipe_from({"method": "lora", "model": {"name": str(folders[kind])}}), read_shape(folders[kind])
    parts = memory_parts(recipe, shape, 32, device="cpu", precision=precision)
    held = sum(
        parameter.numel() * parameter.element_size()
        for parameter in load_base(folders[kind], precision=precision).parameters()
    )
    assert held == width * shape.parameters
    assert parts["weights"] == held + 4 * recipe.method.parameter_count(shape)


# ---- the public models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_a_config_may_leave_out(kind):
    from transformers import AutoConfig

    made = AutoConfig.for_model(kind).get_text_config()
    assert {key: getattr(made, key) for key in DEFAULTS[kind]} == DEFAULTS[kind]


def test_a_config_like_that_of_gemma_3_with_4_b(tmp_path):
    """It gives of its text part only the widths and the number of layers."""
    folder = make_model("gemma3", tmp_path / "m")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    kept = {
        key: config["text_config"][key]
        for key in ("hidden_size", "intermediate_size", "model_type", "num_hidden_layers", "sliding_window")
    }
    path.write_text(json.dumps({**config, "text_config": kept}))
    shape = read_shape(folder)
    assert (shape.context, shape.heads, shape.key_value_heads, shape.head_dim, shape.vocab_size) == (
        131072,
        8,
        4,
        256,
        262208,
    )


EYES = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "image_size": 896,
    "patch_size": 14,
    "vision_use_head": False,
}
LLAMA_EYES = {
    "hidden_size": 1408,
    "intermediate_size": 5632,
    "num_attention_heads": 16,
    "num_hidden_layers": 34,
    "image_size": 336,
    "patch_size": 14,
    "vision_output_dim": 4096,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
}
PIXTRAL_EYES = {
    "model_type": "pixtral",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "head_dim": 64,
    "image_size": 1540,
    "patch_size": 14,
}
PUBLIC = {
    "openai/gpt-oss-20b": {
        "num_hidden_layers": 24,
        "num_local_experts": 32,
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
    },
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": {
        "text_config": {"vocab_size": 202048, "hidden_size": 5120, "num_hidden_layers": 48, "num_local_experts": 16},
        "vision_config": LLAMA_EYES,
    },
    "google/gemma-3-4b-it": {
        "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34},
        "vision_config": EYES,
    },
    "google/gemma-3-12b-it": {
        "text_config": {
            "hidden_size": 3840,
            "intermediate_size": 15360,
            "num_hidden_layers": 48,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
        },
        "vision_config": EYES,
    },
    "google/gemma-3-27b-it": {
        "text_config": {
            "hidden_size": 5376,
            "intermediate_size": 21504,
            "num_hidden_layers": 62,
            "num_attention_heads": 32,
            "num_key_value_heads": 16,
            "head_dim": 128,
        },
        "vision_config": EYES,
    },
    **{
        f"mistralai/Ministral-3-{size}B-Instruct-2512-BF16": {
            "text_config": {
                "model_type": "ministral3",
                "vocab_size": 131072,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                **widths,
            },
            "vision_config": PIXTRAL_EYES,
            "tie_word_embeddings": size == 3,
        }
        for size, widths in (
            (3, {"hidden_size": 3072, "intermediate_size": 9216, "num_hidden_layers": 26}),
            (8, {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 34}),
            (14, {"hidden_size": 5120, "intermediate_size": 16384, "num_hidden_layers": 40}),
        )
    },
}
"""Hub id → what its public config.json says of sizes."""


@pytest.mark.parametrize("name", PUBLIC)
def test_the_offer_has_the_size_that_its_config_makes(name):
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    offer = catalogue_entry(name)
    config = AutoConfig.for_model(offer.model_type, **PUBLIC[name])
    with torch.device("meta"):
        model = (AutoModelForImageTextToText if "vision_config" in PUBLIC[name] else AutoModelForCausalLM).from_config(
            config
        )
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    inside = sum(size for name, size in sizes.items() if name.endswith(("experts.gate_up_proj", "experts.down_proj")))
    assert offer.parameters == pytest.approx(sum(sizes.values()) / 1e9, rel=0.004)
    assert offer.experts == pytest.approx(inside / sum(sizes.values()), abs=0.001)
