"""What a person does on the page, in the tests' words."""

import json
from pathlib import Path

from studio.draft import DraftEditor
from studio.home import SAMPLES
from tests.conftest import PATIENCE, until


def tab(page, name: str) -> None:
    """Open a tab; returns once it has drawn the draft."""
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_function("""() => {
        const step = document.querySelector('#steps [aria-selected=true]');
        const panel = document.getElementById(step.id.replace('step', 'tab'));
        return panel.offsetParent && panel.childElementCount && panel.getAttribute('aria-busy') !== 'true';
    }""")


def ready(page) -> None:
    """The page has drawn the draft."""
    page.wait_for_function("document.querySelector('#sentence')?.innerText.includes('Teach')")


def open_studio(studio, browser):
    """A page of `studio` at 1280 × 1000, in English, once it has drawn the draft and a standby is warm."""
    studio.wait_for_standby()
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, locale="en-US")
    page.set_default_timeout(PATIENCE)
    page.goto(studio.address)
    ready(page)
    return page


def status(page, *words: str, seconds: float = 240) -> str:
    """Wait until the Train tab's status says one of `words`; returns all that it says."""
    page.wait_for_function(
        "words => words.some(word => document.querySelector('#status')?.innerText.includes(word))",
        arg=list(words),
        timeout=seconds * 1000,
    )
    return page.inner_text("#status")


def choose_example(page, name: str, sentence: str) -> None:
    """Press an example on the Data tab; returns once the sentence says so in these words."""
    page.locator(f"[data-act=example][data-item={name}]").click()
    page.wait_for_function("words => document.querySelector('#sentence').innerText.includes(words)", arg=sentence)


def train_with(studio, **training) -> None:
    """Change training options of the draft, as another window would."""
    draft = DraftEditor(studio.home, studio.store).draft()
    studio.store.set_note("draft", {**draft, "training": {**draft["training"], **training}})


def start(page, studio) -> None:
    """Click Start; returns once the store holds the run that this click made, so that nobody takes an earlier run for
    it."""
    before = studio.store.latest_run()
    page.click("#start")
    until(
        lambda: (run := studio.store.latest_run()) and (before is None or run["id"] != before["id"]),
        30,
        "no run was started",
    )


def shown_steps(page) -> int:
    """How many steps the loss chart holds, as its table says."""
    return page.evaluate("document.querySelector('#plots [data-key=loss] .js-plotly-plot')?.data?.[0]?.x?.length ?? 0")


def ask(page, text: str) -> list[str]:
    """Send a message in Chat; the last answer of each column, once none of them changes any more."""
    page.evaluate(
        """() => {
          window.chatNow = () => [...document.querySelectorAll('[id^=chat-]')]
            .filter(node => /^chat-\\d$/.test(node.id) && node.offsetParent)
            .map(node => [...node.querySelectorAll('.user.message, .bot.message')]
              .map(item => [item.classList.contains('bot'), item.innerText.trim()]).filter(([, words]) => words));
          window.lastChat = JSON.stringify(chatNow());
          window.chatMoved = false;  // the same may have been asked and answered before
        }"""
    )
    page.fill("#message textarea", text)
    page.click("#send")
    page.wait_for_function(
        """text => {
          const now = chatNow(), key = JSON.stringify(now);
          const done = now.length > 0 && now.every(
            said => said.at(-1)?.[0] && said.at(-2)?.[0] === false && said.at(-2)[1].includes(text));
          const steady = done && chatMoved && lastChat === key && Date.now() - lastChatAt > 1500;
          if (lastChat !== key) { window.lastChat = key; window.lastChatAt = Date.now(); window.chatMoved = true; }
          return steady;
        }""",
        arg=text,
        polling=100,
    )
    return page.evaluate(
        """() => [...document.querySelectorAll('[id^=chat-]')]
             .filter(node => /^chat-\\d$/.test(node.id) && node.offsetParent)
             .map(node => [...node.querySelectorAll('.user.message, .bot.message')]
               .map(item => item.innerText.trim()).filter(Boolean).at(-1))"""
    )


def validation_questions(name: str, count: int) -> list[tuple[str, str]]:
    """(question, expected answer) of a chat sample's validation set."""
    lines = (SAMPLES / f"{name}.validation.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    talks = [json.loads(line)["messages"] for line in lines]
    return [(talk[0]["content"], talk[-1]["content"]) for talk in talks if len(talk) == 2]


def downloaded(page, button, folder: Path) -> Path:
    """Press a button that makes the browser take a file; where the file lies."""
    with page.expect_download() as taken:
        button.click()
    path = folder / taken.value.suggested_filename
    taken.value.save_as(path)
    return path
