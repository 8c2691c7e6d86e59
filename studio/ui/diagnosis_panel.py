"""The diagnosis of a run below its state: what went wrong, and buttons that mend the recipe. Part of the Train tab."""

from __future__ import annotations

from studio import hardware
from studio.diagnosis import Evidence, Finding, diagnose
from studio.diagnosis.evidence import FALL_BACK
from studio.forecast import changed
from studio.jobs import client
from studio.recipe import Recipe, recipe_from
from studio.ui.html_parts import button, e
from studio.ui.page import Page
from studio.words import Sentence, StudioError

_REMEMBERED = 64  # runs whose findings are kept
_DIAGNOSED = ("running", "done", "stopped", "failed")


def evidence_of(page: Page, run: dict) -> Evidence | None:
    """What is known of the run; None if its recipe is one of an earlier version that is not valid any more."""
    store = page.store
    try:
        recipe = recipe_from(run["recipe"])
    except StudioError:
        return None
    plan = store.events(run["id"], kind="plan", limit=1)
    memory = store.events(run["id"], kind="memory", job_id=run["job_id"], limit=1)
    return Evidence(
        recipe,
        run["state"],
        Sentence.from_json(run["reason"]),
        page.feed.curves(run["id"], ("loss", "eval_loss", "memory_device", FALL_BACK)),
        plan[-1]["data"].get("steps", 0) if plan else 0,
        memory[-1]["data"] if memory else {},
        hardware.machine().memory_of(run["device"]),
    )


_found: dict[str, tuple[tuple, list[Finding]]] = {}  # run → (what the findings rest on, findings)


def findings(page: Page, run: dict | None) -> list[Finding]:
    """What the rules find about the run; computed again only when the run has recorded something new."""
    if run is None or run["state"] not in _DIAGNOSED:
        return []
    key = (run["job_id"], run["state"], page.store.last_metric_id(run["id"]))
    if _found.get(run["id"], (None,))[0] != key:
        evidence = evidence_of(page, run)
        if len(_found) >= _REMEMBERED:
            _found.clear()
        _found[run["id"]] = (key, diagnose(evidence) if evidence else [])
    return _found[run["id"]][1]


def diagnosis_html(page: Page, run: dict | None) -> str:
    """Return what the rules find about the run with a button for each remedy; "" if they find nothing."""
    return "".join(_finding(page, run, item) for item in findings(page, run))


def _finding(page: Page, run: dict, item: Finding) -> str:
    ways = ""
    for at, remedy in enumerate(item.remedies):
        title = page.say(remedy.title)
        both = button(
            page.t("Start again with {changes}", changes=title), "mend", f"{at}", kind="" if at else "primary"
        ) + button(
            page.t("Load this recipe"),
            "mend-draft",
            f"{at}",
            says=page.t("Load the recipe with: {changes}", changes=title),
        )
        ways += f'<p class="actions">{both}</p>'
    return (
        f'<section class="diagnosis" role="status" data-rule="{e(item.rule)}"><h4>{e(page.t("What went wrong"))}</h4>'
        f"<p>{e(page.say(item.sentence))}</p>{ways}</section>"
    )


def mended(page: Page, run: dict, at: int) -> Recipe:
    """The run's recipe with the remedy `at`. Raises StudioError if the diagnosis has changed meanwhile."""
    remedies = [remedy for item in findings(page, run) for remedy in item.remedies]
    if at >= len(remedies):
        raise StudioError("This advice does not apply any more; look at the run again.")
    return changed(recipe_from(run["recipe"]), remedies[at].changes)


def start_mended(page: Page, run: dict, at: int) -> str:
    """Queue a new run with the mended recipe; returns its id."""
    recipe = mended(page, run, at)
    device = client.choose_device(page.store, recipe.machine.device)
    return client.start_run(page.home, page.store, run["name"], recipe.to_dict(), device)
