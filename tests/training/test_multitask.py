"""Several label sets at once: loss and softmax within each set, rows that leave a set empty, and one shared prompt for
all of them."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy

from studio.chat.classification import class_loss, predicted_labels, probabilities
from studio.evaluation import predictions
from studio.home import STARTER
from studio.library import adapter_store
from studio.tasks import IGNORED, TASKS
from studio.training.kinds.multitask import MultiTask, label_sets
from studio.words import StudioError
from tests.fresh import fresh_python

FRESH = """
import sys, json, torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification
labels = json.load(open(sys.argv[3]))["labels"]
model = AutoModelForSequenceClassification.from_pretrained(
    sys.argv[1], id2label=dict(enumerate(labels)), ignore_mismatched_sizes=True, dtype=torch.float32
)
model = PeftModel.from_pretrained(model, sys.argv[2]).eval()
assert "studio" not in sys.modules
with torch.no_grad():
    print(json.dumps([model(input_ids=torch.tensor([ids])).logits[0].tolist() for ids in json.load(open(sys.argv[4]))]))
"""


def test_loss_and_softmax_stay_within_a_set():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, requires_grad=True), torch.tensor([[1, 2], [IGNORED, 0], [0, IGNORED]])
    first, second = logits[:, :2], logits[:, 2:]
    wanted = cross_entropy(first[[0, 2]], torch.tensor([1, 0]), reduction="sum") + cross_entropy(
        second[:2], torch.tensor([2, 0]), reduction="sum"
    )
    loss = class_loss(logits, labels, [2, 3])
    assert torch.allclose(loss, wanted)
    loss.backward()
    assert (
        not logits.grad[1, :2].any() and not logits.grad[2, 2:].any() and logits.grad[0].all()
    )  # an empty cell teaches nothing
    given = probabilities(logits, False, [2, 3])
    assert torch.allclose(given[:, :2].sum(1), torch.ones(3)) and torch.allclose(given[:, 2:].sum(1), torch.ones(3))
    assert predicted_labels([0.4, 0.6, 0.2, 0.1, 0.7], ["a", "b", "c", "d", "e"], False, [2, 3]) == ("b", "e")
    assert class_loss(logits[:1], torch.full((1, 2), IGNORED), [2, 3]) == 0


def test_figures_of_each_set_and_their_mean():
    kind = MultiTask.__new__(MultiTask)
    rows = [{"topic": "a", "tone": "x"}, {"topic": "b"}, {"tone": "y"}, {"topic": "a"}]
    dataset = SimpleNamespace(train=[], validation=[])
    kind.sets = label_sets(rows)
    assert kind.sets == {"topic": ["a", "b"], "tone": ["x", "y"]}
    kind.sizes, kind.place = [2, 2], {"topic: a": (0, 0), "topic: b": (0, 1), "tone: x": (1, 0), "tone: y": (1, 1)}
    kind.labels = kind.found_names(dataset.train)
    expected = [TASKS["multitask"]().class_names({"label": row}) for row in rows]
    assert (
        expected[0] == ("topic: a", "tone: x")
        and kind.numbers(expected[1]) == [1, IGNORED]
        and kind.numbers(expected[2]) == [IGNORED, 1]
    )
    always = kind.most_frequent(expected)
    assert always == ("topic: a", "tone: x")
    given = kind.answers([[0.9, 0.1, 0.9, 0.1]] * 4, expected)
    assert given == [("topic: a", "tone: x"), ("topic: a",), ("tone: x",), ("topic: a",)]  # only what was asked
    assert kind.figures(expected, given)["accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    topic, tone = kind.matrix(expected, given, always)["sets"]
    assert (
        topic["counts"] == [[2, 0], [1, 0]]
        and tone["counts"] == [[1, 0], [1, 0]]
        and topic["accuracy"] == topic["base_accuracy"] == pytest.approx(2 / 3)
    )
    with pytest.raises(StudioError, match="'tone' has only one label"):
        label_sets([{"topic": "a", "tone": "x"}, {"topic": "b"}])


@pytest.mark.slow
def test_p_tuning_v2_trains_two_label_sets(runs, tmp_path):
    """P-Tuning v2: one prefix for both; each set clearly above its commonest label, and stock peft gives the same
    logits again."""
    run = runs.start(
        {"name": "p_tuning_v2", "virtual_tokens": 8},
        task="multitask",
        data={"source": "letters", "max_rows": None},
        learning_rate=2e-2,
        max_steps=150,
        batch_size=16,
        evaluations=1,
        save_steps=150,
    )
    metrics = runs.store.run(run)["result"]["metrics"]
    urgency, department = metrics["classes"]["sets"]
    assert (urgency["set"], department["set"], urgency["rows"], department["rows"]) == (
        "urgency",
        "department",
        100,
        100,
    )
    assert department["base_accuracy"] < 0.25 and department["accuracy"] > department["base_accuracy"] + 0.2
    assert urgency["base_accuracy"] < 0.4 and urgency["accuracy"] > urgency["base_accuracy"] + 0.2
    assert runs.losses(run, "eval_accuracy")[150] == pytest.approx((department["accuracy"] + urgency["accuracy"]) / 2)
    assert metrics["correct"] > metrics["base_correct"] + 0.2  # both labels of a letter right
    assert metrics["intervals"]["correct"]["difference"][0] > 0
    folder, row = adapter_store.find(runs.home, runs.store, run)[0], runs.store.adapter(run)
    assert row["card"]["sets"] == {
        "urgency": ["high", "low", "normal"],
        "department": ["billing", "fault", "login", "praise", "refund", "shipping"],
    }
    assert len(row["card"]["labels"]) == 9 and row["card"]["labels"][2] == "urgency: normal"

    from studio.chat.classifier import Classifiers
    from studio.models.chat_tokenizer import ChatTokenizer
    from studio.models.load import load_base
    from studio.models.rope_scaling import apply_adapter

    classifiers = Classifiers(STARTER, name="starter", load_options={}, find=lambda _: (folder, row["card"]))
    texts = predictions.read(runs.home.run(run))[:3]
    answers = [classifiers.classify(run, text.prompt) for text in texts]
    for text, answer in zip(texts, answers, strict=True):
        assert (
            ", ".join(predicted_labels(answer["probabilities"], answer["labels"], False, [3, 6])) == text.fine_tuned
        )  # Chat says what was measured
    (tmp_path / "card.json").write_text(json.dumps(row["card"]))
    (tmp_path / "ids.json").write_text(
        json.dumps([ChatTokenizer(STARTER).encode(text.prompt, add_special_tokens=True).ids for text in texts])
    )
    given = (STARTER, folder, tmp_path / "card.json", tmp_path / "ids.json")
    found = fresh_python(FRESH, *map(str, given), cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    model = apply_adapter(
        load_base(STARTER, head="text_classification", labels=row["card"]["labels"], device="cpu", precision="fp32"),
        folder,
    ).eval()
    with torch.no_grad():
        here = [
            model(input_ids=torch.tensor([ids])).logits[0] for ids in json.loads((tmp_path / "ids.json").read_text())
        ]
    for logits, own, answer in zip(json.loads(found.stdout.splitlines()[-1]), here, answers, strict=True):
        assert (torch.tensor(logits) - own).abs().max() < 1e-5
        assert (probabilities(own[None], False, [3, 6])[0] - torch.tensor(answer["probabilities"])).abs().max() < 1e-5


@pytest.mark.slow
def test_files_with_different_sets_are_mixed(runs, tmp_path):
    """One file knows the topic, another one the tone; any method can learn both."""
    for name, labels in (("topic", ("bill", "parcel")), ("tone", ("calm", "cross"))):
        lines = [f"letter {at} about the {labels[at % 2]},{labels[at % 2]}" for at in range(40)]
        (tmp_path / f"{name}.csv").write_text(f"text,{name}\n" + "\n".join(lines))
    run = runs.start(
        "lora",
        task="multitask",
        data={
            "source": str(tmp_path / "topic.csv"),
            "more": [{"source": str(tmp_path / "tone.csv")}],
            "validation_fraction": 0.2,
        },
        batch_size=8,
    )
    assert runs.store.adapter(run)["card"]["sets"] == {"topic": ["bill", "parcel"], "tone": ["calm", "cross"]}
    assert {one["set"] for one in runs.store.run(run)["result"]["metrics"]["classes"]["sets"]} == {"topic", "tone"}
