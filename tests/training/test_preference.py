"""Preferences: losses beside TRL's own, the model before training, stop and resume, and every method that can be
switched off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from studio.evaluation.predictions import read
from studio.home import SAMPLES, STARTER
from studio.methods import METHODS
from studio.models.chat_tokenizer import ChatTokenizer
from studio.recipe import recipe_from
from studio.tasks import IGNORED, TASKS
from studio.words import StudioError
from tests.sampling import SMALL_METHOD_SAMPLE, sampled
from tests.training.runs import QUIET, few

PAIRS = SAMPLES / "preferences.jsonl"
ROW = {"prompt": [{"role": "user", "content": "What is 2 plus 3?"}], "chosen": "Arr, 5!", "rejected": "No."}
# Ours → the same for TRL's DPOConfig.
ALIKE = [
    ({}, {}, {"beta": 0.1, "per_device_train_batch_size": 4}),
    (
        {"beta": 0.3, "sft_weight": 0.5},
        {"batch_size": 2, "gradient_accumulation_steps": 2},
        {
            "beta": 0.3,
            "loss_type": ["sigmoid", "sft"],
            "loss_weights": [1.0, 0.5],
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
        },
    ),
    ({"algorithm": "ipo"}, {}, {"beta": 0.1, "loss_type": ["ipo"], "per_device_train_batch_size": 4}),
]


def preference(**options) -> dict:
    return {"name": "preference", **options}


@pytest.fixture(scope="module")
def trl_losses(tmp_path_factory) -> list[list[float]]:
    """The first 20 losses of TRL's DPOTrainer for each of ALIKE."""
    folder = tmp_path_factory.mktemp("trl")
    command = [
        sys.executable,
        str(Path(__file__).parent / "reference" / "dpo.py"),
        str(STARTER),
        str(PAIRS),
        json.dumps([theirs for _, _, theirs in ALIKE]),
        str(folder),
    ]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=480)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("at", range(len(ALIKE)), ids=["DPO", "DPO with imitation, accumulated", "IPO"])
def test_the_first_20_losses_are_those_of_trl(runs, trl_losses, at):
    task, training, _ = ALIKE[at]
    options = {"max_steps": 20, "batch_size": 4, "max_length": 96, "group_by_length": False, **QUIET, **training}
    ours = list(
        runs.losses(
            runs.start(task=preference(**task), data={"source": "preferences", "max_rows": None}, **options)
        ).values()
    )
    assert len(ours) == len(trl_losses[at]) == 20
    assert max(abs(one - other) for one, other in zip(ours, trl_losses[at], strict=True)) < 1e-5, (ours, trl_losses[at])


def trainer_of(algorithm: str, task: str = "preference", **options):
    """A trainer's losses without a trainer: what its methods need of `self`."""
    from types import SimpleNamespace

    return SimpleNamespace(
        task=TASKS[task].model_validate({**({"algorithm": algorithm} if task == "preference" else {}), **options})
    )


def test_kto_and_orpo_are_those_of_trl(monkeypatch):
    """Beside TRL's own functions, on log-probabilities drawn at random."""
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    from studio.training.preference import AnswerLogProbs, PreferenceTrainer

    torch.manual_seed(0)
    sums, counts = -torch.rand(6) * 40 - 1, torch.randint(3, 20, (6,))
    text = AnswerLogProbs(sums, counts)
    theirs = ORPOTrainer.odds_ratio_loss(
        type("T", (), {"beta": 0.3, "accelerator": type("A", (), {"device": "cpu"})})(), *text.means.chunk(2)
    )[0]
    assert torch.allclose(PreferenceTrainer._orpo(trainer_of("orpo", beta=0.3), text), -theirs, atol=1e-6)
    gains, moved, good = torch.randn(6), torch.tensor(0.4), torch.tensor([True, False, True, True, False, False])
    found = PreferenceTrainer._kto(trainer_of("kto", "feedback", beta=0.5, undesirable_weight=2.0), gains, good, moved)
    by_hand = [
        1 - torch.sigmoid(0.5 * (gain - moved)) if wanted else 2 * (1 - torch.sigmoid(0.5 * (moved - gain)))
        for gain, wanted in zip(gains, good, strict=True)
    ]
    assert torch.allclose(found, torch.stack(by_hand))


def test_both_answers_are_encoded_as_chat_encodes_them():
    tokenizer = ChatTokenizer(STARTER)
    pair = TASKS["preference"](system="Be brief.").encode(ROW, tokenizer, 512)[0]
    for row, answer in zip(pair.sequences, (ROW["chosen"], ROW["rejected"]), strict=True):
        chat = TASKS["chat"](system="Be brief.").encode(
            {"messages": [*ROW["prompt"], {"role": "assistant", "content": answer}]}, tokenizer, 512
        )[0]
        assert (row.ids, row.labels) == (chat.ids, chat.labels)
    assert TASKS["preference"](system="Be brief.").token_counts(ROW, tokenizer)[0] == [
        len(row.ids) for row in pair.sequences
    ]
    short = TASKS["preference"]().encode(ROW, tokenizer, 16)[0]
    assert (
        short.labelled == 0 and short.truncated_tokens
    )  # beyond the limit: such a pair teaches nothing, and is left out
    rated = TASKS["feedback"]().encode(
        {"prompt": ROW["prompt"], "completion": "Arr, 5!", "label": False}, tokenizer, 512
    )[0]
    assert rated.good is False and tokenizer.decode([token for token in rated.labels if token != IGNORED]) == "Arr, 5!"


