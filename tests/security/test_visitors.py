"""On a Space nobody but the owner reaches local paths, changes the draft or starts anything, whatever address is
called."""

import inspect
import json
import random

import gradio as gr
import gradio.oauth
import pytest

from studio.draft import DraftEditor
from studio.home import Home
from studio.recipe import recipe_from
from studio.store import Store
from studio.ui import train_tab
from studio.ui.access import hidden_from_visitors, seen_by, show_topics
from studio.ui.checkpoint_panel import CheckpointPanel
from studio.ui.metric_feed import Feed
from studio.ui.page import Page
from studio.ui.window import build

SPACE = {
    "SPACE_ID": "Ada/studio",
    "SPACE_HOST": "ada-studio.hf.space",
    "SYSTEM": "spaces",
    "OAUTH_CLIENT_ID": "id",
    "OAUTH_CLIENT_SECRET": "secret",
    "OAUTH_SCOPES": "openid",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
}

# What visitors may call: module of the handler → component (or module, where the component has no name) and event.
# Whatever is not listed must be guarded, so a new handler fails these tests until somebody has thought about visitors.
FOR_VISITORS = {
    # what the adapter changed, for adapters that the owner shows
    "chat_compare": {"chat-id.change"},
    # a visitor's own conversations, which live in the window's memory
    "chat_history": {
        "chat-id.change",
        "chat-list.click",
        "chat-rename.click",
        "chat-search.change",
        "chat-title.submit",
        "chat_history.then",
        "export-chat.click",
        "export-chats.click",
        "tab-chat.select",
    },
    # the base model and the adapters that the owner shows
    "chat_models": {
        "chat-base.input",
        "chat-draft.tick",
        "chat-models.change",
        "chat-models.input",
        "classify-text.submit",
        "classify.click",
        "tab-chat.select",
    },
    # choose sampling; saving a preset is the owner's
    "chat_presets": {"preset.input", "tab-chat.select"},
    # asks for the profile itself, and draws nothing for visitors
    "chat_rows": {"data-draft.tick", "tab-data.select"},
    # suggestions are drawn for the owner alone
    "chat_tab": {"chat-id.change", "chat-models.change", "suggestions.click"},
    # ask, edit, answer again
    "chat_turn": {
        "chat-0.clear",
        "chat-0.edit",
        "chat-0.like",
        "chat-0.retry",
        "chat-1.clear",
        "chat-1.edit",
        "chat-1.like",
        "chat-1.retry",
        "chat-2.clear",
        "chat-2.edit",
        "chat-2.like",
        "chat-2.retry",
        "chat-3.clear",
        "chat-3.edit",
        "chat-3.like",
        "chat-3.retry",
        "chat-new.click",
        "chat-stop.click",
        "chat_turn.then",
        "facts-0.click",
        "facts-1.click",
        "facts-2.click",
        "facts-3.click",
        "message.submit",
        "regenerate.click",
        "send.click",
    },
    # device, free memory, what runs
    "frame": {"changed.change", "status-pulse.tick"},
    # public models and datasets
    "hub_search": {
        "hub-dataset-search.click",
        "hub-dataset-words.submit",
        "hub-dataset.expand",
        "hub-model-search.click",
        "hub-model-words.submit",
        "hub-model.expand",
    },
    # search and sort the adapters that the owner shows
    "library_tab": {
        "library-base.change",
        "library-bound.change",
        "library-changed.change",
        "library-method.change",
        "library-metric.change",
        "library-pulse.tick",
        "library-search.change",
        "library-sort.change",
        "library-tag.change",
        "library-task.change",
        "library-trash.change",
        "tab-library.select",
    },
    # Gradio's own
    "login_button": {"login_button.load"},
    # curves; logs and answers only where the owner shows them; buttons ask for the profile
    "train_tab": {"run.change", "runs.click", "status.click", "train-pulse.select", "train-pulse.tick"},
    # the note in place of what is private
    "visitors": {"visitors.load"},
    # which run the address names
    "window": {"window.load"},
}


