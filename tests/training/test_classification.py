"""Texts and their labels: batches, the new head, several labels, and what the run says of itself."""

import csv
import json

import pytest
import torch

from studio.chat.classification import class_logits, predicted_labels, text_batch
from studio.evaluation import predictions
from studio.home import STARTER
from studio.methods import METHODS
from studio.methods.base import Setting
from studio.models.load import load_base
from studio.tasks import TASKS
from studio.words import StudioError
from tests.training.runs import few

ROWS = [[7, 8, 9, 10, 11], [50, 51, 52], [3], [9, 0, 4, 0, 5, 6, 7]]
CLASSES = {"head": "text_classification", "labels": ["a", "b", "c"]}
TICKETS = {"task": "classification", "data": {"source": "tickets", "max_rows": 400}}


def wrapped(name: str):
    torch.manual_seed(0)
    model = load_base(STARTER, **CLASSES)
    model.config.pad_token_id = 0
    return METHODS[name]().wrap(model, Setting(task_type="SEQ_CLS")).eval()


@pytest.mark.parametrize("name", ["lora", "prompt_tuning", "adapter", "p_tuning_v2"])
@torch.no_grad()
def test_padded_rows_give_the_logits_of_single_rows(name):
    model, prompts = wrapped(name), METHODS[name].prompt_learning
    alone = torch.cat([model(input_ids=torch.tensor([row])).logits for row in ROWS])
    together = class_logits(model, text_batch(ROWS, 0), has_virtual_tokens=prompts)
    assert (together - alone).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["full", "lora", "prompt_tuning", "adapter", "bitfit", "p_tuning_v2"])
def test_the_head_is_trained_and_saved(name, tmp_path):
    from peft import PeftModel

    model = wrapped(name)
    assert any("score" in key for key, value in model.named_parameters() if value.requires_grad)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value += 0.01 * torch.randn_like(value)
        before = class_logits(model, text_batch(ROWS, 0), has_virtual_tokens=METHODS[name].prompt_learning)
        METHODS[name]().save(model, tmp_path)
        whole = METHODS[name].artefact_type == "model"
        again = load_base(tmp_path if whole else STARTER, **CLASSES)
        again = again if whole else PeftModel.from_pretrained(again, str(tmp_path))
        again.config.pad_token_id = 0
        after = class_logits(again.eval(), text_batch(ROWS, 0), has_virtual_tokens=METHODS[name].prompt_learning)
    assert (after - before).abs().max() < 1e-5
    assert again.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_labels_of_a_record():
    one, many = TASKS["classification"](), TASKS["classification"](multi_label=True, separator=",")
    assert one.class_names({"label": "late; damaged"}) == ("late; damaged",)
    assert (
        many.class_names({"label": ["late", "damaged"]}) == ("damaged", "late")
        and many.class_names({"label": []}) == ()
    )
    assert many.label_separator == "," and one.label_separator == ""
    with pytest.raises(StudioError, match="switch on Several labels"):
        one.class_names({"label": ["late", "damaged"]})
    with pytest.raises(StudioError, match="One row has no label; switch on Several labels"):
        one.class_names({"label": []})
    assert predicted_labels([0.2, 0.5, 0.9], ["a", "b", "c"], True) == ("b", "c") and predicted_labels(
        [0.2, 0.5, 0.3], ["a", "b", "c"], False
    ) == ("b",)


@pytest.mark.slow
def test_tickets_are_sorted(runs):
    """From 21 % (always the commonest label) to well above 80 % of the validation letters, in 50 steps."""
    run = runs.start(
        **TICKETS, learning_rate=3e-3, max_steps=50, batch_size=16, max_length=128, sample_prompts=1, save_steps=50
    )
    metrics = runs.store.run(run)["result"]["metrics"]
    assert metrics["base_correct"] == pytest.approx(19 / 90) and metrics["correct"] > 0.8 and metrics["macro_f1"] > 0.8
    assert metrics["intervals"]["correct"]["difference"][0] > 0.4
    sure = metrics["intervals"]["macro_f1"]
    for who, value in (
        ("base", metrics["base_macro_f1"]),
        ("fine_tuned", metrics["macro_f1"]),
        ("difference", metrics["macro_f1"] - metrics["base_macro_f1"]),
    ):
        assert sure[who][0] <= value <= sure[who][1] and 0.01 < sure[who][1] - sure[who][0] < 0.35
    classes = metrics["classes"]
    assert (
        classes["names"] == ["billing", "fault", "login", "praise", "refund", "shipping"]
        and classes["always"] == "shipping"
    )
    assert sum(map(sum, classes["counts"])) == 90 and sum(classes["counts"][at][at] for at in range(6)) == round(
        90 * metrics["correct"]
    )
    live = runs.losses(run, "eval_accuracy")
    assert len(live) == 2 and live[50] == metrics["correct"]
    rows = predictions.read(runs.home.run(run))
    assert len(rows) == 90 and {row.base for row in rows} == {"shipping"}
    assert runs.store.adapter(run)["card"]["labels"] == classes["names"]


