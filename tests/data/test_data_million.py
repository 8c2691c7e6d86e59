"""Many rows, a million in the full sweep, of each of two formats: every row is counted, and memory stays bounded. How
long it takes is `benchmarks/data.py`'s to say."""

import sys
from pathlib import Path

import psutil
import pytest

from studio.data.dataset import DataSpec
from studio.data.process import Reading

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from data import make  # noqa: E402

from tests.sampling import how_many, sampled

GIGABYTE = 10**9
ROWS = how_many(1_000_000, sample=300_000)
PEAK = how_many(GIGABYTE, sample=400 * 10**6)  # as Python objects, the rows of the sample would be more


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", sampled(["jsonl", "csv"], {"jsonl"}))
def test_many_rows_are_read_in_bounded_memory(tmp_path, kind):
    path = make(tmp_path, kind, ROWS)
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
            path.stat().st_size > 400 * ROWS and 0 < peak < PEAK and psutil.Process().memory_info().rss < 2 * GIGABYTE
        )
        assert (dataset.counts.rows, dataset.counts.used, dataset.counts.skipped) == (
            ROWS,
            ROWS - ROWS // 10_000,
            {"empty": ROWS // 10_000},
        )
        assert (
            len(dataset.train) + len(dataset.validation) == dataset.counts.used and dataset.train[-1].value["messages"]
        )
        assert report.counts == dataset.counts and len(seen) > ROWS // 50_000  # progress was told
    finally:
        path.unlink()
