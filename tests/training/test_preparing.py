"""From records to encoded examples on disk: what comes back, how much memory it takes, progress, Stop, and nothing left
behind."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from studio.data.splitting import APART
from studio.home import REPOSITORY, STARTER
from studio.models.chat_tokenizer import ChatTokenizer
from studio.tasks import IGNORED, TASKS, Encoded
from studio.training.encodings import ExampleFile
from tests.training.runs import Runs, StoppingJob

TALK = {"messages": [{"role": "user", "content": "What is 2 plus 3?"}, {"role": "assistant", "content": "Arr, 5!"}]}
ASKED = {"prompt": TALK["messages"][:1]}
EXAMPLES = [
    ("chat", TALK),
    ("text", {"text": "The sea was calm and the wind was low. " * 20}),
    ("classification", {"text": "The parcel is late", "label": "shipping"}),
    ("multitask", {"text": "The parcel is late", "label": {"topic": "shipping", "tone": "calm"}}),
    ("preference", {**ASKED, "chosen": "Arr, 5!", "rejected": "No."}),
    ("feedback", {**ASKED, "completion": "No.", "label": False}),
]
# What the worker does up to its first step, in a process of its own, so that the peak of its memory is its own.
PREPARES = """
import json, resource, sys
import studio.training.worker
from studio.home import Home, STARTER
from studio.jobs.job import Job
from studio.recipe import recipe_from
from studio.store import Store
from studio.trackers.tracking import Tracking
from studio.training.kinds import kind_of
home = Home(sys.argv[1])
recipe = recipe_from(json.loads(sys.argv[2]))
store = Store(home.database)
run, job = store.create_run("test", recipe.to_dict(), "cpu")
kind = kind_of(Job(store.job(job), store, home), recipe, STARTER)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
material = kind.prepare()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
trainer = studio.training.worker.build(kind.job, recipe, STARTER, kind, material, Tracking(kind.job, [], None))
trainer.train()
print(json.dumps({
    "kilobytes": grown, "train": len(material.train),
    "tokens": trainer.train_dataset.tokens, "steps": trainer.state.global_step,
}))
"""


@pytest.mark.parametrize(("task", "record"), EXAMPLES, ids=[task for task, _ in EXAMPLES])
def test_what_comes_back_is_what_was_kept(task, record, tmp_path):
    """Of every kind of example: the same class, tokens, labels, names and answers, at most six bytes a token in the
    file."""
    examples = [
        example for length in (512, 16) for example in TASKS[task]().encode(record, ChatTokenizer(STARTER), length)
    ]
    kept = ExampleFile(tmp_path)
    for place, example in enumerate(examples):
        kept.append(example, place + 7)
    kept.seal()
    assert kept[:] == examples and [type(example) for example in kept] == [type(example) for example in examples]
    rows = [[len(row.ids) for row in example.sequences] for example in examples]
    assert kept.lengths.tolist() == [max(lengths) for lengths in rows] and kept.tokens == sum(map(sum, rows))
    assert kept.cut == sum(any(row.truncated_tokens for row in example.sequences) for example in examples)
    assert kept.places.tolist() == [place + 7 for place in range(len(examples))] and kept.class_names == [
        example.class_names for example in examples
    ]
    assert list(tmp_path.iterdir()) == []  # the file has no name, so it goes with the process
    with pytest.raises(IndexError):
        kept[len(examples)]


def test_a_token_takes_little_more_than_four_bytes():
    ids = np.random.default_rng(0).integers(0, 2**31, 10_000).tolist()
    example = Encoded(ids, [IGNORED, *ids[1:]])
    assert len(pickle.dumps(example)) < 4.2 * len(ids) and pickle.loads(pickle.dumps(example)) == example


class Watched(StoppingJob):
    """A job that remembers what it said it was doing, and is asked to stop when it says that it prepares row `after` or
    a later one."""

    def __init__(self, *args):
        super().__init__(*args)
        self.sentences = []

    def stop_requested(self):
        return self.after is not None and any(
            sentence.values.get("done", 0) >= self.after for sentence in self.sentences
        )

    def doing(self, sentence):
        super().doing(sentence)
        self.sentences.append(sentence)


@pytest.mark.parametrize(
    ("task", "data"),
    [("chat", "captain"), ("classification", "tickets"), ("preference", "preferences"), ("image", "leaves")],
)
def test_preparing_reports_progress_and_can_be_stopped(task, data, tmp_path, monkeypatch):
    from studio.jobs.job import Stopped
    from studio.recipe import recipe_from
    from studio.training.kinds import base
    from studio.training.worker import train

    monkeypatch.setattr(base, "_SAY_EVERY", 0)
    runs = Runs(tmp_path / "home")
    recipe = recipe_from(
        {"data": {"source": data}, "task": task, "model": {"name": "starter-vit" if task == "image" else "starter"}}
    )
    run, number = runs.store.create_run("test", recipe.to_dict(), "cpu")
    job = Watched(runs.store.job(number), runs.store, runs.home)
    job.after = 20
    with pytest.raises(Stopped):
        train(job)
    prepared = [sentence for sentence in job.sentences if "done" in sentence.values]
    assert [sentence.values["done"] for sentence in prepared] == list(range(21)) and prepared[-1].values["count"] > 100
    assert runs.store.run(run)["doing"]["values"]["done"] == 20 and str(prepared[-1]).startswith(
        "Preparing the data: 20 of "
    )
    assert any(sentence.text.startswith("Reading the data: {rows") for sentence in job.sentences)
    logged = [event["data"]["text"] for event in runs.store.events(run) if event["kind"] == "log"]
    assert logged == ["Stopped while the data was being prepared; Resume prepares it anew."]
    assert [path.name for path in runs.home.run(run).iterdir()] == ["recipe.yaml"]


def rows(task: str, many: int):
    """Small records that make 50 to 100 tokens each."""
    for number in range(many):
        asked, text = (
            f"What comes after the number {number}, and what before it?",
            f"After it comes {number + 1}, and before it came {number - 1}, as everybody knows.",
        )
        yield {
            "chat": {"prompt": asked, "completion": text},
            "text": {"text": f"{asked} {text}"},
            "classification": {"text": f"{asked} {text}", "label": str(number % 7)},
            "preference": {"prompt": asked, "chosen": text, "rejected": f"No idea about {number}."},
        }[task]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "many"),
    [
        ("chat", 50_000),
        pytest.param("chat", 100_000, marks=pytest.mark.full),
        pytest.param("text", 200_000, marks=pytest.mark.full),
        pytest.param("classification", 100_000, marks=pytest.mark.full),
        pytest.param("preference", 50_000, marks=pytest.mark.full),
    ],
)
def test_many_rows_are_prepared_in_bounded_memory(task, many, tmp_path):
    """And two steps are learnt from them. As lists of Python integers 50,000 rows would be more than 100 MB."""
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(task, many))
    recipe = {
        "data": {"source": str(path)},
        "task": task,
        "training": {"max_steps": 2, "batch_size": 4, "max_length": 128, "evaluations": 0, "sample_prompts": 0},
    }
    done = subprocess.run(
        [sys.executable, "-c", PREPARES, str(tmp_path / "home"), json.dumps(recipe)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["train"] == many - APART and found["steps"] == 2 and found["tokens"] > 40 * many
    print(found)
    assert found["kilobytes"] < (70_000 if many == 50_000 else 100_000), found
