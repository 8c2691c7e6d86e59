"""The prefix hook is exact where stock peft's cache is not, and means the same to stock peft."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import BloomConfig, BloomForCausalLM

from studio.home import STARTER
from studio.methods import METHODS
from studio.models.load import load_base
from studio.training.batches import flatten
from studio.tuners import PrefixConfig
from studio.tuners.prefix import (
    PrefixLayer,
    activations,
    from_stock,
    hook_attention,
    key_value_shape,
    prefix_layers,
    to_stock,
    unhook_attention,
)
from studio.words import StudioError

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3], [9, 4, 11, 300, 2, 65, 77, 1]])
TOKENS = 5


def tiny(kind: str) -> torch.nn.Module:
    import transformers as t

    torch.manual_seed(1)
    small = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    if kind == "starter":
        return load_base(STARTER)
    if kind == "starter, eager":
        model = load_base(STARTER)
        model.set_attn_implementation("eager")
        return model
    made = {
        "qwen3": lambda: t.Qwen3ForCausalLM(
            t.Qwen3Config(**small, num_key_value_heads=2, head_dim=16)
        ),  # heads wider than hidden / heads
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4)),
        "opt": lambda: t.OPTForCausalLM(
            t.OPTConfig(
                vocab_size=400,
                hidden_size=32,
                ffn_dim=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                word_embed_proj_dim=32,
            )
        ),
        "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**small, pad_token_id=0)),
        "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**small)),
        "vit": lambda: t.ViTForImageClassification(
            t.ViTConfig(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=16,
                patch_size=4,
            )
        ),
    }[kind]()
    return made.eval().requires_grad_(False)


def hooked(model, hidden=0, gated=False, task="CAUSAL_LM"):
    model = get_peft_model(
        model,
        PrefixConfig(
            task_type=task,
            target_modules=["k_proj", "key", "c_attn", "qkv_proj"],
            num_virtual_tokens=TOKENS,
            hidden=hidden,
            gated=gated,
        ),
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@torch.no_grad()
def logits(model, **inputs):
    return model(**inputs).logits


@pytest.mark.parametrize("kind", ["starter", "starter, eager", "qwen3", "gpt2", "opt", "phi3"])
@pytest.mark.parametrize("hidden", [0, 8])
def test_stock_peft_reads_what_it_writes(kind, hidden, tmp_path):
    """Same logits, same generation, and read back it is the same prefix."""
    model = hooked(tiny(kind), hidden)
    to_stock(model, tmp_path)
    stock = PeftModel.from_pretrained(tiny(kind), str(tmp_path)).eval()
    fine_tuned = logits(model, input_ids=IDS)
    assert (fine_tuned - logits(tiny(kind), input_ids=IDS)).abs().max() > 0.01
    assert (logits(stock, input_ids=IDS) - fine_tuned).abs().max() < 1e-5
    how = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 8, "do_sample": False}
    assert torch.equal(stock.generate(input_ids=IDS, **how), model.generate(input_ids=IDS, **how))
    read = from_stock(tiny(kind), tmp_path)
    assert all(
        torch.equal(pairs, layer.pairs("default").detach())
        for pairs, layer in zip(read, prefix_layers(model), strict=True)
    )


@pytest.mark.parametrize("kind", ["starter", "qwen3", "gpt2", "opt"])
def test_a_prefix_made_of_a_text_is_the_text(kind):
    """The logits are those of the bare model that reads the text before the input."""
    text = torch.tensor([33, 7, 120, 64, 2])
    model = hooked(tiny(kind))
    for layer, pairs in zip(prefix_layers(model), activations(tiny(kind), text), strict=True):
        layer.begin_with("default", pairs)
    read = logits(tiny(kind), input_ids=torch.cat([text.expand(2, -1), IDS], 1))[:, len(text) :]
    assert (logits(model, input_ids=IDS) - read).abs().max() < 1e-4


def test_a_prefix_of_another_model_is_refused(tmp_path):
    to_stock(hooked(tiny("starter")), tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        from_stock(tiny("gpt2"), tmp_path)


@pytest.mark.parametrize("kind", ["starter", "qwen3", "gpt2"])
def test_packed_rows_are_single_rows(kind):
    model = hooked(tiny(kind))
    rows = [IDS[0, :5].tolist(), IDS[1].tolist(), IDS[0, 3:].tolist()]
    batch = flatten([{"input_ids": row, "labels": row} for row in rows])
    packed = logits(model, input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False)[0]
    single = torch.cat([logits(model, input_ids=torch.tensor([row]))[0] for row in rows])
    assert (packed - single).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["starter", "gpt2"])
def test_padding_changes_nothing(kind):
    """Left padding too, at which stock prompts are wrong: batched answers are those of single rows."""
    model = hooked(tiny(kind))
    short = IDS[:1, :4]
    how = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    alone = model.generate(input_ids=short, attention_mask=torch.ones_like(short), **how)[0, 4:]
    padded = torch.cat([torch.cat([torch.zeros(1, 4, dtype=torch.long), short], 1), IDS[1:]])
    mask = torch.ones_like(padded)
    mask[0, :4] = 0
    assert torch.equal(model.generate(input_ids=padded, attention_mask=mask, **how)[0, 8 : 8 + len(alone)], alone)
    assert torch.equal(
        model.generate(input_ids=short, attention_mask=torch.ones_like(short), use_cache=False, **how)[0, 4:], alone
    )


@pytest.mark.parametrize("hidden", [0, 8])
@pytest.mark.parametrize("gated", [False, True])
def test_checkpointing_gives_the_same_gradients(hidden, gated):
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(3)
        base = tiny("starter")
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            base.enable_input_require_grads()
        model = hooked(base, hidden, gated).train()
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad})
    plain, saved = found
    assert set(plain) == set(saved) and all(
        grad is not None and grad.abs().max() > 0 for name, grad in plain.items() if "gate" not in name
    )
    assert all(torch.allclose(plain[name], saved[name], atol=1e-6) for name in plain)


def test_4_bit_base_is_exact_and_trains_after_an_evaluation(tmp_path):
    model = hooked(load_base(STARTER, quantisation="nf4"))
    to_stock(model, tmp_path)
    stock = PeftModel.from_pretrained(load_base(STARTER, quantisation="nf4"), str(tmp_path)).eval()
    assert (logits(stock, input_ids=IDS) - logits(model, input_ids=IDS)).abs().max() < 1e-5
    model.train()(input_ids=IDS, labels=IDS).loss.backward()
    assert all(layer.prefix_pairs["default"].grad.abs().max() > 0 for layer in prefix_layers(model))


def test_bidirectional_models_and_pictures():
    """Every token of every row sees the prefix, padding apart."""
    bert = hooked(tiny("bert"), task="SEQ_CLS")
    whole = logits(bert, input_ids=IDS[:1, :5])
    padded = logits(
        bert,
        input_ids=torch.cat([IDS[:1, :5], torch.zeros(1, 3, dtype=torch.long)], 1),
        attention_mask=torch.tensor([[1] * 5 + [0] * 3]),
    )
    assert (whole - padded).abs().max() < 1e-5 and (
        whole - logits(tiny("bert"), input_ids=IDS[:1, :5])
    ).abs().max() > 1e-3
    picture = torch.randn(2, 3, 16, 16)
    vit = hooked(tiny("vit"), task=None)
    assert (logits(vit, pixel_values=picture) - logits(tiny("vit"), pixel_values=picture)).abs().max() > 1e-3
    with vit.disable_adapter():
        assert torch.equal(logits(vit, pixel_values=picture), logits(tiny("vit"), pixel_values=picture))


def test_disabled_or_unloaded_prefix_equals_base_and_two_prefixes_coexist(tmp_path):
    base = logits(tiny("starter"), input_ids=IDS)
    expected = {}
    for name, hidden in (("first", 0), ("second", 8)):
        model = hooked(tiny("starter"), hidden)
        expected[name] = logits(model, input_ids=IDS)
        model.save_pretrained(tmp_path / name)
    both = PeftModel.from_pretrained(tiny("starter"), str(tmp_path / "first"), adapter_name="first")
    both.load_adapter(str(tmp_path / "second"), adapter_name="second")
    for name in ("second", "first"):
        both.set_adapter(name)
        assert torch.equal(logits(both, input_ids=IDS), expected[name])
    with both.disable_adapter():
        assert torch.equal(logits(both, input_ids=IDS), base)
    both.delete_adapter("second")
    both.set_adapter("first")
    assert torch.equal(logits(both, input_ids=IDS), expected["first"])
    with pytest.raises(ValueError, match="cannot be merged"):
        both.merge_adapter()
    bare = both.unload()
    assert (
        torch.equal(logits(bare, input_ids=IDS), base)
        and bare.config._attn_implementation == "sdpa"
        and not prefix_layers(bare)
    )


@pytest.mark.parametrize("kind", ["starter", "starter, eager"])
def test_a_closed_gate_equals_the_base_and_gates_are_causal(kind):
    model = hooked(tiny(kind), gated=True)
    changed = IDS.clone()
    changed[:, -1] = 200
    assert torch.equal(logits(model, input_ids=IDS)[:, :-1], logits(model, input_ids=changed)[:, :-1])
    how = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 5, "do_sample": False}
    assert torch.equal(model.generate(input_ids=IDS, **how), model.generate(input_ids=IDS, use_cache=False, **how))
    for layer in prefix_layers(model):
        torch.nn.init.zeros_(layer.prefix_gate["default"].weight)
        torch.nn.init.constant_(layer.prefix_gate["default"].bias, -60.0)
    assert (logits(model, input_ids=IDS) - logits(tiny(kind), input_ids=IDS)).abs().max() < 1e-4


def test_a_prefix_layer_serves_a_model_that_another_tuner_made():
    """What the hybrids build on: the layer and the hook, without PrefixModel."""
    model = tiny("starter")
    for block in model.model.layers:
        block.self_attn.k_proj = layer = PrefixLayer(block.self_attn.k_proj)
        layer.update_layer("mine", 3, *key_value_shape(model.config))
        layer.set_adapter("mine")
        layer.begin_with("mine", torch.ones_like(layer.pairs("mine")))
    hook_attention(model)
    hook_attention(model)
    assert (logits(model, input_ids=IDS) - logits(tiny("starter"), input_ids=IDS)).abs().max() > 0.01
    unhook_attention(model)
    assert torch.equal(logits(model, input_ids=IDS), logits(tiny("starter"), input_ids=IDS))


@pytest.mark.parametrize("name", ["prefix_tuning", "mam"])
def test_a_model_with_own_attention_is_refused(name):
    bloom = BloomForCausalLM(BloomConfig(vocab_size=96, hidden_size=32, n_layer=2, n_head=4))
    with pytest.raises(StudioError, match="BloomForCausalLM computes attention in a way of its own"):
        METHODS[name](**({"start": "random"} if name == "prefix_tuning" else {})).wrap(bloom)
