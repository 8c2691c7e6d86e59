"""Over-long rows: trimmed ones are the longest suffix that fits, and the page counts, shows and forecasts what the run
trains on.
"""

import json

import pytest

from studio.draft import DraftEditor
from studio.home import STARTER, Home
from studio.models.chat_tokenizer import ChatTokenizer
from studio.recipe import recipe_from
from studio.store import Store
from studio.tasks import TASKS
from studio.tasks.length_policy import LengthPolicy, trim_record
from studio.ui.token_view import packed_row, view_html
from tests.ui.bare import bare_page


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def words(record: dict) -> int:
    return sum(len(turn["content"].split()) for turn in record["messages"])


CALL = message("assistant", "", tool_calls=[{"type": "function", "function": {"name": "tide", "arguments": {}}}])
CONVERSATION = [
    message("system", "Be brief."),
    message("user", "one two"),
    CALL,
    message("tool", "low"),
    message("assistant", "low tide"),
    message("user", "and then"),
    message("assistant", "high"),
    message("user", "the long last question"),
    message("assistant", "answer"),
]


@pytest.mark.parametrize(
    "limit, kept",
    [
        (
            14,
            [CONVERSATION[0], *CONVERSATION[5:]],
        ),  # an exchange goes with its calls and their results, the system text stays
        (9, [CONVERSATION[0], *CONVERSATION[7:]]),
        (6, [CONVERSATION[0], message("user", "long last question"), CONVERSATION[8]]),
        (4, [CONVERSATION[0], message("user", "question"), CONVERSATION[8]]),
        (3, CONVERSATION),  # not even one word of the question fits: it stays as it was
    ],
)
def test_shortening_drops_the_oldest_exchanges_then_the_start_of_the_question(limit, kept):
    record = {"messages": CONVERSATION, "tools": ["tide"]}
    found = trim_record(record, lambda record: words(record) <= limit)
    assert found == {"messages": kept, "tools": ["tide"]} and (found is record) == (kept is CONVERSATION)


def test_trimmed_texts_begin_at_a_word():
    short = lambda record: len(record["text"]) <= 9  # noqa: E731
    assert trim_record({"text": "one two  three", "label": "x"}, short) == {"text": "three", "label": "x"}
    assert trim_record({"text": "今天的天气很好，我们去海边玩", "label": "x"}, short)["text"] == "很好，我们去海边玩"
    endless = {"text": "x" * 20, "label": "x"}
    assert trim_record(endless, short) is endless


def test_shortening_a_very_long_text_tries_few_candidates():
    tried = []
    text = " ".join(["word"] * 100_000)
    kept = trim_record({"text": text}, lambda record: tried.append(len(record["text"])) or len(record["text"]) <= 900)[
        "text"
    ]
    assert len(kept) == 899 and sum(tried) < 20 * 900


def test_classification_truncates_a_long_text_as_training_did():
    from studio.chat.classifier import Classifiers

    classifiers = Classifiers(STARTER, name="starter", load_options={}, find=None)
    for remedies, first, last in (
        ({}, "word0", False),
        ({"long": "trim"}, "word", True),
        ({"long": "drop"}, "word0", False),
    ):
        recipe = recipe_from(
            {"task": {"name": "classification"}, "training": {"max_length": 64}, "data": {"remedies": remedies}}
        )
        read = ChatTokenizer(STARTER).decode(classifiers._tokens(recipe, LONG)["input_ids"][0].tolist())
        assert read.strip().startswith(first) and ("word119" in read) == last, read


LONG = " ".join(f"word{n}" for n in range(120))
NAMES = ("red", "blue")
ROWS = {
    "chat": [
        "messages",
        lambda n, text: [
            message("user", f"Old {n}?"),
            message("assistant", "Old."),
            message("user", f"{text} {n}?"),
            message("assistant", f"Yes {n}."),
        ],
    ],
    "preference": ["prompt", lambda n, text: f"{text} {n}?", {"chosen": "Yes, it is so.", "rejected": "No."}],
    "feedback": ["prompt", lambda n, text: f"{text} {n}?", {"completion": "Yes.", "label": True}],
    "classification": ["text", lambda n, text: f"{text} {n}", {"label": NAMES}],
    "multitask": ["text", lambda n, text: f"{text} {n}", {"label": NAMES, "tone": NAMES}],
}


def rows(task: str) -> list[dict]:
    """24 rows, four of them longer than 64 tokens, and one of these impossible to trim where its answer can be."""
    column, made, *more = ROWS[task]
    found = [
        {
            column: made(n, LONG if n % 6 == 1 else "Is this"),
            **{key: values[n % 2] if values is NAMES else values for key, values in (more[0] if more else {}).items()},
        }
        for n in range(24)
    ]
    answer = "completion" if task == "feedback" else "chosen"
    if task == "chat":
        found[7]["messages"][-1] = message("assistant", LONG)
    elif answer in found[7]:
        found[7][answer] = LONG
    if task == "feedback":
        found = [{**row, "label": n % 2 == 0} for n, row in enumerate(found)]
    return found


@pytest.fixture
def editor(tmp_path):
    home = Home(tmp_path / "home")
    return DraftEditor(home, Store(home.database))


def prepared(editor: DraftEditor):
    """(what the run of the draft would train on, its log events)."""
    from studio.jobs.job import Job
    from studio.training.kinds import kind_of

    recipe = recipe_from(editor.draft())
    run_id, job_id = editor.store.create_run("test", recipe.to_dict(), "cpu")
    material = kind_of(Job(editor.store.job(job_id), editor.store, editor.home), recipe, STARTER).prepare()
    return material, [event["data"] for event in editor.store.events(run_id=run_id) if event["kind"] == "log"]


