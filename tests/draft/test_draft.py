"""The draft: it keeps what was typed, reports what is invalid, and its files stay inside the studio's folder."""

import json
import os
import threading
from pathlib import Path

import pytest

from studio import uploads
from studio.draft import DraftEditor, dataset_cache, files_of, preflight
from studio.home import Home
from studio.jobs import client
from studio.methods import METHODS
from studio.store import Store
from studio.uploads import upload_name
from studio.words import StudioError

GOOD = [{"prompt": f"Question {number}?", "answer": f"Answer {number}."} for number in range(8)]


@pytest.fixture
def editor(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    home = Home(tmp_path / "home")
    return DraftEditor(home, Store(home.database))


def rows(path: Path, *items: dict) -> str:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return str(path)


def refusal_of(action, *args) -> str:
    with pytest.raises(StudioError) as caught:
        action(*args)
    return str(caught.value)


# ---- the draft --------------------------------------------------------------------------------------------------


def test_a_new_draft_uses_the_first_sample(editor):
    assert editor.preflight().recipe.data.source == "captain"
    assert editor.preflight().problems == {}


def test_wrong_values_stay_as_they_were_typed(editor):
    training = {**editor.draft()["training"], "learning_rate": "quick", "epochs": 2}
    editor.change(training=training)
    again = DraftEditor(editor.home, editor.store)
    assert again.draft()["training"] == training
    assert "Learning rate must be a number, but is 'quick'." in str(again.preflight().problems["recipe"])
    again.change(name="other")  # nor does a change elsewhere lose it
    assert again.draft()["training"] == training and again.draft()["name"] == "other"


def test_a_method_brings_its_learning_rate_unless_the_person_set_one(editor):
    editor.choose_method("lora")
    editor.change(training={**editor.draft()["training"], "learning_rate": METHODS["lora"].learning_rate})
    assert editor.choose_method("full")["training"]["learning_rate"] == METHODS["full"].learning_rate
    editor.change(training={**editor.draft()["training"], "learning_rate": 0.123})
    assert editor.choose_method("lora")["training"]["learning_rate"] == 0.123


# ---- before the run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts, part",
    [
        ({"training": {"learning_rate": 99}}, "recipe"),
        ({"training": "nonsense"}, "recipe"),
        ({"method": {"name": "magic"}}, "recipe"),
        ({"model": {"name": "/nowhere/model"}}, "model"),
        ({"model": {"name": "~nobody-here/model"}}, "model"),
        ({"model": {"name": "a" * 5000}}, "model"),
        ({"model": {"name": "zero\x00byte"}}, "model"),
        ({"model": {"name": "some/" + "x" * 300}}, "model"),
        ({"data": {"source": ""}}, "data"),
        ({"data": {"source": "/nowhere/x.jsonl"}}, "data"),
        ({"data": {"source": "~nobody-here/x.jsonl"}}, "data"),
        ({"data": {"source": "/" + "a" * 5000}}, "data"),
        ({"data": {"source": "zero\x00byte"}}, "data"),
        ({"data": {"source": "captain", "validation": "/nowhere/x.jsonl"}}, "data"),
        ({"data": {"source": "captain", "encoding": "klingon"}}, "data"),
        ({"data": {"source": "captain", "mapping": {"shape": "text", "roles": {"text": "gone"}}}}, "data"),
        ({"machine": {"device": "cuda:77"}}, "machine"),
    ],
)
def test_the_outlook_and_start_report_the_same_problem(editor, parts, part):
    editor.change(**parts)
    found = editor.preflight()
    assert list(found.problems) == [part]
    assert refusal_of(editor.start) == str(found.problems[part])
    assert editor.store.runs() == [] and len(str(found.problems[part])) > 20


def test_one_wrong_part_leaves_the_rest_known(editor):
    editor.change(
        training={**editor.draft()["training"], "learning_rate": "quick"}, method={"name": "lora", "rank": None}
    )
    found = editor.preflight()
    assert found.wrong == {"training", "method"} and list(found.problems) == ["recipe"]
    assert len(found.dataset.train) == 400 and found.shape.hidden and found.lengths is None and found.forecast is None
    editor.change(data={"source": "captain", "weight": "much"})
    assert editor.preflight().dataset is None and editor.preflight().shape


