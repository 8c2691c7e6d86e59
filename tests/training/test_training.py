"""Batches, checkpoints and checks of a run, on the starter."""

import shutil

import pytest
import torch

from studio.data.mapping import Mapping, apply
from studio.data.rows import Row
from studio.forecast.speed import total_steps
from studio.home import SAMPLES, STARTER
from studio.methods import METHODS
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from studio.tasks import IGNORED, TASKS, Encoded
from studio.training import checks
from studio.training.batches import LengthGrouped, flatten, pad
from studio.training.trainer import load_trainable, save_trainable
from studio.words import StudioError
from tests.training.runs import QUIET, few

TALK = {"messages": [{"role": "user", "content": "What is 2 plus 3?"}, {"role": "assistant", "content": "Arr, 5!"}]}

UNASKED = {"evaluation_rows": 0, "sample_prompts": 0}  # only the validation loss counts


def test_only_the_answer_and_its_end_are_labelled():
    tokenizer = ChatTokenizer(STARTER)
    example = TASKS["chat"]().encode(TALK, tokenizer, 512)[0]
    labelled = [token for token, label in zip(example.ids, example.labels, strict=True) if label != IGNORED]
    assert tokenizer.decode(labelled, keep_special_tokens=True).startswith("Arr, 5!")
    assert labelled[-1] in tokenizer.eos_ids
    everything = TASKS["chat"](train_on="everything").encode(TALK, tokenizer, 512)[0]
    assert everything.labels == everything.ids == example.ids


def test_an_answer_of_weight_0_is_not_labelled():
    tokenizer, value = (
        ChatTokenizer(STARTER),
        [
            {"role": "user", "content": "2+3?"},
            {"role": "assistant", "content": "6.", "weight": 0},
            {"role": "user", "content": "No."},
            {"role": "assistant", "content": "5.", "weight": 1},
        ],
    )
    record = apply(Mapping(roles={"messages": "m"}), Row(1, {"m": value}))

    def labelled(**options):
        example = TASKS["chat"](**options).encode(record, tokenizer, 512)[0]
        return tokenizer.decode(
            [token for token, label in zip(example.ids, example.labels, strict=True) if label != IGNORED],
            keep_special_tokens=True,
        )

    assert "5." in labelled() and "6." not in labelled() and "6." in TASKS["chat"]().render(record, tokenizer)
    assert "6." not in labelled(train_on="questions") and "No." in labelled(train_on="questions")


def test_chat_tokenizer_equals_the_tokenizer_of_transformers():
    from transformers import AutoTokenizer

    stock, tokenizer = AutoTokenizer.from_pretrained(STARTER), ChatTokenizer(STARTER)
    for messages in (
        TALK["messages"],
        [{"role": "system", "content": "Be brief."}, *TALK["messages"], {"role": "user", "content": "Naïve 日本 ⏎?"}],
    ):
        for answer in (False, True):
            text = stock.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer)
            assert tokenizer.render(messages, add_generation_prompt=answer) == text
            assert tokenizer.encode(text).ids == stock(text, add_special_tokens=False)["input_ids"]


def test_long_text_is_split_without_loss():
    tokenizer = ChatTokenizer(STARTER)
    text = "The sea was calm and the wind was low. " * 20
    parts = TASKS["text"]().encode({"text": text}, tokenizer, 32)
    assert [token for part in parts for token in part.ids][:-1] == tokenizer.encode(text, add_special_tokens=True).ids
    assert all(len(part.ids) <= 32 for part in parts)


def test_padded_rows_and_packed_rows_give_the_logits_of_single_rows():
    model = load_base(STARTER)
    items = [
        {"input_ids": [7, 8, 9, 10, 11], "labels": [IGNORED, 8, 9, 10, 11]},
        {"input_ids": [50, 51, 52], "labels": [IGNORED, 51, 52]},
    ]
    with torch.no_grad():
        single = [model(torch.tensor([item["input_ids"]])).logits[0] for item in items]
        padded = model(pad(items, 0)["input_ids"], use_cache=False).logits
        row = flatten(items)
        packed = model(input_ids=row["input_ids"], position_ids=row["position_ids"], use_cache=False).logits[0]
    for at, logits in enumerate(single):
        assert (padded[at, : len(logits)] - logits).abs().max() < 1e-4
    assert (packed - torch.cat(single)).abs().max() < 1e-4
    assert row["labels"][0, 5] == IGNORED  # the second example's first token is not predicted from the first example
    checks.packing_matches_padding(model, [Encoded(item["input_ids"], item["labels"]) for item in items], 0)


@pytest.mark.slow
def test_packed_and_padded_runs_have_the_same_losses(runs):
    first, second = (runs.losses(runs.start(packing=packing, **QUIET)) for packing in (False, True))
    assert all(abs(first[step] - second[step]) < 1e-4 for step in first)


