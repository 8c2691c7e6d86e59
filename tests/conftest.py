"""One browser for all tests, pages that fail their test when a script of theirs fails, and a whole studio as a person
starts it."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from studio.home import Home
from studio.store import Store
from tests import sampling

REPOSITORY = Path(__file__).resolve().parent.parent
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PATIENCE = 120_000
"""Milliseconds that a test waits for what a page will show: how long a failure takes, not how fast the page must be, so
that other work on the machine fails no test."""


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run every case of the long sweeps, not only CI's sample")


def pytest_configure(config):
    sampling.full = config.getoption("--full")


def pytest_collection_modifyitems(config, items):
    """Without --full, what is marked `full` is left out, unless it was asked for by its id."""
    if config.getoption("--full"):
        return
    asked = [argument for argument in config.args if "::" in argument]
    left = [item for item in items if item.get_closest_marker("full") and not any(a in item.nodeid for a in asked)]
    items[:] = [item for item in items if item not in set(left)]
    config.hook.pytest_deselected(items=left)


def pytest_collection_finish(session):
    """Garbage collections leave out what the imports made: each run of Trainer asks for one, and a million objects
    take it half a second."""
    gc.collect()
    gc.freeze()


def pytest_xdist_auto_num_workers(config):
    """One test on each core where most of the suite runs; one at a time elsewhere: the browser's stories look at the
    clock, and of few tests the start counts."""
    if config.option.markexpr != "not e2e" and {Path(path).name for path in config.args} != {"methods"}:
        return 0
    # Processes that share cores and wait for each other's threads take twenty times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return min(4, len(os.sched_getaffinity(0)))


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium through Playwright."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "chromium is missing: apt-get install chromium (tests/run does that)"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """open_page(address, locale=…) → a page in a context of its own. Errors in its scripts fail the test at the end."""
    contexts, errors = [], []

    def opened(address, **context):
        contexts.append(
            browser.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 900}} | context)
        )
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def store(home):
    return Store(home.database)


@pytest.fixture(scope="session")
def serve():
    """serve(demo) → its address, launched by `studio.ui.launch` on a port of its own; closed at the end of the
    session."""
    from studio.ui.launch import launch

    served = []

    def address(demo):
        served.append(demo)
        return launch(demo, port=free_port(), block=False)

    yield address
    for demo in served:
        demo.close(verbose=False)


class Studio:
    """`python app.py` in a process of its own, over a home of its own."""

    def __init__(self, folder: Path):
        self.home = Home(folder)
        self.store = Store(self.home.database)
        self.window: subprocess.Popen | None = None

    def open_window(self, **environment) -> float:
        """Start the window; returns the seconds until it served the page."""
        began = time.monotonic()
        self.start_window(**environment)
        self.wait_for_window()
        return time.monotonic() - began

    def start_window(self, **environment) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}/"
        log = open(self.home.logs / "window.log", "ab")  # noqa: SIM115
        command = [sys.executable, "app.py", "--home", str(self.home.root), "--port", str(port)]
        self.window = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | environment, stdout=log, stderr=log)

    def wait_for_window(self) -> None:
        until(lambda: self.window.poll() is not None or _answers(self.address), 90, "the window does not answer")
        assert self.window.poll() is None, (self.home.logs / "window.log").read_text()[-2000:]

    def kill_window(self, sign: int = signal.SIGKILL) -> None:
        self.window.send_signal(sign)
        self.window.wait(20)

    def processes(self) -> list[psutil.Process]:
        """Every living process that works for this home."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            line = process.info["cmdline"] or []
            if str(self.home.root) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def supervisor(self) -> psutil.Process | None:
        return next((process for process in self.processes() if "studio.jobs.supervisor" in process.cmdline()), None)

    def wait_for_standby(self, seconds: float = 120) -> None:
        until(lambda: (self.store.note("standby") or {}).get("ready"), seconds, "no warm standby")

    def wait_for_run(self, *states: str, seconds: float = 240) -> dict:
        until(
            lambda: (run := self.store.latest_run()) and run["state"] in states,
            seconds,
            f"the run does not become {states}",
        )
        return self.store.latest_run()

    def end(self) -> None:
        for process in self.processes():
            process.kill()
        if self.window and self.window.poll() is None:
            self.window.kill()
            self.window.wait(20)


def until(condition, seconds: float, complaint: str):
    """The first true answer of `condition`, asked every 50 ms."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{complaint} (after {seconds} s)")


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def next_studio():
    """A list that holds the studio which was started ahead for the next file, if there is one."""
    ahead: list[Studio] = []
    yield ahead
    for made in ahead:
        made.end()


@pytest.fixture(scope="module")
def studio(request, tmp_path_factory, next_studio):
    """A studio with its window open, shared by the tests of a file. That of the next file starts meanwhile: it takes
    ten seconds."""

    def started() -> Studio:
        made = Studio(tmp_path_factory.mktemp("home"))
        made.start_window()
        return made

    made = next_studio.pop() if next_studio else started()
    made.wait_for_window()
    later = dict.fromkeys(item.path for item in request.session.items if "studio" in getattr(item, "fixturenames", ()))
    if request.path in later and list(later)[-1] != request.path:
        next_studio.append(started())
    yield made
    made.end()


@pytest.fixture
def new_studio(tmp_path):
    """A studio of the test's own, window not yet open."""
    made = Studio(tmp_path / "home")
    yield made
    made.end()