@pytest.mark.slow
def test_several_labels_a_text(runs, tmp_path):
    from studio.data.read import open_source

    rows = list(csv.DictReader((STARTER.parent / "samples" / "tickets.csv").open()))
    path = tmp_path / "several.jsonl"
    path.write_text(
        "\n".join(
            json.dumps(
                {"text": row["text"], "label": [row["label"], "long"] if len(row["text"]) > 60 else row["label"]}
            )
            for row in rows
        )
    )
    assert open_source(path).columns == ["text", "label"]
    run = runs.start(
        task={"name": "classification", "multi_label": True},
        data={"source": str(path), "max_rows": 400},
        learning_rate=3e-3,
        max_steps=60,
        batch_size=16,
        max_length=128,
        save_steps=60,
    )
    metrics = runs.store.run(run)["result"]["metrics"]
    assert metrics["macro_f1"] > metrics["base_macro_f1"] + 0.2 and metrics["correct"] > metrics["base_correct"] + 0.1
    assert "long" in metrics["classes"]["names"] and all(len(counts) == 3 for counts in metrics["classes"]["counts"])


@pytest.mark.slow
def test_a_column_for_each_label(runs, tmp_path):
    """0 and 1 in a column for each label, as sets about tone are kept; letters with none of them are learnt to have
    none."""
    rows, names = (
        list(csv.DictReader((STARTER.parent / "samples" / "tickets.csv").open())),
        ("billing", "fault", "shipping"),
    )
    with (tmp_path / "columns.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["text", *names])
        out.writerows([row["text"], *(int(row["label"] == name) for name in names)] for row in rows)
    run = runs.start(
        task={"name": "classification", "multi_label": True},
        data={"source": str(tmp_path / "columns.csv"), "max_rows": 400, "validation_fraction": 0.2},
        learning_rate=3e-3,
        max_steps=60,
        batch_size=16,
        max_length=128,
        save_steps=60,
    )
    found = runs.store.run(run)["result"]["metrics"]
    assert (
        found["classes"]["names"] == list(names)
        and found["macro_f1"] > found["base_macro_f1"] + 0.3
        and found["correct"] > found["base_correct"] + 0.1
    )
    assert {row.fine_tuned for row in predictions.read(runs.home.run(run))} >= {"–", "billing"}  # none, and one


@pytest.mark.slow
def test_a_single_label_raises_a_studio_error(runs, tmp_path):
    (tmp_path / "one.csv").write_text("text,label\n" + "\n".join(f"letter number {at},same" for at in range(12)))
    with pytest.raises(StudioError, match="only one label"):
        runs.start(task="classification", data={"source": str(tmp_path / "one.csv")})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p_tuning_v2", "bitfit", "fusion"])
def test_classification_methods_train(name, runs):
    """A whole run each (its own check reloads what was saved); fusion mixes two adapters that were fine-tuned classes
    of their own."""
    method, tickets = {"name": name}, {**TICKETS, "data": few("tickets", 400)}
    if name == "fusion":
        method["adapters"] = [
            runs.start("adapter", **tickets, seed=seed, evaluations=0, evaluation_rows=0) for seed in (0, 1)
        ]
    run = runs.start(
        method,
        **tickets,
        learning_rate=2e-2 if name == "p_tuning_v2" else 5e-3,
        max_steps=30,
        batch_size=16,
        evaluations=0,
        save_steps=30,
        sample_prompts=0,
    )
    losses = list(runs.losses(run).values())
    assert runs.store.run(run)["state"] == "done" and sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert runs.store.adapter(run)["card"]["labels"] == ["billing", "fault", "login", "praise", "refund", "shipping"]


@pytest.mark.slow
def test_labels_that_no_training_row_has_are_all_named(runs, tmp_path):
    """Also those of earlier validation rows, when the last one has none."""
    for name, labels in (("train", "ab" * 8), ("validation", ["zebra", "yak", "a", "b"])):
        rows = "".join(f"The text number {at} of {label}.,{label}\n" for at, label in enumerate(labels))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{rows}")
    data = {"source": str(tmp_path / "train.csv"), "validation": str(tmp_path / "validation.csv")}
    run = runs.start("lora", task="classification", data=data, max_steps=2)
    logged = [str(event["data"]) for event in runs.store.events(run, kind="log")]
    assert any("yak, zebra" in text and "'count': 2" in text for text in logged), logged
