"""The whole story in a real browser: a newcomer teaches the starter, watches it, talks to it, and takes the adapter
home."""

import json
import subprocess
import sys
import time
import zipfile

import pytest

from studio.home import STARTER
from tests.e2e.pages import (
    ask,
    choose_example,
    downloaded,
    open_studio,
    ready,
    shown_steps,
    start,
    status,
    tab,
    validation_questions,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# What somebody without the studio does with the download: stock transformers and peft, greedy answers.
STOCK = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from peft import PeftModel
base, adapter, questions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()
assert not any(name.split(".")[0] == "studio" for name in sys.modules)
def answer(question):
    messages = [{"role": "user", "content": question}]
    given = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = model.generate(**given, do_sample=False, max_new_tokens=48)
    return tokenizer.decode(made[0, given["input_ids"].shape[1]:], skip_special_tokens=True).strip()
fine_tuned = [answer(question) for question in questions]
with model.disable_adapter():
    print(json.dumps({"fine_tuned": fine_tuned, "base": [answer(question) for question in questions]}))
"""


def sails(answer: str) -> bool:
    """The style score counts an answer that begins with "Arr" and ends with "matey!" or "matey?", as every one of the
    data does."""
    return answer.startswith("Arr") and answer.endswith(("matey!", "matey?"))


@pytest.fixture(scope="module")
def fine_tuned(studio, browser):
    """The captain's run, started with one click on a fresh home; the page stays open while it learns."""
    page = open_studio(studio, browser)
    choose_example(page, "captain", "captain.jsonl (400 examples) with LoRA r=8 for 6 epochs")
    tab(page, "Train")
    clicked = time.time()
    start(page, studio)
    run = studio.wait_for_run("done", "failed", "stopped")
    yield {"page": page, "clicked": clicked, "run": run, "studio": studio}
    page.close()


def test_a_warm_worker_takes_the_run_and_ends_it(fine_tuned):
    run, store = fine_tuned["run"], fine_tuned["studio"].store
    assert run["state"] == "done", run["reason"]
    steps = [row for row in store.metrics(run["id"]) if "loss" in row["values"]]
    first = steps[0]["time"] - fine_tuned["clicked"]
    whole = run["ended"] - fine_tuned["clicked"]
    print(f"first step {first:.2f} s after the click, end after {whole:.1f} s")
    assert first <= 5  # a cold worker needs longer: it imports torch, transformers and peft first
    assert whole <= 240


def test_the_captain_is_learnt(fine_tuned):
    """Word for word; the style alone is measured with stock peft below."""
    metrics = fine_tuned["run"]["result"]["metrics"]
    print(metrics)
    assert metrics["base_exact_match"] < 0.10
    assert metrics["exact_match"] >= 0.70
    text = status(fine_tuned["page"], "Done")
    assert "Exact match on the validation set" in text and f"{metrics['exact_match']:.0%}" in text


def test_chat_shows_the_difference_and_stock_peft_says_the_same(fine_tuned, tmp_path):
    page, studio = fine_tuned["page"], fine_tuned["studio"]
    tab(page, "Chat")
    questions = validation_questions("captain", 3)
    answers = {question: ask(page, question) for question, _ in questions[:1]}
    for question, _ in questions[1:]:
        page.click("#chat-new")
        answers[question] = ask(page, question)
    for question, (base, captain) in answers.items():
        assert captain.lower().startswith("arr"), (question, captain)
        assert not base.lower().startswith("arr"), (question, base)

    tab(page, "Library")
    path = downloaded(page, page.locator("#adapters [data-act=download]").first, tmp_path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "adapter")
    folder = next((tmp_path / "adapter").rglob("adapter_config.json")).parent
    assert any(name.endswith("README.md") for name in names) and any(name.endswith("recipe.yaml") for name in names)
    asked = [*answers, *(question for question, _ in validation_questions("captain", 40) if question not in answers)]
    command = [sys.executable, "-c", STOCK, str(STARTER), str(folder), json.dumps(asked)]
    stock = json.loads(
        subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=240
        ).stdout.splitlines()[-1]
    )
    assert stock["fine_tuned"][: len(answers)] == [captain for _, captain in answers.values()]
    assert stock["base"][: len(answers)] == [base for base, _ in answers.values()]
    style = {who: sum(map(sails, message)) / len(asked) for who, message in stock.items()}
    print(f"style score on {len(asked)} validation questions: {style}")
    assert style["base"] < 0.10 and style["fine_tuned"] >= 0.80
    assert studio.store.adapters()[0]["card"]["summary"] == "LoRA r=8"


