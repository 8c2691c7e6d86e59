"""The Method tab as a person uses it: what is recommended, searching, comparing, choosing; and why a switch does not go
with a method."""

import os

import pytest

from tests.e2e.pages import ready, start, tab, train_with
from tests.models.model_folders import tokenizer_folder
from tests.training.runs import Runs

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def says(page, selector: str, words: str) -> None:
    page.wait_for_function(
        "([selector, words]) => document.querySelector(selector)?.innerText.includes(words)", arg=[selector, words]
    )


def test_search_recommended_compare_choose(studio, open_page):
    page = open_page(studio.address)
    ready(page)
    tab(page, "Method")
    says(page, "#recommended", "The first to try")
    assert page.locator("#recommended [data-act=method]").count() in (2, 3)

    page.fill("#method-search input, #method-search textarea", "direction magnitude length")
    page.wait_for_function("document.querySelectorAll('#methods article').length < 5")
    page.fill("#method-search input, #method-search textarea", "dora")
    page.locator("#methods [data-act=compare][data-item=dora]").click()
    page.fill("#method-search input, #method-search textarea", "")
    page.locator("#methods [data-act=compare][data-item=full]").click()
    says(page, "#compared", "Full fine-tuning")
    assert page.locator("#compared tbody tr").count() > 15
    says(page, "#compared", "it trains all weights and gives a whole model")

    page.locator("#methods [data-act=method][data-item=dora]").click()
    says(page, "#sentence", "DoRA r=8")
    says(page, "#chosen-method", "Trainable parameters: 190,720 (4.51 %)")
    page.get_by_label("Rank r").fill("4")
    says(page, "#chosen-method", "Trainable parameters: 101,120")

    # The plot: the methods in most use, or all; a point chooses.
    assert page.locator("#methods .point").count() == 12
    page.get_by_label("All", exact=True).check()
    page.wait_for_function("document.querySelectorAll('#methods .point').length > 50")
    page.locator("#methods .point[data-item=ia3] circle").click()
    says(page, "#sentence", "(IA)³")


def test_the_person_is_told_why_a_switch_does_not_go_with_the_method(studio, open_page):
    page = open_page(studio.address)
    ready(page)
    tab(page, "Method")
    page.locator("#methods [data-act=method][data-item=prompt_tuning]").click()
    says(page, "#sentence", "Prompt tuning")
    draft = studio.store.note("draft")
    studio.store.set_note("draft", {**draft, "training": {**draft["training"], "packing": True}})
    page.reload()
    ready(page)
    tab(page, "Hyperparameters")
    says(page, "#forecast", "Prompt tuning does not go with packing")
    studio.store.set_note("draft", draft)


def test_two_adapters_are_chosen_and_fused(studio, open_page):
    """Stage 1 leaves two adapters in the library, stage 2 is told on the page which of them to fuse."""
    made = Runs(studio.home.root)
    for sample in ("captain", "extract"):
        made.create("adapter", data={"source": sample}, max_steps=4)  # the studio's own workers train them
        studio.wait_for_run("done")
    page = open_page(studio.address)
    ready(page)
    tab(page, "Method")
    page.get_by_label("All", exact=True).check()
    page.locator("#methods [data-act=method][data-item=fusion]").click()
    says(page, "#chosen-method", "at least two adapters, but 0 are chosen")
    says(page, "#sentence", "at least two adapters, but 0 are chosen")  # the reason why Start does nothing yet
    for at in range(2):
        page.locator("#method-options .of-several input").nth(at).click()
    says(page, "#sentence", "AdapterFusion of 2")
    page.wait_for_function("!document.querySelector('#sentence').innerText.includes('are chosen')")
    train_with(studio, max_steps=4, evaluation_rows=4)
    tab(page, "Train")
    start(page, studio)
    run = studio.wait_for_run("done", "failed", "stopped")
    assert run["state"] == "done" and run["recipe"]["method"]["name"] == "fusion", run["reason"]
    assert len(run["recipe"]["method"]["adapters"]) == 2


def test_the_tab_in_chinese(studio, open_page):
    page = open_page(studio.address, locale="zh-CN")
    page.wait_for_function("document.querySelector('#sentence')?.innerText.includes('starter')")
    tab(page, "方法")
    page.wait_for_selector("#recommended [data-act=method]")
    assert "为你的数据和机器推荐" in page.inner_text("#recommended")


def test_an_encoder_is_refused_for_chat_before_start(studio, open_page, tmp_path):
    """The sentence stands on the Method tab and in the run's sentence, and Start starts nothing."""
    from transformers import BertConfig, BertForMaskedLM

    folder = tokenizer_folder(tmp_path / "bert-tiny")
    BertForMaskedLM(
        BertConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    ).save_pretrained(folder)
    page = open_page(studio.address)
    ready(page)
    tab(page, "Method")
    field = page.locator("#base-model input")
    field.click()
    field.fill(str(folder))
    field.press("Tab")
    says(page, "#about-model", "'bert' (model_type in config.json) is an encoder")
    says(page, "#sentence", "is an encoder")
    if os.environ.get("SCREENSHOT"):
        page.screenshot(path=os.environ["SCREENSHOT"])
    before = studio.store.latest_run()
    tab(page, "Train")
    page.click("#start")
    says(page, "#said", "is an encoder")
    assert studio.store.latest_run() == before
