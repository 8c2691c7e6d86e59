"""Take screenshots of the tabs in every state, for visual review: light and dark, 1280, 768 and 390 pixels wide.

    python assets/pictures/screens.py FOLDER [--states first tasks …] [--themes light dark] [--widths 1280 768 390]
        [--code CHECKOUT]

Needs tests/requirements.txt and Debian's chromium; about ten minutes for all states. Writes to FOLDER one file
<state>-<tab>-<theme>-<width>.jpg per screenshot, the page from top to bottom (at most 6000 pixels), and index.html,
which shows them side by side; `sheets.py` composes the contact sheets of docs/pages.md from them. Drives a real studio
in a temporary home folder; a failed run is produced by killing its worker. --code: the checkout whose studio is shown,
by default this one; an older one shows the page of before, in the states that it has (`first`, `tasks`, `running`,
`done`).
"""

import argparse
import html
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).resolve().parent
CODE = Path(sys.argv[sys.argv.index("--code") + 1]).resolve() if "--code" in sys.argv else HERE.parent.parent
sys.path.insert(0, str(CODE))
from studio.presets import presets  # noqa: E402
from tests.conftest import CHROMIUM, Studio, until  # noqa: E402
from tests.e2e.pages import ask, choose_example, ready, start, tab, train_with  # noqa: E402

TABS = ["Data", "Method", "Hyperparameters", "Train", "Chat", "Library"]
WIDTHS = [1280, 768, 390]
HEIGHT = 900
_TALLEST = 6000  # maximum height of a screenshot in pixels
# JavaScript: whether the page's height has not changed for 700 ms: a chart may be drawn late, or again in a new width.
_SETTLED = """() => {
  const now = document.documentElement.scrollHeight;
  if (window.lastHeight !== now) [window.lastHeight, window.lastHeightAt] = [now, Date.now()];
  return Date.now() - window.lastHeightAt > 700;
}"""


class Camera:
    """One browser page per theme; takes screenshots of a tab in all themes and widths."""

    def __init__(
        self,
        browser: Browser,
        studio: Studio,
        folder: Path,
        themes: list[str],
        widths: list[int],
        translated: dict[str, str] | None = None,
    ):
        """translated: English name of a tab → its name on the page, for a page in Chinese; None for English."""
        self.browser, self.studio, self.folder, self.widths = browser, studio, folder, widths
        self.translated = translated or {}
        self.pages = {
            theme: browser.new_context(
                viewport={"width": WIDTHS[0], "height": HEIGHT},
                color_scheme=theme,
                locale="zh-CN" if translated else "en-US",
                reduced_motion="reduce",
            ).new_page()
            for theme in themes
        }

    def chinese(self) -> "Camera":
        """A camera whose pages are in Chinese."""
        from studio.words import translations

        themes = list(self.pages)
        return Camera(self.browser, self.studio, self.folder, themes, self.widths, translations("zh"))

    @property
    def page(self) -> Page:
        return next(iter(self.pages.values()))

    def open(self) -> Page:
        """Load the page again in every theme; returns the page of the first theme."""
        for page in self.pages.values():
            page.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
            page.goto(self.studio.address)
            if self.translated:
                page.wait_for_function("document.querySelector('#sentence')?.innerText.trim()", timeout=60_000)
            else:
                ready(page)
        return self.page

    def take(self, state: str, *tabs: str) -> None:
        """Save a screenshot of each of `tabs` in every theme and width; `state` is part of the file names."""
        for theme, page in self.pages.items():
            for name in tabs:
                for width in self.widths:
                    page.set_viewport_size({"width": width, "height": HEIGHT})
                    tab(page, self.translated.get(name, name))
                    page.wait_for_function(_SETTLED, timeout=20_000, polling=100)
                    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    tall = min(page.evaluate("document.documentElement.scrollHeight"), _TALLEST)
                    if name != "Chat":  # whose columns are as high as the window
                        page.set_viewport_size({"width": width, "height": max(HEIGHT, tall)})
                    page.evaluate("window.scrollTo(0, 0)")
                    path = self.folder / f"{state}-{name.lower()}-{theme}-{width}.jpg"
                    page.screenshot(path=path, type="jpeg", quality=70, animations="disabled", caret="hide")
                    print(path.name, f"{wide} pixels wider than the window" if wide > 0 else "", flush=True)


