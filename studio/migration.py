"""Migrate data stored by earlier versions to the current names: recipes, the database, and files of the home folder.

`current_recipe` converts recipes from any source, such as an old YAML file. `migrate` converts a home folder once, when
its database is opened, and records that in SQLite's user_version. Standard library only, as `studio.store`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

# Of the database. 0: new, or from before the renaming of 26 November 2026; 1: before `parents` of a card; 2: before the
# renaming of 28 November 2026.
VERSION = 3

# Part of a recipe → old name → current name, that of transformers.TrainingArguments where it has one.
_RENAMED = {
    "data": {
        "heldout": "validation",
        "heldout_mapping": "validation_mapping",
        "heldout_fraction": "validation_fraction",
    },
    "training": {
        "accumulation": "gradient_accumulation_steps",
        "schedule": "lr_scheduler_type",
        "warmup": "warmup_ratio",
        "max_gradient": "max_grad_norm",
        "patience": "early_stopping_patience",
        "keep_best": "load_best_model_at_end",
        "checkpoint_steps": "save_steps",
    },
    "machine": {"checkpointing": "gradient_checkpointing"},
    "task": {
        "learn_from": "train_on",
        "mark_end": "append_eos",
        "several": "multi_label",
        "vary": "augment",
        "imitation": "sft_weight",
        "good_weight": "desirable_weight",
        "bad_weight": "undesirable_weight",
    },
}
_LABELS = {"several": "multi_label"}
_CARD = {**_LABELS, "ships_as": "artefact_type", "lent_template": "overrides_template"}
_METRICS = {"heeded": "reward_accuracy", "base_heeded": "base_reward_accuracy"}
_PLAN = {"heldout": "validation", "learnt_parameters": "trainable_parameters"}
_PREDICTION = {"taught": "fine_tuned"}
_FIXES = {"heldout_duplicate": "validation_duplicate", "apart": "own_validation"}


def current_recipe(values: dict) -> dict:
    """`values` (a parsed recipe, complete or partial) with old names replaced by the current ones."""
    found = {
        part: _renamed(value, _RENAMED[part]) if part in _RENAMED and isinstance(value, dict) else value
        for part, value in values.items()
    }
    method = found.get("method")
    if isinstance(method, dict) and method.get("name") == "tinylora":
        found["method"] = _renamed(method, {"numbers": "parameters"})
    if isinstance(method, dict) and method.get("stage") == "teach":  # an option of Intrinsic Prompt Tuning
        found["method"] = {**method, "stage": "train"}
    data = found.get("data")
    if isinstance(data, dict) and isinstance(data.get("remedies"), dict):
        found["data"] = {**data, "remedies": _remedies(data["remedies"])}
    task = found.get("task")
    if isinstance(task, dict) and task.get("reasoning") == "learn":
        found["task"] = {**task, "reasoning": "train"}
    return found


def _remedies(values: dict) -> dict:
    return {kind: "train" if way == "learn" else way for kind, way in _renamed(values, _FIXES).items()}


def needed(db: sqlite3.Connection) -> bool:
    """Whether the database is new or was written by an earlier version."""
    return db.execute("PRAGMA user_version").fetchone()[0] < VERSION


def migrate(db: sqlite3.Connection, home: Path) -> None:
    """Migrate the database `db`, which must be in a transaction, and the files under `home`. Idempotent."""
    if not needed(db):  # another process has migrated it meanwhile
        return
    names = dict(db.execute("SELECT id, name FROM adapters"))
    _files(home, names)
    _rows(db, "runs", "id", "recipe", current_recipe)
    _rows(db, "jobs", "id", "result", _result)
    _rows(db, "adapters", "id", "card", lambda card: _card(card, names))
    _rows(db, "events", "id", "data", lambda plan: _renamed(plan, _PLAN), "kind = 'plan'")
    _rows(db, "notes", "key", "value", current_recipe, "key = 'draft'")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _renamed(values: dict, names: dict[str, str]) -> dict:
    return {names.get(key, key): value for key, value in values.items()}


def _rows(db: sqlite3.Connection, table: str, key: str, column: str, change: Callable, where: str = "1") -> None:
    """Apply `change` to the JSON object in `column` of each row, and write it back if it differs."""
    for identity, text in db.execute(f'SELECT {key}, "{column}" FROM {table} WHERE {where}').fetchall():
        before = json.loads(text) if text else None
        if isinstance(before, dict) and (after := change(before)) != before:
            db.execute(f'UPDATE {table} SET "{column}" = ? WHERE {key} = ?', (json.dumps(after), identity))


def _result(result: dict) -> dict:
    return {**result, "metrics": _metrics(result["metrics"])} if isinstance(result.get("metrics"), dict) else result


def _card(card: dict, names: dict[str, str]) -> dict:
    """names: adapter id → name, for the parent of a merged model, which was recorded by its id alone."""
    changed = _renamed(_result(card), _CARD)
    if isinstance(source := changed.pop("merged_from", None), str):
        changed.setdefault("parents", [{"id": source, "name": names.get(source, source), "relation": "merged"}])
    return {**changed, "recipe": current_recipe(card["recipe"])} if isinstance(card.get("recipe"), dict) else changed


def _metrics(metrics: dict) -> dict:
    """The metrics of a run with renamed keys, also in its confidence intervals and its per-class results."""
    found = _renamed(metrics, _METRICS)
    if isinstance(found.get("intervals"), dict):
        intervals = _renamed(found["intervals"], _METRICS)
        found["intervals"] = {key: _renamed(value, _PREDICTION) for key, value in intervals.items()}
    if isinstance(found.get("classes"), dict):
        classes = _renamed(found["classes"], _LABELS)
        if isinstance(classes.get("sets"), list):
            classes["sets"] = [_renamed(each, _LABELS) for each in classes["sets"]]
        found["classes"] = classes
    return found


def _files(home: Path, names: dict[str, str]) -> None:
    """Migrate the files under `home`. Each is replaced atomically, so a crash leaves either the old or the new file."""
    for path in home.glob("runs/*/predictions.jsonl"):
        # Split at "\n" only, because a text may contain other Unicode line separators. A truncated row is kept.
        _replace(path, "\n".join(map(_prediction, path.read_text(encoding="utf-8").split("\n"))))
    for path in (path for folder in ("adapters", "previews", "trash") for path in home.glob(f"{folder}/*/studio.json")):
        # An invalid card is kept as it is: the library reports it.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            words = json.loads(path.read_text(encoding="utf-8"))
            _replace(path, json.dumps({**words, "card": _card(words["card"], names)}, indent=1))
    for path in home.glob("runs/*/checkpoints/*/learnt.safetensors"):
        os.replace(path, path.with_name("trainable.safetensors"))
    outbox, exports = home / "outbox", home / "exports"
    if outbox.is_dir():
        exports.mkdir(exist_ok=True)
        for path in outbox.iterdir():
            os.replace(path, exports / path.name)
        outbox.rmdir()


def _prediction(line: str) -> str:
    """A row of predictions.jsonl with the current names, as ASCII, because a text may hold a lone surrogate."""
    try:
        row = _renamed(json.loads(line), _PREDICTION)
        if isinstance(row.get("scores"), dict):
            row["scores"] = _renamed(row["scores"], _METRICS)
        return json.dumps(row)
    except (ValueError, AttributeError):
        return line


def _replace(path: Path, text: str) -> None:
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)
