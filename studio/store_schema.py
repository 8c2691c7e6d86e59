"""The tables of the store's database. What each of them holds, `studio.store` says."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs(id TEXT PRIMARY KEY, name TEXT NOT NULL, recipe TEXT NOT NULL, created REAL NOT NULL,
  tags TEXT NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS jobs(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, run_id TEXT REFERENCES runs(id), device TEXT NOT NULL, \
payload TEXT NOT NULL,
  state TEXT NOT NULL, doing TEXT, reason TEXT, result TEXT, pid INTEGER, pid_created REAL, exit_code INTEGER, \
signal INTEGER,
  created REAL NOT NULL, started REAL, ended REAL, position REAL);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs(state);
CREATE INDEX IF NOT EXISTS jobs_by_run ON jobs(run_id);
CREATE TABLE IF NOT EXISTS metrics(id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, step INTEGER NOT NULL, \
time REAL NOT NULL, "values" TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS metrics_by_run ON metrics(run_id, id);
CREATE TABLE IF NOT EXISTS events(id INTEGER PRIMARY KEY, run_id TEXT, job_id INTEGER, time REAL NOT NULL, \
kind TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_run ON events(run_id, id);
CREATE TABLE IF NOT EXISTS commands(id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, verb TEXT NOT NULL, \
time REAL NOT NULL);
CREATE TABLE IF NOT EXISTS adapters(id TEXT PRIMARY KEY, name TEXT NOT NULL, run_id TEXT, card TEXT NOT NULL, \
created REAL NOT NULL, deleted REAL, shown INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS conversations(id TEXT PRIMARY KEY, title TEXT NOT NULL, words TEXT NOT NULL, \
judged INTEGER NOT NULL, value TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL);
CREATE TABLE IF NOT EXISTS notes(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS revisions(what TEXT PRIMARY KEY, number INTEGER NOT NULL);
INSERT OR IGNORE INTO revisions VALUES('adapters', 0), ('runs', 0);
CREATE TRIGGER IF NOT EXISTS adapter_added AFTER INSERT ON adapters
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'adapters'; END;
CREATE TRIGGER IF NOT EXISTS adapter_changed AFTER UPDATE ON adapters
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'adapters'; END;
CREATE TRIGGER IF NOT EXISTS adapter_removed AFTER DELETE ON adapters
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'adapters'; END;
CREATE TRIGGER IF NOT EXISTS run_added AFTER INSERT ON runs
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'runs'; END;
CREATE TRIGGER IF NOT EXISTS run_changed AFTER UPDATE ON runs
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'runs'; END;
CREATE TRIGGER IF NOT EXISTS run_removed AFTER DELETE ON runs
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'runs'; END;
CREATE TRIGGER IF NOT EXISTS run_queued AFTER INSERT ON jobs WHEN new.run_id IS NOT NULL
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'runs'; END;
CREATE TRIGGER IF NOT EXISTS run_moved_on AFTER UPDATE OF state, result ON jobs WHEN new.run_id IS NOT NULL
  BEGIN UPDATE revisions SET number = number + 1 WHERE what = 'runs'; END;
"""
ADDED_COLUMNS = (("jobs", "position", "REAL"), ("runs", "tags", "TEXT NOT NULL DEFAULT '[]'"))
"""(table, column, type) of the columns that databases of earlier versions lack; a store adds them when it opens one."""
