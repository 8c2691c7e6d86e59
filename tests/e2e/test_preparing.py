"""A large dataset on its way into a run: the page says how far it is, and Stop is obeyed before the first step."""

import json

import pytest

from studio.recipe import Recipe
from tests.conftest import until
from tests.e2e.pages import ready, start, status, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_page_says_how_far_the_data_is_and_stops_it(new_studio, open_page, tmp_path):
    studio, path = new_studio, tmp_path / "many.jsonl"
    with path.open("w") as file:
        file.writelines(
            json.dumps({"prompt": f"What comes after the number {number}?", "completion": f"The number {number + 1}."})
            + "\n"
            for number in range(80_000)
        )
    studio.store.set_note("draft", Recipe.model_validate({"data": {"source": str(path)}}).to_dict())
    studio.open_window()
    studio.wait_for_standby()
    page = open_page(studio.address)
    ready(page)
    tab(page, "Train")
    page.wait_for_function("document.querySelector('#sentence').innerText.includes('78,000 examples')")
    start(page, studio)
    until(
        lambda: (run := studio.store.latest_run()) and run["doing"] and "done" in run["doing"]["values"],
        120,
        "the data is not prepared",
    )
    page.wait_for_function(
        "/Preparing the data: [\\d,]+ of [\\d,]+ rows/.test(document.querySelector('#status').innerText)"
    )
    page.click("#stop")
    assert studio.wait_for_run("stopped", seconds=30)["step"] is None
    status(page, "Stopped")
    page.get_by_role("button", name="Run log").click()
    page.get_by_text("Stopped while the data was being prepared").wait_for()
