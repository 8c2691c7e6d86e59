"""The page: header, the run as one sentence, six tabs; once for each language, as two pages of one Gradio app.

`build(home)` makes the whole window. A `Page` is what every tab's builder gets: it speaks the page's language, holds what
the tabs share, and binds handlers the one right way. What is in a tab is the tab's own module's business.
"""

from __future__ import annotations

import html
import inspect
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import gradio as gr

from studio import hardware
from studio.desk import Desk
from studio.forecast import sentence
from studio.home import Home
from studio.store import Store
from studio.ui.access import login_button, owner_only, same_face
from studio.ui.envelope import Feed
from studio.words import LANGUAGES, Sentence, StudioError, translate

_log = logging.getLogger(__name__)
_counter = itertools.count(int(time.time() * 1000))  # other numbers than before a restart


class Page:
    """One language's page while it is built. Tabs put what others need into `parts`, and bind after all are built."""

    def __init__(self, demo: gr.Blocks, language: str, desk: Desk, feed: Feed):
        self.demo, self.language, self.desk, self.feed = demo, language, desk, feed
        self.home, self.store = desk.home, desk.store
        self.parts: dict[str, gr.blocks.Block] = {}
        self.sentence: gr.HTML
        self.run: gr.Textbox  # the id of the run that is shown; hidden, kept in the address as ?run=
        self.changed: gr.Textbox  # a new stamp after each change of the draft; hidden, every tab redraws on it
        self.tabs: gr.Tabs

    def stamp(self, origin: str) -> str:
        """What a handler that changed the draft returns into `changed`: where the change was made, and that it is new."""
        return f"{origin}:{next(_counter)}"

    def t(self, text: str, /, **values) -> str:
        """`text` in the page's language."""
        return translate(text, self.language, **values)

    def say(self, sentence: Sentence | dict | None) -> str:
        """A sentence, or its JSON out of the store, in the page's language."""
        found = Sentence.from_json(sentence) if isinstance(sentence, dict) else sentence
        return found.say(self.language) if found else ""

    def on(self, event: Callable, handler: Callable | None, inputs=None, outputs=None, *, changes: bool = False, **kwargs):
        """Bind a handler: `page.on(button.click, start, [form], [run], changes=True)`.

        changes: it changes something, so on a Space only the owner may. Nothing is queued, because a queue holds a
        connection and a browser has six; streams ask for it with `queue=True`.
        """
        if handler is not None:
            handler = self.polite(handler)
            handler = owner_only(self.language)(handler) if changes else handler
        settings = {"queue": False, "show_progress": "hidden", "api_visibility": "private"} | kwargs
        return event(handler, inputs, outputs, **settings)

    def polite(self, handler: Callable) -> Callable:
        """`handler`, whose errors reach the person as one sentence; the traceback goes to the log."""

        if inspect.isgeneratorfunction(handler):

            def guarded(*args, **kwargs):
                with self._politely():
                    yield from handler(*args, **kwargs)

        else:

            def guarded(*args, **kwargs):
                with self._politely():
                    return handler(*args, **kwargs)

        return same_face(guarded, handler)

    @contextmanager
    def _politely(self) -> Iterator[None]:
        try:
            yield
        except gr.Error:
            raise
        except StudioError as error:
            raise gr.Error(html.escape(self.say(error.sentence)), title=self.t("Please check"), print_exception=False) from error
        except Exception as error:
            _log.exception("A handler of the window failed")
            detail = f"{type(error).__name__}: {error}"[:200]
            text = self.t("Something went wrong here ({detail}). Nothing is lost; the log says more.", detail=detail)
            raise gr.Error(html.escape(text), title=self.t("Sorry"), print_exception=False) from error


def show_sentence(text: str, problem: str = "") -> str:
    """The banner's HTML, with what stands in the way below it. Parts between ** are emphasised; everything else is plain text."""
    pieces = html.escape(text).split("**")
    below = f'<span class="in-the-way">{html.escape(problem)}</span>' if problem else ""
    return '<p class="sentence">' + "".join(f"<strong>{piece}</strong>" if i % 2 else piece for i, piece in enumerate(pieces)) + below + "</p>"


