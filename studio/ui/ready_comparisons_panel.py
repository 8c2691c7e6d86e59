"""Ready-made comparisons, part of the Train tab: cards that each start a small set of runs of the draft.

What a comparison changes and whether it goes with the draft is `studio.draft.ready_comparisons`'.
"""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from studio.draft import ready_comparisons
from studio.draft.ready_comparisons import READY, SEEDS
from studio.forecast import duration
from studio.runs import search
from studio.runs.search import Query
from studio.ui.html_parts import Board, e, note
from studio.ui.page import Page
from studio.words import StudioError


def build(page: Page) -> Callable:
    """Create the components; return a function that binds their event handlers.

    It takes the components of the comparison that the runs of a started comparison are put into: the filter by tag and
    the ids picked; and JavaScript that scrolls there.
    """
    with gr.Accordion(page.t("Ready-made comparisons"), open=False, elem_id="ready-comparisons"):
        cards = Board(elem_id="ready-cards")
        seeds = gr.Radio(
            list(SEEDS),
            value=2,
            label=page.t("Seeds"),
            info=page.t(
                "Each variant runs once with each seed: how much two seeds differ says which differences are real."
            ),
            elem_id="ready-seeds",
        )
        planned = gr.HTML(elem_id="ready-plan", apply_default_css=False)
        start = gr.Button(page.t("Start these runs"), variant="primary", interactive=False, elem_id="ready-start")
    chosen = gr.Textbox(visible="hidden", label=page.t("Selected"), elem_id="ready-chosen")

    def bind(tag: gr.Dropdown, picked: gr.Textbox, scroll: str) -> None:
        def redraw(key, count):
            return [cards_html(page, key), *plan_updates(page, key, count)]

        def choose(count, event: gr.EventData):
            return [event.item, *redraw(event.item, count)]

        def begin(key, count):
            name = ready_comparisons.start(page.editor, key, count, page.language)
            ids = search.matching(page.store, Query(tag=name))
            return [ids[-1], name, ",".join(ids), gr.update(interactive=False)]

        drawn = [cards, planned, start]
        page.on_draft("train", lambda _, *given: redraw(*given), [chosen, seeds], drawn, shows="recipes")
        page.on(cards.click, choose, seeds, [chosen, *drawn], shows="recipes")
        page.on(seeds.change, redraw, [chosen, seeds], drawn, shows="recipes")
        started = page.on(start.click, begin, [chosen, seeds], [page.run, tag, picked, start], changes=True)
        started.success(None, None, None, js=scroll)

    return bind


def cards_html(page: Page, chosen: str) -> str:
    """Return a card for each comparison; one that does not go with the draft is disabled and says why."""
    help_text = page.t(
        "Each starts a few runs of your recipe that differ in one thing, and shows them side by side above, with means "
        "over the seeds."
    )
    cards = "".join(_card(page, key, key == chosen) for key in READY)
    return f'<p class="help">{e(help_text)}</p><div class="cards">{cards}</div>'


def _card(page: Page, key: str, chosen: bool) -> str:
    ready, refused = READY[key], ready_comparisons.refusal(page.editor, key)
    why = f'<p class="why">{e(page.say(refused))}</p>' if refused else ""
    off = ' aria-disabled="true"' if refused else ""
    variants = " · ".join(page.say(variant.title) for variant in ready.variants)
    return (
        f'<button type="button" class="card" data-act="ready" data-item="{e(key)}" aria-pressed="{str(chosen).lower()}"'
        f"{off}><h4>{e(page.say(ready.title))}</h4><p>{e(page.say(ready.explanation))}</p><p>{e(variants)}</p>{why}</button>"
    )


def plan_updates(page: Page, key: str, seeds: int) -> list:
    """Return updates of the plan and of the start button for the chosen comparison."""
    if key not in READY:
        return ["", gr.update(interactive=False)]
    try:
        plan = ready_comparisons.plan(page.editor, key, seeds)
    except StudioError as error:
        return [note(page.say(error.sentence), "warn"), gr.update(interactive=False)]
    count = len(plan.runs)
    if plan.seconds is None:
        text = page.t("Queues {count} {count:run|runs}:", count=count)
    else:
        time = page.say(duration(plan.seconds))
        text = (
            page.t("Queues {count} {count:run|runs}, about {time} in all, one after another:", count=count, time=time)
            if plan.sure
            else page.t(
                "Queues {count} {count:run|runs}, roughly {time} in all, one after another (no run like these was "
                "measured here yet):",
                count=count,
                time=time,
            )
        )
    names = "".join(f"<li>{e(page.say(name))}</li>" for name, _ in plan.runs)
    return [f'<p class="help">{e(text)}</p><ol class="planned">{names}</ol>', gr.update(interactive=True)]
