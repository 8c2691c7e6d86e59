"""The forecast adds up, moves the right way with every setting, and its ways out lead out."""

import subprocess
import sys
from dataclasses import replace

import pytest

from studio.forecast import PARTS, changed, duration, forecast, memory_problem, not_enough_memory, sentence
from studio.forecast.memory import activation_bytes, weight_bytes
from studio.forecast.speed import padded_length, total_steps
from studio.hardware import GB, Gpu, Hardware
from studio.home import STARTER
from studio.methods import METHODS
from studio.models.shape import Shape, read_shape
from studio.recipe import Recipe, recipe_from
from studio.store import Store


def shape(hidden=256, layers=4, intermediate=704, vocab_size=2048, heads=8, key_value=4) -> Shape:
    """A Qwen2 model, tied embeddings."""
    size = hidden // heads
    tensors = {"model.embed_tokens.weight": (vocab_size, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        for name, rows, columns in (
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", key_value * size, hidden),
            ("self_attn.v_proj", key_value * size, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", intermediate, hidden),
            ("mlp.up_proj", intermediate, hidden),
            ("mlp.down_proj", hidden, intermediate),
        ):
            tensors[f"model.layers.{layer}.{name}.weight"] = (rows, columns)
    return Shape(
        architecture="Qwen2ForCausalLM",
        model_type="qwen2",
        hidden=hidden,
        layers=layers,
        heads=heads,
        key_value_heads=key_value,
        head_dim=size,
        intermediate=intermediate,
        vocab_size=vocab_size,
        context=4096,
        tied=True,
        bytes=0,
        tensors=tensors,
    )


SEVEN_B = shape(hidden=3584, layers=28, intermediate=18944, vocab_size=152064, heads=28, key_value=4)
CPU = Hardware("CPU", cores=2, memory=24 * GB, free=22 * GB, bf16=False, avx512=True)
H100 = Hardware(
    "CPU", 16, 128 * GB, 120 * GB, False, gpus=(Gpu(0, "NVIDIA H100 80GB HBM3", 80 * GB, 79 * GB, (9, 0), "550"),)
)


def recipe(method="lora", training=None, machine=None, **more) -> Recipe:
    method = {"name": method} if isinstance(method, str) else method
    return recipe_from({"method": method, "training": training or {}, "machine": machine or {}, **more})


def ask(which=None, of=None, lengths=(100, 200, 300), rows=400, on=CPU, store=None):
    return forecast(which or recipe(), of or shape(), list(lengths) if lengths else None, rows, on, store)


def test_parts_add_up_and_have_titles():
    found = ask()
    assert sum(found.parts.values()) == found.memory_bytes and set(found.parts) == set(PARTS)
    assert found.trained_parameters == METHODS["lora"]().parameter_count(shape())
    assert found.steps == 150 and found.device == "cpu" and found.disk_bytes > 0


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ({"training": {"batch_size": 16}}, "memory_bytes"),
        ({"training": {"max_length": 1024}}, "memory_bytes"),
        ({"method": {"name": "lora", "rank": 64}}, "memory_bytes"),
        ({"method": "full"}, "memory_bytes"),
        ({"method": "dora"}, "memory_bytes"),
        ({"method": {"name": "lora", "dropout": 0.1}}, "memory_bytes"),
        ({"training": {"epochs": 6}}, "seconds"),
        ({"method": "full"}, "seconds"),
        ({"machine": {"gradient_checkpointing": True}}, "seconds"),
        ({"training": {"evaluations": 20}}, "seconds"),
        ({"training": {"group_by_length": False}}, "seconds"),
        ({"method": {"name": "lora", "rank": 64}}, "disk_bytes"),
    ],
)
def test_more_costs_more(setting, values):
    lengths = (100, 200, 1000)
    assert getattr(ask(recipe(**setting), lengths=lengths), values) > getattr(ask(lengths=lengths), values)


@pytest.mark.parametrize(
    "setting",
    [
        {"method": "qlora"},
        {"machine": {"quantisation": "int8"}},
        {"machine": {"gradient_checkpointing": True}},
        {"training": {"batch_size": 1}},
        {"training": {"max_length": 128}},
        {"method": {"name": "lora", "rank": 2}},
        {"machine": {"precision": "bf16"}},
    ],
)
def test_savings_save(setting):
    assert ask(recipe(**setting), of=SEVEN_B).memory_bytes < ask(of=SEVEN_B).memory_bytes


def test_optimisers_by_size():
    sizes = [
        ask(recipe("full", {"optimiser": name})).parts["optimiser"]
        for name in ("adamw", "adamw_8bit", "lion_8bit", "adafactor", "sgd")
    ]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 0


def test_figures_that_are_known():
    """Dettmers 2023: a 7 B model in NF4 takes about 4 to 5 GB; full fine-tuning with AdamW takes 16 bytes a
    parameter."""
    assert 3.3e9 < weight_bytes(recipe("qlora"), SEVEN_B, 2) < 6e9
    full = ask(recipe("full"), of=SEVEN_B).parts
    assert full["weights"] + full["gradients"] + full["optimiser"] == pytest.approx(16 * SEVEN_B.parameters, rel=0.01)


def test_activations_as_autograd_keeps_them():
    """Bytes for each token and layer that saved_tensors_hooks counted on this Qwen2 (torch 2.13, peft 0.21)."""
    measured = {"lora": 18_712, "full": 21_307, "dora": 43_184, "ia3": 17_471, "prompt_tuning": 14_749}
    for name, size in measured.items():
        assert activation_bytes(recipe(name), shape(), 4) / 4 == pytest.approx(size, rel=0.3), name
    assert activation_bytes(recipe("lora"), shape(), 4) / 4 == pytest.approx(18_712, rel=0.03)
    assert activation_bytes(recipe("lora"), shape(), 2) / 4 == pytest.approx(12_588, rel=0.03)
    assert activation_bytes(recipe({"name": "lora", "dropout": 0.1}), shape(), 4) / 4 == pytest.approx(31_000, rel=0.1)


@pytest.mark.skipif(not (STARTER / "model.safetensors").exists(), reason="the starter is not made yet")
def test_a_run_that_was_measured():
    """captain.jsonl, LoRA r=8, three epochs: the worker's own record of memory_allocated (resident size) was 622 MB."""
    asked = recipe({"name": "lora", "rank": 8}, {"batch_size": 8, "max_length": 256})
    found = forecast(asked, read_shape(STARTER), [35] * 399 + [45], 400, CPU)
    assert 622e6 / 1.5 < found.memory_bytes < 622e6 * 1.5
    assert 5 < found.seconds < 90


def test_steps_as_the_trainer_counts_them():
    assert total_steps(recipe(training={"batch_size": 8, "epochs": 3}), 401) == 153
    assert total_steps(recipe(training={"batch_size": 8, "gradient_accumulation_steps": 4, "epochs": 1}), 100) == 4
    assert total_steps(recipe(training={"max_steps": 7, "epochs": 3}), 400) == 7
    assert total_steps(recipe(training={"epochs": 0.1, "batch_size": 10}), 100) == 1


def test_padding():
    lengths = [10] * 90 + [1000] * 10
    assert padded_length(lengths, 8, grouped=True) == pytest.approx(109, rel=0.05)
    assert padded_length(lengths, 8, grouped=False) == pytest.approx(10 * 0.9**8 + 1000 * (1 - 0.9**8), rel=0.01)
    assert padded_length([50] * 7, 8, grouped=False) == pytest.approx(50)


def test_a_measured_speed_beats_the_table(tmp_path):
    store = Store(tmp_path / "studio.sqlite3")
    guess = ask(store=store)
    assert not guess.sure
    store.set_note("speed:cpu:starter:lora:chat", {"tokens_per_second": 100.0})
    known = ask(store=store)
    assert known.sure and known.seconds > 150 * 8 * 200 / 100
    assert not ask(store=store, lengths=None).sure
    assert not ask(recipe("dora"), store=store).sure
    store.close()


def test_a_gpu_is_faster_and_computes_in_16_bit():
    cpu, gpu = ask(of=SEVEN_B), ask(of=SEVEN_B, on=H100)
    assert gpu.device == "cuda:0" and gpu.seconds < cpu.seconds / 50
    assert gpu.parts["weights"] < 0.52 * cpu.parts["weights"]


def test_odd_data_is_borne():
    assert ask(lengths=None).seconds > 0
    assert ask(rows=0).steps > 0
    assert (
        ask(lengths=(0, 5, 10_000)).parts["activations"] == ask(lengths=(512,)).parts["activations"]
    )  # cut at "Max sequence length"


def test_the_run_sentence():
    from studio.forecast.estimate import Forecast, Question

    asked = recipe({"name": "lora", "rank": 8}, data={"source": "captain"})
    found = Forecast("cpu", 150, 39.6, int(0.9 * GB), 0, {}, 0, True, Question(asked, shape(), None, 400))
    text = sentence(asked, 400, found, CPU, data="captain.jsonl")
    assert str(text) == (
        "Teach **starter** to **chat** from **captain.jsonl** (400 examples) with **LoRA r=8** for **3 epochs** "
        "on **this CPU**: about 40 s, 0.9 GB."
    )
    assert (
        text.say("zh").count("**") == str(text).count("**") and "对话" in text.say("zh") and "starter" in text.say("zh")
    )
    assert type(text).from_json(text.to_json()).say("zh") == text.say("zh")
    assert (
        str(sentence(asked, 400, None, CPU, data="captain.jsonl", wrong={"method", "training"}))
        == "Teach **starter** to **chat** from **captain.jsonl** (400 examples) with **…** for **…** on **this CPU**: …"
    )
    assert str(sentence(asked, None, None, CPU, data="")).endswith("**this CPU**: …")
    other = recipe("prompt_tuning", {"max_steps": 1}, model={"name": "Qwen/Qwen3-0.6B"})
    assert "**Qwen3-0.6B**" in str(sentence(other, 10, None, CPU)) and "**1 step**" in str(
        sentence(other, 10, None, CPU)
    )
    assert "提示微调 p=20" in sentence(other, 10, None, CPU).say("zh")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (8.4, "8 s"),
        (41, "40 s"),
        (100, "2 min"),
        (7800, "2 h 10 min"),
        (7200, "2 h"),
        (90_000, "25 h"),
        (345_600, "4 days"),
    ],
)
def test_durations(seconds, text):
    assert str(duration(seconds)) == text


