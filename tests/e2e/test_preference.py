"""Preferences in a real browser: example, Start, the rate of better answers rises, the answers can be looked through,
Chat answers."""

import csv
import json

import pytest

from tests.e2e.pages import ask, choose_example, downloaded, open_studio, ready, start, status, tab, train_with

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_pairs_are_learnt_from_the_page(studio, browser, tmp_path):
    page = open_studio(studio, browser)
    choose_example(
        page, "preferences", "Teach starter to prefer the better answers from preferences.jsonl (300 examples)"
    )
    page.wait_for_function("document.querySelector('#task-form').innerText.includes('Beta β')")
    tab(page, "Train")
    start(page, studio)
    run = studio.wait_for_run("done", "failed", "stopped")
    assert run["state"] == "done", run["reason"]
    metrics = run["result"]["metrics"]
    print(f"{run['ended'] - run['started']:.1f} s", metrics)
    assert 0.35 <= metrics["base_preferred"] <= 0.65
    assert metrics["preferred"] >= 0.85
    assert metrics["intervals"]["preferred"]["difference"][0] > 0.2

    assert "Better answer preferred" in status(page, "Done")
    page.wait_for_function("document.querySelector('#results')?.innerText.includes('Rows 1 to 10 of 60')")
    assert f"{metrics['preferred']:.0%}".replace("%", " %") in page.inner_text("#figures")
    page.locator("#results [data-act=page]", has_text="Next page").click()
    page.wait_for_function("document.querySelector('#results').innerText.includes('Rows 11 to 20 of 60')")
    page.fill("#results-search input, #results-search textarea", "plural of bus")
    page.wait_for_function(
        "document.querySelector('#results').innerText.includes('Rows 1 to 2 of 2')"
    )  # two rows ask for it
    path = downloaded(page, page.locator("#results-csv"), tmp_path)
    rows = list(csv.DictReader(path.open(encoding="utf-8-sig")))
    assert len(rows) == 60 and {"prompt", "expected", "rejected", "base_preferred", "fine_tuned_preferred"} <= set(
        rows[0]
    )
    page.reload()  # what was measured is not lost
    ready(page)
    tab(page, "Train")
    page.wait_for_function("document.querySelector('#results')?.innerText.includes('Rows 1 to 10 of 60')")

    tab(page, "Chat")
    base, fine_tuned = ask(page, "What is the plural of bus?")
    assert (
        "buses" in base and "buses" in fine_tuned and len(fine_tuned) > len(base)
    )  # it has learnt to add a kind last word
    page.close()


def test_thumbs_beside_conversations_are_learnt_from_the_page(studio, browser, tmp_path):
    """As LLaMA-Factory keeps them: a conversation and whether its last answer was good. The page proposes Feedback, and
    KTO runs to its end."""
    path = tmp_path / "thumbs.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Pick number {n}"},
                {"role": "assistant", "content": f"Gladly: {n}." if n % 2 else "Go away."},
            ],
            "kto_tag": bool(n % 2),
            "id": n,
        }
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = open_studio(studio, browser)
    page.fill("#place textarea, #place input", str(path))
    page.click("#use-place")
    page.wait_for_function(
        "document.querySelector('#sentence').innerText.includes('follow the feedback from thumbs.jsonl')"
    )
    page.wait_for_function("document.querySelector('#about-data').innerText.includes('thumbs.jsonl')")
    about = page.inner_text("#about-data")
    assert (
        "Answer and thumbs up or down" in about
        and "all rows usable" in about
        and "This column is not used: id." in about
    )
    assert studio.store.note("draft")["task"]["name"] == "feedback"
    train_with(studio, max_steps=3)
    tab(page, "Train")
    start(page, studio)
    run = studio.wait_for_run("done", "failed", "stopped")
    assert run["state"] == "done", run["reason"]
    assert run["recipe"]["task"]["name"] == "feedback" and studio.store.metrics(run["id"])[-1]["step"] == 3
    page.close()
