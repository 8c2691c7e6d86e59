"""What is counted and said of an example: the same in the token view and beside the data."""

import json
import re

import pytest

from studio.draft import DraftEditor
from studio.home import Home
from studio.store import Store
from studio.ui.data_report import length_facts
from studio.ui.token_view import view_html
from tests.ui.bare import bare_page


@pytest.fixture
def editor(tmp_path):
    home = Home(tmp_path / "home")
    return DraftEditor(home, Store(home.database))


def brought(editor, tmp_path, *rows):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    editor.use(str(path))
    editor.change(data={**editor.draft()["data"], "validation_fraction": 0.0})
    return editor.preflight()


def counted(preflight):
    """Tokens that the view says of all examples together."""
    shown = [view_html(bare_page(), preflight, number) for number in range(1, len(preflight.dataset.train) + 1)]
    return sum(int(re.search(r"(\d+) tokens, of which", text)[1]) for text in shown)


def test_tokens_in_all_are_those_of_both_answers(editor, tmp_path):
    pair = {"prompt": "How many sails has she?", "chosen": "Five, and a flag.", "rejected": "No."}
    found = brought(
        editor,
        tmp_path,
        pair,
        {**pair, "prompt": "Where to?", "rejected": "To the far end of the world and back again by tea time."},
    )
    facts = dict(length_facts(bare_page(), found))
    assert editor.draft()["task"]["name"] == "preference" and facts["Tokens in all"] == str(counted(found))
    better, worse = view_html(bare_page(), found, 1).split("<h4>")[1:]
    assert (
        better.startswith("Better answer<")
        and worse.startswith("Worse answer<")
        and better.count("token labelled") > worse.count("token labelled") > 0
    )
    assert counted(found) > sum(found.lengths) and facts["Longest row"] == f"{max(found.lengths)} tokens"


@pytest.mark.parametrize(
    "row", [{"text": "A letter about a late parcel.", "label": "late"}, {"prompt": "Why?", "completion": "Because."}]
)
def test_tokens_in_all_elsewhere(editor, tmp_path, row):
    found = brought(editor, tmp_path, *({key: value + str(n % 2) for key, value in row.items()} for n in range(8)))
    assert dict(length_facts(bare_page(), found))["Tokens in all"] == str(counted(found)) == str(sum(found.lengths))


def test_feedback_says_whether_the_answer_is_good(editor, tmp_path):
    found = brought(
        editor,
        tmp_path,
        *({"prompt": f"Question {n}?", "completion": f"Answer {n}.", "label": n % 2 == 0} for n in range(4)),
    )
    assert editor.draft()["task"]["name"] == "feedback"
    assert "The answer is marked good: training makes it more likely." in view_html(
        bare_page(), found, 1
    ) and "marked bad" not in view_html(bare_page(), found, 1)
    assert "The answer is marked bad: training makes it less likely." in view_html(bare_page(), found, 2)