@pytest.mark.parametrize(
    "config",
    [
        [],
        {"hidden_size": "wide"},
        {"num_attention_heads": 0.5, "hidden_size": None},
        {"architectures": {}},
        {"vocab_size": "x"},
    ],
)
def test_the_outlook_survives_any_model_folder(editor, tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    header = json.dumps({"q_proj.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    editor.change(model={"name": str(tmp_path)})
    problems = editor.preflight().problems
    assert problems and "Traceback" not in " ".join(map(str, problems.values()))


def test_the_outlook_handles_unexpected_errors(editor, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(dataset_cache, "load", broken)
    monkeypatch.setattr(preflight, "read_shape", broken)
    problems = editor.preflight().problems
    assert problems.keys() == {"data", "model"} and all("by chance" in str(text) for text in problems.values())


def test_a_good_draft_starts(editor):
    run = editor.store.run(editor.start())
    assert run["state"] == "queued" and run["name"] and run["recipe"] == editor.draft()


# ---- data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, safe",
    [
        ("plain.jsonl", "plain.jsonl"),
        ("../../evil.jsonl", "evil.jsonl"),
        ("..\\..\\evil.jsonl", "evil.jsonl"),
        ("/etc/passwd", "passwd"),
        ("..", "upload"),
        ("", "upload"),
        (".jsonl", "upload.jsonl"),
        ("😀.csv", "upload.csv"),
        ("数据 1.csv", "数据 1.csv"),
        ('<b>"x"</b>.json', "b.json"),
        ("a\x00b\n.txt", "a_b.txt"),
        ("C:evil.txt", "C_evil.txt"),
        (".part", "upload.part"),
    ],
)
def test_upload_names(name, safe):
    assert upload_name(name) == safe


@pytest.mark.parametrize("name", ["a" * 500 + ".jsonl", "数" * 500 + ".jsonl", "." * 400, "a." + "b" * 400])
def test_long_upload_names_fit_on_a_disk(editor, tmp_path, name):
    kept = editor.import_file(rows(tmp_path / "given", *GOOD), name)
    assert len(os.fsencode(kept.name)) < 200 and kept.parent.parent == editor.home.uploads
    assert kept.name.endswith(".jsonl") == name.endswith(".jsonl")


def test_imported_files_stay_in_the_home_and_are_stored_once(editor, tmp_path):
    given = Path(rows(tmp_path / "given.jsonl", *GOOD))
    kept = editor.import_file(given, "../../evil.jsonl")
    assert kept.parent.parent == editor.home.uploads and kept.read_bytes() == given.read_bytes()
    assert editor.import_file(given, "evil.jsonl") == kept
    assert [path for path in editor.home.root.rglob("*evil*")] == [kept] and not list(tmp_path.glob("evil*"))


def test_a_refused_file_leaves_nothing_behind(editor, tmp_path):
    editor.change(name="as it was")
    before = editor.store.note("draft")
    (tmp_path / "empty.jsonl").touch()
    assert "empty.jsonl is empty" in refusal_of(editor.use_upload, tmp_path / "empty.jsonl")
    assert editor.store.note("draft") == before and list(editor.home.uploads.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(editor, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads.shutil, "copyfile", full)
    text = refusal_of(editor.use_upload, rows(tmp_path / "given.jsonl", *GOOD))
    assert "No space left on device" in text and "Free some disk space" in text
    assert list(editor.home.uploads.iterdir()) == [] and editor.draft()["data"]["source"] == "captain"


def test_what_was_taken_in_before_outlives_a_refusal(editor, tmp_path):
    given = rows(tmp_path / "given.jsonl", *GOOD)
    first = editor.use_upload(given)
    assert editor.use_upload(given, "again.jsonl") != first and first.exists()


def test_a_dataset_is_read_once_and_again_when_its_file_changes(editor, tmp_path, monkeypatch):
    path = Path(rows(tmp_path / "a.jsonl", *GOOD))
    validation = Path(rows(tmp_path / "b.jsonl", {"prompt": "Other?", "answer": "Yes."}))
    editor.use(str(path))
    editor.change(data={**editor.draft()["data"], "validation": str(validation)})
    first = editor.preflight().dataset
    assert editor.preflight().dataset is first
    rows(path, *GOOD, {"prompt": "One more?", "answer": "Yes, one."})
    os.utime(path, ns=(1, path.stat().st_mtime_ns))
    assert len(editor.preflight().dataset.train) == len(first.train) + 1
    rows(validation, {"prompt": "Other?", "answer": "Yes."}, {"prompt": "Another?", "answer": "No."})
    assert len(editor.preflight().dataset.validation) == 2
    path.unlink()
    assert "a.jsonl" in str(editor.preflight().problems["data"])


def test_many_that_ask_at_once_read_once(editor, monkeypatch):
    read, real = [], dataset_cache.load
    monkeypatch.setattr(dataset_cache, "load", lambda *args, **kwargs: read.append(1) or real(*args, **kwargs))
    threads = [threading.Thread(target=editor.preflight) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(read) == 1


# ---- which column plays which role ------------------------------------------------------------------------------

SWAPPED = {
    "shape": "prompt_completion",
    "roles": {"prompt": "answer", "completion": "prompt"},
    "system": None,
    "labels": [],
}


def test_the_task_follows_the_data(editor, tmp_path):
    (tmp_path / "prose.txt").write_text("One paragraph.\n\nAnother one.\n\nA third.\n")
    editor.use(str(tmp_path / "prose.txt"))
    assert editor.draft()["task"]["name"] == "text"
    editor.use(rows(tmp_path / "chat.jsonl", *GOOD))
    assert editor.draft()["task"]["name"] == "chat" and editor.preflight().problems == {}


def test_a_samples_run_name_is_not_used_for_other_data(editor, tmp_path):
    assert editor.draft()["name"] == "Captain"
    editor.use(rows(tmp_path / "chat.jsonl", *GOOD))
    assert editor.draft()["name"] == ""
    editor.change(name="Mine")
    editor.use(rows(tmp_path / "other.jsonl", *GOOD))
    assert editor.draft()["name"] == "Mine"


def test_a_mapping_is_offered_again_for_the_same_file(editor, tmp_path):
    path = rows(tmp_path / "a.jsonl", *GOOD)
    editor.use(path)
    editor.change_mapping(SWAPPED)
    editor.use("captain")
    assert editor.draft()["data"]["mapping"] is None
    DraftEditor(editor.home, editor.store).use(path)
    assert editor.draft()["data"]["mapping"] == SWAPPED
    editor.change_mapping(None)  # as proposed
    editor.use(path)
    assert editor.draft()["data"]["mapping"] is None


def test_a_mapping_that_does_not_fit_is_not_offered(editor, tmp_path):
    path = rows(tmp_path / "a.jsonl", *GOOD)
    editor.use(path)
    editor.change_mapping({**SWAPPED, "roles": {"prompt": "answer"}})  # unfinished: kept in the draft, not remembered
    assert "No column of a.jsonl is chosen for answer" in str(editor.preflight().problems["data"])
    editor.use(path)
    assert editor.draft()["data"]["mapping"] is None
    editor.change_mapping(SWAPPED)
    rows(
        Path(path), *[{"prompt": row["prompt"], "reply": row["answer"]} for row in GOOD]
    )  # another file of the same name
    editor.use(path)
    assert editor.draft()["data"]["mapping"] is None


def test_unrecognised_columns_are_reported_and_can_be_mapped(editor, tmp_path):
    (tmp_path / "odd.csv").write_text(
        "frage,antwort,rest\n" + "".join(f"Wer bist du {n}?,Ich bin {n}.,x{n}\n" for n in range(9))
    )
    editor.use(str(tmp_path / "odd.csv"))
    assert "Choose the shape and its columns yourself" in str(editor.preflight().problems["data"])
    editor.change_mapping({"shape": "prompt_completion", "roles": {"prompt": "frage", "completion": "antwort"}})
    assert len(editor.preflight().dataset.train) == 8


def test_column_roles_of_a_validation_file_are_remembered(editor, tmp_path):
    editor.use(rows(tmp_path / "a.jsonl", *GOOD))
    held = str(tmp_path / "h.csv")
    Path(held).write_text("frage,antwort,rest\n" + "".join(f"Wer bist du {n}?,Ich bin {n}.,x{n}\n" for n in range(9)))
    editor.split({"validation": held})
    assert (
        "h.csv has no column 'prompt' for prompt. Its columns are: frage, antwort, rest. Choose one of these."
        in str(editor.preflight().problems["data"])
    )
    assert [item["source"] for item in files_of(editor.draft())][1:] == [held]
    mapping = {
        "shape": "prompt_completion",
        "roles": {"prompt": "frage", "completion": "antwort"},
        "labels": [],
        "system": None,
    }
    editor.change_mapping(mapping, 1)
    assert len(editor.preflight().dataset.validation) == 9 and editor.lost_rows_with(mapping, 1) == ([], 9)
    editor.split({"validation": None})
    assert editor.draft()["data"]["validation_mapping"] is None
    editor.split({"validation": held})
    assert editor.draft()["data"]["validation_mapping"] == mapping


# ---- a column for each label ----------------------------------------------------------------------------------------


def test_columns_of_labels_switch_several_labels_on(editor):
    path = str(Path(__file__).resolve().parent.parent / "data_files" / "flags.csv")
    editor.use(path)
    editor.change(data={**editor.draft()["data"], "validation_fraction": 0.0})
    found = editor.preflight()
    assert found.problems == {} and (editor.draft()["task"]["name"], editor.draft()["task"]["multi_label"]) == (
        "classification",
        True,
    )
    assert found.report.labels == {"toxic": 4, "insult": 1}
    editor.choose_task("multitask")
    assert editor.preflight().problems == {} and [
        *editor.preflight().dataset.mapping.labels,
        editor.preflight().dataset.mapping.roles["label"],
    ] == ["toxic", "insult"]
    editor.choose_task("classification")
    assert editor.preflight().problems == {} and editor.draft()["task"]["multi_label"]
    editor.change_mapping({"shape": "label", "roles": {"text": "comment", "label": "toxic"}})
    editor.change(task={**editor.draft()["task"], "multi_label": False})
    editor.change_mapping({"shape": "label_columns", "roles": {"text": "comment"}, "labels": ["toxic", "threat"]})
    assert editor.draft()["task"]["multi_label"] and editor.preflight().problems == {}
    editor.use(str(Path(path).with_name("labels.csv")))
    assert not editor.draft()["task"]["multi_label"] and editor.preflight().problems == {}


def test_several_labels_in_a_cell_switch_several_labels_on(editor, tmp_path):
    path = tmp_path / "a.csv"
    labels = ["late", "late|damaged", "damaged", "", "rude|late", "rude"] * 5
    path.write_text(
        "text,labels,topic\n"
        + "".join(f"The letter number {n} came.,{label},{'ab'[n % 2]}\n" for n, label in enumerate(labels))
    )
    editor.use(str(path))
    editor.change(data={**editor.draft()["data"], "validation_fraction": 0.0})
    task, found = editor.draft()["task"], editor.preflight()
    assert (task["name"], task["multi_label"], task["separator"]) == (
        "classification",
        True,
        "|",
    ) and found.problems == {}
    assert found.dataset.counts.rows == found.dataset.counts.used == 30  # an empty cell is none of the labels
    assert found.report.labels == {"late": 15, "damaged": 10, "rude": 10} and "imbalance" not in {
        item.kind for item in found.report.findings
    }
    editor.change(task={**task, "multi_label": False})
    off = editor.preflight()
    assert off.dataset.counts.skipped == {"empty": 5} and "rude|late" in off.report.labels
    roles = {"text": "text", "label": "labels"}
    editor.change_mapping({"shape": "label", "roles": roles})
    assert not editor.draft()["task"]["multi_label"]  # the person's own choice stays
    assert editor.lost_rows_with({"shape": "label", "roles": roles}) == ([5, 11, 17, 23, 29], 30)
    editor.change(task={**task, "multi_label": True})
    assert editor.lost_rows_with({"shape": "label", "roles": roles}) == ([], 30)
    editor.change_mapping({"shape": "label", "roles": {**roles, "label": "topic"}})
    assert not editor.draft()["task"]["multi_label"] and editor.preflight().report.labels == {"a": 15, "b": 15}
    editor.change_mapping({"shape": "label", "roles": roles})
    assert editor.draft()["task"]["multi_label"] and editor.preflight().problems == {}
    editor.use(str(path))  # the remembered columns say the same
    assert editor.draft()["data"]["mapping"] and editor.draft()["task"]["multi_label"]


def test_one_label_column_and_unlabelled_rows_can_be_trained_on(editor, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,rude,loud\n" + "".join(f"A remark with the number {n},{n % 2},0\n" for n in range(12)))
    editor.use(str(path))
    assert editor.preflight().report.blocking is None and editor.preflight().report.labels.keys() == {"rude"}


def test_too_many_virtual_tokens_are_refused_before_the_run(editor):
    """Of the starter, which reckons places, rows alone may be longer than it reads; LongLoRA reads on."""
    context = editor.preflight().shape.context
    editor.change(method={"name": "prompt_tuning", "virtual_tokens": context})
    assert "virtual tokens and rows of up to" in str(editor.preflight().problems["method"])
    assert "set Virtual tokens to" in refusal_of(editor.start)
    editor.change(method={"name": "prompt_tuning", "virtual_tokens": 20})
    assert editor.preflight().problems == {}
