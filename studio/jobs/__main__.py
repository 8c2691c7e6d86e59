"""Training runs from a terminal:
`python -m studio.jobs list|start|pause|stop|finish|resume|first|remove|show|wait|compare|search`.

The same store and supervisor as behind the page: a run that is started here is drawn there, and the other way round.
RUN is a run's id, its name (the newest of that name), or "last".
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from studio.home import Home
from studio.jobs import client
from studio.recipe import recipe_from_yaml
from studio.runs.comparison import RESULTS, compare
from studio.runs.export import as_dict, table_csv
from studio.store import ENDED, Store
from studio.words import Sentence, StudioError

_FIELDS = ("id", "name", "state", "device", "step", "created", "started", "ended", "result")
_POLL_SECONDS = 0.3


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 where a run that was waited for did not end well or in time, and 2
    where the command cannot be carried out.
    """
    options = _parser().parse_args(arguments)
    try:
        home = Home(options.home)
        with contextlib.closing(Store(home.database)) as store:
            return options.command(home, store, options)
    except StudioError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studio.jobs", description="Training runs from a terminal.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable, help: str, run: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(command=command)
        made.add_argument("--home", help="the studio's folder (default: DELTA_STUDIO_HOME or ~/.delta-studio)")
        made.add_argument("--json", action="store_true", help="print JSON")
        if run:
            made.add_argument("run", metavar="RUN", help="id, name, or last")
        return made

    listed = add("list", _list, "list the newest runs", run=False)
    listed.add_argument("--limit", type=int, default=20, help="how many (default: 20)")
    started = add("start", _start, "queue a run of a recipe", run=False)
    started.add_argument("recipe", type=Path, help="a recipe in YAML, as the page's 'Download recipe' gives it")
    started.add_argument("--name", help="the run's name (default: the recipe's)")
    started.add_argument("--wait", action="store_true", help="return when the run has ended")
    started.set_defaults(timeout=None)
    for verb, title in {
        "pause": "pause a run: it leaves its device and keeps a checkpoint, from which resume goes on",
        "stop": "stop a run; it keeps a checkpoint and can be resumed",
        "finish": "end a run's training now and make its adapter",
        "discard": "stop a run and delete its checkpoints",
    }.items():
        add(verb, _request, title).set_defaults(verb=verb)
    add("first", _first, "let a waiting run start before the other waiting ones")
    add("remove", _remove, "take a waiting run out of the queue")
    resumed = add("resume", _resume, "go on with a run from its last checkpoint")
    resumed.add_argument("--wait", action="store_true", help="return when the run has ended")
    resumed.set_defaults(timeout=None)
    add("show", _show, "show a run, with its latest metrics")
    waited = add("wait", _wait, "wait until a run has ended")
    waited.add_argument("--timeout", type=float, help="seconds to wait at most")
    compared = add("compare", _compare, "rank runs, and show what differs in their recipes", run=False)
    compared.add_argument("runs", metavar="RUN", nargs="+", help="id, name, or last; two or more")
    compared.add_argument(
        "--by", default="", choices=RESULTS, help="what they are ranked by (default: the first known)"
    )
    compared.add_argument("--csv", action="store_true", help="print CSV, as the page's download has it")
    searched = commands.add_parser("search", help="search better settings: start, list, show, stop, continue, use")
    # Named as text, like the kinds of jobs: the search queues jobs itself.
    search = importlib.import_module("studio.search.command")
    search.add(searched)
    searched.set_defaults(command=search.run)
    return parser


def _find(store: Store, name: str) -> dict:
    run = store.run(name) or (store.latest_run() if name == "last" else None)
    run = run or next((row for row in store.runs() if row["name"] == name), None)
    if run is None:
        raise StudioError("There is no run '{run}'; `python -m studio.jobs list` shows the runs there are.", run=name)
    return run


def _list(home: Home, store: Store, options: argparse.Namespace) -> int:
    rows = store.runs(options.limit)
    if options.json:
        print(json.dumps([_fields(row) for row in rows], ensure_ascii=False))
        return 0
    for row in rows:
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created"]))
        print(f"{row['id']}  {created}  {row['state']:8} step {row['step'] or 0:<6} {row['name']}")
    if not rows:
        print("No runs yet; `python -m studio.jobs start presets/captain.yaml` starts one.")
    return 0


