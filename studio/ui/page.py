"""The page: header, the run as one sentence, six tabs; once for each language, as two pages of one Gradio app.

`build(home)` makes the whole window. A `Page` is what every tab's builder gets: it speaks the page's language, holds what
the tabs share, and binds handlers the one right way. What is in a tab is the tab's own module's business.
"""

from __future__ import annotations

import html
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr

from studio.home import Home
from studio.store import Store
from studio.ui.access import login_button, owner_only, same_face
from studio.ui.envelope import Feed
from studio.ui.live_plot import LivePlot
from studio.words import LANGUAGES, Sentence, StudioError, translate

_log = logging.getLogger(__name__)


class Page:
    """One language's page while it is built. Tabs put what others need into `parts`, and bind after all are built."""

    def __init__(self, language: str, home: Home, store: Store, feed: Feed):
        self.language, self.home, self.store, self.feed = language, home, store, feed
        self.parts: dict[str, gr.blocks.Block] = {}
        self.sentence: gr.HTML
        self.run: gr.Textbox  # the id of the run that is shown; hidden, kept in the address as ?run=
        self.tabs: gr.Tabs

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


def show_sentence(text: str) -> str:
    """The banner's HTML. Parts between ** are emphasised; everything else is plain text."""
    pieces = html.escape(text).split("**")
    return '<p class="sentence">' + "".join(f"<strong>{piece}</strong>" if i % 2 else piece for i, piece in enumerate(pieces)) + "</p>"


# ---- the tabs: (title, id, builder). A builder draws into the open tab and may return what binds its events later --------


def _data(page: Page): ...


def _method(page: Page): ...


def _hyperparameters(page: Page): ...


def _train(page: Page):
    plot = page.parts["plot"] = LivePlot(page.feed, language=page.language)
    return lambda: page.on(page.run.change, lambda run: run, page.run, plot)


def _chat(page: Page): ...


def _library(page: Page): ...


TABS: list[tuple[str, str, Callable[[Page], Callable[[], object] | None]]] = [
    ("Data", "data", _data), ("Method", "method", _method), ("Hyperparameters", "hyperparameters", _hyperparameters),
    ("Train", "train", _train), ("Chat", "chat", _chat), ("Library", "library", _library),
]


def build(home: Home, store: Store | None = None) -> gr.Blocks:
    """The whole window: `/` in English and `/zh` in Chinese, over the same home."""
    store = store or Store(home.database)
    feed = Feed(store)
    with gr.Blocks(title="Delta Studio", analytics_enabled=False) as demo:
        build_page(demo, Page("en", home, store, feed))
    for language, name in LANGUAGES.items():
        if language != "en":
            with demo.route(name, f"/{language}", show_in_navbar=False):
                build_page(demo, Page(language, home, store, feed))
    return demo


def build_page(demo: gr.Blocks, page: Page) -> None:
    """One language's page, into the Blocks that is open."""
    _header(page)
    page.sentence = gr.HTML(show_sentence(page.t("Teach a model from your own data: begin with the **Data** tab.")), elem_id="sentence")
    page.run = gr.Textbox(visible="hidden", elem_id="run", label=page.t("Run"))
    binders = []
    with gr.Tabs(elem_id="rooms") as page.tabs:
        for title, key, builder in TABS:
            with gr.Tab(page.t(title), id=key, elem_id=f"tab-{key}"):
                binders.append(builder(page))
    page.on(demo.load, lambda run: chosen_run(page.store, run), page.run, page.run, js=_READ_ADDRESS)
    page.on(page.run.change, None, page.run, None, js=_WRITE_ADDRESS)
    for bind in binders:
        if bind:
            bind()


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
        login_button()


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
