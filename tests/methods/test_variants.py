"""The variants of LoRA and their kin: merging, options that do not fit a model, and what changes the base or picks
weights."""

import copy
import dataclasses
import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import OPTConfig, OPTForCausalLM

from studio.chat.multi_adapter import MultiAdapterModel, adapter_kind
from studio.home import STARTER
from studio.methods import METHODS, Setting
from studio.methods.masking import from_gradients, highest
from studio.methods.targets import target_layers
from studio.models.load import load_base
from studio.models.shape import read_shape
from tests.methods.settings import batches, setting
from tests.sampling import METHOD_SAMPLE, sampled

VARIANTS = (
    "rslora",
    "pissa",
    "olora",
    "loha",
    "lokr",
    "oft",
    "boft",
    "fourierft",
    "waveft",
    "vblora",
    "hra",
    "miss",
    "randlora",
    "c3a",
    "gralora",
    "hira",
    "delora",
    "road",
    "shira",
    "fish",
    "layer_selection",
    "glora",
    "corda",
    "lora_ga",
    "mica",
    "velora",
    "bdlora",
    "psoft",
    "tinylora",
    "peanut",
    "unilora",
    "pvera",
    "beft",
    "osf",
    "deft",
)
IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])


def fine_tuned(name: str, **options):
    """A method, and the starter wrapped with it after three large steps."""
    method = METHODS[name](**options)
    torch.manual_seed(0)
    model = method.wrap(load_base(STARTER), setting())
    optimiser = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=method.learning_rate * 10
    )
    for batch in batches(3):
        model(**batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return method, model


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(IDS, use_cache=False).logits


def furthest(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).abs().max().item()


@pytest.fixture(scope="module")
def bare():
    return logits(load_base(STARTER))


@pytest.mark.parametrize("name", sampled(VARIANTS, METHOD_SAMPLE & set(VARIANTS) | {"hra", "miss", "lora_ga", "osf"}))
def test_merged_model_and_chat_give_the_trained_answers(name, tmp_path, bare):
    """Saved, loaded over a fresh base by the chat, switched off and on, merged by stock peft: the same logits each
    time."""
    method, model = fine_tuned(name)
    wanted = logits(model)
    assert furthest(wanted, bare) > 0.01, "three steps changed nothing that could be compared"
    method.save(model, tmp_path)

    chat = MultiAdapterModel(load_base(STARTER))
    chat.load("a", tmp_path, adapter_kind("a", tmp_path), set())
    chat.activate("a")
    assert furthest(logits(chat.model), wanted) < 1e-4
    chat.activate(None)
    assert furthest(logits(chat.model), bare) < 1e-5
    chat.unload()
    assert furthest(logits(chat.model), bare) < 1e-5

    if method.merge_refusal() is None:
        merged = PeftModel.from_pretrained(load_base(STARTER), str(tmp_path)).merge_and_unload()
        assert furthest(logits(merged), wanted) < 2e-4


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("oft", {"block": 48}, ("Block size b 48", "640", "down_proj", "32, 64")),
        ("boft", {"block": 3}, ("Block size b 3", "2, 4, 8, 16")),
        ("c3a", {"block": 256}, ("Block size b 256", "128", "down_proj")),
        ("vblora", {"length": 100}, ("Vector length b 100", "64", "128")),
        ("vblora", {"vectors": 2, "mixed": 3}, ("mix 3", "bank of 2")),
        ("hra", {"rank": 7}, ("even rank", "6 or 8")),
        ("miss", {"rank": 300}, ("300", "256")),
        ("miss", {"rank": 48, "variant": "bat"}, ("Rank r 48", "32")),
        ("gralora", {"rank": 9}, ("rank 9", "2 parts", "rank of 8")),
        ("gralora", {"rank": 27, "parts": 27}, ("Parts k 27", "32")),
        ("road", {"group": 63}, ("even", "64")),
        ("road", {"group": 96}, ("Group size 96", "64", "128")),
        ("fourierft", {"frequencies": 40_000}, ("40000 frequencies", "32768")),
        ("waveft", {"coefficients": 40_000}, ("40000 coefficients", "32768")),
        ("shira", {"rank": 100}, ("100", "85")),
        ("layer_selection", {"layers": 9}, ("9", "5")),
        ("layer_selection", {"modules": "c_attn"}, ("c_attn", "down_proj")),
        ("hira", {"targets": "c_attn"}, ("c_attn", "q_proj")),
        ("lora_ga", {"rank": 65}, ("Rank r is 65", "128 wide", "64 or less")),
        ("mica", {"rank": 129}, ("Rank r is 129", "128 or less")),
        ("corda", {"rank": 129}, ("Rank r is 129", "128 or less")),
        ("psoft", {"rank": 129}, ("Rank r is 129", "128 or less")),
        ("deft", {"rank": 129}, ("Rank r is 129", "128 or less")),
        ("bdlora", {"blocks": 3, "rank": 8}, ("3 blocks", "rank of 9")),
        ("bdlora", {"blocks": 3, "rank": 9}, ("Blocks 3", "640")),
        ("unilora", {"length": 100_000, "rank": 2}, ("100000", "44800")),
    ],
)
def test_options_that_peft_rejects_raise_a_studio_error(name, options, words):
    method = METHODS[name](**options)
    refusal = str(method.refusal(read_shape(STARTER), "chat", "none"))
    assert all(word in refusal for word in words), refusal
    assert METHODS[name]().refusal(read_shape(STARTER), "chat", "none") is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pissa", {"decomposition": "exact"}),
        ("lokr", {"factor": 8, "both": True}),
        ("oft", {"shared": True, "exact": True}),
        ("hra", {"gram_schmidt": True}),
        ("miss", {"variant": "bat", "rank": 32}),
        ("gralora", {"hybrid": 4}),
        ("road", {"variant": "road_4"}),
        ("waveft", {"wavelet": "db2"}),
        ("vblora", {"compact": False}),
        ("glora", {"biases": False}),
        ("corda", {"mode": "kpm"}),
        ("lora_ga", {"stability": 64}),
        ("psoft", {"rotation": False, "stretch": False}),
        ("tinylora", {"shared": 1.0}),
        ("peanut", {"depth": 0, "activation": "tanh"}),
        ("unilora", {"indices": False, "start": 0.05}),
        ("osf", {"frozen": 0.9}),
        ("deft", {"directions": "relu"}),
        ("velora", {"groups": 8}),
        ("bdlora", {"blocks": 4}),
        ("shira", {"mask": "magnitude"}),
        ("shira", {"mask": "gradient"}),
        ("layer_selection", {"modules": "attention"}),
        ("pissa", {"rslora": True}),
    ],
)
def test_its_options_survive_saving_and_loading(name, options, tmp_path):
    method, model = fine_tuned(name, **options)
    wanted = logits(model)
    method.save(model, tmp_path)
    assert furthest(logits(PeftModel.from_pretrained(load_base(STARTER), str(tmp_path))), wanted) < 1e-4


