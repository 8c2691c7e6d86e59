"""Nobody but our own page, under our own name, gets at anything (the attacks that FACTS.md lists)."""

import gradio as gr
import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from studio.home import REPOSITORY
from studio.store import Store
from studio.ui.guards import SameOrigin, SecurityHeaders, trusted_hosts
from studio.ui.launch import MAX_UPLOAD, PLOTLY, free_port, preferred
from studio.ui.live_plot import LivePlot
from studio.ui.metric_feed import Feed


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with gr.Blocks(analytics_enabled=False) as demo:
        LivePlot(Feed(Store(tmp_path_factory.mktemp("home") / "studio.sqlite3")))
        gr.File()
    return demo


@pytest.fixture(scope="module")
def address(serve, demo):
    return serve(demo)


@pytest.fixture(scope="module")
def question(demo):
    component = next(block for block in demo.blocks.values() if isinstance(block, LivePlot))
    return {"data": {"run": "x"}, "component_id": component._id, "fn_name": "more", "session_hash": "s"}


def test_the_page_and_its_own_requests_are_answered(address, question):
    own = {"Origin": address.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert httpx.get(address).status_code == 200
    answer = httpx.post(f"{address}gradio_api/component_server", json=question, headers=own)
    assert answer.json()["series"] == {}
    assert httpx.post(f"{address}gradio_api/upload", files={"files": b"x"}, headers=own).status_code == 200


@pytest.mark.parametrize("host", ["evil.com", "evil.com:7860", "127.0.0.1.evil.com", ""])
def test_a_foreign_host_is_refused(address, host):
    assert httpx.get(address, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=lambda headers: str(next(iter(headers.values()))),
)
@pytest.mark.parametrize("path", ["component_server", "upload", "queue/join", "run/predict"])
def test_what_another_site_posts_is_refused(address, question, path, headers):
    send = {"files": {"files": b"x"}} if path == "upload" else {"json": question}
    assert httpx.post(f"{address}gradio_api/{path}", headers=headers, **send).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        f"{REPOSITORY}/pyproject.toml",
        f"{REPOSITORY}/assets/ui/../../pyproject.toml",
        f"{REPOSITORY}/assets/ui/%2e%2e/%2e%2e/pyproject.toml",
        "..%2f..%2fpyproject.toml",
        "pyproject.toml",
        "app.py",
    ],
)
def test_files_outside_our_static_folder_are_not_served(address, path):
    assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.parametrize(
    "name, content",
    [
        ("page.html", b"<script>parent.attacked = true</script>"),
        ("picture.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>parent.attacked = true</script></svg>"),
        ("page.xhtml", b"<html xmlns='http://www.w3.org/1999/xhtml'><script>parent.attacked = true</script></html>"),
        ("rows.xml", b"<?xml-stylesheet href='x.xsl' type='text/xsl'?><a/>"),
        ("script.js", b"parent.attacked = true"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_upload_that_could_run_scripts_is_downloaded_rather_than_shown(address, name, content):
    own = {"Origin": address.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    uploaded = httpx.post(f"{address}gradio_api/upload", files={"files": (name, content)}, headers=own).json()[0]
    answer = httpx.get(f"{address}gradio_api/file={uploaded}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["", "zh", "config", "nothing", PLOTLY])
def test_every_answer_carries_the_policy(address, path):
    headers = httpx.get(address + path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'self'"
    assert policy["object-src"] == "'none'" and policy["base-uri"] == "'self'"
    assert not any("http" in sources or "*" in sources for sources in policy.values())


def test_a_refusal_carries_the_policy_too(address):
    assert "content-security-policy" in httpx.get(address, headers={"Host": "evil.com"}).headers


def test_on_a_space_the_hub_alone_may_frame_the_page(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "Ada/studio")
    client = TestClient(SecurityHeaders(Starlette()))
    policy = client.get("/").headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' https://huggingface.co https://*.hf.space")


@pytest.mark.parametrize("path", ["monitoring", "gradio_api/runs", "docs", "redoc"])
def test_what_we_do_not_use_is_off(address, path):
    answer = httpx.get(f"{address}{path}")
    assert answer.status_code >= 400 or "not enabled" in answer.text.lower() or "disabled" in answer.text.lower()


def test_uploads_are_bounded(demo, address):
    assert MAX_UPLOAD == "200mb" and demo.max_file_size == 200 * 1024**2


def test_nothing_is_remembered_and_nothing_shared(demo, address):
    assert demo.run_history is False and demo.share is False and demo.footer_links == ["settings"]
    assert address.startswith("http://127.0.0.1:")


def test_plotly_comes_out_of_the_installed_package_once(address):
    answer = httpx.get(address + PLOTLY)
    assert (
        answer.status_code == 200
        and "immutable" in answer.headers["cache-control"]
        and "plotly.js v" in answer.text[:200]
    )


def test_the_page_and_the_plots_answers_are_compressed(address):
    assert httpx.get(address).headers["content-encoding"] == "gzip"


def test_on_a_space_its_own_name_is_trusted(monkeypatch):
    monkeypatch.setenv("SPACE_HOST", "ada-studio.hf.space")
    monkeypatch.setenv("DELTA_STUDIO_HOSTS", "studio.example, ")
    assert trusted_hosts() == ["127.0.0.1", "localhost", "ada-studio.hf.space", "studio.example"]


def test_behind_a_proxy_the_public_name_counts_as_our_own(monkeypatch):
    app = SameOrigin(Starlette(), ["127.0.0.1", "localhost", "ada-studio.hf.space"])
    client = TestClient(app, base_url="http://127.0.0.1:7860")
    assert client.post("/", headers={"Origin": "https://ada-studio.hf.space"}).status_code == 404
    assert client.post("/", headers={"Origin": "https://evil.hf.space"}).status_code == 403
    assert client.post("/", headers={"Origin": "http://localhost:1"}).status_code == 403


def test_a_port_that_is_taken_is_passed_over(address):
    taken = int(address.rstrip("/").rpartition(":")[2])
    assert free_port(taken) > taken


@pytest.mark.parametrize(
    "header, language",
    [
        ("", "en"),
        ("en-US,en;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("de,zh;q=0.5,en;q=0.4", "zh"),
        ("zh;q=0", "en"),
        ("en;q=0.5,zh-TW", "zh"),
        ("de-DE", "en"),
        ("*;q=x,;;", "en"),
    ],
)
def test_the_language_that_a_browser_prefers(header, language):
    assert preferred(header) == language
