"""Delete a run: its rows in the store and its folder. Adapters made by it stay in the library."""

from __future__ import annotations

import shutil
import sqlite3

from studio.home import Home
from studio.store import ENDED, Store
from studio.words import Sentence, StudioError


def refusal(store: Store, run: dict) -> Sentence | None:
    """Why the run cannot be deleted now; None if it can."""
    live = store.jobs("queued", "running")
    if any(job["run_id"] == run["id"] for job in live):
        if run["state"] in ENDED:
            return Sentence("'{name}' is still being worked on; wait until that has ended.", name=run["name"])
        return Sentence("'{name}' is waiting or running; stop it first.", name=run["name"])
    if any((job["payload"].get("from") or {}).get("run") == run["id"] for job in live):
        return Sentence("'{name}' is being continued by another run; wait until that one has ended.", name=run["name"])
    return None


def delete(home: Home, store: Store, run_ids: list[str]) -> None:
    """Delete the runs. Raises StudioError, and deletes none, if one of them cannot be deleted."""
    runs = [run for run_id in run_ids if (run := store.run(run_id))]
    with store.transaction() as db:  # so that none of them is resumed meanwhile
        for run in runs:
            if refused := refusal(store, run):
                raise StudioError(refused)
            _delete_rows(db, run["id"])
    for run in runs:
        shutil.rmtree(home.run(run["id"]), ignore_errors=True)


def _delete_rows(db: sqlite3.Connection, run_id: str) -> None:
    db.execute("DELETE FROM commands WHERE job_id IN (SELECT id FROM jobs WHERE run_id = ?)", (run_id,))
    for table in ("metrics", "events", "jobs"):
        db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
    db.execute("DELETE FROM runs WHERE id = ?", (run_id,))
