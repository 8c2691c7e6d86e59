"""A conversation with the mouse: two columns, edit, versions, continue, presets, strength, what changed, teaching, and
the conversation opened again after a reload and exported."""

import json
from pathlib import Path

import pytest

from studio.home import STARTER
from studio.library import adapter_store
from tests.e2e.pages import ask, downloaded, open_studio, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def add_adapter(studio, folder: Path) -> None:
    """A LoRA adapter of the starter with random weights, so that it answers otherwise."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(STARTER), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    card = {"kind": "adapter", "method": "lora", "base": "starter", "task": "chat", "summary": "LoRA r=4"}
    adapter_store.add(
        studio.home, studio.store, source=folder, name="Parrot", run_id=None, adapter_id="parrot", card=card
    )


@pytest.fixture(scope="module")
def page(studio, browser, tmp_path_factory):
    add_adapter(studio, tmp_path_factory.mktemp("made") / "parrot")
    page = open_studio(studio, browser)
    tab(page, "Chat")
    page.wait_for_function("document.querySelector('#chat-models').innerText.includes('Parrot')")
    yield page
    page.close()


def chat(page, at: int) -> str:
    return page.inner_text(f"#chat-{at}")


def facts(page, at: int, *words: str) -> str:
    """Wait until column `at` says `words` below its answer; all that it says there."""
    page.wait_for_function(
        "([at, words]) => words.every(word => document.querySelector(`#facts-${at}`)?.innerText.includes(word))",
        arg=[at, list(words)],
    )
    return page.inner_text(f"#facts-{at}")


def press(page, at: int, act: str) -> None:
    page.locator(f"#facts-{at} [data-act={act}]").first.click()


def says(page, at: int, *words: str) -> None:
    page.wait_for_function(
        "([at, words]) => words.every(word => document.querySelector(`#chat-${at}`)?.innerText.includes(word))",
        arg=[at, list(words)],
    )


def write_over(page, at: int, which: int, text: str) -> None:
    """Edit message `which` of column `at`, from the first."""
    page.locator(f"#chat-{at}").get_by_role("button", name="Edit").nth(which).click()
    page.locator(f"#chat-{at} textarea").first.fill(text)
    page.locator(f"#chat-{at}").get_by_role("button", name="Submit").click()


def open_settings(page) -> None:
    if not page.locator("#preset input").is_visible():
        page.get_by_role("button", name="System prompt and sampling").click()
        page.locator("#preset input").wait_for()


def set_length(page, tokens: int) -> None:
    open_settings(page)
    box = page.locator("#sampling").get_by_label("Answer length")
    box.fill(str(tokens))
    box.press("Tab")


def test_two_columns_answer_and_say_how_fast(page):
    base, parrot = ask(page, "What does a wolf do?")
    assert base and parrot and base != parrot
    for at in (0, 1):
        told = facts(page, at, "tokens/s", "first token after")
        assert "Ended by itself" in told or "Cut at the answer length" in told
    assert "?chat=" in page.url


def test_an_edited_message_branches_and_the_earlier_path_stays(page):
    write_over(page, 0, 0, "What does a cat do?")
    for at in (0, 1):
        says(page, at, "What does a cat do?")
        facts(page, at, "2/2", "Answer again")
        assert "wolf" not in chat(page, at)
    press(page, 0, "earlier")
    says(page, 0, "What does a wolf do?")
    assert "cat" in chat(page, 1)
    press(page, 0, "later")
    says(page, 0, "What does a cat do?")


def test_a_cut_answer_continues_to_what_it_would_have_been(page):
    page.click("#chat-new")
    page.wait_for_function("!document.querySelector('#chat-0 .message, #chat-1 .message')")
    whole = ask(page, "What does a wolf do?")[0]
    set_length(page, 3)
    page.locator("#chat-0").get_by_role("button", name="Retry").click()
    facts(page, 0, "2/2", "Cut at the answer length")
    set_length(page, 256)
    press(page, 0, "continue")
    facts(page, 0, "Ended by itself")
    page.wait_for_function("whole => document.querySelector('#chat-0').innerText.includes(whole)", arg=whole)


def test_presets_fill_the_form_and_own_ones_come_and_go(page):
    open_settings(page)
    page.click("#preset input")
    page.get_by_role("option", name="Creative").click()
    shown = page.locator("#sampling input[inputmode=decimal]").first
    page.wait_for_function("node => node.value === '1.1'", arg=shown.element_handle())
    page.fill("#preset-name input, #preset-name textarea", "Mine")
    page.click("#save-preset")
    page.wait_for_function("document.querySelector('#preset input').value === 'Mine'")
    page.click("#delete-preset")
    page.wait_for_function("document.querySelector('#preset input').value !== 'Mine'")
    page.click("#preset input")
    page.get_by_role("option", name="Greedy").click()
    page.wait_for_function("node => node.value === '0'", arg=shown.element_handle())


def test_at_strength_zero_the_adapter_answers_as_the_base(page):
    assert not page.locator("#scale-0").is_visible()
    number = page.locator("#scale-1 input[type=number]")
    number.fill("0")
    number.press("Tab")
    page.click("#chat-new")
    page.wait_for_function("!document.querySelector('#chat-0 .message')")
    base, parrot = ask(page, "What does a cow do?")
    assert base == parrot
    number.fill("1")
    number.press("Tab")
    press(page, 1, "again")
    facts(page, 1, "2/2", "tokens/s")
    page.wait_for_function("text => !document.querySelector('#chat-1').innerText.includes(text)", arg=base)


def test_what_changed_colours_the_tokens_and_lists_the_numbers(page):
    press(page, 1, "compare")
    page.wait_for_selector("#what-changed section")
    assert page.locator("#what-changed .tokens .changed.more").count()
    assert "times as likely" in page.locator("#what-changed .tokens .changed").first.get_attribute("title")
    page.get_by_text("The numbers as a table").click()
    tokens = page.locator("#what-changed .tokens .changed").count()
    assert page.locator("#what-changed tbody tr").count() == tokens


def test_thumbs_and_corrections_become_training_data_on_the_data_tab(page, studio):
    page.locator("#chat-0").get_by_role("button", name="Like", exact=True).last.click()
    facts(page, 0, "Marked as good")
    page.locator("#chat-1").get_by_role("button", name="Dislike").last.click()
    facts(page, 1, "Marked as bad")
    write_over(page, 1, 1, "It gives milk.")
    facts(page, 1, "Kept as a correction")
    tab(page, "Data")
    page.wait_for_function("document.querySelector('#from-chats').innerText.includes('Preferences · 1 row')")
    assert "Chat · 2 rows" in page.inner_text("#from-chats")
    page.locator("#from-chats [data-item=preference]").click()
    page.wait_for_function("document.querySelector('#sentence').innerText.includes('chats-preference.jsonl')")
    draft = studio.store.note("draft")
    assert draft["task"]["name"] == "preference"
    (row,) = map(json.loads, Path(draft["data"]["source"]).read_text(encoding="utf-8").splitlines())
    assert row["chosen"] == "It gives milk."
    tab(page, "Chat")
    press(page, 1, "withdraw-verdict")
    facts(page, 1, "2/2", "Marked as bad")


def test_it_is_there_again_after_a_reload_and_can_be_found_renamed_exported_and_deleted(page, tmp_path):
    page.reload()
    page.wait_for_function("document.querySelector('#sentence')?.innerText.includes('Teach')")
    tab(page, "Chat")
    says(page, 0, "What does a cow do?")
    facts(page, 0, "Marked as good")
    page.get_by_role("button", name="Saved conversations").click()
    page.fill("#chat-search textarea, #chat-search input", "wolf")
    listed = page.locator("#chat-list .chat-title")
    page.wait_for_function("!document.querySelector('#chat-list').innerText.includes('cow')")
    listed.first.click()
    says(page, 0, "What does a wolf do?")
    title = page.locator("#chat-title textarea, #chat-title input")
    page.wait_for_function("node => node.value === 'What does a wolf do?'", arg=title.element_handle())
    title.fill("About wolves")
    page.click("#chat-rename")
    page.wait_for_function("document.querySelector('#chat-list').innerText.includes('About wolves')")
    path = downloaded(page, page.locator("#export-chat"), tmp_path)
    (row,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert row["messages"][0] == {"role": "user", "content": "What does a wolf do?"}
    assert len(downloaded(page, page.locator("#export-chats"), tmp_path).read_text().splitlines()) == 3
    page.locator("#chat-list [data-act=ask-delete]").first.click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_function("!document.querySelector('#chat-list').innerText.includes('About wolves')")
    page.wait_for_function("!document.querySelector('#chat-0 .message')")
