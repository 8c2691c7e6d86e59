"""One browser for all tests, and windows that are served as the product is served (nothing here is special to ui/)."""

import socket
from types import SimpleNamespace

import pytest

CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """open_page(address, locale=…) → a page in a context of its own. Errors in its scripts fail the test at the end."""
    contexts, errors = [], []

    def opened(address, **context):
        contexts.append(browser.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 900}} | context))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture(scope="session")
def serve():
    """serve(demo) → its address, launched by `studio.ui.launch` on a port of its own; closed at the end of the session."""
    from studio.ui.launch import launch

    served = []

    def address(demo):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        served.append(demo)
        return launch(demo, port=port, block=False)

    yield address
    for demo in served:
        demo.close(verbose=False)


@pytest.fixture(scope="session")
def bare_page():
    """bare_page(language) → a `Page` over nothing, for handlers that need neither store nor home."""
    from studio.ui.page import Page

    return lambda language="en": Page(None, language, SimpleNamespace(home=None, store=None), None)
