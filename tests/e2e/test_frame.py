"""The frame around the tabs: steps and their states, the status bar, light and dark, the keyboard, files dropped
anywhere, the tour."""

import json

import pytest

from tests.e2e.pages import choose_example, ready, start, tab, train_with

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def state(page, step: str) -> str:
    return page.get_attribute(f"#step-{step}", "data-state")


def selected(page) -> str:
    return page.get_attribute("#steps [aria-selected=true]", "data-step")


def wait_for_selected(page, step: str) -> None:
    page.wait_for_function(
        "step => document.querySelector('#steps [aria-selected=true]')?.dataset.step === step", arg=step
    )


def wait_for_state(page, step: str, *states: str, seconds: float = 30) -> None:
    page.wait_for_function(
        "([id, states]) => states.includes(document.getElementById(id)?.dataset.state)",
        arg=[f"step-{step}", list(states)],
        timeout=seconds * 1000,
    )


@pytest.fixture
def page(studio, open_page):
    made = open_page(studio.address)
    ready(made)
    choose_example(made, "captain", "captain.jsonl")
    wait_for_state(made, "data", "done")
    return made


def test_next_leads_through_all_steps(page):
    assert selected(page) == "data"
    seen = []
    while page.locator("#status-bar [data-next]").is_visible():
        page.click("#status-bar [data-next]")
        page.wait_for_timeout(100)
        seen.append(selected(page))
    assert seen == ["method", "hyperparameters", "train", "chat", "library"]


def test_a_step_that_needs_something_says_so(studio, page):
    """The states follow the draft; the hint names what is wrong, and Train waits."""
    train_with(studio, epochs=-1)
    page.reload()
    ready(page)
    wait_for_state(page, "hyperparameters", "attention")
    assert "Epochs must be more than 0" in page.get_attribute("#step-hyperparameters", "aria-description")
    assert state(page, "data") == "done" and state(page, "train") in ("todo", "done")
    tab(page, "Hyperparameters")
    page.get_by_label("Epochs").fill("2")
    wait_for_state(page, "hyperparameters", "done")
    wait_for_state(page, "train", "next", "done")


def test_the_run_is_seen_from_every_tab(studio, page):
    train_with(studio, epochs=30, evaluations=0, sample_prompts=0)
    page.reload()
    ready(page)
    tab(page, "Train")
    start(page, studio)
    tab(page, "Method")
    wait_for_state(page, "train", "running")
    page.wait_for_function("/Captain · \\d+ ?%/.test(document.querySelector('#status-bar').innerText)")
    assert "GB free" in page.inner_text("#status-bar")
    tab(page, "Train")
    page.keyboard.press("Escape")  # stops it, as the button does
    studio.wait_for_run("stopped")
    page.wait_for_function("document.querySelector('#status-bar').innerText.includes('Nothing is running')")


def test_light_and_dark_are_chosen_and_kept(page):
    dark = "document.body.classList.contains('dark')"
    before = page.evaluate(dark)
    page.click("[data-theme-switch]")
    assert page.evaluate(dark) != before
    page.reload()
    ready(page)
    page.wait_for_function(f"{dark} === {json.dumps(not before)}")


def test_the_keyboard_searches_moves_and_starts(studio, page):
    page.keyboard.press("/")
    page.wait_for_function("document.activeElement.closest('#method-search')")
    wait_for_selected(page, "method")
    page.keyboard.type("dora/")  # in a field it is a letter as any other
    assert page.input_value("#method-search input, #method-search textarea") == "dora/"
    page.focus("#step-method")
    page.keyboard.press("ArrowRight")
    wait_for_selected(page, "hyperparameters")
    page.keyboard.press("End")
    wait_for_selected(page, "library")
    train_with(studio, epochs=1, max_steps=2, evaluations=1, evaluation_rows=2, sample_prompts=0)
    page.reload()
    ready(page)
    before = studio.store.latest_run()
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('#steps [aria-selected=true]').dataset.step === 'train'")
    page.wait_for_function("document.querySelector('#status').innerText.match(/Running|Waiting|Done/)")
    run = studio.wait_for_run("done")
    assert before is None or run["id"] != before["id"]
    tab(page, "Chat")
    page.fill("#message textarea", "What does a wolf do?")
    page.focus("#message textarea")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('#chat-0').innerText.includes('What does a wolf do?')")


def test_a_file_dropped_anywhere_becomes_the_data(page):
    tab(page, "Train")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          const rows = Array.from({ length: 12 },
            (_, at) => JSON.stringify({ prompt: `What is ${at} plus 1?`, completion: `${at + 1}` }));
          data.items.add(new File([rows.join('\\n')], 'dropped.jsonl', { type: 'application/json' }));
          const drag = (type) => document.querySelector('#status')
            .dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
          for (const type of ['dragenter', 'dragover']) drag(type);
          window.overlay = !document.getElementById('drop-anywhere').hidden;
          drag('drop');
        }"""
    )
    assert page.evaluate("window.overlay") and page.locator("#drop-anywhere").is_hidden()
    page.wait_for_function("document.querySelector('#sentence').innerText.includes('dropped.jsonl')")
    assert selected(page) == "data"


def test_the_tour_shows_five_hints_and_is_over(page):
    page.click("[data-tour]")
    for at in range(1, 6):
        assert f"{at} / 5" in page.inner_text("#tour")
        page.wait_for_function("document.querySelector('.tour-target')?.offsetParent !== undefined")
        page.locator("#tour .primary").click()
    assert page.locator("#tour").count() == 0
    page.click("[data-tour]")
    page.keyboard.press("Escape")
    assert page.locator("#tour").count() == 0
    page.reload()
    ready(page)
    assert page.evaluate("document.body.classList.contains('toured')")
