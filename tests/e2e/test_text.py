"""Plain text from the page: an example, Start, a validation loss far below the base model's, and Chat, which goes on
writing."""

import pytest

from tests.e2e.pages import ask, choose_example, ready, start, status, tab, train_with

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
BEGUN = "Day 77. Wind west, force"


def test_notes(studio, open_page):
    """The starter expects about 8.7 nats a token of the validation notes; fine-tuned for 40 steps less than half of
    that. Chat writes on as a notebook would."""
    studio.wait_for_standby()
    page = open_page(studio.address)
    ready(page)
    choose_example(page, "notes", "Teach starter to write from notes.txt")
    train_with(studio, max_steps=40, evaluations=2)
    tab(page, "Train")
    start(page, studio)
    run = studio.wait_for_run("done", "failed", "stopped")
    assert run["state"] == "done", run["reason"]
    metrics = run["result"]["metrics"]
    assert metrics["base_eval_loss"] > 6 and metrics["eval_loss"] < metrics["base_eval_loss"] / 2, metrics
    text = status(page, "Done")
    assert "Validation loss" in text and "Perplexity" in text
    page.locator("#status [data-act=chat]").click()
    page.wait_for_selector("#message:visible")
    base, fine_tuned = ask(page, BEGUN)
    assert "glass at" in fine_tuned and "glass at" not in base, (base, fine_tuned)
