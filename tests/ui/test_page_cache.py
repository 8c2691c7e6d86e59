"""The finished page is made once for each address, and is what Gradio makes."""

import concurrent.futures

import gradio as gr
import httpx
import pytest
from starlette.middleware import Middleware

from studio.ui.page_cache import _MOST, PageCache
from tests.conftest import free_port


class Counted:
    """Middleware that counts how often the page is made, below the cache."""

    made = 0

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        Counted.made += scope["type"] == "http" and scope["path"] == "/"

        async def sign_in(message):
            if message["type"] == "http.response.start" and b"ada" in scope["query_string"]:
                message["headers"].append((b"set-cookie", b"session=ada"))
            await send(message)

        await self.app(scope, receive, sign_in)


@pytest.fixture(scope="module")
def address():
    with gr.Blocks() as demo:
        gr.Markdown("Hello")
    middleware = [Middleware(PageCache, pages={"/"}), Middleware(Counted)]
    _, address, _ = demo.launch(
        server_port=free_port(), prevent_thread_lock=True, quiet=True, app_kwargs={"middleware": middleware}
    )
    yield address
    demo.close(verbose=False)


def made(*answers: httpx.Response) -> int:
    """How often the page was made since the last question; all `answers` are pages."""
    assert all(answer.status_code == 200 and "gradio" in answer.text for answer in answers)
    number, Counted.made = Counted.made, 0
    return number


def test_a_page_is_made_once_however_many_ask(address):
    made()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda query: httpx.get(address + query), ["", "?run=1", "?run=2", "?lang=en"] * 4))
    assert made(*answers) == 1 and len({answer.text for answer in answers}) == 1
    assert made(httpx.get(address, headers={"accept-encoding": "identity"})) == 1


def test_another_address_has_a_page_of_its_own(address):
    httpx.get(address), made()
    other = httpx.get(address, headers={"x-forwarded-host": "example.org", "x-forwarded-proto": "https"})
    assert made(other) == 1 and "https://example.org" in other.text
    assert made(httpx.get(address)) == 0
    assert made(*(httpx.get(address, headers={"x-forwarded-host": f"{at}.org"}) for at in range(_MOST))) == _MOST
    assert made(httpx.get(address)) == 1  # it was forgotten for the newer ones


def test_what_is_no_finished_page_is_made_each_time(address):
    httpx.get(address), made()
    httpx.head(address), httpx.get(address + "?deep_link=x")
    assert made() == 2


def test_nobody_gets_the_cookie_of_another(address):
    elsewhere = {"x-forwarded-host": "space.example"}
    assert httpx.get(address + "?ada", headers=elsewhere).headers["set-cookie"] == "session=ada"
    made()
    other = httpx.get(address, headers=elsewhere)
    assert made(other) == 1 and "set-cookie" not in other.headers
