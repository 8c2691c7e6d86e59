"""The desk: what was typed stays, what can be mended is said, and what was given stays inside the studio's folder."""

import json
import os
import threading
from pathlib import Path

import pytest

from studio import uploads
from studio.desk import Desk, files_of, outlook, readings
from studio.home import Home
from studio.jobs import client
from studio.methods import METHODS
from studio.store import Store
from studio.uploads import upload_name
from studio.words import StudioError

GOOD = [{"prompt": f"Question {number}?", "answer": f"Answer {number}."} for number in range(8)]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    home = Home(tmp_path / "home")
    return Desk(home, Store(home.database))


def rows(path: Path, *items: dict) -> str:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return str(path)


def refusal_of(action, *args) -> str:
    with pytest.raises(StudioError) as caught:
        action(*args)
    return str(caught.value)


# ---- the draft --------------------------------------------------------------------------------------------------


def test_a_new_draft_uses_the_first_sample(desk):
    assert desk.outlook().recipe.data.source == "captain"
    assert desk.outlook().problems == {}


def test_wrong_values_stay_as_they_were_typed(desk):
    training = {**desk.draft()["training"], "learning_rate": "quick", "epochs": 2}
    desk.change(training=training)
    again = Desk(desk.home, desk.store)
    assert again.draft()["training"] == training
    assert "Learning rate must be a number, but is 'quick'." in str(again.outlook().problems["recipe"])
    again.change(name="other")  # nor does a change elsewhere lose it
    assert again.draft()["training"] == training and again.draft()["name"] == "other"


def test_a_method_brings_its_learning_rate_unless_the_person_set_one(desk):
    desk.choose_method("lora")
    desk.change(training={**desk.draft()["training"], "learning_rate": METHODS["lora"].learning_rate})
    assert desk.choose_method("full")["training"]["learning_rate"] == METHODS["full"].learning_rate
    desk.change(training={**desk.draft()["training"], "learning_rate": 0.123})
    assert desk.choose_method("lora")["training"]["learning_rate"] == 0.123


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
def test_the_outlook_and_start_report_the_same_problem(desk, parts, part):
    desk.change(**parts)
    found = desk.outlook()
    assert list(found.problems) == [part]
    assert refusal_of(desk.start) == str(found.problems[part])
    assert desk.store.runs() == [] and len(str(found.problems[part])) > 20


