"""The table of tensors equals the state_dict of transformers' models, with and without the keys that a config.json may
leave out.
"""

import pytest

from studio.models import layout
from tests.models.families import DECODERS, TINY

NEEDS_HEAD_DIM = ("ministral", "hunyuan_v1_dense")  # transformers cannot make these without head_dim


@pytest.mark.parametrize("kind", layout.LAYOUTS)
def test_the_table_is_what_transformers_makes(kind):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    whole = DECODERS[kind]
    bare = {key: value for key, value in whole.items() if key != "head_dim"}  # what a config.json may leave out
    for given in (whole, bare) if "num_attention_heads" in whole and kind not in NEEDS_HEAD_DIM else (whole,):
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **given, tie_word_embeddings=False))
        tensors = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        config = {"model_type": kind, "tie_word_embeddings": False, **given}
        assert layout.refusal(config, tensors, head=True) is None
        for name in [
            name
            for name in tensors
            if name.endswith(tuple(f".1.{module}.weight" for module in layout.LAYOUTS[kind].layer))
        ]:
            without = {other: size for other, size in tensors.items() if other != name}
            assert name in str(layout.refusal(config, without, head=True))


def test_every_family_is_tested():
    assert layout.LAYOUTS.keys() <= DECODERS.keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 3}, "model.layers.2.self_attn.q_proj.weight"),
        ({"num_hidden_layers": 1}, "have 2 layers"),
        ({"vocab_size": 400}, "320 × 32"),
        ({"hidden_size": 64}, "vocab_size, hidden_size"),
        ({"num_key_value_heads": 4}, "num_key_value_heads"),
        ({"intermediate_size": 64}, "intermediate_size"),
        ({"num_attention_heads": 8, "head_dim": 8}, "self_attn.q_proj.weight is 32 × 32"),
        ({"hidden_size": None}, "lacks 'hidden_size'"),
        ({"vocab_size": "320"}, "vocab_size is '320'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_attention_heads": [4]}, "whole number"),
    ],
)
def test_a_config_of_another_model(change, words):
    layer = {
        "self_attn.q_proj": (32, 32),
        "self_attn.k_proj": (16, 32),
        "self_attn.v_proj": (16, 32),
        "self_attn.o_proj": (32, 32),
        "mlp.gate_proj": (48, 32),
        "mlp.up_proj": (48, 32),
        "mlp.down_proj": (32, 48),
    }
    tensors = {
        "model.embed_tokens.weight": (320, 32),
        **{f"model.layers.{at}.{name}.weight": size for at in range(2) for name, size in layer.items()},
    }
    config = {"model_type": "llama", **TINY, "tie_word_embeddings": True}
    bare = {name.removeprefix("model."): size for name, size in tensors.items()}
    assert layout.refusal(config, tensors, head=True) is None and layout.refusal(config, bare, head=True) is None
    assert "lm_head.weight" in str(layout.refusal({**config, "tie_word_embeddings": False}, tensors, head=True))
    assert layout.refusal({**config, "tie_word_embeddings": False}, tensors, head=False) is None
    assert words in str(layout.refusal({**config, **change}, tensors, head=True))
