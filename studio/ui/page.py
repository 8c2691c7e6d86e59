"""What every tab's builder gets: a `Page` speaks the page's language, holds what the tabs share, and binds handlers the one right way."""

from __future__ import annotations

import html
import inspect
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr

from studio.desk import Desk
from studio.ui.access import copy_signature, owner_only
from studio.ui.metric_feed import Feed
from studio.words import Sentence, StudioError, translate

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

    def on(
        self, event: Callable, handler: Callable | None, inputs=None, outputs=None, *, changes: bool = False, **kwargs
    ):
        """Bind a handler: `page.on(button.click, start, [form], [run], changes=True)`.

        changes: it changes something, so on a Space only the owner may. Nothing is queued, because a queue holds a
        connection and a browser has six; streams ask for it with `queue=True`.
        """
        if handler is not None:
            handler = self.with_readable_errors(handler)
            handler = owner_only(self.language)(handler) if changes else handler
        settings = {"queue": False, "show_progress": "hidden", "api_visibility": "private"} | kwargs
        return event(handler, inputs, outputs, **settings)

    def with_readable_errors(self, handler: Callable) -> Callable:
        """`handler`, whose errors reach the person as one sentence; the traceback goes to the log."""

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
            detail = f"{type(error).__name__}: {error}"[:200]
            text = self.t("Something went wrong here ({detail}). Nothing is lost; the log says more.", detail=detail)
            raise gr.Error(html.escape(text), title=self.t("Sorry"), print_exception=False) from error
