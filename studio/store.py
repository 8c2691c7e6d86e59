"""The store: one SQLite database (WAL mode) with all runs, jobs, metrics, events, adapters and the draft.

Every process (window, supervisor, workers) opens the same file, so all of them see the same state. Only the standard
library is used, because the supervisor must start fast and stay small. Recipes are stored as opaque JSON.

    runs      name, recipe and tags of each run. A run's state is the state of its newest training job.
    jobs      work done by one worker process: queued → running → done | stopped | paused | failed
    metrics   one row per optimiser step or evaluation: {"loss": 1.2, "tokens_per_second": 900, …}
    events    log lines, plans, tracebacks, answers to the fixed prompts
    commands  requests to a job: the keys of `STOPPING`, and "finish" (end the training now and make the adapter)
    adapters  the entries of the library; their files are in home/adapters/ID
    conversations  the conversations of Chat; `words` is what is searched in, `judged` says whether they teach something
    notes     small JSON values by key: the draft, remembered column roles, measured speeds
    revisions a number for each table watched, raised by triggers with every change to it
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from studio import migration
from studio.home import PREVIEW
from studio.store_schema import ADDED_COLUMNS, SCHEMA

_JSON = {"recipe", "payload", "reason", "result", "doing", "values", "data", "card", "value", "tags"}
ENDED = ("done", "stopped", "paused", "failed")
STOPPING = {"stop": "stopped", "pause": "paused", "discard": "stopped"}
"""Request that ends a job → the job's state afterwards."""
_IN_ORDER = "coalesce(jobs.position, jobs.id), jobs.id"  # of the queue: `position` is set only for jobs that were moved