@pytest.mark.parametrize("name", ["pissa", "olora", "corda", "lora_ga"])
def test_a_base_changing_run_resumes_from_another_decomposition(name, tmp_path):
    """As on another machine, whose decomposition gives other signs and other noise."""
    method, model = fine_tuned(name)
    wanted, labelled, state = (
        logits(model),
        {key: value.detach().clone() for key, value in model.named_parameters() if value.requires_grad},
        method.state(model),
    )
    resumed = METHODS[name](rank=method.rank).wrap(load_base(STARTER), setting())
    with torch.no_grad():
        for layer in (module for module in resumed.modules() if hasattr(module, "lora_A")):
            layer.get_base_layer().weight += (
                layer.scaling["default"] * 0.75 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            )
    resumed.initial = {key: tensor * 0.5 for key, tensor in resumed.initial.items()}  # B₀·A₀ a quarter of what it was
    method.load_state(resumed, state)
    with torch.no_grad():
        for key, tensor in labelled.items():
            resumed.get_parameter(key).copy_(tensor)
    assert furthest(logits(resumed), wanted) < 1e-4
    method.save(resumed, tmp_path)
    assert furthest(logits(PeftModel.from_pretrained(load_base(STARTER), str(tmp_path))), wanted) < 1e-4


@pytest.fixture(scope="module")
def opt():
    """A tiny OPT, which lays all rows of a batch in one before its MLP."""
    torch.manual_seed(0)
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=96,
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
            dropout=0.0,
        )
    ).eval()


