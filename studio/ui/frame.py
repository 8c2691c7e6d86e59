"""Frame around the tabs: step bar on top, status bar at the bottom, theme switch, keyboard control and tour.

The step bar shows the six tabs as steps with their state; the status bar shows the device, its free memory, the current
run, and a button to the next step. Both are built from the draft and the store; `assets/ui/frame.js` contains what
needs no server.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import gradio as gr

from studio import hardware
from studio.chat import serving
from studio.home import ASSETS
from studio.ui.html_parts import Board, e, size, skeleton
from studio.ui.page import Page
from studio.ui.pulse import Pulse
from studio.ui.recent import Recent
from studio.ui.run_status import LIVE, STATES
from studio.words import LANGUAGES, translate

STEPS = {
    "data": "Data",
    "method": "Method",
    "hyperparameters": "Hyperparameters",
    "train": "Train",
    "chat": "Chat",
    "library": "Library",
}
# Kind of problem in `Preflight.problems` → step with the controls to resolve it.
_STEP_OF = {
    "data": "data",
    "model": "method",
    "method": "method",
    "machine": "hyperparameters",
    "recipe": "hyperparameters",
}
_STATES = {"done": "done", "attention": "needs you", "running": "running", "next": "next", "todo": "not yet"}
_LOOK, _LOOK_HIDDEN = 3.0, 20.0  # seconds between two looks for changes; the same while the page is hidden
_FRESH = 1.0  # seconds for which the status bar is drawn once for all viewers
_ENDED_RUNS = 3  # runs that are over of which the page is told
# Tour for the first visit: (CSS selector of the element it points at, step, sentence).
_TOUR = [
    ("#sentence", "data", "This sentence says what Start will do. It changes with everything you choose."),
    ("#examples", "data", "Begin with an example, or drop a file of your own anywhere on this page."),
    (
        "#recommended",
        "method",
        "Each card is a fine-tuning method. LoRA is a good first choice; no other setting is needed.",
    ),
    (
        "#start",
        "train",
        "Start trains in the background. You can close this page: the run goes on, and nothing is lost.",
    ),
    (
        "#status-bar",
        "data",
        "The device, its free memory and what runs. The button on the right leads to the next step.",
    ),
]


def build_steps(page: Page) -> None:
    """Create the step bar, with one button for each tab.

    It replaces Gradio's own tab bar, which hides tabs on narrow screens.
    """
    items = "".join(
        f'<button type="button" role="tab" id="step-{key}" data-step="{key}" aria-controls="tab-{key}" '
        'aria-selected="false" tabindex="-1">'
        f'<span class="dot" data-number="{at}" aria-hidden="true"></span><span class="name">'
        f"{e(page.t(title))}</span></button>"
        for at, (key, title) in enumerate(STEPS.items(), 1)
    )
    gr.HTML(
        f'<div class="steps" role="tablist" aria-label="{e(page.t("Steps"))}">{items}</div>',
        elem_id="steps",
        apply_default_css=False,
    )


def build_status_bar(page: Page) -> Callable[[], None]:
    """Create the status bar at the bottom of the window; return a function that binds its event handlers."""
    bar = Board(skeleton(48), elem_id="status-bar")
    drawn = Recent(lambda: status_bar_html(page), _FRESH)
    pulse = Pulse(
        lambda _: {"tick": str(hash(drawn()))}, seconds=_LOOK, hidden_seconds=_LOOK_HIDDEN, elem_id="status-pulse"
    )

    def bind():
        page.on(pulse.tick, lambda: drawn(), None, bar)
        page.on(page.changed.change, lambda: status_bar_html(page), None, bar)

    return bind


def step_states(page: Page) -> dict[str, tuple[str, str]]:
    """Return step → (state, hint).

    States: done, attention (a problem prevents Start), running, next, todo.
    """
    problems = page.editor.preflight().problems
    hints = {}
    for part, problem in problems.items():
        hints.setdefault(_STEP_OF.get(part, "hyperparameters"), page.say(problem))
    run = page.store.latest_run()
    adapters = bool(page.store.adapters())
    live = bool(run and run["state"] in ("queued", "running"))
    states = {key: "attention" if key in hints else "done" for key in ("data", "method", "hyperparameters")}
    trained = adapters or bool(run and run["state"] == "done")
    states["train"] = "running" if live else "done" if trained else "todo" if hints else "next"
    states["chat"] = states["library"] = "next" if trained and not live else "todo"
    return {key: (state, hints.get(key, "")) for key, state in states.items()}


def status_bar_html(page: Page) -> str:
    """Return the device, its free memory, the current run, and the states of all steps for the step bar."""
    here = hardware.machine()
    device = hardware.choose_device(hardware=here)
    total, free = here.memory_of(device), here.free_on(device)
    used = 100 * (1 - free / total) if total else 0.0
    message = page.t("{free} of {total} free", free=size(_rounded(free)), total=size(total))
    states = {
        key: {"state": state, "title": f"{page.t(_STATES[state])}. {hint}".strip() if hint else page.t(_STATES[state])}
        for key, (state, hint) in step_states(page).items()
    }
    return (
        f'<div class="status-bar" data-steps="{e(json.dumps(states))}" data-runs="{e(json.dumps(run_news(page)))}">'
        f'<span class="device" title="{e(page.say(here.title(device)))}">{e(_device(page, here, device))}</span>'
        f'<span class="memory"><span class="meter" aria-hidden="true"><span style="width:{used:.0f}%"></span>'
        f"</span>{e(message)}</span>"
        f'<span class="running">{_running_html(page)}</span>'
        f'<button type="button" class="small-button primary" data-next hidden></button></div>'
    )


def run_news(page: Page) -> list[dict]:
    """The runs that are not over and the newest other ones, for the page's title and the browser's notices."""
    found = page.store.runs(20)
    live = [run for run in found if run["state"] in LIVE]
    over = sorted((run for run in found if run not in live), key=lambda run: run["ended"] or 0)[-_ENDED_RUNS:]
    news = [{key: run[key] for key in ("id", "name", "state")} for run in (*over, *live)]
    for run, item in zip((*over, *live), news, strict=True):
        if run["state"] == "running":
            item["share"] = _share(page, run)
    return news


def _share(page: Page, run: dict) -> str:
    """How far a run is, in percent; before its first step what it is doing."""
    plan = page.store.events(run["id"], kind="plan", limit=1)
    steps = plan[-1]["data"].get("steps", 0) if plan else 0
    return f"{min(1.0, (run['step'] or 0) / steps):.0%}" if steps else page.say(run["doing"])


def _device(page: Page, here: hardware.Hardware, device: str) -> str:
    """Return a short name of the device."""
    if device == "cpu":
        return page.t("CPU · {count} {count:core|cores}", count=here.cores)
    return page.say(here.short(device))


def _rounded(count: int) -> int:
    """Round bytes to 0.1 GB, so that the status bar does not change with every small fluctuation."""
    return round(count / 1e8) * 100_000_000


def _running_html(page: Page) -> str:
    """Return the running run with its progress and the number of waiting runs, or else the model that is served."""
    runs = [run for run in page.store.runs(20) if run["state"] in ("queued", "running")]
    running = [run for run in runs if run["state"] == "running"]
    if not runs:
        served = serving.served_job(page.store)
        if served and served["result"]:
            return e(page.t("Serving {model}", model=served["payload"]["model"]))
        return e(page.t("Nothing is running"))
    if not running:
        return e(page.t("{count} {count:run|runs} waiting", count=len(runs)))
    run = running[0]
    share = _share(page, run)
    more = f" · {page.t('{count} {count:run|runs} waiting', count=len(runs) - 1)}" if len(runs) > 1 else ""
    return f'<span class="pulse" aria-hidden="true"></span>{e(run["name"])} · {e(share)}{e(more)}'


def script() -> str:
    """Return the scripts for the page's <head>."""
    code = "\n".join((ASSETS / "ui" / name).read_text(encoding="utf-8") for name in ("frame.js", "run_news.js"))
    settings = json.dumps({language: _words(language) for language in LANGUAGES}, ensure_ascii=False)
    return f"<script>\nconst FRAME = {settings};\n{code}</script>"


def theme_switch_html(page: Page) -> str:
    """Return the header's buttons for the light or dark theme and for the tour."""
    return (
        f'<button type="button" class="tour-button" data-tour>{e(page.t("Take the tour"))}</button>'
        f'<button type="button" class="theme-button" data-theme-switch aria-label="{e(page.t("Light or dark"))}" '
        f'title="{e(page.t("Light or dark"))}"><span aria-hidden="true">◐</span></button>'
    )


def _words(language: str) -> dict:
    return {
        "next": {
            key: translate("Next: {step}", language, step=translate(title, language)) for key, title in STEPS.items()
        },
        "drop": translate("Drop the file to use it as training data", language),
        "tour": [{"at": at, "step": step, "text": translate(text, language)} for at, step, text in _TOUR],
        "states": {state: translate(title, language) for state, title in STATES.items()},
        "forward": translate("Next hint", language),
        "finish": translate("Done", language),
        "skip": translate("Skip the tour", language),
    }
