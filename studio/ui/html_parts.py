"""Building blocks for server-rendered HTML, and a component that tells the server which button was clicked.

    board = Board("cards")
    page.on(board.click, pressed, None, …)     # pressed(event: gr.EventData): event.act, event.item

Any element inside with `data-act` (and `data-item`) works as a button for mouse and keyboard. Checkboxes with
`data-pick` select things: each change sends the event `select`, whose `event.picked` are the `data-pick` of the checked
ones and `event.listed` those of all. This module does not depend on what is shown.
"""

from __future__ import annotations

import html

import gradio as gr

_FOLDED = 140  # characters that are shown of a collapsed text
_SCRIPT = """
let pressed = null;
// Boxes that the user has set since the server last knew of them, or since a button was pressed.
const toggled = new Map();
let waiting = null;
document.addEventListener('board-press', () => toggled.clear());
const press = (event) => {
  const button = event.target.closest('[data-act]');
  if (!button || button.disabled || button.getAttribute('aria-disabled') === 'true') return;
  if (button.dataset.confirm && !window.confirm(button.dataset.confirm)) return;
  pressed = { ...button.dataset };
  document.dispatchEvent(new Event('board-press'));
  trigger('click', { act: button.dataset.act, item: button.dataset.item || '' });
};
element.addEventListener('click', press);
element.addEventListener('change', (event) => {
  if (!event.target.matches('[data-pick]')) return;
  toggled.set(event.target.dataset.pick, event.target.checked);
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const all = [...element.querySelectorAll('[data-pick]')];
    const ids = (boxes) => boxes.map((box) => box.dataset.pick);
    trigger('select', { picked: ids(all.filter((box) => box.checked)), listed: ids(all) });
  }, 100); // boxes that are set at one go are one event
});
// HTML that was drawn before the server knew of a box that the user has set in the meantime must not undo that.
const keepToggled = () => {
  for (const box of element.querySelectorAll('[data-pick]')) {
    const wanted = toggled.get(box.dataset.pick);
    if (wanted === box.defaultChecked) toggled.delete(box.dataset.pick);
    box.checked = wanted ?? box.defaultChecked; // Gradio keeps a node that it draws anew, and with it what was set
  }
};
// Drawn anew, the HTML has lost the focus: the button that was pressed gets it back, so that Tab goes on from there.
watch('value', () => {
  keepToggled();
  if (!pressed || document.activeElement !== document.body) return;
  const same = (node) => node.dataset.act === pressed.act && node.dataset.item === pressed.item;
  [...element.querySelectorAll('[data-act]')].find(same)?.focus({ preventScroll: true });
});
element.addEventListener('keydown', (event) => {
  if ((event.key === 'Enter' || event.key === ' ') && event.target.matches('[data-act]:not(button)')) {
    event.preventDefault();
    press(event);
  }
});
"""


class Board(gr.HTML):
    """HTML as value; the `click` event carries {"act", "item"} of the clicked element."""

    def __init__(self, value: str = "", **kwargs):
        for name in ("js_on_load", "apply_default_css", "html_template"):
            kwargs.pop(name, None)
        super().__init__(value, js_on_load=_SCRIPT, apply_default_css=False, html_template="${value}", **kwargs)


def skeleton(height: int) -> str:
    """Return a grey placeholder of `height` pixels, so that the layout does not shift when the content arrives."""
    return f'<div class="skeleton" style="height:{height}px" aria-hidden="true"></div>'


def e(text) -> str:
    """Escape text for HTML, quotes included."""
    return html.escape(str(text), quote=True)


def button(
    text: str, act: str, item: str = "", *, kind: str = "", disabled: str = "", says: str = "", confirm: str = ""
) -> str:
    """Return a small button.

    `disabled` is the reason why it cannot be clicked ("" if it can); `says` is its name for screen readers, for buttons
    whose `text` occurs more than once; `confirm` is a question that the user has to answer first.
    """
    more = f' disabled title="{e(disabled)}"' if disabled else ""
    more += f' data-confirm="{e(confirm)}"' if confirm else ""
    more += f' aria-label="{e(says)}"' if says else ""
    return (
        f'<button type="button" class="small-button {kind}" data-act="{e(act)}" data-item="{e(item)}"{more}>{e(text)}'
        "</button>"
    )


def chip(text: str, kind: str = "") -> str:
    """Return a framed word; with a `kind` (good, busy, warn, bad) a coloured one."""
    return f'<span class="{f"badge {kind}" if kind else "chip"}">{e(text)}</span>'


def facts(pairs: list[tuple[str, str]]) -> str:
    """Return name and value pairs as a compact list; pairs with an empty value are left out."""
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{e(name)}</dt><dd>{e(value)}</dd></div>" for name, value in pairs if value != "")
        + "</dl>"
    )


def table(columns: list[str], rows: list[list[str]], caption: str = "") -> str:
    """Return a plain table that scrolls horizontally if it is too wide."""
    head = "".join(f'<th scope="col">{e(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{e(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    text = f"<caption>{e(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table class="plain">{text}<thead><tr>{head}</tr></thead><tbody>{body}'
        "</tbody></table></div>"
    )


def note(text: str, kind: str = "") -> str:
    """Return a framed sentence. `kind`: "", good, warn or bad."""
    return f'<p class="notice {kind}" role="{"alert" if kind == "bad" else "status"}">{e(text)}</p>'


def number(value: float | int | None, digits: int = 3) -> str:
    """Format a number for display: 12,345 or 0.00123."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def size(count: float | None) -> str:
    """Format a number of bytes with a decimal unit (B, kB, MB, GB)."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def folded(text: str) -> str:
    """Return a text; a long one is collapsed."""
    if len(text) <= _FOLDED:
        return e(text) or "–"
    return f'<details class="folded"><summary>{e(text[:_FOLDED].rstrip())} …</summary>{e(text)}</details>'