@pytest.mark.parametrize("name", ["corda", "eva", "fish", "lora_ga", "velora"])
def test_what_looks_at_the_data_also_reads_an_opt(opt, name):
    model = METHODS[name](rank=4).wrap(copy.deepcopy(opt), setting())
    before = {key: value.detach().clone() for key, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW([model.get_parameter(key) for key in before], lr=1e-2)
    for batch in batches(3):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    assert before and not any(torch.equal(model.get_parameter(key), value) for key, value in before.items())


@pytest.mark.parametrize("fisher", [False, True])
@pytest.mark.parametrize("architecture", ["starter", "opt"])
def test_the_scores_are_those_of_autograd(fisher, architecture, request):
    model = load_base(STARTER) if architecture == "starter" else request.getfixturevalue("opt").requires_grad_(False)
    names = {
        "starter": ("model.layers.0.self_attn.q_proj", "model.layers.4.mlp.down_proj"),
        "opt": ("model.decoder.layers.0.self_attn.q_proj", "model.decoder.layers.1.fc1"),
    }[architecture]
    scores = from_gradients(
        model, target_layers(model, "q_proj,down_proj,fc1", Setting()).values(), batches(2), fisher=fisher
    )
    for name in names:
        layer, total = model.get_submodule(name), 0
        layer.weight.requires_grad_(True)
        for batch in batches(2):
            rows = [{key: value[at : at + 1] for key, value in batch.items()} for at in range(2)] if fisher else [batch]
            for row in rows:
                count = (row["labels"][:, 1:] != -100).sum()
                (gradient,) = torch.autograd.grad(model(**row).loss * count, layer.weight)
                total = total + (gradient**2 if fisher else gradient)
        layer.weight.requires_grad_(False)
        assert torch.allclose(scores(layer), total.abs(), rtol=1e-3, atol=1e-5 * total.abs().max().item())
    assert not any(module._forward_pre_hooks or module._backward_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["pissa", "olora", "corda", "loftq", "mica", "psoft", "tinylora", "deft"])
def test_more_directions_than_a_layer_has_are_refused(name):
    """A decomposition would give fewer than were asked for, and what is saved would not load."""
    shape = read_shape(STARTER)
    narrowest = min(min(pair) for pair in shape.linear_layers.values())
    assert str(narrowest) in str(
        METHODS[name].model_construct(rank=narrowest + 1).refusal(shape, "chat", METHODS[name].quantisation or "none")
    )
    assert (
        METHODS[name].model_construct(rank=narrowest).refusal(shape, "chat", METHODS[name].quantisation or "none")
        is None
    )


@pytest.mark.parametrize(
    ("name", "targets", "idle"),
    [
        ("lora", "q_proj,v_prj", "v_prj"),
        ("lora", "q_proj, v_proj", None),
        ("lora", "attention", None),
        ("beft", "v_proj,value", None),
    ],
)
def test_a_missing_target_layer_is_reported(name, targets, idle):
    text = METHODS[name](targets=targets).remark(read_shape(STARTER))
    assert (idle is None and text is None) or f"is called {idle}," in str(text)


@pytest.mark.parametrize("name", ["loha", "fish", "olora", "road"])
def test_layers_that_peft_cannot_wrap_are_refused(name):
    shape = dataclasses.replace(read_shape(STARTER), model_type="gpt2", architecture="GPT2LMHeadModel")
    assert "GPT2LMHeadModel" in str(METHODS[name]().refusal(shape, "chat", "none"))
    assert METHODS["lora"]().refusal(shape, "chat", "none") is None


def test_a_mask_marks_the_highest():
    assert highest(torch.tensor([[0.1, 3.0], [2.0, 0.5]]), 2).tolist() == [[0, 1], [1, 0]]


def test_a_resumed_mask_is_the_one_of_the_checkpoint():
    method = METHODS["shira"](mask="gradient")
    began = method.wrap(load_base(STARTER), setting())
    places = method.state(began)
    resumed = METHODS["shira"]().wrap(load_base(STARTER), setting())
    assert not all(torch.equal(places[key], now) for key, now in method.state(resumed).items())
    method.load_state(resumed, places)
    assert all(torch.equal(places[key], now) for key, now in method.state(resumed).items())


@pytest.mark.parametrize("name", ["mica", "psoft", "tinylora"])
def test_what_was_found_in_the_base_goes_on_in_a_resumed_run(name, tmp_path, monkeypatch):
    """On another machine, whose decomposition finds other signs; and whoever loads the adapter there gets the same
    answers."""
    method, model = fine_tuned(name)
    wanted, labelled, state = (
        logits(model),
        {key: value.detach().clone() for key, value in model.named_parameters() if value.requires_grad},
        method.state(model),
    )
    method.save(model, tmp_path)
    usual = torch.linalg.svd

    def other(matrix, **options):
        u, s, v = usual(matrix, **options)
        signs = torch.ones(len(s)).index_fill_(0, torch.arange(0, len(s), 2), -1)
        return u * signs, s, signs[:, None] * v

    monkeypatch.setattr(torch.linalg, "svd", other)
    assert furthest(logits(PeftModel.from_pretrained(load_base(STARTER), str(tmp_path))), wanted) < 1e-4
    resumed = METHODS[name]().wrap(load_base(STARTER), setting())
    method.load_state(resumed, state)
    with torch.no_grad():
        for key, tensor in labelled.items():
            resumed.get_parameter(key).copy_(tensor)
    assert furthest(logits(resumed), wanted) < 1e-4


@pytest.mark.parametrize("name", ["mica", "velora", "psoft", "corda", "lora_ga"])
def test_the_adapter_is_saved_as_plain_lora(name, tmp_path):
    """That servers load which know no more than A and B."""
    method, model = fine_tuned(name)
    method.save(model, tmp_path)
    config, tensors = (
        json.loads((tmp_path / "adapter_config.json").read_text()),
        load_file(tmp_path / "adapter_model.safetensors"),
    )
    assert config["peft_type"] == "LORA" and config["init_lora_weights"] is True
    assert not any(config[key] for key in ("velora_config", "corda_config", "lora_ga_config", "use_dora"))
    assert {key.rsplit(".", 2)[-2] for key in tensors} == {"lora_A", "lora_B"}


def test_loftq_starts_nearer_to_the_whole_model_than_its_base_is():
    whole, quantised = logits(load_base(STARTER)), logits(load_base(STARTER, quantisation="nf4"))
    mended = logits(METHODS["loftq"](rank=32).wrap(load_base(STARTER, quantisation="nf4"), setting()))
    assert (mended - whole).norm() < 0.8 * (quantised - whole).norm()


def test_corda_looks_past_the_padding():
    rows = [torch.randint(3, 3000, (1, length), generator=torch.Generator().manual_seed(length)) for length in (9, 5)]
    padded = {
        "input_ids": torch.cat([torch.nn.functional.pad(row, (0, 9 - row.shape[1])) for row in rows]),
        "attention_mask": torch.tensor([[1] * row.shape[1] + [0] * (9 - row.shape[1]) for row in rows]),
    }
    blind = {**padded, "attention_mask": torch.ones_like(padded["attention_mask"])}

    def start(given: list[dict]) -> torch.Tensor:
        model = METHODS["corda"](sample=len(given), targets="v_proj").wrap(
            load_base(STARTER), Setting(batches=lambda count: given)
        )
        layer = model.get_submodule("base_model.model.model.layers.2.self_attn.v_proj")
        return layer.lora_B["default"].weight @ layer.lora_A["default"].weight

    alone = start([{"input_ids": row} for row in rows])
    assert furthest(start([padded]), alone) < 0.05 * alone.abs().max() < furthest(start([blind]), alone)


def test_the_shared_matrices_of_randlora_are_stored_once(tmp_path):
    method, model = fine_tuned("randlora")
    method.save(model, tmp_path)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 3_000_000  # 62 MB as peft writes it
