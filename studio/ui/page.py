"""`Page`, the argument of every tab's builder: translates text, holds shared components, and binds event handlers."""

from __future__ import annotations

import html
import inspect
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import gradio as gr

from studio.draft import DraftEditor
from studio.jobs.failure_reasons import reason_of_storage
from studio.ui.access import copy_signature, hidden_from_visitors, owner_only
from studio.ui.draft_follower import DraftFollower
from studio.ui.metric_feed import Feed
from studio.words import Sentence, StudioError, translate

_log = logging.getLogger(__name__)
_counter = itertools.count(int(time.time() * 1000))  # starts at the time in ms: no repeats after a restart


class Page:
    """The page of one language while it is built.

    Tabs put components that other tabs need into `parts`, and bind their handlers after all tabs are built.
    """

    def __init__(self, demo: gr.Blocks, language: str, editor: DraftEditor, feed: Feed):
        self.demo, self.language, self.editor, self.feed = demo, language, editor, feed
        self.home, self.store = editor.home, editor.store
        self.parts: dict[str, gr.blocks.Block] = {}
        self.sentence: gr.HTML
        self.run: gr.Textbox  # id of the displayed run; hidden, kept in the address as ?run=
        self.changed: gr.Textbox  # new stamp after each change of the draft; hidden, its change event redraws the page
        self.followers: dict[str, DraftFollower] = {}  # tab → what tells it to draw the changed draft
        self.tabs: gr.Tabs

    def stamp(self, origin: str) -> str:
        """Return a new value for `changed` after a change of the draft: origin of the change and a unique number."""
        return f"{origin}:{next(_counter)}"

    def t(self, text: str, /, **values) -> str:
        """Translate `text` into the page's language."""
        return translate(text, self.language, **values)

    def say(self, sentence: Sentence | dict | None) -> str:
        """Return a sentence, or its JSON from the store, in the page's language."""
        found = Sentence.from_json(sentence) if isinstance(sentence, dict) else sentence
        return found.say(self.language) if found else ""

    def on(
        self,
        event: Callable,
        handler: Callable | None,
        inputs=None,
        outputs=None,
        *,
        changes: bool = False,
        shows: str | None = None,
        **kwargs,
    ):
        """Bind a handler: `page.on(button.click, start, [form], [run], changes=True)`.

        `changes` marks handlers that change something; on a Space only the owner may call them. `shows` marks handlers
        that draw what belongs to a key of `access.TOPICS`; on a Space visitors get it only if the owner shows it.
        Handlers are not queued, because the queue keeps a connection open and a browser has six; streaming handlers
        pass `queue=True`.
        """
        if handler is not None:
            handler = self.with_readable_errors(handler)
            handler = owner_only(self.language)(handler) if changes else handler
            if shows:
                count = len(outputs) if isinstance(outputs, list | tuple) else 1
                handler = hidden_from_visitors(shows, self.store, count)(handler)
        settings = {"queue": False, "show_progress": "hidden", "api_visibility": "private"} | kwargs
        if settings["show_progress"] == "hidden":
            # Gradio's page (6.31) tells the progress of each event to every output of every event so far, hidden or
            # not: a fifth of a second for each click. With nothing to show it on, it tells nobody.
            settings["show_progress_on"] = []
        return event(handler, inputs, outputs, **settings)

    def follow_draft(self, tab: str) -> None:
        """Create, inside `tab`, what tells it to draw the changed draft."""
        self.followers[tab] = DraftFollower(tab)

    def on_draft(self, tab: str, draw: Callable, inputs: Iterable = (), outputs=None, *, shows: str | None = None):
        """Bind `draw(stamp, *inputs)`, which draws the draft in `tab`, called once it has changed and is in sight.

        stamp: see `DraftFollower`.
        """
        follower = self.followers[tab]
        drawn = self.on(follower.tick, draw, [follower, *inputs], outputs, shows=shows, trigger_mode="always_last")
        drawn.then(None, js=follower.drawn)

    def with_readable_errors(self, handler: Callable) -> Callable:
        """Wrap `handler` so that errors reach the user as one sentence.

        The traceback of an unexpected error goes to the log.
        """

        if inspect.isgeneratorfunction(handler):

            def guarded(*args, **kwargs):
                with self._readable_errors():
                    yield from handler(*args, **kwargs)

        else:

            def guarded(*args, **kwargs):
                with self._readable_errors():
                    return handler(*args, **kwargs)

        return copy_signature(guarded, handler)

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except gr.Error:
            raise
        except StudioError as error:
            raise gr.Error(
                html.escape(self.say(error.sentence)), title=self.t("Please check"), print_exception=False
            ) from error
        except Exception as error:
            _log.exception("A handler of the window failed")
            if storage := reason_of_storage(error, self.home.root):
                raise gr.Error(html.escape(self.say(storage)), title=self.t("Sorry"), print_exception=False) from error
            detail = f"{type(error).__name__}: {error}"[:200]
            text = self.t("Something went wrong here ({detail}). Nothing is lost; the log says more.", detail=detail)
            raise gr.Error(html.escape(text), title=self.t("Sorry"), print_exception=False) from error
