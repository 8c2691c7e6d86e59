"""Take the screenshots in the README: a real run in a temporary home folder, driven in a browser.

    python assets/pictures/make.py [FOLDER]      # needs tests/requirements.txt and Debian's chromium; about a minute

    train.png   the Train tab after a run on the example `captain`: progress, results, all curves
    chat.png    the Chat tab: answers of the base model (the starter) and of the fine-tuned one side by side

Waits for conditions on the page instead of fixed times; each wait has a timeout, after which the script fails. Light
theme, English, 1280 pixels wide; the curves of speed and memory depend on the machine. Independent of how the studio is
implemented.
"""

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
from tests.conftest import CHROMIUM, Studio, until  # noqa: E402
from tests.e2e.pages import ready, shown_steps, status, tab  # noqa: E402

WIDTH, HEIGHT, MARGIN = 1280, 900, 72  # pixels; MARGIN: the status bar below
LARGEST = 300_000  # maximum bytes of one picture
LOOK = {
    "viewport": {"width": WIDTH, "height": HEIGHT},
    "color_scheme": "light",
    "locale": "en-US",
    "timezone_id": "UTC",
    "reduced_motion": "reduce",
}
# Validation questions that the starter itself answers correctly. The answers in the screenshot are printed: check them
# before you commit the pictures.
QUESTIONS = ["What does a wolf do?", "Which month comes after July?"]


def teach(page: Page, studio: Studio) -> None:
    """Fine-tune on the example `captain`, from its button on the Data tab to the end of the run."""
    page.locator("[data-act=example][data-item=captain]").click()
    page.wait_for_function(
        "document.querySelector('#sentence').innerText.includes('captain.jsonl (400 examples) with LoRA r=8')",
        timeout=60_000,
    )
    tab(page, "Train")
    page.click("#start")
    run = studio.wait_for_run("done", "failed", "stopped", seconds=600)
    assert run["state"] == "done", run["reason"]
    status(page, "Done")
    until_painted(page, run["step"])


def until_painted(page: Page, steps: int) -> None:
    """Wait until every chart is drawn and the loss chart shows all `steps`."""
    charts = page.locator("#plots .js-plotly-plot").count()
    until(lambda: shown_steps(page) == steps, 60, f"the loss chart does not hold {steps} steps")
    page.wait_for_function(
        "count => document.querySelectorAll('#plots .js-plotly-plot .scatterlayer .trace').length >= count",
        arg=charts,
        timeout=20_000,
    )


def talk(page: Page, questions: list[str]) -> None:
    """Ask the base and the fine-tuned model each question; asserts that only the latter answers "Arr …"."""
    tab(page, "Chat")
    page.wait_for_function(f"() => {{ {_COLUMNS} return columns.length === 2; }}", timeout=20_000)
    for at, question in enumerate(questions):
        page.fill("#message textarea", question)
        page.click("#send")
        page.wait_for_function(_ANSWERED, arg=at + 1, timeout=120_000, polling=100)
        base, fine_tuned = page.evaluate(f"() => {{ {_COLUMNS} return columns.map(column => column.at(-1)); }}")
        print(f"{question}\n  base: {base}\n  fine-tuned: {fine_tuned}")
        assert fine_tuned.startswith("Arr") and not base.startswith("Arr"), "the difference cannot be seen"


# JavaScript: the texts of the answers in each visible column.
_COLUMNS = (
    "const columns = [...document.querySelectorAll('#chat-0, #chat-1, #chat-2')].filter(node => node.offsetParent)\n"
    "  .map(node => [...node.querySelectorAll('[data-testid=bot]')].map(item => item.innerText.trim()));"
)
# JavaScript: whether every column has `count` answers and no answer has changed for one second.
_ANSWERED = f"""count => {{
  {_COLUMNS}
  const now = JSON.stringify(columns), whole = columns.every(column => column.length === count && column.at(-1));
  if (window.seenAnswers !== now) [window.seenAnswers, window.seenAnswersAt] = [now, Date.now()];
  return whole && Date.now() - window.seenAnswersAt > 1000;
}}"""


def picture(page: Page, path: Path, last: str) -> None:
    """Save a screenshot of the page, from its top to the bottom of the element `last` (a CSS selector), to `path`.

    Neither the focus ring nor a hover effect is visible on it.
    """
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)")
    page.wait_for_function("window.scrollY === 0 && document.fonts.status === 'loaded'")
    end = page.evaluate("last => document.querySelector(last).getBoundingClientRect().bottom", last)
    page.set_viewport_size({"width": WIDTH, "height": round(end) + MARGIN})
    shot = page.screenshot(animations="disabled", caret="hide")
    page.set_viewport_size(LOOK["viewport"])
    path.write_bytes(small(shot))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def small(shot: bytes) -> bytes:
    """Re-encode a PNG without its alpha channel in at most LARGEST bytes; raises SystemExit if that is impossible.

    Uses a palette of 256 colours only where RGB is too large, because a palette shifts pale colours.
    """
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    for form in (image, image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)):
        made = io.BytesIO()
        form.save(made, "PNG", optimize=True)
        if made.tell() <= LARGEST:
            return made.getvalue()
    raise SystemExit(f"a picture of {image.size} does not fit into {LARGEST} bytes; take a smaller part of the page")


def take(studio: Studio, folder: Path) -> None:
    """Save both pictures in `folder`, from a running studio."""
    studio.wait_for_standby()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_context(**LOOK).new_page()
        page.goto(studio.address)
        ready(page)
        teach(page, studio)
        picture(page, folder / "train.png", "#plots")
        talk(page, QUESTIONS)
        picture(page, folder / "chat.png", "#chat-new")
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=HERE, help="where the pictures go (default: beside this script)"
    )
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-", ignore_cleanup_errors=True) as home:
        studio = Studio(Path(home))
        try:
            studio.open_window()
            take(studio, folder)
        finally:
            studio.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