def _start(home: Home, store: Store, options: argparse.Namespace) -> int:
    try:
        text = options.recipe.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StudioError("{file} cannot be read ({detail}).", file=str(options.recipe), detail=error) from error
    recipe = recipe_from_yaml(text, options.recipe.name)
    name = options.name or recipe.name or options.recipe.stem
    run_id = client.start_run(home, store, name, recipe.to_dict(), client.choose_device(store, recipe.machine.device))
    return _report(store, run_id, options)


def _request(home: Home, store: Store, options: argparse.Namespace) -> int:
    run = _find(store, options.run)
    if run["state"] in ENDED:
        raise StudioError("'{name}' has ended already ({state}).", name=run["name"], state=run["state"])
    client.request(store, run["job_id"], options.verb)
    return _report(store, run["id"], options)


def _first(home: Home, store: Store, options: argparse.Namespace) -> int:
    run = _find(store, options.run)
    client.move(store, run["job_id"], "first")
    return _report(store, run["id"], options)


def _remove(home: Home, store: Store, options: argparse.Namespace) -> int:
    client.remove(store, _find(store, options.run)["job_id"])
    return 0


def _resume(home: Home, store: Store, options: argparse.Namespace) -> int:
    run = _find(store, options.run)
    client.resume_run(store, run["id"])
    return _report(store, run["id"], options)


def _show(home: Home, store: Store, options: argparse.Namespace) -> int:
    _print(store, _find(store, options.run)["id"], options.json)
    return 0


def _wait(home: Home, store: Store, options: argparse.Namespace) -> int:
    run = _find(store, options.run)
    client.ensure_supervisor(home)
    return _report(store, run["id"], options, wait=True)


def _compare(home: Home, store: Store, options: argparse.Namespace) -> int:
    found = compare(store, [_find(store, name)["id"] for name in options.runs], options.by)
    if options.csv:
        print(table_csv(found), end="")
        return 0
    if options.json:
        print(json.dumps(as_dict(found), ensure_ascii=False))
        return 0
    for at, (run, name, rank) in enumerate(zip(found.runs, found.names, found.ranks, strict=True)):
        figures = [(key, metrics[at]) for key, metrics in found.results.items() if metrics[at].value is not None]
        texts = [f"{key} {metric.value:.4g}" + _range(metric.interval) for key, metric in figures]
        print(f"{rank or '-':>3}  {run['id']}  {name}\n     {', '.join(texts) or run['state']}")
        for (part, key), values in found.recipe.items():
            print(f"       {f'{part}.{key}'.strip('.')}: {values[at]}")
    return 0


def _range(interval: tuple[float, float] | None) -> str:
    return f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else ""


def _report(store: Store, run_id: str, options: argparse.Namespace, wait: bool = False) -> int:
    """Print the run, after it has ended where that is asked for."""
    wait = wait or getattr(options, "wait", False)
    end = time.monotonic() + (getattr(options, "timeout", None) or float("inf"))
    while wait and store.run(run_id)["state"] not in ENDED and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    _print(store, run_id, options.json)
    return int(wait and store.run(run_id)["state"] != "done")


def _fields(run: dict) -> dict:
    sentences = {key: str(Sentence.from_json(run[key])) if run[key] else None for key in ("doing", "reason")}
    return {**{key: run[key] for key in _FIELDS}, **sentences}


def _print(store: Store, run_id: str, as_json: bool) -> None:
    run = _fields(store.run(run_id))
    rows = store.recent_metrics(run_id, 4)  # those of one step: the step's own, an evaluation's and a checkpoint's
    run["metrics"] = {key: value for row in rows if row["step"] == run["step"] for key, value in row["values"].items()}
    if as_json:
        print(json.dumps(run, ensure_ascii=False))
        return
    print(f"{run['id']}  {run['name']}\n{run['state']}, step {run['step'] or 0}, on {run['device']}")
    for line in (
        run["reason"] or run["doing"],
        ", ".join(f"{key} {value:.4g}" for key, value in run["metrics"].items()),
    ):
        if line:
            print(line)
    for key, value in ((run["result"] or {}).get("metrics") or {}).items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    sys.exit(main())