def build(home: Home, store: Store | None = None) -> gr.Blocks:
    """The whole window: `/` in English and `/zh` in Chinese, over the same home."""
    desk = Desk(home, store or Store(home.database))
    feed = Feed(desk.store)
    with gr.Blocks(title="Delta Studio", analytics_enabled=False, delete_cache=(3600, 86400)) as demo:
        build_page(Page(demo, "en", desk, feed))
    for language, name in LANGUAGES.items():
        if language != "en":
            with demo.route(name, f"/{language}", show_in_navbar=False):
                build_page(Page(demo, language, desk, feed))
    return demo


def build_page(page: Page) -> None:
    """One language's page, into the Blocks that is open. A tab's `build` draws it and returns what binds its events."""
    from studio.ui import chat_tab, data_tab, hyper_tab, library_tab, method_tab, train_tab

    tabs = [("Data", "data", data_tab), ("Method", "method", method_tab), ("Hyperparameters", "hyperparameters", hyper_tab),
            ("Train", "train", train_tab), ("Chat", "chat", chat_tab), ("Library", "library", library_tab)]
    _header(page)
    page.sentence = gr.HTML(elem_id="sentence", apply_default_css=False)
    page.run = gr.Textbox(visible="hidden", elem_id="run", label=page.t("Run"))
    page.changed = gr.Textbox(visible="hidden", elem_id="changed", label=page.t("State"))
    binders = []
    with gr.Tabs(elem_id="rooms") as page.tabs:
        for title, key, module in tabs:
            with gr.Tab(page.t(title), id=key, elem_id=f"tab-{key}") as page.parts[f"tab-{key}"]:
                binders.append(module.build(page))
    load = partial(page.demo.load)
    page.on(load, lambda run: (chosen_run(page.store, run), page.stamp("load")), page.run, [page.run, page.changed], js=_READ_ADDRESS)
    page.on(page.run.change, None, page.run, None, js=_WRITE_ADDRESS)
    page.on(page.changed.change, lambda: the_sentence(page), None, page.sentence)
    for bind in binders:
        bind()


def the_sentence(page: Page) -> str:
    """The draft as one sentence, and the first thing that would keep Start from doing it."""
    outlook = page.desk.outlook()
    rows = outlook.rows if outlook.dataset else None
    title = outlook.dataset.title if outlook.dataset else None
    said = page.say(sentence(outlook.recipe, rows, outlook.forecast, hardware.machine(), title, outlook.wrong))
    return show_sentence(said, page.say(next(iter(outlook.problems.values()), None)))


_READ_ADDRESS = "() => [new URLSearchParams(location.search).get('run') || '']"
_WRITE_ADDRESS = """(run) => {
  const address = new URL(location.href);
  if (run) address.searchParams.set('run', run); else address.searchParams.delete('run');
  history.replaceState(history.state, '', address);
  return [];
}"""


def chosen_run(store: Store, asked: str) -> str:
    """The run named in the address if it exists, else the newest one, else none."""
    found = store.run(asked) if asked else None
    found = found or store.latest_run()
    return found["id"] if found else ""


def _header(page: Page) -> None:
    """Name, language switch (a plain link that keeps ?run=), and on a Space the sign-in button."""
    links = []
    for language, name in LANGUAGES.items():
        address = "./?lang=en" if language == "en" else f"./{language}"
        here = ' aria-current="page"' if language == page.language else ""
        links.append(f'<a href="{address}" lang="{language}" hreflang="{language}"{here}>{name}</a>')
    with gr.Row(elem_id="header"):
        gr.HTML(
            f'<header class="top"><div><h1><span class="mark" aria-hidden="true">Δ</span> Delta Studio</h1><p>{html.escape(page.t("Teach an open model from your own data, without code."))}</p></div>'
            f'<nav aria-label="{html.escape(page.t("Language"))}">{"".join(links)}</nav></header>',
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