def pretend_space(patch: pytest.MonkeyPatch) -> None:
    for name, value in SPACE.items():
        patch.setenv(name, value)
        patch.setattr(gradio.oauth, name, value, raising=False)  # read when gradio is imported


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def handlers(home):
    """(module, component.event, handler) of every handler of the app, in every language, as it is on a Space."""
    with pytest.MonkeyPatch.context() as patch:
        pretend_space(patch)
        demo = build(home)
    return [
        (module, f"{getattr(demo.blocks.get(target), 'elem_id', None) or module}.{event}", handler.fn)
        for handler in demo.fns.values()
        if handler.fn is not None
        for module in [inspect.unwrap(handler.fn).__module__.rpartition(".")[2]]
        for target, event in handler.targets
    ]


def is_guarded(handler) -> bool:
    return next(iter(inspect.signature(handler).parameters), "") == "_profile"


def test_every_handler_is_guarded_or_meant_for_visitors(handlers):
    unguarded = {(module, name) for module, name, handler in handlers if not is_guarded(handler)}
    listed = {(module, name) for module, names in FOR_VISITORS.items() for name in names}
    assert unguarded - listed == set(), "guard these with changes=True or shows=…, or list them as meant for visitors"
    assert listed - unguarded == set(), "no such handler, or it is guarded: take it off the list"


def test_a_visitor_gets_nothing_from_a_guarded_handler(handlers, home, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "Ada/studio")
    guarded = [(name, handler) for _, name, handler in handlers if is_guarded(handler)]
    assert len(guarded) > 80, "two languages of some forty handlers"
    chance = random.Random(0)
    for name, handler in guarded:
        given = [chance.choice(["/etc/passwd", "", None, 3, ["base"], {}]) for _ in range(chance.randrange(6))]
        try:
            answer = handler(None, *given)
            answer = list(answer) if inspect.isgenerator(answer) else answer
        except gr.Error as refusal:
            assert "owner" in str(refusal) or "所有者" in str(refusal), name
        else:
            updates = answer if isinstance(answer, list) else [answer]
            assert updates and all(update == gr.skip() for update in updates), name
    store = Store(home.database)
    assert store.note("draft") is None and store.runs() == [] and store.jobs() == []
    assert list(home.uploads.iterdir()) == []


def test_what_is_private_is_shown_once_the_owner_says_so(home, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "Ada/studio")
    store = Store(home.database)
    draw = hidden_from_visitors("data", store, 2)(lambda: ["row 1", "row 2"])
    assert draw(None) == [gr.skip(), gr.skip()]
    show_topics(store, ["answers"])
    assert draw(None) == [gr.skip(), gr.skip()]
    show_topics(store, ["data"])
    assert draw(None) == ["row 1", "row 2"]
    show_topics(store, [])
    assert draw(None) == [gr.skip(), gr.skip()]
    monkeypatch.delenv("SPACE_ID")
    assert draw(None) == ["row 1", "row 2"]


def test_a_visitor_sees_a_failed_run_without_its_reason_log_and_answers(home, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "Ada/studio")
    store = Store(home.database)
    run_id, job_id = store.create_run("captain", recipe_from({}).to_dict(), "cpu")
    store.add_event("log", {"text": "reading /home/ada/secret.jsonl"}, run_id=run_id, job_id=job_id)
    store.add_event("sample", {"step": 1, "answers": [{"prompt": "secret", "answer": "secret"}]}, run_id=run_id)
    store.job_ended(job_id, "failed", {"text": "secret.jsonl is damaged", "values": {}})
    with gr.Blocks():
        page = Page(None, "en", DraftEditor(home, store), Feed(store))
        kept = CheckpointPanel(page)
    seen = str(train_tab.draw(page, kept, run_id, seen_by(None, store)))
    assert "captain" in seen and "secret" not in seen
    show_topics(store, ["logs"])
    assert "secret.jsonl" in str(train_tab.draw(page, kept, run_id, seen_by(None, store)))
    show_topics(store, [])


def test_the_page_itself_holds_nothing_of_the_owners_draft(tmp_path, monkeypatch):
    pretend_space(monkeypatch)
    home = Home(tmp_path)
    data = home.uploads / "secret-letters.jsonl"
    data.write_text('{"messages": [{"role": "user", "content": "secret question"}]}\n', encoding="utf-8")
    editor = DraftEditor(home, Store(home.database))
    editor.use(str(data))
    editor.change(name="secret plan")
    assert "secret" not in json.dumps(build(home).get_config_file(), default=str)
