"""A million rows of each of two formats: every row is counted, and memory stays bounded. How long it takes is
`benchmarks/data.py`'s to say."""

import sys
from pathlib import Path

import psutil
import pytest

from studio.data.dataset import DataSpec
from studio.data.process import Reading

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from data import ROWS, make  # noqa: E402

from tests.sampling import sampled

GIGABYTE = 10**9


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", sampled(["jsonl", "csv"], {"jsonl"}))
def test_a_million_rows(tmp_path, kind):
    path = make(tmp_path, kind)
    try:
        reading = Reading(DataSpec(source=str(path)), "messages")
        process, peak, seen = psutil.Process(reading._process.pid), 0, set()
        while not reading.done:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.Error:
                break
            seen.add(reading.rows)
            reading._thread.join(0.05)
        dataset, report = reading.result()
        assert (
            path.stat().st_size > 0.4 * GIGABYTE
            and 0 < peak < GIGABYTE
            and psutil.Process().memory_info().rss < 2 * GIGABYTE
        )
        assert (dataset.counts.rows, dataset.counts.used, dataset.counts.skipped) == (ROWS, ROWS - 100, {"empty": 100})
        assert (
            len(dataset.train) + len(dataset.validation) == dataset.counts.used and dataset.train[-1].value["messages"]
        )
        assert report.counts == dataset.counts and len(seen) > 20  # progress was told
    finally:
        path.unlink()
