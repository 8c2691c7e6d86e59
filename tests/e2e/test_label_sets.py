"""Several label sets from the page: the columns chosen, a run, and the playground with a probability for each label of each set."""

import csv

import pytest

from studio.home import SAMPLES
from tests.conftest import until
from tests.e2e.pages import ready, status, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def ticked(page, studio, wanted: list[str]) -> bool:
    """Tick the column "length" or not, also where the form is drawn anew meanwhile; whether the draft says so."""
    box = page.locator("#roles .of-several input[value=length]")
    if box.is_checked() != bool(wanted):
        box.click()
    return (studio.store.note("draft")["data"].get("mapping") or {}).get("labels") == wanted


def test_two_columns(studio, open_page, tmp_path):
    with (SAMPLES / "tickets.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:160]
    with (tmp_path / "letters.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "label", "length"])
        out.writerows([row["text"], row["label"], "long" if len(row["text"]) > 60 else "short"] for row in rows)
    studio.wait_for_standby()
    page = open_page(studio.address)
    ready(page)
    tab(page, "Data")
    page.fill("#place textarea, #place input", str(tmp_path / "letters.csv"))
    page.click("#use-place")
    page.wait_for_function("document.querySelector('#sentence').innerText.includes('letters.csv')", timeout=30_000)
    page.locator("#task").get_by_text("Multi-task classification").click()
    page.wait_for_function("document.querySelector('#sentence').innerText.includes('classify by several label sets')", timeout=30_000)
    page.get_by_text("Which column plays which role").click()
    ticks = page.locator("#roles .of-several input")
    ticks.first.wait_for(timeout=30_000)
    assert [tick.get_attribute("value") for tick in ticks.all() if tick.is_checked()] == ["length"]  # proposed, and can be taken back
    for wanted in ([], ["length"]):
        until(lambda: ticked(page, studio, wanted), 20, "the label columns were not taken")  # noqa: B023  asked at once
    draft = studio.store.note("draft")
    studio.store.set_note("draft", {**draft, "method": {"name": "p_tuning_v2", "virtual_tokens": 8}, "training": {**draft["training"], "max_steps": 12, "evaluations": 1, "max_length": 64}})
    tab(page, "Train")
    page.click("#start")
    page.wait_for_function("document.querySelector('#status h3') && document.querySelector('#status .badge')", timeout=30_000)
    run = studio.wait_for_run("done", "failed", "stopped")
    assert run["state"] == "done", run["reason"]
    said = status(page, "Done")
    assert "Label set “label”" in said and "Label set “length”" in said and page.locator("#status .matrix").count() == 2
    page.locator("#status [data-act=chat]").click()
    page.wait_for_selector("#classify-text textarea:visible", timeout=30_000)
    page.fill("#classify-text textarea", "Hello, my parcel has not arrived yet.")
    page.click("#classify")
    page.wait_for_function("document.querySelectorAll('#class-result .class-bars').length === 2", timeout=60_000)
    assert page.locator("#class-result h5").all_inner_texts() == ["label", "length"]
    for bars in page.locator("#class-result .class-bars").all():
        values = [float(text.replace("%", "")) for text in bars.locator(".value").all_inner_texts()]
        assert sum(values) == pytest.approx(100, abs=0.5)
