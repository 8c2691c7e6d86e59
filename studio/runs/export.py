"""Runs in files: every row of their metrics as it is stored, and the table of a comparison as CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from studio.runs.comparison import Comparison
from studio.store import Store

_ROWS = 20_000  # read at a time, so that a long run needs little memory
_FIXED = ("run", "name", "step", "time")


def metrics_csv(store: Store, run_ids: Iterable[str]) -> Iterator[str]:
    """All rows of the runs' metrics as portions of a CSV file, in the order in which they were written.

    Columns: run, name, step, time (seconds since 1970), then every metric; numbers in full precision, an empty field
    where a row lacks the metric.
    """
    runs = [run for run_id in run_ids if (run := store.run(run_id))]
    keys = _keys(store, [run["id"] for run in runs])
    yield _lines([[*_FIXED, *keys]])
    for run in runs:
        after = 0
        while rows := store.metrics(run["id"], after, _ROWS):
            after = rows[-1]["id"]
            yield _lines(
                [run["id"], run["name"], row["step"], row["time"], *(row["values"].get(key, "") for key in keys)]
                for row in rows
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


def _keys(store: Store, run_ids: list[str]) -> list[str]:
    """The metrics that the runs have, in the order in which they first occur."""
    found: dict[str, None] = {}
    for run_id in run_ids:
        sql = 'SELECT DISTINCT key FROM metrics, json_each(metrics."values") WHERE run_id=?'
        found |= dict.fromkeys(row["key"] for row in store.select(sql, run_id))
    return list(found)


def _lines(rows: Iterable[Iterable]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
