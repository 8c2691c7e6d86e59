"""A zip for a bug report on a run: its recipe, versions, hardware, the end of the logs and the error.

It holds no secrets, no rows of the data and no names of folders: every text goes through `redaction.Redaction`, which
knows the rows of the run's data. Answers and predictions are not part of it.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from studio import __version__, hardware
from studio.data.read import open_source
from studio.data.resolve import resolve
from studio.diagnosis.redaction import Redaction
from studio.evaluation import predictions
from studio.home import Home
from studio.jobs.job import log_path
from studio.library.card import public
from studio.store import Store
from studio.words import Sentence, StudioError

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets", "tokenizers", "gradio", "numpy")
_TAIL = 60_000  # bytes of each log
_LINES = 500  # newest lines of the run's own log
_ROWS = 20_000  # rows of each data file that are looked for in the texts
_README = """A bug report of Delta Studio.

recipe.yaml     the configuration of the run; of paths only the last part
versions.json   Delta Studio, Python, the operating system and the libraries
hardware.json   this machine
run.json        state and times of the run
log.txt         the run's log; output.txt and supervisor.txt: the end of what its processes wrote
error.txt       the error, if there is one

Tokens, keys, passwords, rows of the data and names of folders were taken out. Read it before you send it.
"""


def write(home: Home, store: Store, run_id: str, folder: Path) -> Path:
    """Write the bundle of the run to `folder` and return its path. Raises `StudioError` for an unknown run."""
    run = store.run(run_id) if run_id else None
    if run is None:
        raise StudioError("There is no run to report on yet: start one first.")
    hide = Redaction(home.root, rows_of(home, run), _paths(run["recipe"]))
    path = folder / f"bug-report-{run_id}.zip"
    half = path.with_suffix(".half")
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in _files(home, store, run).items():
            bundle.writestr(name, hide(text))
    half.replace(path)
    return path


def _files(home: Home, store: Store, run: dict) -> dict[str, str]:
    """Name of a file → its text, not yet redacted."""
    job = store.job(run["job_id"])
    told = {key: run[key] for key in ("id", "state", "device", "step", "created", "started", "ended", "exit_code")}
    tracebacks = store.events(run["id"], kind="traceback", limit=1)
    error = [str(Sentence.from_json(run["reason"]))] if run["reason"] else []
    error += [tracebacks[-1]["data"]["text"]] if tracebacks else []
    told_of = [event for kind in ("log", "action") for event in store.events(run["id"], kind=kind, limit=_LINES)]
    log = [_line(event) for event in sorted(told_of, key=lambda event: event["id"])[-_LINES:]]
    return {
        "README.txt": _README,
        "recipe.yaml": yaml.safe_dump(public(run["recipe"]), sort_keys=False, allow_unicode=True),
        "versions.json": _json(versions()),
        "hardware.json": _json(asdict(hardware.machine())),
        "run.json": _json({**told, "signal": job["signal"], "payload": public(job["payload"])}),
        "log.txt": "\n".join(log),
        "output.txt": _tail(log_path(home, job["id"])),
        "supervisor.txt": _tail(home.logs / "supervisor.log"),
        "error.txt": "\n\n".join(error),
    }


def versions() -> dict[str, Any]:
    """Versions of the studio, of Python, of the operating system and of the libraries."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return {"delta-studio": __version__, "python": sys.version, "system": platform.platform(), **found}


def rows_of(home: Home, run: dict) -> Iterator[str]:
    """The texts of the run's data that must not be in the bundle: cells of its files, and answers of the model."""
    for item in predictions.read(home.run(run["id"])):
        yield from (value for value in asdict(item).values() if isinstance(value, str))
    for source in _sources(run["recipe"]):
        try:
            found = resolve(source)
            for file in (found.train, found.validation):
                if not isinstance(file, Path):  # none, or on the hub, where it is public or out of reach
                    continue
                for row in itertools.islice(open_source(file).rows(), _ROWS):
                    yield from _texts(row.values)
        except (StudioError, OSError):  # the file is gone or broken: its rows cannot be looked for
            continue


def _sources(recipe: dict) -> list[str]:
    """The data files of a recipe."""
    data = recipe.get("data") or {}
    found = [data.get("source"), data.get("validation"), *(item.get("source") for item in data.get("more") or ())]
    return [source for source in found if source]


def _paths(recipe: dict) -> list[str]:
    """The data files and the folder of the base model."""
    model = (recipe.get("model") or {}).get("name") or ""
    return [path for path in (*_sources(recipe), model) if Path(path).is_absolute()]


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value that consists of dicts and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _line(event: dict) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
    return f"{when}  {Sentence.from_json(event['data'])}"


def _tail(path: Path) -> str:
    """The last `_TAIL` bytes of a file, from the beginning of a line; "" if there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        text = file.read().decode(errors="replace")
    return text if size <= _TAIL else text.partition("\n")[2]


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"
