"""What a search has done so far, read from the store: its tries, the best one, time, and the judgement on the untouched
rows. Needs neither the engine nor torch, so the window can ask for it often.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from studio.home import Home
from studio.library.comparison import Metric, metrics_of
from studio.library.search import METRICS
from studio.search import rows
from studio.search.plan import Plan
from studio.store import ENDED, Store
from studio.words import Sentence

WEAK = Sentence("Stopped early: worse than the others at this step.")
"""Reason of a run that a search stopped."""
_DURING = {"correct": "eval_accuracy"}  # metric of a finished run → its name in the evaluations during a run
SIGN_EVERY = 5.0
"""Seconds between two signs of a driver that it works, the time as "alive" in its job's result."""
_LIVE = ("queued", "running")


@dataclass(frozen=True)
class Row:
    """One try. run: id of its run. values: of the parameters, by name. state: of the run, or "weak" where the search
    stopped it. value: of the metric at the end; latest: (key, value) of its last evaluation.
    """

    run: str
    values: dict[str, Any]
    state: str
    step: int
    seconds: float | None
    value: float | None
    latest: tuple[str, float] | None
    reason: Sentence | None


@dataclass(frozen=True)
class Overview:
    """A search so far. state: "running", "stopping", "stopped", "failed" or "done". tries: in the order in which they
    began. own: the try with the draft's own values. judged: run → metrics on the untouched rows; not_judged: why they
    are missing. choosing, reporting: numbers of rows, 0 as long as they are not set aside.
    """

    plan: Plan
    state: str
    reason: Sentence | None
    doing: Sentence | None
    tries: list[Row]
    best: Row | None
    own: Row | None
    spent: float
    choosing: int
    reporting: int
    judged: dict[str, dict[str, Metric]] = field(default_factory=dict)
    not_judged: Sentence | None = None

    @property
    def left(self) -> float | None:
        """Expected seconds to the end by the average try, at most what the budget has; None before one ended."""
        took = [row.seconds for row in self.tries if row.seconds and row.state not in _LIVE]
        ahead = self.plan.tries - sum(row.state not in _LIVE for row in self.tries)
        budget = max(0.0, 60 * self.plan.minutes - self.spent)
        return min(budget, ahead * sum(took) / len(took)) if took else None

    def count(self, state: str) -> int:
        return sum(row.state == state for row in self.tries)


def runs_of(store: Store, search_id: str) -> dict[int, dict]:
    """Number of the try → its run, in the order in which they were queued."""
    sql = (
        "SELECT min(id), run_id, json_extract(payload, '$.search.try') AS number FROM jobs "
        "WHERE kind = 'train' AND json_extract(payload, '$.search.id') = ? GROUP BY run_id ORDER BY 1"
    )
    return {row["number"]: run for row in store.select(sql, search_id) if (run := store.run(row["run_id"]))}


def drivers(store: Store, search_id: str) -> list[dict]:
    """The jobs that drove or drive the search, oldest first."""
    return [job for job in store.jobs(kind="search") if job["payload"].get("search") == search_id]


def live_drivers(store: Store, search_id: str) -> list[dict]:
    return [job for job in drivers(store, search_id) if job["state"] not in ENDED]


def judgings(store: Store, search_id: str, run_id: str) -> list[dict]:
    """The jobs that judged or judge the run for this search, oldest first."""
    found = [job for job in store.jobs(kind="judge") if job["run_id"] == run_id]
    return sorted((job for job in found if job["payload"].get("search") == search_id), key=lambda job: job["id"])


def seconds_spent(store: Store, search_id: str, now: float | None = None) -> float:
    """Seconds in which the search was driven; those in which several did so count once.

    The end of a killed driver may be recorded much later, when the machine is on again; what counts is its last sign.
    """
    now = time.time() if now is None else now
    spans = sorted((job["started"], _driven_until(job, now)) for job in drivers(store, search_id) if job["started"])
    total, until = 0.0, -math.inf
    for began, ended in spans:
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def _driven_until(job: dict, now: float) -> float:
    sign = (job["result"] or {}).get("alive")
    return min(job["ended"] or now, sign + 2 * SIGN_EVERY if sign else math.inf)


def looks_of(store: Store, run_id: str, plan: Plan) -> list[tuple[str, float]]:
    """(key, value) of each evaluation of a run: of the search's metric where evaluations have it, else of the loss."""
    wanted = _DURING.get(plan.metric, plan.metric if plan.metric.startswith("eval_") else f"eval_{plan.metric}")
    found = []
    for row in store.metrics(run_id):
        for key in (wanted, "eval_loss"):
            if row["values"].get(key) is not None:
                found.append((key, row["values"][key]))
                break
    return found


def overview(home: Home, store: Store, plan: Plan) -> Overview:
    """Read all that a search has done."""
    jobs = drivers(store, plan.id)
    newest = jobs[-1] if jobs else None
    tries = [_row(store, plan, run) for run in runs_of(store, plan.id).values()]
    finished = [row for row in tries if row.value is not None and math.isfinite(row.value)]
    choose = min if plan.lower_is_better else max
    best = choose(finished, key=lambda row: row.value) if finished else None
    own_values = {parameter.name: parameter.value_in(plan.recipe) for parameter in plan.parameters}
    own = next((row for row in finished if row.values == own_values), None)
    choosing, reporting = rows.counts(home, plan.id) or (0, 0)
    judged, not_judged = {}, None
    for row in filter(None, (best, own)):
        jobs = judgings(store, plan.id, row.run)
        done = [job for job in jobs if job["state"] == "done"]
        if jobs and jobs[-1]["state"] == "failed":
            not_judged = Sentence.from_json(jobs[-1]["reason"])
        if done:
            figures = metrics_of([(done[-1]["result"] or {}).get("metrics") or {}])
            judged[row.run] = {key: metrics[0] for key, metrics in figures.items()}
    return Overview(
        plan=plan,
        state=_state(store, newest),
        reason=Sentence.from_json(newest["reason"]) if newest else None,
        doing=Sentence.from_json(newest["doing"]) if newest else None,
        tries=tries,
        best=best,
        own=own,
        spent=seconds_spent(store, plan.id),
        choosing=choosing,
        reporting=reporting,
        judged=judged,
        not_judged=not_judged,
    )


def _state(store: Store, job: dict | None) -> str:
    if job is None:
        return "stopped"
    if job["state"] in _LIVE:
        return "stopping" if store.stop_requests(job["id"]) else "running"
    return job["state"] if job["state"] in ("done", "failed") else "stopped"


def _row(store: Store, plan: Plan, run: dict) -> Row:
    looks = looks_of(store, run["id"], plan)
    reason = Sentence.from_json(run["reason"])
    weak = run["state"] == "stopped" and reason == WEAK
    begun, ended = run["started"], run["ended"]
    return Row(
        run=run["id"],
        values={parameter.name: parameter.value_in(run["recipe"]) for parameter in plan.parameters},
        state="weak" if weak else run["state"],
        step=run["step"] or 0,
        seconds=ended - begun if begun and ended else None,
        value=((run["result"] or {}).get("metrics") or {}).get(plan.metric) if run["state"] == "done" else None,
        latest=looks[-1] if looks else None,
        reason=reason,
    )


def judged_metrics(found: Overview, row: Row) -> dict[str, Metric]:
    """What the untouched rows said of a try, the search's metric first; {} before it was judged."""
    figures = found.judged.get(row.run, {})
    order = sorted(figures, key=lambda key: (key != found.plan.metric, METRICS.index(key)))
    return {key: figures[key] for key in order}
