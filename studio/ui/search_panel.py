"""Search for better settings, part of the Train tab: choose what is changed and the budget, start, follow, use it.

What a search is and does is `studio.search`'s; the table of its tries is `search_view`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
from pydantic import create_model

from studio.forecast import duration
from studio.options import Options, option
from studio.runs import search as run_search
from studio.search import control, plan
from studio.search.control import Order
from studio.search.overview import live_drivers, overview
from studio.search.plan import PRUNING
from studio.search.space import SPACES, Parameter, narrowed, proposed, searchable, title_of
from studio.ui.access import require_owner
from studio.ui.form import OptionForm
from studio.ui.html_parts import Board, e, note
from studio.ui.library_view import metric_title
from studio.ui.page import Page
from studio.ui.pulse import Pulse
from studio.ui.search_view import search_html
from studio.words import StudioError

_SECONDS = 1.5  # between two looks at a search that runs
_COMPARE = "compare"  # the button that shows the runs in the comparison; the page scrolls there
_LOW, _HIGH = "__low", "__high"  # end of a range, behind the name of its option


@dataclass
class Parts:
    """The components. `setup` are the inputs of an order."""

    space: gr.Radio
    options: gr.CheckboxGroup
    ranges: OptionForm
    metric: gr.Dropdown
    tries: gr.Number
    minutes: gr.Number
    pruning: gr.Dropdown
    planned: gr.HTML
    start: gr.Button
    which: gr.Dropdown
    board: Board
    pulse: Pulse
    acted: gr.Textbox

    @property
    def setup(self) -> list:
        return [self.options, self.ranges, self.metric, self.tries, self.minutes, self.pruning]

    @property
    def followed(self) -> list:
        """What `followed` updates."""
        return [self.which, self.board, self.pulse]


def build(page: Page) -> Callable:
    """Create the components; return a function that binds their event handlers.

    It takes the filter by tag and the picked ids of the comparison of runs, and JavaScript that scrolls there.
    """
    with gr.Accordion(page.t("Search for better settings"), open=False, elem_id="search"):
        parts = _components(page)

    def bind(tag: gr.Dropdown, picked: gr.Textbox, scroll: str) -> None:
        _bind_setup(page, parts)
        _bind_following(page, parts, tag, picked, scroll)

    return bind


def _components(page: Page) -> Parts:
    gr.HTML(f'<p class="help">{e(page.t(_HELP))}</p>', apply_default_css=False)
    space = gr.Radio(
        [(page.say(title), key) for key, (title, _) in SPACES.items()],
        value="rate",
        label=page.t("What is changed"),
        info=" ".join(f"{page.say(title)}: {page.say(text)}" for title, text in SPACES.values()),
        elem_id="search-space",
    )
    options = gr.CheckboxGroup([], label=page.t("Options"), elem_id="search-options")
    ranges = OptionForm(language=page.language, elem_id="search-ranges")
    with gr.Row(equal_height=False):
        metric = gr.Dropdown(
            [],
            label=page.t("Judged by"),
            info=page.t("Figure on the validation rows that decides which try is better."),
            min_width=200,
            allow_custom_value=True,
            elem_id="search-metric",
        )
        tries = gr.Number(
            12,
            precision=0,
            label=page.t("Tries"),
            info=page.t("How many runs at most. A try is a run with other settings."),
            min_width=150,
            elem_id="search-tries",
        )
        minutes = gr.Number(
            30,
            label=page.t("Minutes"),
            info=page.t("How long at most, the judgement at the end included."),
            min_width=150,
            elem_id="search-minutes",
        )
        pruning = gr.Dropdown(
            [(page.say(title), key) for key, title in PRUNING.items()],
            value="halving",
            label=page.t("Stop weak tries early"),
            info=page.t("A try that is worse than the others at an evaluation gives its time to the next one."),
            min_width=240,
            elem_id="search-pruning",
        )
    planned = gr.HTML(elem_id="search-plan", apply_default_css=False)
    start = gr.Button(page.t("Start the search"), variant="primary", interactive=False, elem_id="search-start")
    which = gr.Dropdown([], label=page.t("Search"), visible=False, allow_custom_value=True, elem_id="search-which")
    board = Board(elem_id="search-board")
    acted = gr.Textbox(visible="hidden", label=page.t("State"), elem_id="search-acted")
    pulse = Pulse(lambda which: {"tick": stamp_of(page, which)}, seconds=_SECONDS, elem_id="search-pulse")
    return Parts(space, options, ranges, metric, tries, minutes, pruning, planned, start, which, board, pulse, acted)


_HELP = (
    "Runs your recipe several times with other settings, learns from each try where to look next, and stops weak tries "
    "early. Half of the validation rows choose; the other half stays untouched until the end, and judges the best try."
)


# ---- what is searched -----------------------------------------------------------------------------------------------


def _bind_setup(page: Page, parts: Parts) -> None:
    def choose(space: str, ticked: list[str], *rest):
        return setup_updates(page, parts, space, [], *rest)

    def redraw(space: str, *given):
        return setup_updates(page, parts, space, *given)

    def tick(ticked: list[str], raw: dict, *rest):
        form = parts.ranges.show(ranges_form(page, ticked), values=_kept(raw, ticked))
        return [form, *plan_updates(page, ticked, raw, *rest)]

    def check(*given):
        return plan_updates(page, *given)

    drawn = [parts.options, parts.ranges, parts.metric, parts.planned, parts.start]
    page.on(parts.space.change, choose, [parts.space, *parts.setup], drawn, shows="recipes")
    page.on_draft("train", lambda _, *given: redraw(*given), [parts.space, *parts.setup], drawn, shows="recipes")
    verdict = [parts.planned, parts.start]
    page.on(parts.options.input, tick, parts.setup, [parts.ranges, *verdict], shows="recipes")
    for event in (parts.ranges.input, *(each.input for each in parts.setup[2:])):
        page.on(event, check, parts.setup, verdict, shows="recipes", trigger_mode="always_last")


def setup_updates(page: Page, parts: Parts, space: str, ticked, raw, metric, tries, minutes, pruning) -> list:
    """Return updates of options, ranges, metric and plan for the draft. What was ticked stays ticked if the draft's
    method has it; else it is what the space proposes.
    """
    preflight = page.editor.preflight()
    offered = searchable(preflight.recipe)
    if not ticked or not set(ticked) <= {each.name for each in offered}:
        try:
            ticked = [each.name for each in proposed(preflight.recipe, space)]
        except StudioError as error:
            verdict = [note(page.say(error.sentence), "warn"), gr.update(interactive=False)]
            return [gr.update(choices=[], value=[]), parts.ranges.show(Options), gr.skip(), *verdict]
    metrics = control.metrics_for(preflight)
    metric = metric if metric in metrics else metrics[0]
    choices = [(page.say(title_of(preflight.recipe, each)), each.name) for each in offered]
    return [
        gr.update(choices=choices, value=ticked),
        parts.ranges.show(ranges_form(page, ticked)),
        gr.update(choices=[(metric_title(page, key), key) for key in metrics], value=metric),
        *plan_updates(page, ticked, {}, metric, tries, minutes, pruning),
    ]


def ranges_form(page: Page, ticked: list[str]) -> type[Options]:
    """The form of the ranges of the ticked options: two numbers for each that is no choice."""
    recipe = page.editor.preflight().recipe
    fields = {}
    for each in searchable(recipe):
        if each.name in ticked and not each.choices:
            title, kind = page.say(title_of(recipe, each)), int if each.whole else float
            help_text = page.t("Ratios count: as many tries between 1 and 2 as between 2 and 4.") if each.log else ""
            for end, label, value in (
                (_LOW, page.t("{title}, from", title=title), each.low),
                (_HIGH, page.t("{title}, to", title=title), each.high),
            ):
                fields[each.name.replace(".", "__") + end] = (kind, option(kind(value), label, help_text))
    return create_model("Ranges", __base__=Options, **fields)


def _kept(raw: dict, ticked: list[str]) -> dict:
    """The ends that a person has given to options that stay ticked."""
    names = {name.replace(".", "__") for name in ticked}
    return {key: value for key, value in raw.items() if key.removesuffix(_LOW).removesuffix(_HIGH) in names}


def ordered(page: Page, ticked, raw, metric, tries, minutes, pruning) -> Order:
    """The order that the controls stand for. Raises StudioError where a range is none."""
    recipe = page.editor.preflight().recipe
    parameters = [_narrowed(recipe, each, raw) for each in searchable(recipe) if each.name in (ticked or [])]
    return Order(parameters, metric or "", tries or 0, minutes or 0, pruning)


def _narrowed(recipe, parameter: Parameter, raw: dict) -> Parameter:
    name = parameter.name.replace(".", "__")
    return narrowed(recipe, parameter, raw.get(name + _LOW), raw.get(name + _HIGH))


def plan_updates(page: Page, ticked, raw, metric, tries, minutes, pruning) -> list:
    """Return updates of the sentence above the start button, and of the button."""
    preflight = page.editor.preflight()
    try:
        order = ordered(page, ticked, raw, metric, tries, minutes, pruning)
        control.planned(preflight, order, page.language)
    except StudioError as error:
        return [note(page.say(error.sentence), "warn"), gr.update(interactive=False)]
    if preflight.forecast is None:
        return ["", gr.update(interactive=True)]
    seconds = preflight.forecast.seconds
    text = page.t(
        "Up to {count} {count:try|tries}, {time} at most; a whole one takes about {each}. They go through the queue "
        "like other runs.",
        count=int(tries),
        time=page.say(duration(min(tries * seconds, 60 * minutes))),
        each=page.say(duration(seconds)),
    )
    return [f'<p class="help">{e(text)}</p>', gr.update(interactive=True)]


# ---- what has been tried --------------------------------------------------------------------------------------------


def _bind_following(page: Page, parts: Parts, tag: gr.Dropdown, picked: gr.Textbox, scroll: str) -> None:
    def begin(*given):
        found = control.planned(page.editor.preflight(), ordered(page, *given), page.language)
        return followed(page, control.start(page.editor, found))

    def look(which: str):
        return followed(page, which)

    def press(which: str, event: gr.EventData, profile: gr.OAuthProfile | None):
        if event.act in ("stop", "continue", "use"):
            require_owner(profile, page.language)
        return on_press(page, event.act, event.item, which)

    page.on(parts.start.click, begin, parts.setup, parts.followed, changes=True)
    for event in (parts.pulse.tick, parts.which.input):
        page.on(event, look, parts.which, parts.followed, shows="recipes")
    outputs = [page.run, page.changed, page.tabs, tag, picked, parts.acted, *parts.followed]
    pressed = page.on(parts.board.click, press, parts.which, outputs, shows="recipes")
    pressed.success(None, parts.acted, None, js=f"(act) => {{ if (act === '{_COMPARE}') ({scroll})(); return []; }}")


def shown_search(page: Page, which: str | None) -> str:
    """Return the id of the search to show: `which`, or the newest; "" if there is none."""
    known = plan.listed(page.home)
    return which if which in known else known[0] if known else ""


def stamp_of(page: Page, which: str | None) -> str:
    """Return a text that changes with what `followed` draws; cheap, since every page in sight asks often."""
    chosen = shown_search(page, which)
    if not chosen:
        return ""
    live = bool(live_drivers(page.store, chosen))
    return f"{chosen} {page.store.revision('runs')} {live} {int(time.time() / _SECONDS) if live else 0}"


def followed(page: Page, which: str | None) -> list:
    """Return updates of what a search has done. which: its id, "" for the newest."""
    chosen = shown_search(page, which)
    if not chosen:
        return [gr.skip()] * 3
    html = search_html(page, overview(page.home, page.store, plan.read(page.home, chosen)))
    choices = [(plan.read(page.home, each).title, each) for each in plan.listed(page.home)]
    return [gr.update(choices=choices, value=chosen, visible=len(choices) > 1), html, chosen]


def on_press(page: Page, act: str, item: str, which: str | None) -> list:
    """Carry out a button of the board; returns updates of (run, changed, tabs, tag, picked, acted, *followed)."""
    run, changed, tabs, tag, picked = (gr.skip(),) * 5
    chosen = shown_search(page, which)
    if act == "run":
        run = item
    elif act == "stop":
        control.stop(page.store, chosen)
    elif act == "continue":
        control.resume(page.home, page.store, chosen)
    elif act == "use":
        page.editor.change(**control.best_recipe(page.home, page.store, chosen, page.editor.draft()))
        changed, tabs = page.stamp("recipe"), gr.Tabs(selected="hyperparameters")
    elif act == _COMPARE:
        tag = plan.read(page.home, chosen).tag
        picked = ",".join(run_search.matching(page.store, run_search.Query(tag=tag)))
    else:
        raise StudioError("'{what}' is nothing that can be done with a run.", what=act)
    return [run, changed, tabs, tag, picked, act, *followed(page, chosen)]
