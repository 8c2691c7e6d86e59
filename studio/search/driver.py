"""What drives a search: `advance` takes one step and can be called again after any interruption, by any process.

Every try is an ordinary run in the queue; its job's payload holds "search": {"id", "try"}. So the store says which try
has which run, the engine's file which tries there are, and neither can be lost or made twice: a step holds the search's
lock, and what was begun by a killed process is finished by the next. A driver does not decide what is tried: that is
`study.Study`'s.
"""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from studio import hardware
from studio.home import Home
from studio.jobs import client
from studio.jobs.job import Job, Stopped
from studio.recipe import Recipe
from studio.runs.comparison import LOWER_IS_BETTER
from studio.search import overview, rows
from studio.search.overview import WEAK
from studio.search.plan import Plan, folder, read
from studio.search.space import changed
from studio.search.study import Study, Try
from studio.store import ENDED, Store
from studio.words import Sentence, StudioError

POLL = 0.3  # seconds between two steps
_TRIES_PART = 0.95  # of the minutes; the rest is for ending and judging
_MOST_JOBS = 3  # of a run whose workers are killed again and again
_MOST_JUDGINGS = 2


@dataclass
class Driver:
    """One process's view of a search. `advance` returns True when there is nothing left to do."""

    home: Home
    store: Store
    plan: Plan
    _study: Study | None = None
    _refused: set[str] = field(default_factory=set)

    @property
    def study(self) -> Study:
        """The engine, opened at the first use, because its import takes a second."""
        if self._study is None:
            plan = self.plan
            self._study = Study(
                folder(self.home, plan.id) / "study.sqlite3",
                plan.parameters,
                lower_is_better=plan.lower_is_better,
                looks=plan.looks,
                pruning=plan.pruning,
                tries=plan.tries,
                seed=plan.seed,
            )
        return self._study

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait until no other process takes a step of this search. The kernel frees the lock of a killed one."""
        with open(folder(self.home, self.plan.id) / "lock", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def advance(self) -> bool:
        """Take one step: follow the runs of the tries, start the next one if there is room, judge the best at the end.

        Raises StudioError where the data cannot be read or no try can be made.
        """
        with self.lock():
            rows.write(self.home, self.plan)
            self._begin()
            runs = overview.runs_of(self.store, self.plan.id)
            live = [self._follow(one, runs.get(one.number)) for one in self.study.open_tries()]
            spent = overview.seconds_spent(self.store, self.plan.id)
            if self._out_of_time(spent):
                self._stop_all()
            elif live.count(True) < self._width() and self._has_room(spent) and self._start_next():
                return False
            return not any(live) and self._judged()

    def pause(self) -> None:
        """Pause the runs of open tries, each with a checkpoint, unless another driver works on the search."""
        with self.lock():
            if len(overview.live_drivers(self.store, self.plan.id)) <= 1:
                for run in self._live_runs():
                    client.request(self.store, run["job_id"], "pause")

    def resume_paused(self) -> None:
        """Queue the paused runs of open tries again; for a driver that begins."""
        with self.lock():
            for run in overview.runs_of(self.store, self.plan.id).values():
                if run["state"] == "paused":
                    client.resume_run(self.store, run["id"])

    # ---- tries ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Make the draft's own values the first try, where they lie in the ranges: the others are compared with it."""
        recipe = self.plan.draft.to_dict()
        values = {parameter.name: parameter.value_in(recipe) for parameter in self.plan.parameters}
        if all(parameter.contains(values[parameter.name]) for parameter in self.plan.parameters):
            self.study.begin_with(values)

    def _start_next(self) -> bool:
        """Begin the next try and queue its run; False if the engine has nothing new to propose."""
        found = self.study.propose(self._is_new)
        if found is None:
            if not overview.runs_of(self.store, self.plan.id):
                raise StudioError(
                    "No recipe of this search is valid. Narrow the ranges, or search other options: {reasons}",
                    reasons=" ".join(sorted(self._refused)[:2]),
                )
            return False
        self._queue(found)
        return True

    def _is_new(self, proposal: Try) -> bool:
        """Whether the values make a valid recipe that was not tried yet."""
        try:
            recipe = self._recipe(proposal)
        except StudioError as error:
            self._refused.add(str(error))
            return False
        known = [run["recipe"] for run in overview.runs_of(self.store, self.plan.id).values()]
        return recipe.to_dict() not in known

    def _recipe(self, proposal: Try) -> Recipe:
        """The recipe of a try: that of the draft with its values, evaluated on the rows that choose.

        Answers are generated only where the metric counts them: they take longer than the loss.
        """
        plan = self.plan
        made = changed(plan.draft, plan.parameters, proposal.values).to_dict()
        place = folder(self.home, plan.id) / "rows"
        answers = {} if plan.metric == "exact_match" else {"evaluation_rows": 0}
        made["training"] |= {"evaluations": plan.looks, "sample_prompts": 0, "trackers": [], **answers}
        made["data"] = rows.data_of(place, plan.draft).model_dump(mode="json")
        recipe = Recipe.model_validate(made)
        if refused := recipe.refusal(None) or recipe.conflict():
            raise StudioError(refused)
        return recipe

    def _queue(self, proposal: Try) -> None:
        """Queue the run of a try."""
        recipe = self._recipe(proposal)
        device = client.choose_device(self.store, recipe.machine.device)
        values = ", ".join(f"{name.partition('.')[2]} {_plain(value)}" for name, value in proposal.values.items())
        name = f"{self.plan.title} · {len(overview.runs_of(self.store, self.plan.id)) + 1} · {values}"[:120]
        payload = {"search": {"id": self.plan.id, "try": proposal.number}}
        self.store.create_runs([(name, recipe.to_dict(), device)], ["search", self.plan.tag], payload)
        client.ensure_supervisor(self.home)

    def _follow(self, one: Try, run: dict | None) -> bool:
        """Pass on what the run of an open try has shown; True while the try is not over."""
        if run is None:  # the process that began it was killed before it queued the run, or it was taken out again
            if self._is_new(one):
                self._queue(one)
                return True
            self.study.abandon(one.number)
            return False
        if run["state"] not in ENDED:
            values = overview.looks_of(self.store, run["id"], self.plan)
            weak = self.study.look(one.number, [self._oriented(*look) for look in values])
            if weak and not self.store.stop_requests(run["job_id"]):
                client.stop(self.store, run["job_id"])
            return True
        return run["state"] == "paused" or self._end(one, run)

    def _oriented(self, key: str, value: float) -> float:
        """A value of an evaluation in the direction of the search's metric, which the loss may not have."""
        return value if (key in LOWER_IS_BETTER) == self.plan.lower_is_better else -value

    def _end(self, one: Try, run: dict) -> bool:
        """End the try of a run that has ended; True if the run goes on, because only its worker had been killed."""
        value = ((run["result"] or {}).get("metrics") or {}).get(self.plan.metric)
        if run["state"] == "done" and value is not None and math.isfinite(value):
            self.study.finish(one.number, value)
        elif run["state"] == "failed" and self._was_killed(run):
            client.resume_run(self.store, run["id"])
            return True
        elif run["state"] == "stopped" and not self.study.was_stopped(one.number):
            self.study.abandon(one.number)  # stopped by hand, or because the time was over
        else:
            if run["state"] == "stopped":
                self.store.explain_job(run["job_id"], WEAK.to_json())
            self.study.give_up(one.number)
        return False

    def _was_killed(self, run: dict) -> bool:
        """Whether the worker ended without a word of its own, and not too often yet."""
        jobs = [job for job in self.store.jobs("failed", kind="train") if job["run_id"] == run["id"]]
        failures = self.store.events(job_id=run["job_id"], kind="traceback", limit=1)
        return not failures and len(jobs) < _MOST_JOBS

    # ---- budget -----------------------------------------------------------------------------------------------

    def _width(self) -> int:
        """How many tries run at a time: one on each GPU that the recipe may use, else one."""
        wanted = self.plan.draft.machine.device
        return max(1, len(hardware.machine().gpus)) if wanted == "auto" else 1

    def _out_of_time(self, spent: float) -> bool:
        return spent >= _TRIES_PART * 60 * self.plan.minutes

    def _has_room(self, spent: float) -> bool:
        """Whether the budget allows another try: one more, and as long as the others took on average."""
        runs = overview.runs_of(self.store, self.plan.id).values()
        took = [run["ended"] - run["started"] for run in runs if run["ended"] and run["started"]]
        expected = sum(took) / len(took) if took else 0.0
        return len(runs) < self.plan.tries and spent + expected < _TRIES_PART * 60 * self.plan.minutes

    def _live_runs(self) -> list[dict]:
        return [run for run in overview.runs_of(self.store, self.plan.id).values() if run["state"] not in ENDED]

    def _stop_all(self) -> None:
        """Stop the tries that run when the time is over."""
        for run in self._live_runs():
            if not self.store.stop_requests(run["job_id"]):
                client.stop(self.store, run["job_id"])

    # ---- the untouched rows -----------------------------------------------------------------------------------

    def _judged(self) -> bool:
        """Have the best try and that of the draft's own settings judged on the untouched rows; True when it is done."""
        found = overview.overview(self.home, self.store, self.plan)
        done = True
        for row in {row.run: row for row in (found.best, found.own) if row}.values():
            jobs = overview.judgings(self.store, self.plan.id, row.run)
            if jobs and jobs[-1]["state"] not in ENDED:
                done = False
            elif not jobs or (jobs[-1]["state"] != "done" and len(jobs) < _MOST_JUDGINGS):
                run = self.store.run(row.run)
                client.start_job(self.store, "judge", {"search": self.plan.id}, run["device"], row.run)
                done = False
        return done


def _plain(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def search(job: Job) -> dict:
    """Run the `search` job: drive a search until its budget is used up. payload: {"search": id}.

    Raises Stopped where a stop was requested; the tries that run are paused then.
    """
    driver = Driver(job.home, job.store, read(job.home, job.payload["search"]))
    job.doing(Sentence("Setting rows aside"))
    driver.resume_paused()
    job.doing(Sentence("Trying settings"))
    signed = -math.inf
    while not driver.advance():
        if job.stop_requested():
            driver.pause()
            raise Stopped
        if time.monotonic() - signed >= overview.SIGN_EVERY:
            signed = time.monotonic()
            job.result({"alive": time.time()})
        time.sleep(POLL)
    best = overview.overview(job.home, job.store, driver.plan).best
    return {"best": best.run if best else None}
