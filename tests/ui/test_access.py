"""On a Space only its owner changes things, and Gradio really hands the profile over."""

import inspect

import gradio as gr
import pytest
from gradio.helpers import special_args
from gradio.oauth import OAuthProfile
from gradio.routes import App
from starlette.testclient import TestClient

from studio.ui.access import login_button, may_change, owner_only, require_owner
from tests.ui.bare import bare_page


def profile(name):
    return OAuthProfile({"name": name, "preferred_username": name, "profile": "", "picture": ""})


@pytest.fixture
def space(monkeypatch):
    for name, value in {"SPACE_ID": "Ada/studio", "SYSTEM": "spaces", "OAUTH_CLIENT_SECRET": "secret"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SPACE_AUTHOR_NAME", raising=False)


def test_at_home_whoever_opened_the_window_may(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert may_change(None)
    assert login_button() is None


def test_on_a_space_only_the_owner_is_allowed(space):
    assert may_change(profile("Ada")) and may_change(profile("ada"))
    assert not may_change(None)
    assert not may_change(profile("mallory"))
    with pytest.raises(gr.Error, match="所有者"):
        require_owner(None, "zh")


@pytest.mark.parametrize("missing", ["SYSTEM", "OAUTH_CLIENT_SECRET"])
def test_a_sign_in_that_proves_nothing_is_not_believed(space, monkeypatch, missing):
    monkeypatch.delenv(missing)
    assert not may_change(profile("Ada"))


class Asked:
    """A request of somebody who has signed in, as Gradio sees it."""

    def __init__(self, name):
        user = {"name": name, "preferred_username": name, "profile": "", "picture": ""}
        self.scope = {
            "type": "http",
            "session": {"oauth_info": {"userinfo": user, "access_token": "t", "scope": "", "expires_at": 9e12}},
        }


def rename(name: str, suffix: str = "!", request: gr.Request | None = None):
    return name + suffix


@pytest.mark.parametrize("given", [["adapter"], ["adapter", "!"]], ids=["default left out", "all given"])
def test_gradio_fills_the_profile_in(space, given):
    guarded = owner_only()(rename)
    inputs, *_ = special_args(guarded, list(given), Asked("Ada"))
    assert inputs[0].username == "Ada"
    assert guarded(*inputs) == "adapter!"
    inputs, *_ = special_args(guarded, list(given), Asked("mallory"))
    with pytest.raises(gr.Error):
        guarded(*inputs)


def test_a_handler_that_streams_stays_one(space):
    def stream(text: str):
        yield text

    with pytest.raises(gr.Error):
        list(owner_only()(stream)(None, "x"))
    assert list(owner_only()(stream)(profile("Ada"), "x")) == ["x"]
    assert inspect.isgeneratorfunction(bare_page().with_readable_errors(stream))


@pytest.fixture
def client():
    page, done = bare_page(), []
    with gr.Blocks(analytics_enabled=False) as demo:
        text, button = gr.Textbox(), gr.Button()

        def change(value: str):
            done.append(value)
            return value

        page.on(button.click, change, text, text, changes=True, api_name="change", api_visibility="public")
    return TestClient(App.create_app(demo)), done


def test_a_direct_api_call_by_a_visitor_is_refused(space, client):
    browser, done = client
    answer = browser.post("/gradio_api/run/change", json={"data": ["x"]})
    assert answer.status_code == 500 and done == []


def test_at_home_the_same_call_works(client, monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    browser, done = client
    assert browser.post("/gradio_api/run/change", json={"data": ["x"]}).json()["data"] == ["x"]
    assert done == ["x"]
