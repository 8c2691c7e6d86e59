"""The log of a run, and its answers to the fixed prompts, as HTML."""

from __future__ import annotations

import time

from studio.ui.html_parts import e, folded, note
from studio.ui.page import Page


def samples_html(page: Page, events: list[dict]) -> str:
    """Return, for each fixed prompt, the expected answer and the model's answers as a filmstrip, oldest first.

    An answer that equals the one before it is drawn pale, so that the changes stand out.
    """
    if not events:
        return note(page.t("At each evaluation the model answers a few validation prompts; what it says appears here."))
    prompts: dict[str, list[dict]] = {}
    for event in events:
        prompts.setdefault(event["data"]["prompt"], []).append(event["data"])
    blocks = []
    for prompt, answers in prompts.items():
        frames = "".join(_frame(page, item, before) for before, item in zip([None, *answers], answers, strict=False))
        title = page.t("Answers over time, oldest first")
        blocks.append(
            f'<div class="sample"><p class="prompt">{e(prompt)}</p><p class="expected">'
            f"{e(page.t('Expected answer'))}: {e(answers[0]['expected'])}</p>"
            f'<ol class="filmstrip" tabindex="0" aria-label="{e(title)}">{frames}</ol></div>'
        )
    return f'<div class="samples">{"".join(blocks)}</div>'


def _frame(page: Page, item: dict, before: dict | None) -> str:
    answer = item["answer"].strip()
    right = "right" if answer == item["expected"].strip() else ""
    same = "same" if before and before["answer"].strip() == answer else ""
    return (
        f'<li class="{same}"><span class="step">{page.t("step {step}", step=item["step"])}</span>'
        f'<span class="{right}">{folded(item["answer"])}</span></li>'
    )


def log_html(page: Page, lines: list[dict], traceback: dict | None, run: dict | None) -> str:
    """Return the log of the run; for a failed run also the traceback, collapsed."""
    message = [
        f"{time.strftime('%H:%M:%S', time.localtime(event['time']))}  {page.say(event['data'])}" for event in lines
    ]
    if run and run["started"]:
        message.insert(
            0,
            f"{time.strftime('%H:%M:%S', time.localtime(run['started']))}  "
            f"{page.t('Started on {device}.', device=run['device'])}",
        )
    text = f'<pre class="log" tabindex="0">{e(chr(10).join(message)) or e(page.t("Nothing yet."))}</pre>'
    if traceback and run and run["state"] == "failed":
        text += (
            f'<details><summary>{e(page.t("Full report"))}</summary><pre class="log" tabindex="0">'
            f"{e(traceback['text'])}</pre></details>"
        )
    return text
