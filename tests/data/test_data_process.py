"""Reading in another process: the same dataset, progress on the way, errors as sentences, and an end at any time."""

import json
import time

import numpy as np
import pytest

from studio.data import process
from studio.data.dataset import DataSpec, load
from studio.data.report import report
from studio.words import StudioError


def write(path, count):
    path.write_text(
        "".join(
            json.dumps({"prompt": f"Say the number {n}, please", "completion": f"It is {n}"}) + "\n"
            for n in range(count)
        )
        + "{\n"
    )
    return DataSpec(source=str(path))


def test_the_subprocess_returns_the_same_dataset(tmp_path):
    spec = write(tmp_path / "a.jsonl", 12_000)
    reading = process.Reading(spec, "messages")
    (there, text), here = reading.result(60), load(spec)
    assert (
        reading.done
        and reading.rows == 12_001
        and there.counts == here.counts
        and there.counts.skipped == {"broken": 1}
    )
    assert (
        np.array_equal(there.train.indices, here.train.indices)
        and there.train[5] == here.train[5]
        and there.validation[-1] == here.validation[-1]
    )
    assert text == report(there) == report(here)


def test_labels_are_the_same_from_the_subprocess(tmp_path):
    """Several in one cell, none, and in the spelling that most rows have."""
    path = tmp_path / "a.csv"
    path.write_text(
        "text,label\n"
        + "".join(f"The letter {n},{label}\n" for n, label in enumerate(["Late;rude", "late", "late", "rude", ""] * 4))
    )
    spec = DataSpec(source=str(path), remedies={"spelling": "merge"})
    (there, text), here = process.Reading(spec, "label", ";").result(60), load(spec, "label", separator=";")
    assert (
        list(there.train) == list(here.train)
        and text == report(here)
        and text.labels.keys() == {"late", "rude"}
        and text.counts.used == 20
    )


def test_errors_of_the_subprocess_keep_their_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "", "completion": "x"}\n')
    with pytest.raises(StudioError) as caught:
        process.Reading(DataSpec(source=str(path)), "messages").result(60)
    with pytest.raises(StudioError) as here:
        load(DataSpec(source=str(path)))
    assert caught.value.sentence.say("zh") == here.value.sentence.say("zh")


def test_reading_can_be_stopped(tmp_path):
    reading = process.Reading(write(tmp_path / "a.jsonl", 300_000), "messages")
    end = time.monotonic() + 60
    while not reading.rows and time.monotonic() < end:
        time.sleep(0.02)
    reading.stop()
    with pytest.raises(StudioError, match="Reading the data was stopped"):
        reading.result(20)
    assert 0 < reading.rows < 300_000 and reading.done


def test_what_is_large(tmp_path, monkeypatch):
    spec = write(tmp_path / "a.jsonl", 10)
    assert (
        not process.is_large(spec)
        and process.is_large(DataSpec(source="hub:a/b"))
        and not process.is_large(DataSpec(source="no such file"))
    )
    monkeypatch.setattr(process, "LARGE", 100)
    assert process.is_large(spec)