class Store:
    """Access to the database file at `path`, with one connection per thread. Safe to use from any thread or process."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._local = threading.local()
        with self.transaction() as db:
            db.executescript(SCHEMA)
        if self._lacking():
            with self.transaction() as db:
                for table, column, kind in self._lacking():  # another process may have added some meanwhile
                    db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        if migration.needed(self._db):
            with self.transaction() as db:
                migration.migrate(db, self.path.parent)

    def _lacking(self) -> list[tuple[str, str, str]]:
        """The `ADDED_COLUMNS` that this database does not have yet."""
        has = {
            (table, row["name"])
            for table in ("jobs", "runs")
            for row in self._db.execute(f"PRAGMA table_info({table})")
        }
        return [column for column in ADDED_COLUMNS if column[:2] not in has]

    @property
    def _db(self) -> sqlite3.Connection:
        if not hasattr(self._local, "db"):
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.create_function("folded", 1, lambda text: (text or "").casefold(), deterministic=True)
            db.create_function("holds_words", -1, _holds_words, deterministic=True)
            self._local.db = db
        return self._local.db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start, so that values read inside it stay valid."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if db.in_transaction:
            db.execute("COMMIT")

    def close(self) -> None:
        """Close this thread's connection."""
        if hasattr(self._local, "db"):
            self._local.db.close()
            del self._local.db

    def version(self) -> int:
        """A number that changes when another connection has written; a hundred times cheaper than a query."""
        return self._db.execute("PRAGMA data_version").fetchone()[0]

    def select(self, sql: str, *values) -> list[dict]:
        """The rows of a SELECT statement, with columns named as those that hold JSON decoded.

        Besides SQLite's functions there are `folded(text)`, Python's casefold, and `holds_words(words, text, …)`:
        whether every word of `words` (case-insensitive) stands in one of the texts.
        """
        return self._all(sql, *values)

    def raw(self, sql: str, *values) -> list[sqlite3.Row]:
        """The rows of a SELECT statement as they are stored, for many rows at once."""
        return self._db.execute(sql, values).fetchall()

    def _all(self, sql: str, *values) -> list[dict]:
        return [_row(row) for row in self._db.execute(sql, values)]

    def _one(self, sql: str, *values) -> dict | None:
        row = self._db.execute(sql, values).fetchone()
        return _row(row) if row else None

    # ---- runs -------------------------------------------------------------------------------------------------

    def create_run(self, name: str, recipe: dict, device: str, payload: dict | None = None) -> tuple[str, int]:
        """Create a run and queue its first job in one transaction. Returns (run id, job id)."""
        with self.transaction() as db:
            return _insert_run(db, name, recipe, device, payload or {}, [])

    def create_runs(self, runs: list[tuple[str, dict, str]], tags: list[str], payload: dict | None = None) -> list[str]:
        """Create and queue runs of (name, recipe, device), all or none; returns their ids. payload: of each job."""
        with self.transaction() as db:
            return [_insert_run(db, name, recipe, device, payload or {}, tags)[0] for name, recipe, device in runs]

    _RUNS = """SELECT runs.*, job.id AS job_id, job.state, job.device, job.doing, job.reason, job.result, \
job.started, job.ended, job.signal, job.exit_code,
        (SELECT step FROM metrics WHERE metrics.run_id = runs.id ORDER BY id DESC LIMIT 1) AS step
        FROM runs JOIN jobs AS job ON job.id = \
(SELECT max(id) FROM jobs WHERE jobs.run_id = runs.id AND kind = 'train')"""

    def run(self, run_id: str) -> dict | None:
        """The run, the state, reason and times of its newest training job, and the last recorded step."""
        return self._one(f"{self._RUNS} WHERE runs.id = ?", run_id)

    def runs(self, limit: int = 100) -> list[dict]:
        """The newest `limit` runs in the form of `run`, the last created first, also if the clock was set back."""
        return self._all(f"{self._RUNS} ORDER BY runs.rowid DESC LIMIT ?", limit)

    def latest_run(self) -> dict | None:
        found = self.runs(1)
        return found[0] if found else None

    def change_run(self, run_id: str, name: str, tags: list[str]) -> None:
        self._db.execute("UPDATE runs SET name = ?, tags = ? WHERE id = ?", (name, json.dumps(tags), run_id))

    # ---- jobs -------------------------------------------------------------------------------------------------

    def queue_job(self, kind: str, payload: dict, *, run_id: str | None = None, device: str = "cpu") -> int:
        with self.transaction() as db:
            return _insert_job(db, kind, run_id, device, payload)

    def queue_again(self, run_id: str, payload: dict) -> int | None:
        """Queue another training job for a run, on its device; None if the newest one has not ended.

        Its payload is that of the newest job, updated by `payload`.
        """
        with self.transaction() as db:
            newest = self.run(run_id)
            if newest is None or newest["state"] not in ENDED:
                return None
            before = self.job(newest["job_id"])["payload"]
            return _insert_job(db, "train", run_id, newest["device"], {**before, **payload})

    def queue(self) -> list[dict]:
        """The waiting training jobs in the order in which they will start, each with its run's name as "name"."""
        return self._all(
            "SELECT jobs.*, runs.name FROM jobs JOIN runs ON runs.id = jobs.run_id "
            f"WHERE state = 'queued' AND kind = 'train' ORDER BY {_IN_ORDER}"
        )

    def reorder(self, arrange: Callable[[list[int]], list[int]]) -> None:
        """Reorder the waiting training jobs. arrange: their ids in the current order → the ids in the new order."""
        with self.transaction() as db:
            waiting = self.queue()
            places = sorted(job["id"] if job["position"] is None else job["position"] for job in waiting)
            for job_id, place in zip(arrange([job["id"] for job in waiting]), places, strict=True):
                db.execute("UPDATE jobs SET position = ? WHERE id = ?", (place, job_id))

    def remove_queued(self, job_id: int) -> bool:
        """Delete a waiting training job, and its run if that has no other job. False if it is not waiting any more."""
        with self.transaction() as db:
            job = self.job(job_id)
            if job is None or job["state"] != "queued" or job["kind"] != "train":
                return False
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            db.execute(
                "DELETE FROM runs WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE run_id = runs.id)",
                (job["run_id"],),
            )
        return True

    def job(self, job_id: int) -> dict | None:
        return self._one("SELECT * FROM jobs WHERE id = ?", job_id)

    def jobs(self, *states: str, kind: str | None = None) -> list[dict]:
        """Jobs in any of `states` (all if none are given), oldest first, waiting ones in the order of the queue."""
        where, values = ["1"], []
        if states:
            where.append(f"state IN ({','.join('?' * len(states))})")
            values += states
        if kind:
            where.append("kind = ?")
            values.append(kind)
        return self._all(f"SELECT * FROM jobs WHERE {' AND '.join(where)} ORDER BY {_IN_ORDER}", *values)

    def latest_job(self, run_id: str, kind: str) -> dict | None:
        """The newest job of a run of this kind."""
        return self._one("SELECT * FROM jobs WHERE run_id=? AND kind=? ORDER BY id DESC LIMIT 1", run_id, kind)

    def newest_job(self, *kinds: str) -> dict | None:
        """The job of any of these kinds that was queued last."""
        return self._one(f"SELECT * FROM jobs WHERE kind IN ({','.join('?' * len(kinds))}) ORDER BY id DESC", *kinds)

    def job_started(self, job_id: int, pid: int, pid_created: float) -> bool:
        """Claim a queued job for a process. False if it is no longer queued: stopped, or claimed by another."""
        sql = "UPDATE jobs SET state='running', pid=?, pid_created=?, started=? WHERE id=? AND state='queued'"
        return self._db.execute(sql, (pid, pid_created, time.time(), job_id)).rowcount == 1

    def job_doing(self, job_id: int, doing: dict) -> None:
        """Record what the job is doing now: a `Sentence` as JSON."""
        self._db.execute("UPDATE jobs SET doing=? WHERE id=?", (json.dumps(doing), job_id))

    def job_result(self, job_id: int, result: dict) -> None:
        """Store the result of a job that is still running, such as the chat server's port."""
        self._db.execute("UPDATE jobs SET result=? WHERE id=?", (json.dumps(result), job_id))

    def job_ended(self, job_id: int, state: str, reason: dict | None = None, result: dict | None = None) -> bool:
        """Record how a job ended. Only the first call has an effect; False if the job had already ended."""
        sql = (
            "UPDATE jobs SET state=?, reason=?, result=coalesce(?, result), ended=? "
            f"WHERE id=? AND state NOT IN {ENDED}"
        )
        values = (
            state,
            json.dumps(reason) if reason else None,
            json.dumps(result) if result is not None else None,
            time.time(),
            job_id,
        )
        return self._db.execute(sql, values).rowcount == 1

    def explain_job(self, job_id: int, reason: dict) -> None:
        """Say why a job was ended that has no reason yet: a `Sentence` as JSON."""
        self._db.execute("UPDATE jobs SET reason=? WHERE id=? AND reason IS NULL", (json.dumps(reason), job_id))

    def job_exit(self, job_id: int, exit_code: int | None, signal: int | None) -> None:
        """Record the exit code or signal of the worker process, as seen by the supervisor."""
        self._db.execute("UPDATE jobs SET exit_code=?, signal=? WHERE id=?", (exit_code, signal, job_id))

    # ---- commands ---------------------------------------------------------------------------------------------

    def command(self, job_id: int, verb: str) -> None:
        """Send a request to a job. Those of `STOPPING` end a queued job immediately."""
        with self.transaction() as db:
            db.execute("INSERT INTO commands(job_id, verb, time) VALUES(?,?,?)", (job_id, verb, time.time()))
            if verb in STOPPING:
                sql = "UPDATE jobs SET state=?, ended=? WHERE id=? AND state='queued'"
                db.execute(sql, (STOPPING[verb], time.time(), job_id))

    def commands(self, job_id: int, verb: str) -> list[dict]:
        """The requests of this kind to the job, with their times, oldest first."""
        return self._all("SELECT * FROM commands WHERE job_id=? AND verb=? ORDER BY id", job_id, verb)

    def stop_requests(self, job_id: int) -> list[dict]:
        """The requests to the job that end it (`STOPPING`), oldest first."""
        sql = f"SELECT * FROM commands WHERE job_id=? AND verb IN {tuple(STOPPING)} ORDER BY id"
        return self._all(sql, job_id)

    def latest_request(self, job_id: int) -> str | None:
        """The newest of the requests that end the job (`STOPPING`), else "finish" if that was asked for, else None."""
        stops = self.stop_requests(job_id)
        if stops:
            return stops[-1]["verb"]
        return "finish" if self.commands(job_id, "finish") else None

    # ---- metrics and events -----------------------------------------------------------------------------------

    def add_metrics(self, run_id: str, step: int, values: dict[str, float]) -> None:
        self._db.execute(
            'INSERT INTO metrics(run_id, step, time, "values") VALUES(?,?,?,?)',
            (run_id, step, time.time(), json.dumps(values)),
        )

    def metrics(self, run_id: str, after: int = 0, limit: int = 1_000_000) -> list[dict]:
        """Rows {id, step, time, values} with id > `after`, in the order in which they were written."""
        return self._all(
            'SELECT id, step, time, "values" FROM metrics WHERE run_id=? AND id>? ORDER BY id LIMIT ?',
            run_id,
            after,
            limit,
        )

    def last_metric_id(self, run_id: str) -> int:
        return self._db.execute("SELECT coalesce(max(id), 0) FROM metrics WHERE run_id=?", (run_id,)).fetchone()[0]

    def forget_metrics_after(self, run_id: str, step: int) -> None:
        """Delete the metrics after `step`, since a run resumed from there records those steps again."""
        self._db.execute("DELETE FROM metrics WHERE run_id=? AND step>?", (run_id, step))

    def copy_metrics(self, source: str, run_id: str, step: int) -> None:
        """Replace the metrics of a run by those of the run `source` up to `step`, which it continues."""
        with self.transaction() as db:
            db.execute("DELETE FROM metrics WHERE run_id=?", (run_id,))
            db.execute(
                'INSERT INTO metrics(run_id, step, time, "values") '
                'SELECT ?, step, time, "values" FROM metrics WHERE run_id=? AND step<=? ORDER BY id',
                (run_id, source, step),
            )

    def recent_metrics(self, run_id: str, count: int) -> list[dict]:
        """The newest `count` rows of the run's metrics, oldest first."""
        sql = 'SELECT id, step, time, "values" FROM metrics WHERE run_id=? ORDER BY id DESC LIMIT ?'
        return self._all(sql, run_id, count)[::-1]

    def add_event(self, kind: str, data: dict, *, run_id: str | None = None, job_id: int | None = None) -> int:
        sql = "INSERT INTO events(run_id, job_id, time, kind, data) VALUES(?,?,?,?,?)"
        return self._db.execute(sql, (run_id, job_id, time.time(), kind, json.dumps(data))).lastrowid

    def events(
        self,
        run_id: str | None = None,
        *,
        kind: str | None = None,
        job_id: int | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[dict]:
        """The newest `limit` events that match, oldest first."""
        where, values = ["id > ?"], [after]
        for column, value in (("run_id", run_id), ("kind", kind), ("job_id", job_id)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        found = self._all(f"SELECT * FROM events WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?", *values, limit)
        return found[::-1]

    def revision(self, what: str) -> int:
        """A number that every change to "adapters" or "runs" raises; the same for all connections and processes.

        A run also changes with the state and the result of its jobs, but not with its metrics and what it is doing.
        """
        return self._db.execute("SELECT number FROM revisions WHERE what=?", (what,)).fetchone()[0]

    # ---- adapters ---------------------------------------------------------------------------------------------

    def add_adapter(self, adapter_id: str, name: str, run_id: str | None, card: dict) -> None:
        """Add a finished adapter to the library; its files must already be in home/adapters/ID."""
        sql = "INSERT OR REPLACE INTO adapters(id, name, run_id, card, created) VALUES(?,?,?,?,?)"
        self._db.execute(sql, (adapter_id, name, run_id, json.dumps(card), time.time()))

    def adapters(self, *, deleted: bool = False) -> list[dict]:
        """The adapters of the library, newest first; with `deleted`, those in the trash. Previews are in neither."""
        return self._all(
            f"SELECT * FROM adapters WHERE deleted IS {'NOT ' if deleted else ''}NULL AND id NOT GLOB ? "
            "ORDER BY created DESC, rowid DESC",
            f"{PREVIEW}*",
        )

    def previews(self) -> list[dict]:
        """The adapters that were blended or converted and not saved yet, newest first."""
        return self._all("SELECT * FROM adapters WHERE id GLOB ? ORDER BY created DESC, rowid DESC", f"{PREVIEW}*")

    def adapter(self, adapter_id: str) -> dict | None:
        return self._one("SELECT * FROM adapters WHERE id=?", adapter_id)

    def change_adapter(self, adapter_id: str, **values) -> None:
        """Set any of the columns name, card, deleted (a time or None), shown."""
        unknown = set(values) - {"name", "card", "deleted", "shown"}
        if unknown:
            raise ValueError(f"not a column to change: {unknown}")
        values = {key: json.dumps(value) if key == "card" else value for key, value in values.items()}
        sets = ", ".join(f"{key}=?" for key in values)
        self._db.execute(f"UPDATE adapters SET {sets} WHERE id=?", (*values.values(), adapter_id))

    def remove_adapter(self, adapter_id: str, *, only_deleted: bool = False) -> None:
        """Delete the row of an adapter; with `only_deleted`, only if the adapter is in the trash."""
        more = " AND deleted IS NOT NULL" if only_deleted else ""
        self._db.execute(f"DELETE FROM adapters WHERE id=?{more}", (adapter_id,))

    # ---- conversations ----------------------------------------------------------------------------------------

    def save_conversation(self, id: str, title: str, words: str, judged: bool, value: dict) -> None:
        """Keep a conversation; one with the same id is replaced."""
        now = time.time()
        sql = (
            "INSERT INTO conversations VALUES(?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET title=excluded.title, "
            "words=excluded.words, judged=excluded.judged, value=excluded.value, changed=excluded.changed"
        )
        self._db.execute(sql, (id, title, f"{title}\n{words}".casefold(), int(judged), json.dumps(value), now, now))

    def conversation(self, id: str) -> dict | None:
        return self._one("SELECT * FROM conversations WHERE id=?", id)

    def conversations(self, words: list[str], limit: int = 100) -> list[dict]:
        """Id, title and times of the conversations whose title or text contains all `words`, last changed first."""
        where = " AND ".join(["1", *("instr(words, ?)" for _ in words)])
        return self._all(
            f"SELECT id, title, created, changed FROM conversations WHERE {where} ORDER BY changed DESC LIMIT ?",
            *(word.casefold() for word in words),
            limit,
        )

    def judged_conversations(self) -> list[dict]:
        """The conversations in which answers were judged or corrected, oldest first."""
        return self._all("SELECT * FROM conversations WHERE judged ORDER BY created")

    def delete_conversation(self, id: str) -> None:
        self._db.execute("DELETE FROM conversations WHERE id=?", (id,))

    # ---- notes ------------------------------------------------------------------------------------------------

    def note(self, key: str, default=None):
        """The JSON value stored under `key`, else `default`."""
        found = self._one("SELECT value FROM notes WHERE key=?", key)
        return found["value"] if found else default

    def set_note(self, key: str, value) -> None:
        self._db.execute("INSERT OR REPLACE INTO notes VALUES(?,?)", (key, json.dumps(value)))


def _insert_run(
    db: sqlite3.Connection, name: str, recipe: dict, device: str, payload: dict, tags: list[str]
) -> tuple[str, int]:
    run_id = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)
    values = (run_id, name, json.dumps(recipe), time.time(), json.dumps(tags))
    db.execute("INSERT INTO runs(id, name, recipe, created, tags) VALUES(?,?,?,?,?)", values)
    return run_id, _insert_job(db, "train", run_id, device, payload)


def _insert_job(db: sqlite3.Connection, kind: str, run_id: str | None, device: str, payload: dict) -> int:
    sql = "INSERT INTO jobs(kind, run_id, device, payload, state, created) VALUES(?,?,?,?,'queued',?)"
    return db.execute(sql, (kind, run_id, device, json.dumps(payload), time.time())).lastrowid


def _holds_words(words: str, *texts: str | None) -> bool:
    text = " ".join(text for text in texts if text).casefold()
    return all(word in text for word in words.casefold().split())


def _row(row: sqlite3.Row) -> dict:
    return {
        key: json.loads(row[key]) if key in _JSON and row[key] is not None else row[key]
        for key in row.keys()  # noqa: SIM118
    }