def text_of(logs) -> str:
    return json.dumps(logs)


@pytest.mark.parametrize("task", ROWS)
def test_the_page_shows_what_the_run_trains_on(editor, tmp_path, task):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(task)))
    editor.use(str(path))
    editor.choose_task(task)
    editor.change(
        training={**editor.draft()["training"], "max_length": 64},
        data={**editor.draft()["data"], "validation_fraction": 0.0},
    )
    helpless = 0 if "text" in rows(task)[0] else 1

    before = editor.preflight()
    finding = next(item for item in before.report.findings if item.kind == "long")
    assert (
        finding.count == 4
        and finding.lines == [2, 8, 14, 20]
        and set(finding.remedies) == {"trim", "drop"}
        and max(before.lengths) > 64
    )

    editor.set_remedy("long", "trim")
    found = editor.preflight()
    assert found.report.remedied["long"] == 4 - helpless and found.rows == 24
    assert (
        sum(length > 64 for length in found.lengths)
        == helpless
        == sum(item.count for item in found.report.findings if item.kind == "still_long")
    )
    assert found.report.lengths["tokens"].total == sum(found.lengths) < before.report.lengths["tokens"].total
    assert found.forecast.question.lengths == found.lengths
    material, logs = prepared(editor)
    assert f'"count": {4 - helpless}' in text_of(logs) and "shortened at the front" in text_of(logs)
    left_out = sum(
        item.count for item in found.report.findings if item.kind == "nothing"
    )  # an answer that begins behind the cut
    assert left_out == (helpless if task != "chat" else 0)
    assert (
        sorted(max(len(row.ids) + row.truncated_tokens for row in example.sequences) for example in material.train)
        == sorted(found.lengths)[: 24 - left_out]
    )
    assert_shown_as_labelled(editor, found, material)

    editor.set_remedy("long", "drop")
    found = editor.preflight()
    assert found.report.remedied["long"] == 4 and found.rows == 20 == len(found.lengths) and max(found.lengths) <= 64
    assert not {item.kind for item in found.report.findings} & {"long", "still_long", "nothing"}
    material, logs = prepared(editor)
    assert len(material.train) == 20 and sorted(
        max(len(row.ids) + row.truncated_tokens for row in example.sequences) for example in material.train
    ) == sorted(found.lengths)

    editor.set_remedy("long", None)
    assert editor.preflight().lengths == before.lengths and editor.preflight().report.findings == before.report.findings


def assert_shown_as_labelled(editor, found, material):
    """The tokens that the token view encodes for a trimmed row are those of the training example, and end with its
    answer.
    """
    recipe, tokenizer = found.recipe, ChatTokenizer(STARTER)
    value = LengthPolicy(recipe, tokenizer)(found.dataset.train[1].value)
    (shown,) = recipe.task.encode(value, tokenizer, 64)
    (example,) = [example for example in material.train if example.ids == shown.ids]
    assert (
        example.labels == shown.labels
        and not example.truncated_tokens
        and "word119" in tokenizer.decode(example.ids)
        and "word0" not in tokenizer.decode(example.ids)
    )


def test_the_token_view_says_whether_the_row_was_trimmed(editor, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows("chat")))
    editor.use(str(path))
    editor.change(
        training={**editor.draft()["training"], "max_length": 64, "packing": True},
        data={**editor.draft()["data"], "validation_fraction": 0.0},
    )
    assert "is left out" not in view_html(bare_page(), editor.preflight(), 2) and "shortened" not in view_html(
        bare_page(), editor.preflight(), 2
    )
    editor.set_remedy("long", "trim")
    shown = view_html(bare_page(), editor.preflight(), 2)
    assert (
        "It was shortened at the front: the row as it stands in the file has" in shown
        and 'token cut">w' not in shown
        and "word119" in shown
    )
    editor.set_remedy("long", "drop")
    assert "This row is longer than 64 tokens and is left out." in view_html(bare_page(), editor.preflight(), 2)
    assert packed_row(editor.preflight(), STARTER, 1) is None and packed_row(editor.preflight(), STARTER, 0)


def test_long_texts_are_split_and_no_fix_is_offered(editor, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"{n} {LONG if n == 3 else 'short'}"}) + "\n" for n in range(8)))
    editor.use(str(path))
    editor.change(
        training={**editor.draft()["training"], "max_length": 64},
        data={**editor.draft()["data"], "validation_fraction": 0.0},
    )
    found = editor.preflight()
    pieces = next(item for item in found.report.findings if item.kind == "pieces")
    assert (pieces.lines, pieces.level, pieces.remedies) == ([4], "info", {}) and "long" not in {
        item.kind for item in found.report.findings
    }
    material, _ = prepared(editor)
    assert found.rows == len(material.train) > 8 and sorted(len(example.ids) for example in material.train) == sorted(
        found.lengths
    )


def test_a_fix_that_leaves_no_rows_blocks_the_run(editor, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{LONG} {n}?", "completion": "Yes."}) + "\n" for n in range(4)))
    editor.use(str(path))
    editor.change(
        training={**editor.draft()["training"], "max_length": 64},
        data={**editor.draft()["data"], "validation_fraction": 0.0, "remedies": {"long": "drop"}},
    )
    assert "undo the remedy" in str(editor.preflight().problems["data"])


def test_every_text_task_is_tested():
    assert {
        name for name, task in TASKS.items() if task.modality == "text" and not task.splits_long_texts
    } == ROWS.keys()
