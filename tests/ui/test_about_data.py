"""The Data tab's words: what the chip, the counts and the findings say of the same rows is the same."""

import json
import re

import pytest

from studio.draft import DraftEditor, dataset_cache
from studio.home import Home
from studio.jobs import client
from studio.store import Store
from studio.ui.data_report import about_html
from tests.ui.bare import bare_page


@pytest.fixture
def editor(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    home = Home(tmp_path / "home")
    return DraftEditor(home, Store(home.database))


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def about(editor) -> str:
    page, preflight = bare_page(), editor.preflight()
    page.editor = editor
    return about_html(page, editor.draft(), preflight, preflight.problems.get("data"))


def about_read(editor) -> str:
    """The same once what is read in another process is there."""
    about(editor)
    if reading := editor.datasets.in_progress():
        reading._thread.join()
    return about(editor)


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html))


WELCOME = [
    {
        "conversations": [
            {"from": "gpt", "value": "Welcome!"},
            {"from": "human", "value": f"Hi {n}"},
            {"from": "gpt", "value": f"Hello {n}."},
        ]
    }
    for n in range(12)
]


@pytest.mark.parametrize("apart", [False, True], ids=["here", "in another process"])
def test_a_remedy_that_every_row_needs_has_its_button(editor, tmp_path, monkeypatch, apart):
    if apart:
        monkeypatch.setattr(dataset_cache, "is_large", lambda spec: True)
    editor.use(written(tmp_path / "welcome.jsonl", WELCOME))
    html = about_read(editor)
    assert "12 rows not used" in html and 'data-item="order:merge"' in html and "Used for training 0" in words(html)
    editor.set_remedy("order", "merge")
    html = about_read(editor)
    assert (
        "all rows usable" in html
        and "Merge neighbours and drop what has no answer 12 rows" in words(html)
        and 'data-item="order:merge"' not in html
    )


def test_rows_without_labelled_tokens_count_as_not_used(editor, tmp_path):
    rows = [
        {
            "messages": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"It is {n}."}],
            "loss_weight": n % 3,
        }
        for n in range(12)
    ]
    editor.use(written(tmp_path / "some.jsonl", rows))
    editor.split({"validation": None, "validation_fraction": 0})
    html = about(editor)
    assert (
        "4 rows not used" in html
        and "Used for training 8" in words(html)
        and "4 of 12 rows looked at have no token to train on" in html
    )
    editor.use(written(tmp_path / "none.jsonl", [row | {"loss_weight": 0} for row in rows]))
    editor.split({"validation": None, "validation_fraction": 0})
    assert (
        "12 rows not used" in about(editor)
        and "Used for training 0" in words(about(editor))
        and "data" in editor.preflight().problems
    )


def test_unused_columns_and_media_placeholders_are_reported(editor, tmp_path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"<image>What is {n}?"},
                {"role": "assistant", "content": f"Tree {n}."},
            ],
            "images": [f"{n}.png"],
            "id": n,
        }
        for n in range(12)
    ]
    editor.use(written(tmp_path / "photos.jsonl", rows))
    html = about(editor)
    assert (
        "These columns are not used: images, id." in html
        and "cannot be trained on as it is" in html
        and "all rows usable" not in html
    )
    assert (
        editor.preflight().problems["data"]
        and 'data-item="media:trim"' in html
        and 'data-item="media:drop"' not in html
    )  # which would leave none
    editor.set_remedy("media", "trim")
    html = about(editor)
    assert (
        "all rows usable" in html
        and "data" not in editor.preflight().problems
        and editor.preflight().dataset.train[0].value["messages"][0]["content"].startswith("What is")
    )
    assert (
        "Take the marks out and train on the words alone 12 rows" in words(html)
        and "Column images holds pictures" in html
    )
