"""The page itself: torch-free, without a request to anywhere else, in the browser's language."""

import json
import os
import subprocess
import sys

import pytest

from studio.home import REPOSITORY, Home
from studio.store import Store
from studio.words import translate


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run(home):
    return Store(home.database).create_run("a run", {}, "cpu")[0]


@pytest.fixture(scope="module")
def demo(home):
    from studio.ui.window import build

    return build(home)


@pytest.fixture(scope="module")
def address(serve, demo, run):
    return serve(demo)


def title(page):
    return page.locator(".top p").inner_text()


WELCOME = "Teach an open model from your own data, without code."


@pytest.mark.parametrize("locale, language", [("en-US", "en"), ("zh-CN", "zh"), ("de-DE", "en")])
def test_the_browser_chooses_the_language(open_page, address, locale, language):
    page = open_page(address, locale=locale)
    assert title(page) == translate(WELCOME, language)
    assert page.get_by_role("tab").first.inner_text() == translate("Data", language)
    assert page.evaluate("() => document.documentElement.lang") == {"en": "en", "zh": "zh-CN"}[language]


def test_an_event_that_shows_no_progress_tells_it_to_no_component(demo):
    """Gradio's page passes each step of an event's progress to all components that were ever told of one."""
    loud = [fn.name for fn in demo.fns.values() if fn.outputs and fn.show_progress_on != []]
    minimal = [fn.name for fn in demo.fns.values() if fn.outputs and fn.show_progress == "minimal"]
    assert loud == minimal and len(minimal) < 30


@pytest.mark.slow
def test_the_person_switches_it_and_keeps_the_run(open_page, address, run):
    page = open_page(address, locale="zh-CN")
    page.wait_for_url(f"**/zh?run={run}")
    page.get_by_role("link", name="English").click()
    page.wait_for_url(f"**/?lang=en&run={run}")
    assert title(page) == WELCOME
    page.reload()
    assert title(page) == WELCOME
    page.get_by_role("link", name="简体中文").click()
    page.wait_for_url(f"**/zh?run={run}")


def test_a_run_that_does_not_exist_gives_way_to_the_newest(open_page, address, run):
    page = open_page(f"{address}?run=nobody")
    page.wait_for_url(f"**/?run={run}")


@pytest.mark.slow
def test_the_page_asks_nobody_else_for_anything(browser, address):
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.goto(address)
    for name in ("Data", "Method", "Hyperparameters", "Train", "Chat", "Library"):  # tabs within them come and go
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_timeout(150)
    context.close()
    foreign = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert len(asked) > 5 and foreign == [] and failed == []


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(open_page, address, width):
    page = open_page(address, viewport={"width": width, "height": 844})
    page.get_by_role("tab").first.wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_building_and_serving_the_window_imports_no_torch(tmp_path):
    code = """
import json, sys
from studio.home import Home
from studio.ui.launch import free_port, launch
from studio.ui.window import build
address = launch(build(Home(sys.argv[1])), port=free_port(18860), block=False)
import httpx
status = [httpx.get(address).status_code, httpx.get(address + "zh").status_code]
heavy = {"torch", "transformers", "peft", "trl", "datasets", "bitsandbytes"}
heavy = sorted({name.partition(".")[0] for name in sys.modules} & heavy)
print(json.dumps([status, heavy]))
import os
sys.stdout.flush()
os._exit(0)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, env=environment
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[200, 200], []], done.stderr


def test_gradio_writes_no_stubs_beside_our_sources():
    assert list((REPOSITORY / "studio" / "ui").glob("*.pyi")) == []
