"""What was decided on the Data tab arrives in the run: the lent template, the remedies, the mixture; nothing is left
out in silence."""

import json

import pytest

from studio.home import STARTER
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.templates import template
from tests.training.runs import Runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    long = " ".join(["and so on"] * 200)
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}"} for n in range(12)]
    rows += [rows[0], {"prompt": "Long", "completion": long}, {"prompt": long, "completion": "behind the cut"}]
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    runs = Runs(folder / "home")
    data = {
        "source": str(path),
        "validation_fraction": 0.1,
        "remedies": {"duplicate": "drop", "long": "drop"},
        "more": [{"source": "captain", "weight": 0.5}],
        "max_rows": 20,
    }
    return runs, runs.start(data=data, model={"template": "llama3"}, max_steps=2, max_length=400)


def test_a_chosen_template_is_saved_with_the_adapter_and_used_in_chat(run):
    runs, run_id = run
    (row,) = runs.store.adapters()
    adapter = runs.home.adapter(row["id"])
    assert (adapter / "chat_template.jinja").read_text() == template("llama3") != ChatTokenizer(STARTER).template
    fine_tuned = ChatTokenizer(STARTER).for_adapter(adapter)
    assert fine_tuned.render([{"role": "user", "content": "Hi"}], add_generation_prompt=True).endswith(
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_rows_left_out_are_logged_and_counted(run):
    runs, run_id = run
    events = runs.store.events(run_id=run_id)
    plan = next(event["data"] for event in events if event["kind"] == "plan")
    text = [json.dumps(event["data"]) for event in events if event["kind"] == "log"]
    left = [line for line in text if "were left out" in line]
    assert len(left) == 1 and plan["examples"] + plan["validation"] < 35, text
