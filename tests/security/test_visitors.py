"""On a Space nobody but the owner reaches local paths, changes the draft or starts anything, whatever address is
called."""

import inspect
import random

import gradio as gr
import pytest

from studio.home import Home
from studio.store import Store
from studio.ui.window import build

# What visitors may call, by component and event. Whatever is not listed here must be guarded by `owner_only`, so a new
# handler fails these tests until somebody has thought about visitors.
FOR_VISITORS = {
    # look: each draws what is there
    "None.load",
    "None.tick",
    "changed.change",
    "run.change",
    "tab-chat.select",
    "tab-library.select",
    "tab-method.select",
    "train-seen.change",
    "runs.click",
    "status.click",  # asks for the profile before it changes anything: test_access.py
    # search and sort what is drawn
    "which-file.input",
    "method-search.change",
    "family.change",
    "compare-methods.change",
    "library-search.change",
    "library-sort.change",
    "library-trash.change",
    "results-search.change",
    "results-order.change",
    "results.click",
    "which-example.input",
    "next-example.click",
    "previous-example.click",
    "next-finding.click",
    # search the Hub for public models and datasets
    "hub-model.expand",
    "hub-model-search.click",
    "hub-model-words.submit",
    "hub-dataset.expand",
    "hub-dataset-search.click",
    "hub-dataset-words.submit",
    # chat with the base model and the adapters that the owner shows
    "chat-base.input",
    "chat-models.input",
    "chat-models.change",
    "suggestions.click",
    "None.then",
    "send.click",
    "message.submit",
    "regenerate.click",
    "chat-stop.click",
    "chat-new.click",
    *(f"chat-{at}.{event}" for at in range(4) for event in ("retry", "edit", "clear", "like")),
    *(f"facts-{at}.click" for at in range(4)),
    # their own conversations, which are kept for their session alone: test_conversations.py
    "chat-id.change",
    "chat-list.click",
    "chat-search.change",
    "chat-rename.click",
    "chat-title.submit",
    "export-chat.click",
    "export-chats.click",
    "preset.input",
    "tab-data.select",  # "From your chats", which is empty for them
    "classify.click",
    "classify-text.submit",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def handlers(home):
    """(component.event, handler) of every handler of the app, in every language."""
    demo = build(home)
    return [
        (f"{getattr(demo.blocks.get(target), 'elem_id', None)}.{event}", handler.fn)
        for handler in demo.fns.values()
        if handler.fn is not None
        for target, event in handler.targets
    ]


def is_guarded(handler) -> bool:
    return next(iter(inspect.signature(handler).parameters), "") == "_profile"


def test_every_handler_is_guarded_or_meant_for_visitors(handlers):
    open_to_all = {name for name, handler in handlers if not is_guarded(handler)}
    assert open_to_all - FOR_VISITORS == set(), "guard these with changes=True, or list them as meant for visitors"
    assert FOR_VISITORS - open_to_all == set(), "no such handler, or it is guarded: take it off the list"


def test_a_visitor_gets_through_no_guarded_handler(handlers, home, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "Ada/studio")
    guarded = [(name, handler) for name, handler in handlers if is_guarded(handler)]
    assert len(guarded) > 80, "two languages of some forty handlers"
    chance = random.Random(0)
    for name, handler in guarded:
        given = [chance.choice(["/etc/passwd", "", None, 3, ["base"], {}]) for _ in range(chance.randrange(6))]
        with pytest.raises(gr.Error, match="owner|所有者"):
            answer = handler(None, *given)
            next(iter(answer)) if inspect.isgenerator(answer) else pytest.fail(f"{name} answered a visitor")
    store = Store(home.database)
    assert store.note("draft") is None and store.runs() == [] and store.jobs() == []
    assert list(home.uploads.iterdir()) == []
