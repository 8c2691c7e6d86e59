"""What a run has changed of itself while it learns, below its state. Part of the Train tab."""

from __future__ import annotations

from studio.ui.html_parts import e
from studio.ui.page import Page

_SHOWN = 20  # newest changes


def adapted_html(page: Page, run: dict | None) -> str:
    """Return the changes of the run with their reasons, the newest first; "" for a run that does not adapt."""
    if run is None or not (run["recipe"].get("training") or {}).get("adapt"):
        return ""
    # A resumed run makes the changes after its checkpoint again.
    found = [event["data"] for event in page.store.events(run["id"], kind="action")]
    changes = list({(change["step"], change["rule"]): change for change in found}.values())
    if not changes:
        text = page.t("This run adapts while it learns; nothing had to be changed so far.")
        return f'<p class="help">{e(text)}</p>'
    title = page.t("{count} {count:change|changes} while learning", count=len(changes))
    items = "".join(
        f'<li data-rule="{e(change["rule"])}">{e(page.say(change))}</li>' for change in reversed(changes[-_SHOWN:])
    )
    return f'<details class="adapted" open><summary>{e(title)}</summary><ul>{items}</ul></details>'