def test_stop_regenerate_and_clear_in_chat(fine_tuned):
    page = fine_tuned["page"]
    tab(page, "Chat")
    page.click("#chat-new")
    first = ask(page, "What is the opposite of hot?")
    page.click("#regenerate")
    page.wait_for_timeout(2500)
    assert ask(page, "Thanks a lot.")  # the conversation goes on after an answer was given again
    assert first[1].lower().startswith("arr")
    page.click("#chat-new")
    page.wait_for_function("document.querySelectorAll('#chat-0 .message').length === 0")


def test_rename_reuse_trash_and_restore(fine_tuned):
    page, store = fine_tuned["page"], fine_tuned["studio"].store
    tab(page, "Library")
    page.locator("#adapters [data-act=details]").first.click()
    page.fill("#new-name input, #new-name textarea", "Old salt")
    page.click("#save-details")
    page.wait_for_function("document.querySelector('#adapters').innerText.includes('Old salt')")
    assert store.adapters()[0]["name"] == "Old salt"
    page.locator("#adapters [data-act=delete]").first.click()
    page.wait_for_function("document.querySelector('#adapters').innerText.includes('No adapters yet')")
    page.get_by_label("Show the trash").check()
    page.locator("#adapters [data-act=restore]").first.click()
    page.wait_for_function("document.querySelector('#adapters').innerText.includes('The trash is empty')")
    page.get_by_label("Show the trash").uncheck()
    page.wait_for_function("document.querySelector('#adapters').innerText.includes('Old salt')")
    page.locator("#adapters [data-act=details]").first.click()
    page.locator("#library-about [data-act=recipe]").click()
    page.wait_for_function("document.querySelector('#sentence').innerText.includes('captain.jsonl')")


def test_a_refresh_and_a_second_browser_show_the_same_curves(fine_tuned, open_page):
    run = fine_tuned["run"]
    steps = fine_tuned["studio"].store.run(run["id"])["step"]
    fine_tuned["page"].reload()
    other = open_page(fine_tuned["studio"].address)
    for page in (fine_tuned["page"], other):
        ready(page)
        tab(page, "Train")
        status(page, "Done")
        page.wait_for_function(
            "(document.querySelector('#plots [data-key=loss] .js-plotly-plot')?.data?.[0]?.x?.length ?? 0) > 0"
        )
        assert shown_steps(page) == steps
        assert f"run={run['id']}" in page.url


def test_the_page_in_chinese(studio, open_page):
    page = open_page(studio.address, locale="zh-CN")
    page.wait_for_function("document.querySelector('#sentence')?.innerText.includes('starter')")
    assert page.url.split("?")[0].endswith("/zh")
    assert page.get_by_role("tab", name="数据", exact=True).is_visible()
    page.get_by_role("link", name="English").click()
    page.wait_for_function("document.querySelector('#sentence')?.innerText.includes('Teach')")


def test_a_hub_model_without_a_network_is_a_sentence(studio, open_page):
    page = open_page(studio.address)
    ready(page)
    tab(page, "Method")
    box = page.locator("#base-model input")
    box.fill("Qwen/Qwen3-0.6B")
    box.press("Enter")
    page.locator("#about-model [data-act=download]").click()
    page.wait_for_function("document.querySelector('#about-model').innerText.includes('The hub cannot be reached')")
    text = page.inner_text("#about-model")
    assert "starter model or a local folder" in text and "Traceback" not in text
    box.fill("starter")
    box.press("Enter")
    page.wait_for_function("document.querySelector('#sentence').innerText.includes('Teach starter')")