def test_ways_out_lead_out():
    asked = recipe("lora", {"batch_size": 16, "max_length": 1024}, {"precision": "bf16"})
    tight = Hardware("CPU", cores=8, memory=30 * GB, free=29 * GB, bf16=True)
    found = forecast(asked, SEVEN_B, [900, 1024], 400, tight)
    assert "Not enough memory" in str(memory_problem(found, tight))
    ways = not_enough_memory(found, tight)
    assert ways and {key for _, changes in ways for key in changes} >= {
        "training.batch_size",
        "machine.gradient_checkpointing",
        "method",
    }
    for text, changes in ways:
        after = changed(asked, changes)
        assert forecast(after, SEVEN_B, [900, 1024], 400, tight).memory_bytes < found.memory_bytes, text
        if "training.batch_size" in changes:
            assert after.training.effective_batch == asked.training.effective_batch
    alone = [
        forecast(changed(asked, changes), SEVEN_B, [900, 1024], 400, tight).memory_bytes <= tight.free
        for _, changes in ways
    ]
    assert alone[0] and alone == sorted(alone, reverse=True)  # those that suffice come first
    qlora = next(changes["method"] for _, changes in ways if "method" in changes)
    assert qlora["name"] == "qlora" and qlora["rank"] == asked.method.rank


