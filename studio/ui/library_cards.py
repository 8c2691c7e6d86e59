"""The Library's adapters as compact cards, one page at a time, and the buttons of what can be done with one.

At most PAGE cards are drawn, without recipes and notes: the page weighs the same however many adapters there are.
"""

from __future__ import annotations

import time

from studio.evaluation.predictions import MACRO_F1, SCORES
from studio.library import continuing, search
from studio.library.card import public_name
from studio.methods import METHODS
from studio.ui.access import on_space
from studio.ui.html_parts import button, chip, e, facts, note, number, size
from studio.ui.library_view import View
from studio.ui.page import Page
from studio.ui.results import ranged

PAGE = 24  # cards


def cards_html(page: Page, view: View, owner: bool = True) -> str:
    """Return one page of the matching adapters as cards, below the status of the newest export job."""
    query = view.query(owner)
    ids = search.matching(page.store, query)
    total = len(ids)
    last = max(0, (total - 1) // PAGE)
    at = min(view.page_number, last)
    head = jobs_html(page) if owner else ""
    if query.deleted and total:
        head += f'<p class="actions">{button(page.t("Remove all of these for good"), "empty", kind="danger")}</p>'
    if not total:
        empty = (
            "No adapter fits; search for less."
            if view.filtered
            else "The trash is empty."
            if query.deleted
            else "No adapters yet: each finished run puts one here."
        )
        return head + note(page.t(empty))
    rows = (page.store.adapter(adapter) for adapter in ids[at * PAGE : (at + 1) * PAGE])
    cards = "".join(_card(page, row, view, owner) for row in rows if row)
    # Gradio draws only what differs from before; boxes that were set in the browser have to be drawn anew all the same.
    drawn = f'data-drawn="{page.stamp("")}"'
    return f'{head}<div class="cards" {drawn}>{cards}</div>{_turning(page, at, last, total)}'


def page_ids(page: Page, view: View) -> list[str]:
    """Return the ids of the adapters on the page of cards that `view` shows."""
    start = view.page_number * PAGE
    return search.matching(page.store, view.query())[start : start + PAGE]


def jobs_html(page: Page) -> str:
    """Return the status of the newest export job if it is waiting, running or failed."""
    job = page.store.newest_job("export")
    if job and job["state"] in ("queued", "running"):
        return note(page.say(job["doing"]) or page.t("Waiting for a worker"))
    return note(page.say(job["reason"]), "bad") if job and job["state"] == "failed" else ""


def _turning(page: Page, at: int, last: int, total: int) -> str:
    message = page.t(
        "{first} to {last} of {count} {count:adapter|adapters}",
        first=at * PAGE + 1,
        last=min(total, (at + 1) * PAGE),
        count=total,
    )
    back = button(
        page.t("Previous page"), "page", str(at - 1), disabled="" if at else page.t("This is the first page.")
    )
    on = button(
        page.t("Next page"), "page", str(at + 1), disabled="" if at < last else page.t("This is the last page.")
    )
    return f'<p class="actions">{back if last else ""}<span class="help">{e(message)}</span>{on if last else ""}</p>'


def _card(page: Page, row: dict, view: View, owner: bool) -> str:
    card, deleted = row["card"], row["deleted"] is not None
    box = (
        f'<input type="checkbox" data-pick="{e(row["id"])}" aria-label="{e(page.t("Select {name}", name=row["name"]))}"'
        f"{' checked' if row['id'] in view.selected else ''}>"
        if owner and not deleted
        else ""
    )
    kind = chip(page.t("whole model"), "warn") if card.get("kind") == "model" else ""
    shown = chip(page.t("visitors see it"), "good") if row["shown"] and on_space() else ""
    summary = chip(str(card["summary"])) if card.get("summary") else ""
    return (
        f'<article class="card adapter"><header>{box}<h4 title="{e(row["name"])}">{e(row["name"])}</h4></header>'
        f'<p class="chips">{summary}{kind}{shown}{"".join(tag_button(page, tag) for tag in card.get("tags") or ())}</p>'
        f"{facts(_card_facts(page, row, owner))}"
        f"<footer>{_buttons(page, row, deleted) if owner else ''}</footer></article>"
    )


def _card_facts(page: Page, row: dict, owner: bool) -> list[tuple[str, str]]:
    card = row["card"]
    base = str(card.get("base", "?"))
    when = (
        (page.t("Deleted"), time.strftime("%Y-%m-%d", time.localtime(row["deleted"])))
        if row["deleted"] is not None
        else (page.t("Finished"), str(card.get("finished", ""))[:10])
    )
    return [
        (page.t("Base model"), shortened(base if owner else public_name(base))),  # a folder's path is private
        *metrics(page, card.get("metrics") or {})[:1],
        (page.t("Trainable parameters"), number(card["parameters"]) if card.get("parameters") else ""),
        (page.t("Size"), size(card.get("bytes"))),
        when,
    ]


def shortened(text: str, most: int = 60) -> str:
    """Return a text with its middle left out if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]} … {text[-(most // 2 - 2) :]}"


def tag_button(page: Page, tag: str) -> str:
    """Return a tag that shows all adapters with it when clicked."""
    says = page.t("Show adapters with the tag {tag}", tag=tag)
    place = f'data-act="tag" data-item="{e(tag)}" title="{e(says)}"'
    return f'<button type="button" class="chip tag" {place}>#{e(tag)}</button>'


def _buttons(page: Page, row: dict, deleted: bool) -> str:
    if deleted:
        return _named(page, row, "Bring back", "restore", kind="primary") + _named(
            page, row, "Remove for good", "remove", kind="danger"
        )
    return (
        _named(page, row, "Details", "details", kind="primary")
        + _named(page, row, "Download", "download")
        + _named(page, row, "Export…", "export")
        + _continue_button(page, row)
        + _named(page, row, "Delete", "delete", kind="danger")
    )


def all_buttons(page: Page, row: dict) -> str:
    """Return the buttons of all that can be done with an adapter of the library, for its details."""
    visitors = (
        _named(page, row, "Hide from visitors", "hide")
        if row["shown"]
        else _named(page, row, "Show to visitors", "show")
    )
    known = (row["card"].get("recipe") or {}).get("method", {}).get("name") in METHODS
    return (
        _named(page, row, "Download", "download")
        + _continue_button(page, row)
        + (_named(page, row, "Use this recipe", "recipe") if known else "")
        + _named(page, row, "Export…", "export")
        + (visitors if on_space() else "")
        + _named(page, row, "Delete", "delete", kind="danger")
    )


def _continue_button(page: Page, row: dict) -> str:
    refusal = continuing.refusal(row["card"])
    return _named(page, row, "Continue training", "continue", disabled=page.say(refusal) if refusal else "")


def _named(page: Page, row: dict, text: str, what: str, **more) -> str:
    return button(page.t(text), what, row["id"], says=f"{page.t(text)}: {row['name']}", **more)


def metrics(page: Page, found: dict) -> list[tuple[str, str]]:
    """Return (title, base model → fine-tuned model) for each metric that was measured."""
    pairs = []
    scores = {**SCORES, "macro_f1": MACRO_F1}
    for key in ("preferred", "reward_accuracy", "correct", "macro_f1", "exact_match"):
        if key in found:
            before = f"{found[f'base_{key}']:.0%} → " if f"base_{key}" in found else ""
            pairs.append(
                (
                    page.say(scores[key].title),
                    before + ranged(found[key], (found.get("intervals") or {}).get(key, {}).get("fine_tuned")),
                )
            )
    if "eval_loss" in found:
        before = f"{number(found['base_eval_loss'])} → " if "base_eval_loss" in found else ""
        pairs.append((page.t("Validation loss"), f"{before}{number(found['eval_loss'])}"))
    return pairs
