"""Serving from the page: with the mouse from Start serving to OpenAI's own client, beside a chat in the same model."""

import openai
import pytest

from studio.chat import serving
from tests.conftest import free_port, until
from tests.e2e.pages import ask, open_studio, ready, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(studio, browser):
    page = open_studio(studio, browser)
    tab(page, "Chat")
    page.get_by_role("button", name="Serve to other programs (API)").click()
    page.wait_for_function("document.querySelector('#serve-state').innerText.includes('Nothing is served now.')")
    yield page
    page.close()


def state_of(page) -> str:
    return page.inner_text("#serve-state")


def test_from_the_click_to_an_answer_in_another_program(page, studio):
    page.fill("#serve-port input", "80")
    page.click("#serve-start")
    page.get_by_text("The port must be a number from 1024 to 65535.").wait_for()
    port = free_port()
    page.fill("#serve-port input", str(port))
    page.click("#serve-start")
    page.wait_for_function(
        "document.querySelector('#serve-state').innerText.includes('Other programs can use it now.')"
    )
    key = serving.endpoint(studio.home).key
    assert f"http://127.0.0.1:{port}/v1" in state_of(page) and key not in page.content()
    api = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)
    messages = [{"role": "user", "content": "Hello"}]
    first = api.chat.completions.create(model="base", messages=messages, max_tokens=8).choices[0].message.content
    assert first
    # Chat answers from the same model, and other programs keep theirs.
    assert ask(page, "Hello")[0]
    assert len(studio.store.jobs("running", kind="chat")) == 1
    again = api.chat.completions.create(model="base", messages=messages, max_tokens=8).choices[0].message.content
    assert again == first


def test_the_key_is_shown_when_asked_for_and_the_python_example_runs(page, studio):
    page.check("#serve-key input")
    key = serving.endpoint(studio.home).key
    page.wait_for_function("key => document.querySelector('#serve-state').innerText.includes(key)", arg=key)
    page.locator("#serve-panel").get_by_role("tab", name="Python").click()
    shown = page.locator("#serve-panel .cm-content:visible").inner_text()
    scope: dict = {}
    exec(compile(shown, "the page's example", "exec"), scope)
    assert scope["answer"].choices[0].message.content
    page.uncheck("#serve-key input")
    page.wait_for_function("key => !document.body.innerText.includes(key)", arg=key)


def test_it_lives_without_the_window_and_ends_by_the_button(page, studio):
    at = serving.endpoint(studio.home)
    api = openai.OpenAI(base_url=at.url, api_key=at.key, max_retries=0)
    studio.kill_window()
    assert api.models.list().data
    studio.open_window()
    page.goto(studio.address)
    ready(page)
    tab(page, "Chat")
    page.get_by_role("button", name="Serve to other programs (API)").click()
    page.wait_for_function(
        "document.querySelector('#serve-state').innerText.includes('Other programs can use it now.')"
    )
    page.click("#serve-stop")
    page.wait_for_function("document.querySelector('#serve-state').innerText.includes('Nothing is served now.')")
    until(lambda: not studio.store.jobs("running", kind="chat"), 20, "the server goes on")
    with pytest.raises(openai.APIConnectionError):
        api.models.list()