def test_no_remedy_is_offered_if_memory_suffices():
    assert not_enough_memory(ask(), CPU) == [] and memory_problem(ask(), CPU) is None


def test_full_fine_tuning_is_offered_adapters():
    found = ask(recipe("full"), of=SEVEN_B)
    assert {changes["method"]["name"] for _, changes in not_enough_memory(found, CPU) if "method" in changes} == {
        "lora",
        "qlora",
    }


def test_no_torch():
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import studio.forecast, studio.presets, studio.models.catalogue, sys; assert 'torch' not in sys.modules",
        ],
        check=True,
    )


def test_pictures_are_as_long_as_the_model_s_patches():
    """197 patches whatever "Max sequence length" says, not the length that is assumed of texts."""
    vit = replace(shape(vocab_size=0), context=197, patch=16, architecture="ViTForImageClassification")
    pictures = {"task": {"name": "image"}, "model": {"name": "starter-vit"}}
    found, counted = ask(recipe(**pictures), vit, lengths=None), ask(recipe(**pictures), vit, lengths=[197])
    assert found.parts == counted.parts and found.seconds == counted.seconds
    assert ask(recipe(training={"max_length": 64}, **pictures), vit, lengths=None).parts == found.parts
    assert ask(recipe(**pictures), replace(vit, context=37), lengths=None).parts["activations"] * 197 == pytest.approx(
        found.parts["activations"] * 37, rel=1e-3
    )
