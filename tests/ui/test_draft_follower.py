"""A change of the draft is drawn at once by the tab in sight, and by another one when it is looked at."""

import threading

import gradio as gr
import pytest

from studio.ui.draft_follower import TELL, DraftFollower

PANEL = "document.getElementById('tab-second')"


class Watched:
    """A page of two tabs that follow the draft; `drawn` has the tab and the stamp of each drawing."""

    def __init__(self):
        self.drawn: list[tuple[str, str]] = []
        self.may_draw = threading.Event()
        self.may_draw.set()
        with gr.Blocks() as self.demo:
            changed = gr.Textbox(label="Changed")
            for name in ("first", "second"):
                with gr.Tab(name.title(), id=name, elem_id=f"tab-{name}"):
                    self.follow(name)
            changed.change(None, changed, None, js=TELL)

    def follow(self, name: str) -> None:
        def draw(stamp: str) -> str:
            self.may_draw.wait(30)
            self.drawn.append((name, stamp))
            return stamp

        follower, shown = DraftFollower(name), gr.Textbox(label=f"Drawn {name}")
        follower.tick(draw, follower, shown, queue=False).then(None, js=follower.drawn)


@pytest.fixture(scope="module")
def watched():
    return Watched()


@pytest.fixture
def page(serve, open_page, watched):
    watched.drawn.clear()
    page = open_page(serve(watched.demo))
    page.get_by_label("Drawn first").wait_for()
    return page


def change(page, stamp: str) -> None:
    page.get_by_label("Changed").fill(stamp)
    page.wait_for_function("stamp => document.documentElement.dataset.draft === stamp", arg=stamp)


def shows(page, name: str, text: str) -> None:
    page.wait_for_function(
        "([label, text]) => [...document.querySelectorAll('label')].some(node => node.innerText.includes(label) && "
        "node.querySelector('textarea, input').value === text)",
        arg=[f"Drawn {name}", text],
    )


def test_what_is_out_of_sight_is_drawn_once_when_it_is_looked_at(page, watched):
    for stamp in ("model:1", "method:2"):
        change(page, stamp)
        shows(page, "first", stamp)
    assert watched.drawn == [("first", "model:1"), ("first", "method:2")]
    page.get_by_role("tab", name="Second").click()
    shows(page, "second", ":2")  # of two changes, neither is the origin
    change(page, "name:3")
    shows(page, "second", "name:3")
    assert watched.drawn[2:] == [("second", ":2"), ("second", "name:3")]
    page.get_by_role("tab", name="First").click()
    shows(page, "first", "name:3")
    page.get_by_role("tab", name="Second").click()
    page.wait_for_timeout(300)
    assert watched.drawn[4:] == [("first", "name:3")]  # what shows the newest draft is not drawn again


def test_a_tab_is_busy_while_it_shows_an_older_draft(page, watched):
    page.get_by_role("tab", name="Second").click()
    page.get_by_role("tab", name="First").click()
    change(page, "model:4")
    shows(page, "first", "model:4")
    watched.may_draw.clear()
    try:
        page.get_by_role("tab", name="Second").click()
        page.wait_for_function(f"{PANEL}.offsetParent && {PANEL}.ariaBusy === 'true'")
    finally:
        watched.may_draw.set()
    page.wait_for_function(f"{PANEL}.ariaBusy === 'false'")
    shows(page, "second", "model:4")
