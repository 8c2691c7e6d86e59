"""What the visitors of a Space see: the owner's choice, and a note in place of what is private. Nothing elsewhere.

    build_choice(page)          the owner's switches, below the header
    build_note(page, "data")    a sentence for visitors at the place where a topic would be drawn

That handlers draw nothing private is ensured where they are bound (`Page.on(…, shows="data")`), not here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import gradio as gr

from studio.ui.access import TOPICS, may_change, may_see, on_space, show_topics, shown_topics
from studio.ui.html_parts import note
from studio.ui.page import Page


def build_choice(page: Page) -> Callable[[], None]:
    """Create the switches, which only the owner sees; return a function that binds their event handlers."""
    if not on_space():
        return lambda: None
    with gr.Accordion(
        page.t("What visitors of this Space see"), open=False, visible=False, elem_id="visitors"
    ) as panel:
        chosen = gr.CheckboxGroup(
            [(page.t(title), topic) for topic, title in TOPICS.items()],
            label=page.t("Show to everybody"),
            info=page.t(
                "Curves, and the adapters that you show in the Library, can be seen by everybody. The rest is "
                "private until you show it."
            ),
            elem_id="visitors-see",
        )

    def look(profile: gr.OAuthProfile | None):
        return gr.update(visible=may_change(profile)), shown_topics(page.store)

    def bind():
        page.on(partial(page.demo.load), look, None, [panel, chosen])
        page.on(chosen.input, lambda topics: show_topics(page.store, topics), chosen, None, changes=True)

    return bind


def build_note(page: Page, topic: str) -> Callable[[], None]:
    """Create the note for a topic, shown to those who may not see it; return a function that binds its handler."""
    if not on_space():
        return lambda: None
    place = gr.HTML(visible=False, apply_default_css=False)

    def look(profile: gr.OAuthProfile | None):
        text = page.t("The owner of this Space keeps this private: {what}.", what=page.t(TOPICS[topic]))
        return gr.update(value=note(text), visible=not may_see(topic, profile, page.store))

    def bind():
        page.on(partial(page.demo.load), look, None, place)

    return bind