def first(camera: Camera) -> None:
    """All tabs of a new studio: no data chosen, no run yet."""
    camera.open()
    camera.take("first", *TABS)


def tasks(camera: Camera) -> None:
    """Each example, one of each task: the tabs Data and Chat."""
    for item in presets("sample"):
        page = camera.open()
        tab(page, "Data")
        choose_example(page, item.name, Path(item.values["data"]["source"]).name)
        camera.open()
        camera.take(f"task-{item.name}", "Data", "Chat")


def running_and_failed(camera: Camera) -> None:
    """A run in progress, then the same run as failed, after its worker was killed."""
    studio, page = camera.studio, camera.open()
    choose_example(page, "captain", "captain.jsonl")
    train_with(studio, epochs=60)
    page = camera.open()
    tab(page, "Train")
    start(page, studio)
    until(lambda: (studio.store.latest_run()["step"] or 0) > 60, 240, "the run does not go on")
    camera.open()
    camera.take("running", "Train", "Data")
    run = studio.store.latest_run()
    psutil.Process(studio.store.job(run["job_id"])["pid"]).send_signal(signal.SIGKILL)
    studio.wait_for_run("failed")
    camera.open()
    camera.take("failed", "Train")


def done(camera: Camera) -> None:
    """A finished run: its results, its adapter in the library and a chat with it."""
    studio, page = camera.studio, camera.open()
    choose_example(page, "captain", "captain.jsonl")
    train_with(studio, epochs=6)
    page = camera.open()
    tab(page, "Train")
    start(page, studio)
    studio.wait_for_run("done", seconds=600)
    camera.open()
    camera.take("done", *TABS[:4], "Library")
    for page in camera.pages.values():
        tab(page, "Chat")
        ask(page, "What does a wolf do?")
    camera.take("done", "Chat")


def chinese(camera: Camera) -> None:
    """All tabs in Chinese, with an example chosen."""
    page = camera.open()
    tab(page, "Data")
    choose_example(page, "captain", "captain.jsonl")
    camera = camera.chinese()
    camera.open()
    camera.take("chinese", *TABS)


STATES = {"first": first, "tasks": tasks, "running": running_and_failed, "done": done, "chinese": chinese}


def index(folder: Path) -> str:
    """HTML of a page that shows all screenshots in `folder`, those of the same state and tab under one heading."""
    rows: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.jpg")):
        rows.setdefault("-".join(path.stem.split("-")[:-2]), []).append(path.name)
    parts = [
        f"<h2>{html.escape(title)}</h2>" + "".join(f'<img loading="lazy" src="{html.escape(name)}">' for name in names)
        for title, names in rows.items()
    ]
    look = "<style>img { height: 420px; margin: 4px; border: 1px solid #999; vertical-align: top }</style>"
    return f"<!doctype html><meta charset=utf-8><title>Delta Studio, every state</title>{look}{''.join(parts)}"


def studios(folder: Path) -> Iterator[Studio]:
    """Yield one running studio with its home in `folder`; it is stopped afterwards."""
    studio = Studio(folder)
    studio.open_window()
    try:
        yield studio
    finally:
        studio.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--states", nargs="*", default=list(STATES), choices=STATES)
    parser.add_argument("--themes", nargs="*", default=["light", "dark"], choices=["light", "dark"])
    parser.add_argument("--widths", nargs="*", type=int, default=WIDTHS)
    parser.add_argument("--code", type=Path, default=CODE)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        for studio in studios(Path(home) / "home"):
            camera = Camera(browser, studio, asked.folder, asked.themes, asked.widths)
            for state in asked.states:
                STATES[state](camera)
        browser.close()
    (asked.folder / "index.html").write_text(index(asked.folder), encoding="utf-8")


if __name__ == "__main__":
    main()