def test_the_order_groups_lengths_and_depends_on_seed_and_epoch_only():
    lengths = torch.randint(5, 100, (403,)).tolist()
    order = list(LengthGrouped(lengths, 8, seed=1))
    assert sorted(order) == list(range(403)) and order == list(LengthGrouped(lengths, 8, seed=1))
    other = LengthGrouped(lengths, 8, seed=1)
    other.set_epoch(1)
    assert list(other) != order
    waste = sum(max(lengths[i] for i in order[at : at + 8]) * len(order[at : at + 8]) for at in range(0, 403, 8)) / sum(
        lengths
    )
    assert waste < 1.15


def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    save_trainable(METHODS["lora"]().wrap(load_base(STARTER)), tmp_path / "trainable.safetensors")
    other = METHODS["lora"](rank=4, targets="q_proj").wrap(load_base(STARTER))
    with pytest.raises(ValueError, match="other tensors"):
        load_trainable(other, tmp_path / "trainable.safetensors")


def test_nothing_to_train_raises_a_studio_error():
    with pytest.raises(StudioError, match="The only example has no token to learn"):
        checks.labelled([], 1, 512)
    with pytest.raises(StudioError, match="found nothing to learn"):
        checks.require_trainable_parameters(load_base(STARTER), METHODS["lora"]())


@pytest.mark.parametrize(
    ("examples", "training"),
    [
        (400, {"epochs": 3}),
        (401, {"epochs": 1, "gradient_accumulation_steps": 4}),
        (3, {"epochs": 2, "gradient_accumulation_steps": 8}),
        (50, {"epochs": 0.5}),
        (50, {"max_steps": 7}),
        (80, {"epochs": 1.1}),  # 11.000000000000002 batches: 12 steps
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(examples, training, tmp_path):
    from transformers import Trainer

    from studio.recipe import Recipe
    from studio.training.trainer import arguments

    recipe = Recipe.model_validate({"training": training})
    options = arguments(recipe, tmp_path, total_steps=1, validation=False, device="cpu", dtype=torch.float32)
    trainer = Trainer(torch.nn.Linear(1, 1), options, train_dataset=[{"x": 1}] * examples)
    found = trainer.set_initial_training_values(options, trainer.get_train_dataloader())
    assert total_steps(recipe, examples) in found


@pytest.mark.slow
def test_early_stopping(runs):
    still = {"learning_rate": 1e-30, "optimiser": "sgd"}
    run = runs.start(max_steps=24, evaluations=12, early_stopping_patience=2, **still, **UNASKED)
    assert max(runs.losses(run)) == 6  # nothing moves, so the second and third evaluation are no better than the first


@pytest.mark.slow
def test_keep_the_best(runs):
    run = runs.start(
        learning_rate=0.3,
        lr_scheduler_type="constant",
        warmup_ratio=0,
        max_steps=5,
        evaluations=5,
        load_best_model_at_end=True,
        **UNASKED,
    )
    seen = runs.losses(run, "eval_loss")
    assert runs.store.run(run)["result"]["metrics"]["eval_loss"] == pytest.approx(min(seen.values()), abs=1e-3)
    assert min(seen, key=seen.get) < 5  # else the last one would do


@pytest.mark.slow
def test_a_run_without_a_validation_set(runs, tmp_path):
    copied = shutil.copy(SAMPLES / "tickets.csv", tmp_path)  # away from its validation sibling
    run = runs.start(data={"validation_fraction": 0, "source": str(copied), "max_rows": 24}, max_steps=2)
    assert runs.store.run(run)["result"]["metrics"] == {}


@pytest.mark.slow
def test_text_task_trains(runs):
    run = runs.start(
        task="text", data=few("notes", 120, 24), learning_rate=3e-3, max_steps=20, max_length=128, evaluation_rows=0
    )
    metrics = runs.store.run(run)["result"]["metrics"]
    assert metrics["eval_loss"] < metrics["base_eval_loss"] and "exact_match" not in metrics


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimiser", ["sgd", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "lion_8bit"]
)
def test_every_optimiser_steps(optimiser, runs):
    run = runs.start(optimiser=optimiser, max_steps=3, **QUIET)
    assert len(runs.losses(run)) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "machine",
    [{"gradient_checkpointing": True}, {"precision": "bf16"}, {"quantisation": "nf4"}, {"quantisation": "int8"}],
)
def test_every_machine_option_trains(machine, runs):
    short = {"max_steps": 2, "evaluations": 1, "evaluation_rows": 1, "sample_prompts": 0, "answer_length": 4}
    run = runs.start(machine=machine, learning_rate=3e-3, batch_size=2, max_length=48, **short)
    assert runs.store.run(run)["state"] == "done"
