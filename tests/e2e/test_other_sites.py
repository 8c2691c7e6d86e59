"""The page loads nothing from other sites and sends them nothing, whatever text it shows; and it works under that
policy."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.pages import open_studio, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PARTS = {  # each tab, and what it has drawn in the end
    "Method": "#methods .card",
    "Hyperparameters": "#forecast .facts, #forecast svg",
    "Train": "#start",
    "Chat": "#chat-0",
    "Library": "#adapters .notice",
    "Data": "#examples [data-act=example]",
}


@pytest.fixture
def other_site():
    """(address, requests that reached it)."""
    reached = []

    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            reached.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", reached
    server.shutdown()


def test_the_page_breaks_its_own_policy_nowhere(studio, browser):
    page = open_studio(studio, browser)
    refused = []
    page.on("console", lambda line: refused.append(line.text) if "Content Security Policy" in line.text else None)
    page.reload()
    for name, drawn in PARTS.items():
        tab(page, name)
        page.wait_for_selector(drawn)
    assert refused == []


def test_a_picture_of_another_site_is_not_fetched(studio, browser, other_site):
    address, reached = other_site
    page = open_studio(studio, browser)
    blocked = []
    page.on("console", lambda line: blocked.append(line.text) if "Content Security Policy" in line.text else None)
    tab(page, "Chat")
    page.fill("#message textarea", f"![chart]({address}/secret.png)")
    page.click("#send")
    page.wait_for_selector("#chat-0 .user img", state="attached")
    page.evaluate("address => fetch(address + '/sent').catch(() => 0)", address)
    assert any("secret.png" in text for text in blocked) and any("/sent" in text for text in blocked)
    assert reached == []
