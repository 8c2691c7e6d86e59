"""Random kills of a studio at work, and what must hold after each of them.

A case is one training run or one export. At a random moment of its life a random process is killed by SIGKILL, or two
at once; what a person would do then is done: a window is opened again, a run resumed, an export started again. At its
end the case is compared with one that nobody has disturbed. Seeded: the same seed draws the same targets and moments,
though the moments are met by looking at the clock and at the store.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from safetensors.numpy import load_file

from studio.jobs import client
from studio.jobs.processes import is_living
from studio.words import Sentence
from tests.chaos.studio import EVERY, SAVED, STEPS, Studio

TOLERANCE = 1e-5
# Moment of a run → its share.
MOMENTS = {
    "start": 2,
    "load": 2,
    "step": 3,
    "evaluation": 2,
    "checkpoint": 3,
    "save": 2,
    "end": 1,
    "stop": 2,
    "pause": 2,
}
TARGETS = {("worker",): 5, ("supervisor",): 3, ("window",): 1, ("worker", "supervisor"): 2, ("window", "supervisor"): 1}
EXPORTS = 8  # one case of so many is an export


class Chaos:
    """Kills, counts, and complains by AssertionError."""

    def __init__(self, root: Path, seed: int):
        self.studio = Studio(root)
        self.store = self.studio.store
        self.random = random.Random(seed)
        self.kills: Counter[tuple[str, str]] = Counter()  # (moment, process) → SIGKILLs that met a living process
        self._decks: dict[int, list] = {}
        self.resumed = self.cases = 0
        self.reference: str = ""

    def prepare(self) -> None:
        """Open a window and make the undisturbed run."""
        self.studio.open_window()
        self.studio.wait(lambda: client.warm(self.store), 60, "no standby")
        self.reference = self.studio.start_run("undisturbed")
        self.studio.job_ended(self.store.run(self.reference)["job_id"])
        self.check_done(self.reference)

    def case(self) -> None:
        self.cases += 1
        if self.random.randrange(EXPORTS) == 0:
            self.disturbed_export()
        else:
            self.disturbed_run()
        self.check_processes()

    # ---- what is disturbed -----------------------------------------------------------------------------------

    def disturbed_run(self) -> None:
        """One run, from its start to its end with as many kills as were drawn."""
        run_id = self.studio.start_run(f"case {self.cases}")
        for _ in range(self.random.randint(1, 3)):
            moment = self._drawn(MOMENTS)
            if not self._reached(run_id, moment):
                break
            self._kill(moment, self.store.run(run_id)["job_id"])
            self.go_on(run_id)
        while self.go_on(run_id):
            self.studio.job_ended(self.store.run(run_id)["job_id"])
        self.check_done(run_id)
        shutil.rmtree(self.studio.home.run(run_id))  # a thousand runs need room

    def disturbed_export(self) -> None:
        """An export of the undisturbed run's adapter; one that was killed is begun again."""
        payload = {"adapter": self.reference, "target": "zip", "options": {}}
        job_id = client.start_job(self.store, "export", payload)
        time.sleep(self.random.uniform(0, 0.6))
        self._kill("export", job_id)
        row = self._ended_after_all(job_id)
        if row["state"] != "done":
            self.check_reason(row)
            row = self.studio.job_ended(client.start_job(self.store, "export", payload))
        assert row["state"] == "done", row
        folder = self.studio.home.exports / row["result"]["export"]
        assert any(folder.glob("*.zip")), f"a false Done: {folder} holds no zip"
        assert not list(self.studio.home.exports.glob(f"*{row['id']}*half*")), "something half-written is left"

    def _drawn(self, shares: dict):
        """One of the keys; all have had their turn before they come again."""
        deck = self._decks.setdefault(id(shares), [])
        if not deck:
            deck += [key for key, share in shares.items() for _ in range(share)]
            self.random.shuffle(deck)
        return deck.pop()

    def _reached(self, run_id: str, moment: str) -> bool:
        """Wait for the moment, and a random while more; False if the run has ended before."""
        job_id = self.store.run(run_id)["job_id"]
        before = self.store.run(run_id)["step"] or 0
        step = self.random.randint(min(before + 1, STEPS), STEPS)
        evaluation = EVERY * self.random.randint(1, STEPS // EVERY)
        folder = self.studio.home.checkpoints(run_id)
        checkpoint = folder / f"checkpoint-{SAVED * self.random.randint(1, STEPS // SAVED)}"

        def now(row: dict) -> bool:
            at = self.store.run(run_id)["step"] or 0
            doing = (row["doing"] or {}).get("text", "")
            return {
                "start": True,
                "load": row["state"] == "running",
                "step": at >= step,
                "evaluation": at >= evaluation,
                "checkpoint": checkpoint.exists() and not (checkpoint / "whole").exists() or at > STEPS - 1,
                "save": doing.startswith("Saving"),
                "end": row["state"] == "done",
                "stop": at >= step,
                "pause": at >= step,
            }[moment]

        while not now(row := self.store.job(job_id)):
            if row["state"] not in ("queued", "running"):
                return False
            time.sleep(0.004)
        if moment in ("stop", "pause"):
            client.request(self.store, job_id, moment)
        longest = {"start": 0.4, "load": 1.0, "save": 0.4, "evaluation": 0.15, "checkpoint": 0.03}
        time.sleep(self.random.uniform(0, longest.get(moment, 0.1)))
        return True

    def _kill(self, moment: str, job_id: int) -> None:
        killed = []
        for target in self._drawn(TARGETS):
            pid = {
                "worker": lambda: self.studio.worker(self.store.job(job_id)) or self.studio.standby(),
                "supervisor": self.studio.supervisor,
                "window": lambda: self.studio.window.pid,
            }[target]()
            if pid and is_living(pid):
                os.kill(pid, signal.SIGKILL)
                self.kills[moment, target] += 1
                killed.append(pid)
        self.studio.wait(lambda: not any(map(is_living, killed)), 10, "a killed process lives on")

    def go_on(self, run_id: str) -> bool:
        """Do what a person does to get the run to its end; False if it is done."""
        self._window_is_open()
        row = self.store.job(self.store.run(run_id)["job_id"])
        if row["state"] == "done":
            return False
        if row["state"] in ("queued", "running"):
            dead = row["state"] == "running" and not self.studio.worker(row)
            asked = bool(self.store.stop_requests(row["id"]))
            if not dead and not asked:
                return True
            row = self.studio.job_ended(row["id"])
            if row["state"] == "done":  # the worker had said its last word, or it was too late to stop
                return False
        self.check_reason(row)
        client.resume_run(self.store, run_id)
        self.resumed += 1
        return True

    def _ended_after_all(self, job_id: int) -> dict:
        self._window_is_open()
        return self.studio.job_ended(job_id)

    def _window_is_open(self) -> None:
        if not is_living(self.studio.window.pid):
            self.studio.open_window()

    # ---- what must hold --------------------------------------------------------------------------------------

    def check_reason(self, row: dict) -> str:
        """A job that failed says why in a sentence, which is returned; "" of any other."""
        if row["state"] != "failed":
            return ""
        text = Sentence.from_json(row["reason"]).say("en") if row["reason"] else ""
        assert text.endswith(".") and "The worker failed" not in text, (
            f"job {row['id']} failed without a sentence: {row}"
        )
        return text

    def check_done(self, run_id: str) -> None:
        """The run is done, its rows are those of the undisturbed run, and its adapter is in the library, whole."""
        run = self.store.run(run_id)
        assert run["state"] == "done", f"{run['name']}: {run['state']} {run['reason']}"
        assert run["result"]["adapter"] == run_id
        for key in ("loss", "eval_loss"):
            mine, theirs = self._series(run_id, key), self._series(self.reference, key)
            assert [step for step, _ in mine] == [step for step, _ in theirs], f"{run['name']}: {key} {mine} {theirs}"
            for (step, value), (_, other) in zip(mine, theirs, strict=True):
                assert abs(value - other) < TOLERANCE, f"{run['name']}: {key} at step {step}: {value}, not {other}"
        assert [step for step, _ in self._series(run_id, "loss")] == list(range(1, STEPS + 1))
        assert self.store.adapter(run_id), f"a false Done: the adapter of {run['name']} is not in the library"
        mine, theirs = (
            load_file(self.studio.home.adapter(each) / "adapter_model.safetensors") for each in (run_id, self.reference)
        )
        assert mine.keys() == theirs.keys()
        assert all(abs(mine[name] - theirs[name]).max() < TOLERANCE for name in mine), f"{run['name']}: other weights"

    def _series(self, run_id: str, key: str) -> list[tuple[int, float]]:
        rows = self.store.metrics(run_id)
        return sorted((row["step"], row["values"][key]) for row in rows if key in row["values"])

    def check_processes(self) -> None:
        """No job is left, no process but those of an idle studio, no half-written folder in the library."""
        assert not self.store.jobs("queued", "running")
        self.studio.wait(lambda: not self.studio.other_processes(), 20, "a process outlives its job")
        # A name that starts with a dot is not listed; one that was left by a kill is swept later.
        folders = {path.name for path in self.studio.home.root.joinpath("adapters").iterdir() if path.name[0] != "."}
        assert folders == {row["id"] for row in self.store.adapters()}, "library and folders differ"

    def figures(self, seconds: float) -> str:
        total = sum(self.kills.values())
        moments = Counter({moment: 0 for moment in (*MOMENTS, "export")})
        targets: Counter[str] = Counter()
        for (moment, target), count in self.kills.items():
            moments[moment] += count
            targets[target] += count
        told = (", ".join(f"{name} {count}" for name, count in found.items()) for found in (targets, moments))
        return (
            f"{total} kills in {self.cases} runs and exports, {self.resumed} times resumed, in {seconds:.0f} s "
            f"({next(told)}; at {next(told)})"
        )
