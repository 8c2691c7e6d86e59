"""Files damaged at random, 2,000 in the full sweep, give a reading or a sentence, never another error; no row is lost
in silence."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.data.dataset import DataSpec, load
from studio.data.read import open_source
from studio.data.report import report
from studio.data.shape import propose
from studio.words import StudioError
from tests.sampling import how_many

HERE = Path(__file__).resolve().parent
WHOLE = [*(HERE.parent / "data_files").iterdir(), *HERE.glob("cases/*/input.*")]
FILES = sorted(path for path in WHOLE if path.stat().st_size < 40_000)
WANTS = {"label": "label", "text": "text", "preference": "preference", "ranked": "preference", "unpaired": "unpaired"}
_bytes = st.binary(min_size=1, max_size=6) | st.sampled_from(
    [b'"', b"\n", b"{", b"}", b"]", b",", b"\\", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r"]
)
_damage = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "insert", "repeat", "cut"]), st.floats(0, 1), st.integers(1, 40), _bytes
    ),
    min_size=1,
    max_size=4,
)


def damaged(data: bytes, steps: list) -> bytes:
    for what, where, size, extra in steps:
        at = int(where * len(data))
        if what == "flip":
            data = data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 1]) + data[at + 1 :]
        elif what == "delete":
            data = data[:at] + data[at + size :]
        elif what == "insert":
            data = data[:at] + extra + data[at:]
        elif what == "repeat":
            data = data[: at + size] + data[at:]
        else:
            data = data[:at]
    return data


@pytest.mark.slow
@settings(
    max_examples=how_many(2000, sample=500),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(file=st.sampled_from(FILES), steps=_damage)
def test_a_damaged_file_is_read_or_refused_with_an_error(tmp_path, file, steps):
    path = tmp_path / file.name
    path.write_bytes(damaged(file.read_bytes(), steps))
    try:
        source = open_source(path)
        yielded = sum(1 for _ in source.rows())
        check_rows(source, path, yielded)
        mapping = propose(source).mapping
        dataset = load(DataSpec(source=str(path), mapping=mapping), WANTS.get(mapping.shape, "messages"))
    except StudioError as error:
        assert len(str(error)) > 20
        error.sentence.say("zh")
        return
    assert (
        dataset.counts.rows
        == dataset.counts.used + sum(dataset.counts.skipped.values())
        == yielded + source.problems.rows
    )
    assert len(dataset.train) + len(dataset.validation) == dataset.counts.used
    for finding in report(dataset).findings:
        assert str(finding.sentence)


def check_rows(source, path, yielded):
    """Counts the rows of line formats a second way, without the reader."""
    if source.format == "jsonl" and source.encoding == "utf-8":
        found = [line for line in re.split(b"\r\n|\r|\n", path.read_bytes()) if line.decode("utf-8", "replace").strip()]
        assert yielded + source.problems.rows == len(found)
