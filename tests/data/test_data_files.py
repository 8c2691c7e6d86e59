"""Every file in tests/data_files is read as `data_expected.py` says, or refused with the sentence that stands there."""

import re
from pathlib import Path

import pytest

from studio.data.dataset import DataSpec, load
from studio.data.read import open_source
from studio.data.shape import propose
from studio.words import StudioError
from tests.data.data_expected import READINGS, SENTENCES

FILES = Path(__file__).resolve().parent.parent / "data_files"
WANTS = {
    "label": "label",
    "label_columns": "label",
    "text": "text",
    "preference": "preference",
    "ranked": "preference",
    "unpaired": "unpaired",
}


def test_every_file_has_its_expectation():
    assert {path.name for path in FILES.iterdir()} == READINGS.keys() | SENTENCES.keys()
    assert len(READINGS) + len(SENTENCES) >= 60


@pytest.mark.parametrize("name", READINGS)
def test_reading(name):
    expected = READINGS[name]
    source = open_source(FILES / name)
    proposal = propose(source)
    assert (source.format, source.encoding, proposal.mapping.shape) == (
        expected.format,
        expected.encoding,
        expected.shape,
    )
    dataset = load(DataSpec(source=str(FILES / name)), WANTS.get(expected.shape, "messages"))
    assert (dataset.counts.rows, dataset.counts.used) == (expected.rows, expected.used)
    assert dict(dataset.problems.errors) == dataset.counts.skipped == expected.errors
    assert {
        kind: count for kind, count in dataset.problems.warnings.items() if kind != "validation"
    } == expected.warnings
    assert dataset.counts.rows == dataset.counts.used + sum(dataset.counts.skipped.values())
    assert len(dataset.train) + len(dataset.validation) == dataset.counts.used


@pytest.mark.parametrize("name", SENTENCES)
def test_refused_files_have_the_expected_error(name):
    with pytest.raises(StudioError) as caught:
        load(DataSpec(source=str(FILES / name)), "messages")
    text = re.sub(r"cannot be read \(.*\)\. Save", "cannot be read (…). Save", str(caught.value), flags=re.DOTALL)
    assert text == SENTENCES[name]
    assert caught.value.sentence.say("zh") != str(caught.value)