def test_one_wrong_part_leaves_the_rest_known(desk):
    desk.change(training={**desk.draft()["training"], "learning_rate": "quick"}, method={"name": "lora", "rank": None})
    found = desk.outlook()
    assert found.wrong == {"training", "method"} and list(found.problems) == ["recipe"]
    assert len(found.dataset.train) == 400 and found.shape.hidden and found.lengths is None and found.forecast is None
    desk.change(data={"source": "captain", "weight": "much"})
    assert desk.outlook().dataset is None and desk.outlook().shape


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
def test_the_outlook_survives_any_model_folder(desk, tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    header = json.dumps({"q_proj.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    desk.change(model={"name": str(tmp_path)})
    problems = desk.outlook().problems
    assert problems and "Traceback" not in " ".join(map(str, problems.values()))


def test_the_outlook_handles_unexpected_errors(desk, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(readings, "load", broken)
    monkeypatch.setattr(outlook, "read_shape", broken)
    problems = desk.outlook().problems
    assert problems.keys() == {"data", "model"} and all("by chance" in str(text) for text in problems.values())


def test_a_good_draft_starts(desk):
    run = desk.store.run(desk.start())
    assert run["state"] == "queued" and run["name"] and run["recipe"] == desk.draft()


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
def test_long_upload_names_fit_on_a_disk(desk, tmp_path, name):
    kept = desk.import_file(rows(tmp_path / "given", *GOOD), name)
    assert len(os.fsencode(kept.name)) < 200 and kept.parent.parent == desk.home.uploads
    assert kept.name.endswith(".jsonl") == name.endswith(".jsonl")


def test_imported_files_stay_in_the_home_and_are_stored_once(desk, tmp_path):
    given = Path(rows(tmp_path / "given.jsonl", *GOOD))
    kept = desk.import_file(given, "../../evil.jsonl")
    assert kept.parent.parent == desk.home.uploads and kept.read_bytes() == given.read_bytes()
    assert desk.import_file(given, "evil.jsonl") == kept
    assert [path for path in desk.home.root.rglob("*evil*")] == [kept] and not list(tmp_path.glob("evil*"))


def test_a_refused_file_leaves_nothing_behind(desk, tmp_path):
    desk.change(name="as it was")
    before = desk.store.note("draft")
    (tmp_path / "empty.jsonl").touch()
    assert "empty.jsonl is empty" in refusal_of(desk.use_upload, tmp_path / "empty.jsonl")
    assert desk.store.note("draft") == before and list(desk.home.uploads.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(desk, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads.shutil, "copyfile", full)
    text = refusal_of(desk.use_upload, rows(tmp_path / "given.jsonl", *GOOD))
    assert "No space left on device" in text and "Free some disk space" in text
    assert list(desk.home.uploads.iterdir()) == [] and desk.draft()["data"]["source"] == "captain"


def test_what_was_taken_in_before_outlives_a_refusal(desk, tmp_path):
    given = rows(tmp_path / "given.jsonl", *GOOD)
    first = desk.use_upload(given)
    assert desk.use_upload(given, "again.jsonl") != first and first.exists()


def test_a_dataset_is_read_once_and_again_when_its_file_changes(desk, tmp_path, monkeypatch):
    path = Path(rows(tmp_path / "a.jsonl", *GOOD))
    validation = Path(rows(tmp_path / "b.jsonl", {"prompt": "Other?", "answer": "Yes."}))
    desk.use(str(path))
    desk.change(data={**desk.draft()["data"], "validation": str(validation)})
    first = desk.outlook().dataset
    assert desk.outlook().dataset is first
    rows(path, *GOOD, {"prompt": "One more?", "answer": "Yes, one."})
    os.utime(path, ns=(1, path.stat().st_mtime_ns))
    assert len(desk.outlook().dataset.train) == len(first.train) + 1
    rows(validation, {"prompt": "Other?", "answer": "Yes."}, {"prompt": "Another?", "answer": "No."})
    assert len(desk.outlook().dataset.validation) == 2
    path.unlink()
    assert "a.jsonl" in str(desk.outlook().problems["data"])


def test_many_that_ask_at_once_read_once(desk, monkeypatch):
    read, real = [], readings.load
    monkeypatch.setattr(readings, "load", lambda *args, **kwargs: read.append(1) or real(*args, **kwargs))
    threads = [threading.Thread(target=desk.outlook) for _ in range(6)]
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


def test_the_task_follows_the_data(desk, tmp_path):
    (tmp_path / "prose.txt").write_text("One paragraph.\n\nAnother one.\n\nA third.\n")
    desk.use(str(tmp_path / "prose.txt"))
    assert desk.draft()["task"]["name"] == "text"
    desk.use(rows(tmp_path / "chat.jsonl", *GOOD))
    assert desk.draft()["task"]["name"] == "chat" and desk.outlook().problems == {}


def test_a_samples_run_name_is_not_used_for_other_data(desk, tmp_path):
    assert desk.draft()["name"] == "Captain"
    desk.use(rows(tmp_path / "chat.jsonl", *GOOD))
    assert desk.draft()["name"] == ""
    desk.change(name="Mine")
    desk.use(rows(tmp_path / "other.jsonl", *GOOD))
    assert desk.draft()["name"] == "Mine"


def test_a_mapping_is_offered_again_for_the_same_file(desk, tmp_path):
    path = rows(tmp_path / "a.jsonl", *GOOD)
    desk.use(path)
    desk.change_mapping(SWAPPED)
    desk.use("captain")
    assert desk.draft()["data"]["mapping"] is None
    Desk(desk.home, desk.store).use(path)
    assert desk.draft()["data"]["mapping"] == SWAPPED
    desk.change_mapping(None)  # as proposed
    desk.use(path)
    assert desk.draft()["data"]["mapping"] is None


def test_a_mapping_that_does_not_fit_is_not_offered(desk, tmp_path):
    path = rows(tmp_path / "a.jsonl", *GOOD)
    desk.use(path)
    desk.change_mapping({**SWAPPED, "roles": {"prompt": "answer"}})  # unfinished: kept in the draft, not remembered
    assert "No column of a.jsonl is chosen for answer" in str(desk.outlook().problems["data"])
    desk.use(path)
    assert desk.draft()["data"]["mapping"] is None
    desk.change_mapping(SWAPPED)
    rows(
        Path(path), *[{"prompt": row["prompt"], "reply": row["answer"]} for row in GOOD]
    )  # another file of the same name
    desk.use(path)
    assert desk.draft()["data"]["mapping"] is None


def test_unrecognised_columns_are_reported_and_can_be_mapped(desk, tmp_path):
    (tmp_path / "odd.csv").write_text(
        "frage,antwort,rest\n" + "".join(f"Wer bist du {n}?,Ich bin {n}.,x{n}\n" for n in range(9))
    )
    desk.use(str(tmp_path / "odd.csv"))
    assert "Choose the shape and its columns yourself" in str(desk.outlook().problems["data"])
    desk.change_mapping({"shape": "prompt_completion", "roles": {"prompt": "frage", "completion": "antwort"}})
    assert len(desk.outlook().dataset.train) == 8


def test_column_roles_of_a_validation_file_are_remembered(desk, tmp_path):
    desk.use(rows(tmp_path / "a.jsonl", *GOOD))
    held = str(tmp_path / "h.csv")
    Path(held).write_text("frage,antwort,rest\n" + "".join(f"Wer bist du {n}?,Ich bin {n}.,x{n}\n" for n in range(9)))
    desk.split({"validation": held})
    assert (
        "h.csv has no column 'prompt' for prompt. Its columns are: frage, antwort, rest. Choose one of these."
        in str(desk.outlook().problems["data"])
    )
    assert [item["source"] for item in files_of(desk.draft())][1:] == [held]
    mapping = {
        "shape": "prompt_completion",
        "roles": {"prompt": "frage", "completion": "antwort"},
        "labels": [],
        "system": None,
    }
    desk.change_mapping(mapping, 1)
    assert len(desk.outlook().dataset.validation) == 9 and desk.lost_rows_with(mapping, 1) == ([], 9)
    desk.split({"validation": None})
    assert desk.draft()["data"]["validation_mapping"] is None
    desk.split({"validation": held})
    assert desk.draft()["data"]["validation_mapping"] == mapping


# ---- a column for each label ----------------------------------------------------------------------------------------


def test_columns_of_labels_switch_several_labels_on(desk):
    path = str(Path(__file__).resolve().parent.parent / "data_files" / "flags.csv")
    desk.use(path)
    desk.change(data={**desk.draft()["data"], "validation_fraction": 0.0})
    found = desk.outlook()
    assert found.problems == {} and (desk.draft()["task"]["name"], desk.draft()["task"]["multi_label"]) == (
        "classification",
        True,
    )
    assert found.report.labels == {"toxic": 4, "insult": 1}
    desk.choose_task("multitask")
    assert desk.outlook().problems == {} and [
        *desk.outlook().dataset.mapping.labels,
        desk.outlook().dataset.mapping.roles["label"],
    ] == ["toxic", "insult"]
    desk.choose_task("classification")
    assert desk.outlook().problems == {} and desk.draft()["task"]["multi_label"]
    desk.change_mapping({"shape": "label", "roles": {"text": "comment", "label": "toxic"}})
    desk.change(task={**desk.draft()["task"], "multi_label": False})
    desk.change_mapping({"shape": "label_columns", "roles": {"text": "comment"}, "labels": ["toxic", "threat"]})
    assert desk.draft()["task"]["multi_label"] and desk.outlook().problems == {}
    desk.use(str(Path(path).with_name("labels.csv")))
    assert not desk.draft()["task"]["multi_label"] and desk.outlook().problems == {}


def test_several_labels_in_a_cell_switch_several_labels_on(desk, tmp_path):
    path = tmp_path / "a.csv"
    labels = ["late", "late|damaged", "damaged", "", "rude|late", "rude"] * 5
    path.write_text(
        "text,labels,topic\n"
        + "".join(f"The letter number {n} came.,{label},{'ab'[n % 2]}\n" for n, label in enumerate(labels))
    )
    desk.use(str(path))
    desk.change(data={**desk.draft()["data"], "validation_fraction": 0.0})
    task, found = desk.draft()["task"], desk.outlook()
    assert (task["name"], task["multi_label"], task["separator"]) == (
        "classification",
        True,
        "|",
    ) and found.problems == {}
    assert found.dataset.counts.rows == found.dataset.counts.used == 30  # an empty cell is none of the labels
    assert found.report.labels == {"late": 15, "damaged": 10, "rude": 10} and "imbalance" not in {
        item.kind for item in found.report.findings
    }
    desk.change(task={**task, "multi_label": False})
    off = desk.outlook()
    assert off.dataset.counts.skipped == {"empty": 5} and "rude|late" in off.report.labels
    roles = {"text": "text", "label": "labels"}
    desk.change_mapping({"shape": "label", "roles": roles})
    assert not desk.draft()["task"]["multi_label"]  # the person's own choice stays
    assert desk.lost_rows_with({"shape": "label", "roles": roles}) == ([5, 11, 17, 23, 29], 30)
    desk.change(task={**task, "multi_label": True})
    assert desk.lost_rows_with({"shape": "label", "roles": roles}) == ([], 30)
    desk.change_mapping({"shape": "label", "roles": {**roles, "label": "topic"}})
    assert not desk.draft()["task"]["multi_label"] and desk.outlook().report.labels == {"a": 15, "b": 15}
    desk.change_mapping({"shape": "label", "roles": roles})
    assert desk.draft()["task"]["multi_label"] and desk.outlook().problems == {}
    desk.use(str(path))  # the remembered columns say the same
    assert desk.draft()["data"]["mapping"] and desk.draft()["task"]["multi_label"]


def test_one_label_column_and_unlabelled_rows_can_be_trained_on(desk, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,rude,loud\n" + "".join(f"A remark with the number {n},{n % 2},0\n" for n in range(12)))
    desk.use(str(path))
    assert desk.outlook().report.blocking is None and desk.outlook().report.labels.keys() == {"rude"}


def test_too_many_virtual_tokens_are_refused_before_the_run(desk):
    """Of the starter, which reckons places, rows alone may be longer than it reads; LongLoRA reads on."""
    context = desk.outlook().shape.context
    desk.change(method={"name": "prompt_tuning", "virtual_tokens": context})
    assert "virtual tokens and rows of up to" in str(desk.outlook().problems["method"])
    assert "set Virtual tokens to" in refusal_of(desk.start)
    desk.change(method={"name": "prompt_tuning", "virtual_tokens": 20})
    assert desk.outlook().problems == {}
