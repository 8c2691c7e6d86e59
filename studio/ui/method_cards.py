"""HTML of the methods in the Method tab: recommendations, a compact card for each, and a comparison of two.

Built from the methods' cards, the capability table and the forecast; contains no code for a particular method.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache

from studio import hardware
from studio.draft import Preflight
from studio.forecast import Case, duration, recommend
from studio.methods import FAMILIES, METHODS, Method
from studio.methods.capabilities import CAPABILITIES, REASONS, YES, cell
from studio.models.shape import Shape
from studio.ui.html_parts import button, chip, e, note, size
from studio.ui.method_plots import bars_html, overview_html
from studio.ui.page import Page
from studio.words import Sentence, translate

COMMON = "common"  # value of the family filter that selects the most used methods
_IN_MOST_USE = (
    "lora",
    "qlora",
    "dora",
    "full",
    "rslora",
    "lora_plus",
    "adalora",
    "adapter",
    "ia3",
    "prefix_tuning",
    "prompt_tuning",
    "bitfit",
)
_ALIKE = 0.75  # difflib cutoff at which "loar" matches "lora" and "adpter" matches "adapter"


def case(preflight: Preflight) -> Case | None:
    """Return the case for which methods are recommended and compared; None while the model's shape is unknown."""
    return preflight.shape and Case(
        preflight.recipe, preflight.shape, preflight.lengths, preflight.rows, hardware.machine()
    )


def recommended_html(page: Page, preflight: Preflight, draft: dict) -> str:
    """Return the two or three recommended methods, each with its reason."""
    here = case(preflight)
    found = recommend(here) if here else []
    if not found:
        return ""
    cards = "".join(
        f'<button type="button" class="example" data-act="method" data-item="{e(item.name)}" '
        f'aria-pressed="{"true" if draft["method"].get("name") == item.name else "false"}">'
        f"<strong>{e(page.t(METHODS[item.name].title))}</strong><span>{e(page.say(item.reason))}</span></button>"
        for item in found
    )
    return f'<h3>{e(page.t("Recommended for your data and machine"))}</h3><div class="examples wide">{cards}</div>'


def search(kind: str, words: str, language: str) -> list[str]:
    """Return the names of the methods of family `kind` whose cards contain all `words`.

    `kind` is "" for any family; with COMMON, the most used methods are listed without `words` and all are searched with
    them. If no card matches, the search is repeated ignoring spaces and punctuation ("4bit", "q-lora"), then with
    similar words ("adpter").
    """
    asked = (words or "").lower().split()
    if kind == COMMON:
        offered = list(METHODS if asked else _IN_MOST_USE)
    else:
        offered = [name for name in METHODS if not kind or METHODS[name].family == kind]
    for holds in (_holds, _holds_joined, _holds_alike):
        if found := [name for name in offered if all(holds(word, _searched(name, language)) for word in asked)]:
            return found
    return []


def _holds(word: str, text: str) -> bool:
    return word in text


def _holds_joined(word: str, text: str) -> bool:
    return bool(_joined(word)) and _joined(word) in _joined(text)


def _holds_alike(word: str, text: str) -> bool:
    return bool(get_close_matches(word, _parted(text), 1, _ALIKE))


