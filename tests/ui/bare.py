"""A page over nothing, for views and handlers that need neither store nor home."""

from types import SimpleNamespace

from studio.ui.page import Page


def bare_page(language: str = "en") -> Page:
    return Page(None, language, SimpleNamespace(home=None, store=None), None)
