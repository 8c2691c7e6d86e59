"""A pulse asks the server beside Gradio's events, and only a change of what it is told is an event."""

import time

import gradio as gr
import pytest

from studio.ui.pulse import Pulse

EVERY, HIDDEN = 0.1, 0.4
AWAY = "Object.defineProperty(document, 'hidden', { configurable: true, get: () => Boolean(window.away) });"


class Watched:
    """A page of two tabs; the second one has a pulse, whose argument names the stamp that it is told."""

    def __init__(self):
        self.stamps = {"tick": "1", "select": "1"}
        self.asked: list[str] = []
        with gr.Blocks() as self.demo:
            with gr.Tab("First", id="first"):
                gr.Markdown("nothing")
            with gr.Tab("Second", id="second"):
                name = gr.Textbox(label="Name")
                pulse = Pulse(self.answer, seconds=EVERY, hidden_seconds=HIDDEN)
                drawn, rest = gr.Textbox(label="Drawn"), gr.Textbox(label="Rest")
            name.change(lambda text: text, name, pulse, queue=False)
            pulse.tick(lambda: f"drawn {self.stamps['tick']}", None, drawn, queue=False)
            pulse.select(lambda: f"rest {self.stamps['select']}", None, rest, queue=False)

    def answer(self, value: str) -> dict[str, str]:
        self.asked.append(value)
        return dict(self.stamps)

    def asked_in(self, seconds: float) -> int:
        self.asked.clear()
        time.sleep(seconds)
        return len(self.asked)


@pytest.fixture(scope="module")
def watched():
    return Watched()


def shows(page, label: str, text: str) -> None:
    page.wait_for_function(
        "([label, text]) => [...document.querySelectorAll('label')].some(node => node.innerText.includes(label) && "
        "node.querySelector('textarea, input').value === text)",
        arg=[label, text],
    )


def test_only_changes_are_events_and_only_what_is_in_sight_asks(serve, open_page, watched):
    page = open_page(serve(watched.demo))
    page.get_by_role("tab", name="Second").wait_for()
    assert watched.asked_in(0.5) == 0
    page.get_by_role("tab", name="Second").click()
    shows(page, "Drawn", "drawn 1")
    shows(page, "Rest", "rest 1")

    events = []
    page.on("request", lambda request: events.append(request) if "/run/predict" in request.url else None)
    page.wait_for_timeout(1000)
    assert len(watched.asked) >= 3 and not events

    watched.stamps["tick"] = "2"
    shows(page, "Drawn", "drawn 2")
    assert len(events) == 1  # of the two events, that whose stamp has changed

    page.get_by_label("Name").fill("a run")
    page.wait_for_timeout(1000)
    assert watched.asked[-1] == "a run"

    page.get_by_role("tab", name="First").click()
    page.wait_for_timeout(300)
    watched.stamps["tick"] = "3"
    assert watched.asked_in(0.5) == 0
    page.get_by_role("tab", name="Second").click()
    shows(page, "Drawn", "drawn 3")


def test_a_hidden_page_asks_rarely(serve, open_page, watched):
    page = open_page(serve(watched.demo))
    page.get_by_role("tab", name="Second").click()
    shows(page, "Drawn", f"drawn {watched.stamps['tick']}")
    page.evaluate(AWAY + "window.away = true; document.dispatchEvent(new Event('visibilitychange'));")
    page.wait_for_timeout(300)
    asked = watched.asked_in(2)
    assert 1 <= asked <= 2 / HIDDEN + 1