def test_kto_sees_each_prompt_with_the_answer_of_the_row_before(tmp_path):
    from studio.training.encodings import ExampleFile
    from studio.training.preference import AnswerCollator, Answers

    tokenizer = ChatTokenizer(STARTER)
    rows = [{**ROW, "chosen": f"{number}.", "rejected": f"Not {number}."} for number in ("One", "Two")]
    encoded = ExampleFile(tmp_path)
    for place, row in enumerate(rows):
        encoded.append(TASKS["preference"]().encode(row, tokenizer, 512)[0], place)
    examples = Answers(encoded.seal())
    batch = AnswerCollator(tokenizer.pad_id, 512, mismatched=True)([examples[0], examples[1]])
    labelled = [
        tokenizer.decode([token for token in labels if token != IGNORED]) for labels in batch["labels"].tolist()
    ]
    other = [
        tokenizer.decode([token for token in labels if token != IGNORED]) for labels in batch["other_labels"].tolist()
    ]
    assert labelled == ["One.", "Two.", "Not One.", "Not Two."] and other == ["Not Two.", "One.", "Two.", "Not One."]
    assert batch["good"].tolist() == [True, True, False, False]
    assert batch["tokens"] == examples.tokens


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ({"task": "preference", "method": "full"}, "Choose ORPO, or another method such as LoRA"),
        ({"task": preference(algorithm="kto"), "training": {"batch_size": 1}}, "batch size of 2"),
        ({"task": "feedback", "training": {"packing": True}}, "Switch Packing off"),
    ],
)
def test_unsupported_recipes_are_refused(recipe, text):
    assert text in recipe_from(recipe).refusal(None).say()
    assert recipe_from({"task": preference(algorithm="orpo"), "method": "full"}).refusal(None) is None


def test_feedback_data_is_refused_for_preference_pairs(runs):
    with pytest.raises(StudioError, match="no pairs of a better and a worse answer can be made"):
        runs.start(task="preference", data={"source": str(Path(__file__).parents[1] / "data_files" / "kto.jsonl")})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    sampled(
        [name for name, method in METHODS.items() if method.leaves_base_unchanged and "preference" in method.tasks],
        SMALL_METHOD_SAMPLE - {"full", "corda"},
    ),
)
def test_every_method_that_can_be_switched_off(name, runs, monkeypatch):
    """Its delta moves, and asking the model before training leaves learnt what is to be learnt, and nothing else."""
    from studio.training import worker
    from tests.methods.method_cases import NEEDS, STARTS_ELSEWHERE, TrainedAdapters

    method = {"name": name, **(NEEDS[name](TrainedAdapters(runs.home.root)) if name in NEEDS else {})}
    build, seen = worker.build, {}

    def built(*args):
        seen["trainer"] = trainer = build(*args)
        seen["before"] = {
            key: value.detach().clone() for key, value in trainer.model.named_parameters() if value.requires_grad
        }
        return trainer

    monkeypatch.setattr(worker, "build", built)
    monkeypatch.setattr(worker, "finish", lambda *args: {})  # saving and loading again is the methods' own suite
    run = runs.start(
        method,
        task="preference",
        data=few("preferences", 12, 4),
        learning_rate=METHODS[name].learning_rate * 3,
        warmup_ratio=0,
        **{**QUIET, "max_steps": 3, "evaluations": 1},
    )
    losses = runs.losses(run)
    if name not in STARTS_ELSEWHERE:
        assert losses[1] == pytest.approx(0.6931, abs=2e-2 if METHODS[name].quantisation else 1e-3)
    assert len(set(losses.values())) > 1
    labelled = {key: value for key, value in seen["trainer"].model.named_parameters() if value.requires_grad}
    assert set(labelled) == set(seen["before"])
    assert any(not torch.equal(value, seen["before"][key]) for key, value in labelled.items())


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dpo", "kto", "orpo"])
def test_stopped_and_resumed_gives_the_same_curve(algorithm, runs):
    options = {"task": preference(algorithm=algorithm), "data": few("preferences"), **QUIET}
    whole = runs.losses(runs.start(**options))
    run = runs.start(**options, stop_after=3)
    assert runs.store.run(run)["state"] == "stopped"
    runs.resume(run)
    resumed = runs.losses(run)
    assert sorted(resumed) == sorted(whole) and all(abs(resumed[step] - whole[step]) < 1e-5 for step in whole)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sampled(["dpo", "kto", "orpo"], {"dpo"}))
def test_preference_accuracy_on_the_sample_without_sft_loss(runs, algorithm):
    run = runs.start(
        task=preference(algorithm=algorithm),
        data={"source": "preferences", "max_rows": None},
        learning_rate=2e-3,
        max_steps=30,
        batch_size=8,
        evaluations=1,
        evaluation_rows=2,
        max_length=128,
    )
    metrics = runs.store.run(run)["result"]["metrics"]
    assert metrics["base_preferred"] == pytest.approx(0.48, abs=0.02) and metrics["preferred"] >= 0.85
    kept = read(runs.home.run(run))
    assert len(kept) == 60 and all(row.rejected for row in kept) and kept[0].fine_tuned and not kept[5].fine_tuned


@pytest.mark.slow
def test_feedback_training_raises_reward_accuracy(runs, tmp_path):
    rows = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()[:60]]
    rated = [
        {"prompt": row["prompt"], "completion": row[key], "label": key == "chosen"}
        for row in rows
        for key in ("chosen", "rejected")
    ]
    (tmp_path / "thumbs.jsonl").write_text("\n".join(json.dumps(row) for row in rated))
    run = runs.start(
        task="feedback",
        data={"source": str(tmp_path / "thumbs.jsonl"), "max_rows": None},
        learning_rate=2e-3,
        max_steps=20,
        batch_size=8,
        evaluations=1,
        max_length=128,
    )
    metrics = runs.store.run(run)["result"]["metrics"]
    assert metrics["base_reward_accuracy"] == 0.5 and metrics["reward_accuracy"] >= 0.8
