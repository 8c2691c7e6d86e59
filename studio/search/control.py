"""Start, stop and continue a search, for the page and the terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydantic import ValidationError

from studio.draft.editor import DraftEditor
from studio.draft.preflight import Preflight
from studio.home import Home
from studio.jobs import client
from studio.search import overview, plan, rows
from studio.search.plan import MAX_MINUTES, MAX_TRIES, METRICS_OF_TASK, PRUNING, Plan
from studio.search.space import Parameter, changed
from studio.store import Store
from studio.words import Sentence, StudioError, translate


@dataclass(frozen=True)
class Order:
    """What a person asks for. parameters: ticked, with their ranges. metric: "" for the proposed one."""

    parameters: list[Parameter]
    metric: str = ""
    tries: int = 12
    minutes: float = 30
    pruning: str = "halving"


def metrics_for(preflight: Preflight) -> tuple[str, ...]:
    """The metrics by which tries of the recipe can be judged, the proposed one first."""
    offered = METRICS_OF_TASK[preflight.recipe.task.record_kind]
    answers = preflight.recipe.training.evaluation_rows > 0
    return tuple(metric for metric in offered if metric != "exact_match" or answers)


def planned(preflight: Preflight, order: Order, language: str = "en", seed: int = 0) -> Plan:
    """The search of the checked recipe; nothing is started. Raises StudioError with the first reason why not."""
    if preflight.problems:
        raise StudioError(next(iter(preflight.problems.values())))
    metric = order.metric or metrics_for(preflight)[0]
    if metric not in metrics_for(preflight):
        raise StudioError(
            "Tries of this recipe can be judged by {choices}, not by '{metric}'.",
            choices=", ".join(metrics_for(preflight)),
            metric=metric,
        )
    if not order.parameters:
        raise StudioError("Nothing is ticked that the search may change. Tick an option.")
    if order.pruning not in PRUNING:
        raise StudioError(
            "Weak tries are stopped by {choices}, not '{rule}'.", choices=", ".join(PRUNING), rule=order.pruning
        )
    _budget(order)
    rows.halves(preflight.dataset.validation)
    recipe = preflight.recipe
    for ends in ("low", "high"):  # a range whose ends no recipe can have is refused now, not by its runs
        changed(recipe, order.parameters, {each.name: _end(each, ends) for each in order.parameters})
    title = f"{translate('Search', language)} {time.strftime('%m-%d %H:%M:%S')}"
    try:
        return Plan(
            id=plan.new_id(),
            title=title,
            created=time.time(),
            recipe={**recipe.to_dict(), "name": ""},
            parameters=order.parameters,
            metric=metric,
            pruning=order.pruning,
            tries=order.tries,
            minutes=order.minutes,
            seed=seed,
        )
    except ValidationError as error:
        raise StudioError("This is no search: {detail}.", detail=error) from error


def _budget(order: Order) -> None:
    for title, given, most in (
        (Sentence("Tries"), order.tries, MAX_TRIES),
        (Sentence("Minutes"), order.minutes, MAX_MINUTES),
    ):
        if not isinstance(given, int | float) or not 0 < given <= most:
            raise StudioError(
                "{title} must be more than 0 and at most {limit}, but is {given}.",
                title=title,
                limit=most,
                given=str(given),
            )
    if int(order.tries) != order.tries:
        raise StudioError(
            "{title} must be a whole number, but is '{given}'.", title=Sentence("Tries"), given=order.tries
        )


def _end(parameter: Parameter, ends: str):
    if parameter.choices:
        return parameter.choices[0]
    value = getattr(parameter, ends)
    return int(value) if parameter.whole else value


def start(editor: DraftEditor, found: Plan) -> str:
    """Write the plan and queue the job that drives it; returns the search's id."""
    plan.write(editor.home, found)
    client.start_job(editor.store, "search", {"search": found.id})
    return found.id


def stop(store: Store, search_id: str) -> None:
    """Stop the search; the tries that run are paused and go on with it. Raises StudioError if it is not running."""
    live = overview.live_drivers(store, search_id)
    if not live:
        raise StudioError("This search is not running.")
    for job in live:
        client.stop(store, job["id"])


def resume(home: Home, store: Store, search_id: str) -> None:
    """Go on with a search that was stopped or whose process was killed. Raises StudioError if it runs or is done."""
    found = plan.read(home, search_id)
    jobs = overview.drivers(store, search_id)
    if overview.live_drivers(store, search_id):
        raise StudioError("This search is running already.")
    if jobs and jobs[-1]["state"] == "done":
        raise StudioError("This search is finished; start another one.")
    client.start_job(store, "search", {"search": found.id})


def best_recipe(home: Home, store: Store, search_id: str, draft: dict) -> dict:
    """The draft with the best try's values. Raises StudioError while no try is done, or for a draft of another method.

    What the search set in its runs alone (its rows, its evaluations) does not get into the draft.
    """
    found = overview.overview(home, store, plan.read(home, search_id))
    if found.best is None:
        raise StudioError("No try of this search is done yet.")
    values = store.run(found.best.run)["recipe"]
    before = found.plan.recipe
    made = {**draft, "method": {**before["method"]}, "training": {**draft["training"]}}
    if draft["method"].get("name") == before["method"]["name"]:
        made["method"] = {**draft["method"]}
    for part in ("training", "method"):
        made[part] |= {
            key: value
            for key, value in values[part].items()
            if f"{part}.{key}" in found.best.values or (part == "method" and value != before[part].get(key))
        }
    return made
