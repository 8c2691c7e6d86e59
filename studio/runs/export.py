"""Runs in files: every row of their metrics as it is stored, and the table of a comparison as CSV or JSON."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from studio.home import REPOSITORY, Home
from studio.runs.comparison import Comparison
from studio.runs.curves import RunCurves, parsed
from studio.store import Store
from studio.words import StudioError

_ROWS = 20_000  # read at a time, so that a long run needs little memory
_FIXED = ("run", "name", "step", "time")


def metrics_csv(home: Home, store: Store, run_ids: Iterable[str]) -> Iterator[str]:
    """All rows of the runs' metrics as portions of a CSV file, in the order in which they were written.

    Columns: run, name, step, time (seconds since 1970), then every metric; numbers in full precision, an empty field
    where a row lacks the metric.
    """
    runs = [run for run_id in run_ids if (run := store.run(run_id))]
    keys: dict[str, None] = {}
    for run in runs:
        read = RunCurves(home, store, run["id"])
        read.read()
        keys |= dict.fromkeys(read.keys)
    yield _lines([[*_FIXED, *keys]])
    sql = 'SELECT id, step, time, "values" FROM metrics WHERE run_id=? AND id>? ORDER BY id LIMIT ?'
    for run in runs:
        after = 0
        while rows := store.raw(sql, run["id"], after, _ROWS):
            after = rows[-1][0]
            values = [parsed(row[3]) for row in rows]
            yield _lines(
                [run["id"], run["name"], row[1], row[2], *(each.get(key, "") for key in keys)]
                for row, each in zip(rows, values, strict=True)
            )


def write_metrics(home: Home, run_ids: list[str], path: Path) -> None:
    """Write the file of `metrics_csv` in a process of its own, so that a window stays responsive meanwhile.

    Raises StudioError if that fails.
    """
    command = [sys.executable, "-m", "studio.runs.export", str(home.root), str(path), *run_ids]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        detail = (done.stderr.strip().splitlines() or [str(done.returncode)])[-1]
        raise StudioError(
            "The rows could not be written ({detail}). Make room on the disk and try again.", detail=detail
        )


def table_csv(found: Comparison) -> str:
    """A comparison as CSV: a line for each run, in the order of their rank."""
    results = [(key, *(f"{key} {edge}" for edge in ("low", "high")), f"base {key}") for key in found.results]
    lines = [
        [
            "rank",
            "run",
            "name",
            "state",
            "tags",
            *(column for columns in results for column in columns),
            *map(_dotted, found.recipe),
        ]
    ]
    for at, (run, name, rank) in enumerate(zip(found.runs, found.names, found.ranks, strict=True)):
        measured = [metrics[at] for metrics in found.results.values()]
        figures = [part for each in measured for part in (each.value, *(each.interval or (None, None)), each.base)]
        values = [values[at] for values in found.recipe.values()]
        lines.append([rank, run["id"], name, run["state"], ", ".join(run["tags"]), *figures, *values])
    return _lines(lines)


def as_dict(found: Comparison) -> dict:
    """A comparison as plain values for JSON: the runs in the order of their rank, and the means over seeds."""
    runs = [
        {
            "rank": rank,
            "id": run["id"],
            "name": name,
            "state": run["state"],
            "tags": run["tags"],
            "results": {key: vars(metrics[at]) for key, metrics in found.results.items()},
            "recipe": {_dotted(option): values[at] for option, values in found.recipe.items()},
        }
        for at, (run, name, rank) in enumerate(zip(found.runs, found.names, found.ranks, strict=True))
    ]
    groups = [
        {
            "runs": list(group.runs),
            "recipe": {_dotted(option): value for option, value in group.recipe.items()},
            "means": {key: vars(mean) for key, mean in group.means.items()},
        }
        for group in found.groups
    ]
    return {"ranked_by": found.by, "runs": runs, "groups": groups}


def _dotted(option: tuple[str, str]) -> str:
    return ".".join(option).strip(".")


def _lines(rows: Iterable[Iterable]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def main(home_folder: str, path: str, *run_ids: str) -> None:
    """Write `metrics_csv` to a file, with the mark by which spreadsheets know UTF-8."""
    home = Home(home_folder)
    with open(path, "w", encoding="utf-8-sig", errors="replace", newline="") as file:
        file.writelines(metrics_csv(home, Store(home.database), run_ids))


if __name__ == "__main__":
    main(*sys.argv[1:])
