"""Suggested prompts of the Chat tab: questions of the validation set, on which the model has not been trained.

They come from the predictions of the runs that produced the chosen adapters, then from the draft's own validation rows.
Visitors of a Space get none, because the questions are the owner's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from studio.evaluation import predictions
from studio.ui.html_parts import e
from studio.ui.page import Page

_SHOWN = 3
_LONGEST = 160  # characters; a longer prompt cannot be read at a glance
_LOOKED_AT = 40  # rows examined per run and in the draft


def suggestions_html(page: Page, rows: list[dict], *, owner: bool) -> str:
    """Return a button for each prompt. `rows`: the store rows of the chosen adapters."""
    found = list(prompts(page, rows)) if owner else []
    if not found:
        return ""
    buttons = "".join(
        f'<button type="button" class="suggestion" data-act="ask" data-item="{e(text)}">{e(text)}</button>'
        for text in found
    )
    return (
        f'<p class="help">{e(page.t("Try a question of the validation set:"))}</p><div class="suggestions">{buttons}'
        "</div>"
    )


def prompts(page: Page, rows: list[dict]) -> Iterator[str]:
    """Yield at most `_SHOWN` distinct prompts, those of the adapters' own runs first."""
    seen: set[str] = set()
    for text in (*_of_runs(page, rows), *_of_draft(page)):
        text = text.strip()
        if text and len(text) <= _LONGEST and "\n" not in text and text not in seen and len(seen) < _SHOWN:
            seen.add(text)
            yield text


def _of_runs(page: Page, rows: list[dict]) -> Iterator[str]:
    for row in rows:
        if row.get("run_id") and row["card"].get("task") not in ("classification", "multitask", "image"):
            yield from (item.prompt for item in predictions.read(page.home.run(row["run_id"]))[:_LOOKED_AT])


def _of_draft(page: Page) -> Iterable[str]:
    preflight = page.editor.preflight()
    if preflight.dataset is None:
        return
    for at in range(min(_LOOKED_AT, len(preflight.dataset.validation))):
        question = preflight.recipe.task.question(preflight.dataset.validation[at].value)
        if question and len(question.messages) == 1:
            yield str(question.messages[0]["content"])
