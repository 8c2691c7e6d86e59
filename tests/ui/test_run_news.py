"""The script that puts runs into the page's title: it follows the status bar."""

import html
import json

import pytest

from studio.home import ASSETS
from studio.ui import frame

RUNNING = [{"id": "a", "name": "captain", "state": "running", "share": "40 %"}]
DONE = [{"id": "a", "name": "captain", "state": "done"}]


def bar(runs):
    return f'<div data-runs="{html.escape(json.dumps(runs))}"></div>'


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.clock.install()
    settings = json.dumps({"en": frame._words("en")})
    code = (ASSETS / "ui" / "run_news.js").read_text(encoding="utf-8")
    page.set_content(
        f'<html lang="en"><body><div id="status-bar">{bar(RUNNING)}</div>'
        f"<script>const FRAME = {settings};\n{code}</script></body></html>"
    )
    yield page
    page.close()


def show(page, runs):
    page.evaluate("text => { document.querySelector('#status-bar').innerHTML = text; }", bar(runs))
    page.clock.run_for(300)


def test_the_title_follows_and_changes_elsewhere_are_gathered(page):
    page.clock.run_for(300)
    assert page.title() == "40 % · captain – Delta Studio"
    page.evaluate(
        "() => { window.searches = 0; const search = document.querySelector.bind(document);"
        "document.querySelector = (text) => { searches++; return search(text); }; }"
    )
    for _ in range(50):
        page.evaluate("() => document.body.append(document.createElement('p'))")
    page.clock.run_for(300)
    assert page.evaluate("searches") <= 4  # two for a look, not two for each of fifty changes
    show(page, DONE)
    assert page.title() == "✓ Done – captain – Delta Studio"
