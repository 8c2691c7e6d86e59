"""Exports with the mouse: merged, GGUF with a Modelfile, one cancelled, one killed, one refused; download, delete."""

import os
import re
import signal

import pytest

from studio.export import outputs
from studio.home import STARTER
from studio.library import adapter_store
from tests.conftest import until
from tests.e2e.pages import downloaded, open_studio, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
LONG = "A captain with a very long name, " * 3 + "船长"


@pytest.fixture(scope="module")
def page(studio, browser, tmp_path_factory):
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapters")
    for name, config in (
        ("lora", peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")),
        ("prompt", peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")),
    ):
        peft.get_peft_model(AutoModelForCausalLM.from_pretrained(STARTER), config).save_pretrained(folder / name)
        card = {
            "kind": "adapter", "method": {"prompt": "prompt_tuning"}.get(name, name), "base": "starter", "task": "chat",
            "summary": name, "artefact_type": config.peft_type.value, "rows": 4, "data": "captain.jsonl",
        }  # fmt: skip
        title = LONG if name == "lora" else "A prompt"
        adapter_store.add(studio.home, studio.store, source=folder / name, name=title, run_id=name, card=card)
    page = open_studio(studio, browser)
    tab(page, "Library")
    yield page
    page.close()


def open_export(page, name: str) -> None:
    page.get_by_role("button", name=f"Export…: {name}").click()
    page.get_by_role("heading", name=f"Export “{name}”").wait_for()


def choose(page, target: str) -> None:
    page.click(f"#export-targets [data-item={target}]")
    page.wait_for_selector(f"#export-targets [data-item={target}][aria-pressed=true]")


def state(page, words: str, seconds: float = 120) -> str:
    page.wait_for_function(
        "words => document.querySelector('#export-state')?.innerText.includes(words)", arg=words, timeout=seconds * 1000
    )
    return page.inner_text("#export-state")


def test_a_merged_model_becomes_a_card(page, studio):
    open_export(page, LONG)
    choose(page, "merged")
    page.click("#export-start")
    text = state(page, "Done.")
    assert re.search(r"Read back by transformers: largest difference of a logit \S+ \(bound 0.0001\)", text)
    assert studio.store.adapter("lora-merged")["card"]["parents"][0]["id"] == "lora"
    page.locator("#adapters").get_by_text("whole model").wait_for()


def test_a_gguf_file_with_its_modelfile_is_downloaded_and_deleted(page, studio, tmp_path):
    choose(page, "gguf")
    assert page.input_value("#export-options [data-key=format] select") == "Q8_0"
    page.click("#export-start")
    state(page, "Q8_0 moves the logits by")
    page.locator("#exports .card").wait_for()
    (manifest,) = outputs.listing(studio.home, "lora")
    path = downloaded(page, page.get_by_role("button", name=re.compile("Download Modelfile")), tmp_path)
    assert path.read_text().startswith("FROM ./") and '"<|im_end|>"' in path.read_text()
    assert {re.sub(".*[.]", "", file["name"]) for file in manifest["files"]} == {"gguf", "Modelfile"}
    page.get_by_role("button", name=re.compile("Delete: Merged model")).click()
    page.get_by_text("No exports of this adapter yet.").wait_for()
    assert outputs.listing(studio.home, "lora") == []


def running(studio) -> dict:
    return until(lambda: (jobs := studio.store.jobs("running", kind="export")) and jobs[-1], 180, "no export runs")


def test_one_is_cancelled_and_one_killed_and_nothing_is_left(page, studio):
    choose(page, "gguf")
    page.click("#export-start")
    running(studio)
    page.click("#export-stop")
    state(page, "Cancelled; nothing was kept.")
    page.click("#export-start")
    os.kill(running(studio)["pid"], signal.SIGKILL)
    assert "signal 9" in state(page, "The worker was killed")
    choose(page, "zip")
    page.click("#export-start")
    state(page, "Read back by peft")
    page.locator("#exports .card").wait_for()
    assert [path.name for path in studio.home.exports.iterdir() if path.name.startswith(".half")] == []
    assert [each["target"] for each in outputs.listing(studio.home, "lora")] == ["zip"]


def test_what_does_not_fit_is_greyed_out_with_its_reason_and_programs_are_compared(page, studio):
    open_export(page, "A prompt")
    refused = page.locator("#export-targets [data-item=gguf_lora]")
    assert refused.get_attribute("aria-disabled") == "true" and "this adapter is PROMPT_TUNING" in refused.inner_text()
    refused.click(force=True)
    assert page.is_disabled("#export-start")
    page.get_by_text("Which programs take this adapter?").click()
    row = page.locator("#export-programs tr", has_text="vLLM")
    assert "It takes LoRA alone; this adapter is PROMPT_TUNING. It cannot be merged either." in row.inner_text()
    choose(page, "hub")
    page.fill("#export-token input", "hf_secret")
    page.fill("#export-options [data-key=repository] input", "no-owner")
    page.click("#export-start")
    state(page, "is no name of a repository")
    assert page.input_value("#export-token input") == ""
    assert "hf_secret" not in str(studio.store.jobs(kind="export")) and "hf_secret" not in page.content()
    page.click("#export-head [data-act=close]")
    page.locator("#export-panel").wait_for(state="hidden")
