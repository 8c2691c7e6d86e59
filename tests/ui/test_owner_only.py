"""On a Space nobody but the owner reaches local paths, changes the draft or starts anything, whatever address is
called."""

import gradio as gr
import pytest

from studio.home import Home
from studio.store import Store
from studio.ui.window import build

CHANGING = [
    "examples.click",
    "upload.upload",
    "use-place.click",
    "place.submit",
    "task.input",
    "task-form.input",
    "roles.input",
    "proposed-roles.click",
    "split.input",
    "base-model.change",
    "methods.click",
    "recommended.click",
    "method-form.input",
    "about-model.click",
    "presets.click",
    "training-form.input",
    "machine-form.input",
    "forecast.click",
    "run-name.input",
    "load-recipe.upload",
    "start.click",
    "stop.click",
    "resume.click",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def handlers(home):
    """ "elem_id.event" → the handlers in every language."""
    demo = build(home)
    found = {}
    for handler in demo.fns.values():
        for target, event in handler.targets:
            name = getattr(demo.blocks.get(target), "elem_id", None)
            if handler.fn is not None:
                found.setdefault(f"{name}.{event}", []).append(handler.fn)
    return found


@pytest.mark.parametrize("name", CHANGING)
def test_a_visitor_changes_nothing(handlers, home, monkeypatch, name):
    monkeypatch.setenv("SPACE_ID", "Ada/studio")
    assert len(handlers[name]) >= 2, "one for each language"
    for handler in handlers[name]:
        with pytest.raises(gr.Error, match="owner|所有者"):
            handler(None, "/etc/passwd")
    store = Store(home.database)
    assert store.note("draft") is None and store.runs() == [] and list(home.uploads.iterdir()) == []