@cache
def _joined(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


@cache
def _parted(text: str) -> list[str]:
    return re.findall(r"\w+", text)


@cache
def _searched(name: str, language: str) -> str:
    method = METHODS[name]
    card = method.card()
    message = [method.title, card.idea, card.good_for, FAMILIES[method.family], method.branch]
    return " ".join([name, *message, *(translate(text, language) for text in message), card.paper]).lower()


def cards_html(page: Page, preflight: Preflight, draft: dict, kind: str, words: str) -> str:
    """Return a card for each method found, with the reason if it cannot be used now."""
    names = search(kind, words, page.language)
    if not names:
        return note(page.t("No method fits these words; search for less."))
    chosen = draft["method"].get("name", "")
    if kind == COMMON and not words and chosen in METHODS and chosen not in names:
        names = [chosen, *names]
    count = page.t("{count} of {all} methods", count=len(names), all=len(METHODS))
    cards = "".join(_card(page, name, preflight.shape, draft) for name in names)
    return f'{overview_html(page, names, chosen)}<p class="count">{e(count)}</p><div class="cards">{cards}</div>'


def _card(page: Page, name: str, shape: Shape | None, draft: dict) -> str:
    method, chosen = METHODS[name], draft["method"].get("name") == name
    reason = refusal(method, shape, draft)
    barred = note(page.say(reason), "warn") if reason else ""
    learns = (
        f'<span class="count">{e(share(method().parameter_count(shape), shape))}</span>' if shape and not reason else ""
    )
    choose = button(
        page.t("Chosen") if chosen else page.t("Choose"),
        "method",
        name,
        kind="primary" if chosen else "",
        disabled=page.say(reason) if reason else "",
        says=page.t("Choose {method}", method=page.t(method.title)),
    )
    beside = button(
        page.t("Compare"),
        "compare",
        name,
        says=page.t("Compare {method} with another method", method=page.t(method.title)),
    )
    return (
        f'<article class="card" aria-current="{"true" if chosen else "false"}">'
        f"{_said(name, page.language)[0]}{barred}{bars_html(page, name)}{_said(name, page.language)[1]}<footer>"
        f"{choose}{beside}{learns}</footer></article>"
    )


@cache
def _said(name: str, language: str) -> tuple[str, str]:
    """Return the parts of a card that do not depend on the draft: header with the idea, and collapsed details."""
    method = METHODS[name]
    card = method.card()

    def t(text: str) -> str:
        return e(translate(text, language))

    head = f"<header><h4>{t(method.title)}</h4>{chip(_family(method, language))}</header><p>{t(card.idea)}</p>"
    lines = "".join(
        f"<p><b>{t(title)}:</b> {text}</p>"
        for title, text in (
            ("Equation", e(card.equation)),
            ("Good for", t(card.good_for)),
            ("Cost", t(card.cost)),
            ("Limits", t(card.limits)),
            ("Paper", e(card.paper)),
        )
    )
    goes = "".join(
        chip(f"✓ {translate(each.title, language)}", "good")
        for what, each in CAPABILITIES.items()
        if cell(name, what) == YES
    )
    reasons: dict[str, list[str]] = {}
    for what, each in CAPABILITIES.items():
        if (reason := cell(name, what)) != YES:
            reasons.setdefault(reason, []).append(t(each.title))
    lacks = "".join(f"<li>✗ {', '.join(titles)}: {t(REASONS[reason])}</li>" for reason, titles in reasons.items())
    return (
        head,
        (
            f'<details><summary>{t("Equation, cost and limits")}</summary>{lines}<p class="chips">{goes}</p>'
            f'<ul class="lacks">{lacks}</ul></details>'
        ),
    )


def _family(method: type[Method], language: str) -> str:
    """Return the family and, if there is one, the branch: "Additive · soft prompt"."""
    return " · ".join(translate(text, language) for text in (FAMILIES[method.family], method.branch) if text)


def refusal(method: type[Method], shape: Shape | None, draft: dict) -> Sentence | None:
    """Return the reason why `method` with default options cannot be used for this draft, or None."""
    return method().refusal(
        shape, draft["task"].get("name", ""), method.quantisation or draft["machine"].get("quantisation", "none")
    )


def share(count: int, shape: Shape) -> str:
    return f"{count:,} ({100 * count / shape.parameters:.3g} %)"


def compare_html(page: Page, preflight: Preflight, names: list[str]) -> str:
    """Return a comparison table of two methods."""
    names = [name for name in names if name in METHODS]
    if len(names) < 2:
        return note(page.t("Choose two methods, here or with Compare on their cards."))
    columns = [_column(page, preflight, name) for name in names]
    head = "".join(f'<th scope="col">{e(page.t(METHODS[name].title))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{e(title)}</th>{"".join(f"<td>{column[title]}</td>" for column in columns)}</tr>'
        for title in columns[0]
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="plain compared"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _column(page: Page, preflight: Preflight, name: str) -> dict[str, str]:
    """Return one method's column of the comparison: row title → HTML."""
    method, here = METHODS[name], case(preflight)
    card, found = method.card(), here.with_method(name) if here else None
    rows = {
        "Family": _family(method, page.language),
        "Idea": page.t(card.idea),
        "Equation": card.equation,
        "Trainable parameters": share(found.trained_parameters, preflight.shape) if found else "–",
        "Peak memory, about": size(found.memory_bytes) if found else "–",
        "Time, about": page.say(duration(found.seconds)) if found else "–",
        "Good for": page.t(card.good_for),
        "Cost": page.t(card.cost),
        "Limits": page.t(card.limits),
        "Paper": card.paper,
        "Saved as": method.artefact_type,
    }
    told = {page.t(title): e(text) for title, text in rows.items()}
    for what, capability in CAPABILITIES.items():
        reason = cell(name, what)
        told[page.t(capability.title)] = f"✓ {e(page.t('yes'))}" if reason == YES else f"✗ {e(page.t(REASONS[reason]))}"
    return told
