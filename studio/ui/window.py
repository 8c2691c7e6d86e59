"""The Gradio app: header, the run described in one sentence, and six tabs; one page per language.

The contents of each tab are defined in its own module.
"""

from __future__ import annotations

import html
import os
from functools import partial

import gradio as gr

from studio import hardware
from studio.draft import DraftEditor
from studio.forecast import sentence
from studio.home import Home
from studio.library import continuing
from studio.store import Store
from studio.ui import chat_tab, data_tab, frame, hyper_tab, library_tab, method_tab, train_tab, visitors
from studio.ui.access import login_button
from studio.ui.draft_follower import TELL
from studio.ui.html_parts import skeleton
from studio.ui.metric_feed import Feed
from studio.ui.page import Page
from studio.words import LANGUAGES

_TOPICS = {"data": "data", "method": "recipes", "hyperparameters": "recipes"}
"""Tab → what it draws, as a key of `access.TOPICS`, where visitors of a Space may see nothing of it."""


def build(home: Home, store: Store | None = None) -> gr.Blocks:
    """Build the whole app: `/` in English and `/zh` in Chinese, sharing one home folder.

    Gradio keeps uploads and downloads in the home folder too, rather than in the machine's shared temporary folder.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(home.incoming)  # read by each component when it is created
    editor = DraftEditor(home, store or Store(home.database))
    feed = Feed(editor.store)
    with gr.Blocks(title="Delta Studio", analytics_enabled=False, delete_cache=(3600, 86400)) as demo:
        build_page(Page(demo, "en", editor, feed))
    for language, name in LANGUAGES.items():
        if language != "en":
            with demo.route(name, f"/{language}", show_in_navbar=False):
                build_page(Page(demo, language, editor, feed))
    return demo


def build_page(page: Page) -> None:
    """Build the page of one language inside the current Blocks.

    A tab's `build` creates its components and returns a function that binds their event handlers; these are called
    after all tabs are built.
    """
    modules = [data_tab, method_tab, hyper_tab, train_tab, chat_tab, library_tab]
    _header(page)
    page.sentence = gr.HTML(skeleton(56), elem_id="sentence", apply_default_css=False)
    page.run = gr.Textbox(visible="hidden", elem_id="run", label=page.t("Run"))
    page.changed = gr.Textbox(visible="hidden", elem_id="changed", label=page.t("State"))
    binders = [visitors.build_choice(page)]
    frame.build_steps(page)
    with gr.Tabs(elem_id="tabs") as page.tabs:
        for (key, title), module in zip(frame.STEPS.items(), modules, strict=True):
            with gr.Tab(page.t(title), id=key, elem_id=f"tab-{key}") as page.parts[f"tab-{key}"]:
                if key in _TOPICS:
                    binders.append(visitors.build_note(page, _TOPICS[key]))
                binders.append(module.build(page))
    binders.append(frame.build_status_bar(page))
    load = partial(page.demo.load)
    page.on(
        load,
        lambda run: (chosen_run(page.store, run), page.stamp("load")),
        page.run,
        [page.run, page.changed],
        js=_READ_ADDRESS,
    )
    page.on(page.run.change, None, page.run, None, js=_WRITE_ADDRESS)
    page.on(page.changed.change, None, page.changed, None, js=TELL)
    page.on(page.changed.change, lambda: run_sentence_html(page), None, page.sentence, shows="recipes")
    for bind in binders:
        bind()


def run_sentence_html(page: Page) -> str:
    """Return the draft as one sentence, with the first problem that prevents Start."""
    preflight = page.editor.preflight()
    rows = preflight.rows if preflight.dataset else None
    title = preflight.dataset.title if preflight.dataset else None
    message = page.say(sentence(preflight.recipe, rows, preflight.forecast, hardware.machine(), title, preflight.wrong))
    if start := continuing.start_of(page.store, preflight.recipe):
        message += " " + page.t("It continues from **{name}**.", name=start.replace("**", ""))
    return sentence_html(message, page.say(next(iter(preflight.problems.values()), None)))


def sentence_html(text: str, problem: str = "") -> str:
    """Return the banner's HTML, with `problem` below the text.

    Parts between ** are emphasised; everything else is plain text.
    """
    pieces = html.escape(text).split("**")
    below = f'<span class="in-the-way">{html.escape(problem)}</span>' if problem else ""
    return (
        '<p class="sentence">'
        + "".join(f"<strong>{piece}</strong>" if i % 2 else piece for i, piece in enumerate(pieces))
        + below
        + "</p>"
    )


_READ_ADDRESS = "() => [new URLSearchParams(location.search).get('run') || '']"
_WRITE_ADDRESS = """(run) => {
  const address = new URL(location.href);
  if (run) address.searchParams.set('run', run); else address.searchParams.delete('run');
  history.replaceState(history.state, '', address);
  return [];
}"""


def chosen_run(store: Store, asked: str) -> str:
    """Return the id of the run `asked` in the address if it exists, else of the newest run, else ""."""
    found = store.run(asked) if asked else None
    found = found or store.latest_run()
    return found["id"] if found else ""


def _header(page: Page) -> None:
    """Create the header: name, tools, language links (which keep ?run=), and on a Space the sign-in button."""
    links = []
    for language, name in LANGUAGES.items():
        address = "./?lang=en" if language == "en" else f"./{language}"
        here = ' aria-current="page"' if language == page.language else ""
        links.append(f'<a href="{address}" lang="{language}" hreflang="{language}"{here}>{name}</a>')
    with gr.Row(elem_id="header"):
        gr.HTML(
            '<header class="top"><div><h1><span class="mark" aria-hidden="true">Δ</span> Delta Studio</h1><p>'
            f"{html.escape(page.t('Teach an open model from your own data, without code.'))}</p></div>"
            f'<div class="top-tools">{frame.theme_switch_html(page)}'
            f'<nav aria-label="{html.escape(page.t("Language"))}">{"".join(links)}</nav></div></header>',
            js_on_load=_HEADER.replace("LANGUAGE", "zh-CN" if page.language == "zh" else page.language),
            apply_default_css=False,
        )
        login_button(page.language)


_HEADER = """
document.documentElement.lang = 'LANGUAGE';
element.addEventListener('click', (event) => {
  const link = event.target.closest('nav a');
  if (!link) return;
  const run = new URLSearchParams(location.search).get('run');
  const address = new URL(link.href);
  if (run) address.searchParams.set('run', run);
  link.href = address.href;
});
"""
