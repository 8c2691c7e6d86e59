"""The sample files are what their script writes, and no validation row is trained on."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"
ROWS = {
    "captain.jsonl": (400, 80),
    "tickets.csv": (400, 90),
    "letters.csv": (500, 100),
    "extract.json": (400, 80),
    "preferences.jsonl": (300, 60),
    "notes.txt": (320, 60),
}


def read(path: Path) -> list:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return path.read_text(encoding="utf-8").strip().split("\n\n")


def question(row) -> str:
    """The part of a row that must not occur in both training and validation rows."""
    if isinstance(row, str):
        return row
    if "messages" in row:
        return row["messages"][0]["content"]
    return next(row[key] for key in ("text", "input", "prompt") if key in row)


def test_the_script_writes_the_same_bytes(tmp_path):
    subprocess.run([sys.executable, SAMPLES / "make.py", tmp_path], check=True)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(written) == 12
    for name, content in written.items():
        assert content == (SAMPLES / name).read_bytes(), f"{name} differs from what assets/samples/make.py writes"


@pytest.mark.parametrize("name", ROWS)
def test_validation_rows_are_not_trained_on(name):
    path = SAMPLES / name
    train, validation = read(path), read(path.with_name(f"{path.stem}.validation{path.suffix}"))
    assert (len(train), len(validation)) == ROWS[name]
    asked = [question(row) for row in train]
    assert not set(asked) & {question(row) for row in validation}
    assert len(set(asked)) == len(asked)


def test_every_ticket_label_is_in_both_parts():
    train, validation = (
        {row["label"] for row in read(SAMPLES / name)} for name in ("tickets.csv", "tickets.validation.csv")
    )
    assert train == validation == {"billing", "shipping", "login", "fault", "refund", "praise"}


def test_every_letter_has_a_department_and_nearly_every_one_its_urgency():
    train, validation = read(SAMPLES / "letters.csv"), read(SAMPLES / "letters.validation.csv")
    assert (
        {row["department"] for row in train}
        == {row["department"] for row in validation}
        == {"billing", "shipping", "login", "fault", "refund", "praise"}
    )
    assert (
        {row["urgency"] for row in validation} == {"high", "normal", "low"} == {row["urgency"] for row in train} - {""}
    )
    assert 30 <= sum(row["urgency"] == "" for row in train) <= 70


def test_every_extract_output_is_json_found_in_its_input():
    for row in read(SAMPLES / "extract.json"):
        facts = json.loads(row["output"])
        assert list(facts) == ["customer", "item", "quantity", "price", "day"]
        assert all(str(value) in row["input"] for value in facts.values())


def test_the_leaves_are_what_their_script_draws(tmp_path):
    """Pixel by pixel as far as Pillow's JPEG decoder goes: another build of it may pack other bytes."""
    import numpy as np

    from studio.data.dataset import DataSpec, load
    from studio.data.pictures import open_picture

    subprocess.run([sys.executable, SAMPLES / "leaves.py", tmp_path], check=True)
    shipped, drawn = (
        load(
            DataSpec(source=str(folder / "leaves.zip"), validation=str(folder / "leaves.validation.zip")), want="image"
        )
        for folder in (SAMPLES, tmp_path)
    )
    assert (len(shipped.train), len(shipped.validation)) == (200, 80) and shipped.counts.skipped == {}
    for first, second in zip([*shipped.train][::20], [*drawn.train][::20], strict=True):
        assert first.value["label"] == second.value["label"]
        pixels = [np.asarray(open_picture(record.value["image"]), dtype=int) for record in (first, second)]
        assert abs(pixels[0] - pixels[1]).max() <= 8
