"""Compose the contact sheets of docs/pages.md from the screenshots that `screens.py` took.

    python assets/pictures/sheets.py SCREENSHOTS [--before OLD] [--only first …]

SCREENSHOTS and OLD: folders of `screens.py`, OLD with those of a checkout from before the redesign. Writes
assets/pictures/sheets/*.webp, each of at most 250 kB. A screenshot is shown from the top of the page, scaled and cut.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SHEETS = Path(__file__).resolve().parent / "sheets"
LARGEST = 250_000  # maximum bytes of one sheet
GAP, TITLE = 16, 34  # pixels between screenshots, and of the line above each
SCALED = {1280: 600, 768: 420, 390: 300}  # width of a screenshot → its width on the sheet
PAPER, INK = (232, 234, 238), (30, 34, 42)
TABS = ["data", "method", "hyperparameters", "train", "chat", "library"]


@dataclass(frozen=True)
class Shot:
    """One screenshot: `state`-`tab`-`theme`-`width`.jpg in the folder of today or of `before`."""

    state: str
    tab: str
    theme: str = "light"
    width: int = 1280
    before: bool = False

    @property
    def title(self) -> str:
        then = "before: " if self.before else ""
        return f"{then}{self.state} · {self.tab} · {self.theme} · {self.width} px"


def row(state: str, tabs: list[str], theme: str = "light", width: int = 1280, before: bool = False) -> list[Shot]:
    return [Shot(state, tab, theme, width, before) for tab in tabs]


def both(state: str, tabs: list[str], width: int) -> list[list[Shot]]:
    """A row in light and a row in dark."""
    return [row(state, tabs, theme, width) for theme in ("light", "dark")]


_TASKS = ["captain", "extract", "letters", "leaves", "notes", "preferences", "tickets"]
# Name of the sheet → its rows, and the height in pixels after which a screenshot is cut.
CONTENTS: dict[str, tuple[list[list[Shot]], int]] = {
    "before-after": ([row("done", TABS, before=True), row("done", TABS)], 900),
    "first-1280": (both("first", TABS, 1280), 800),
    "done-1280": (both("done", TABS, 1280), 900),
    "first-390": (both("first", TABS, 390), 1100),
    "done-390": (both("done", TABS, 390), 1100),
    "done-768": (both("done", TABS, 768), 900),
    "running-failed": (
        [
            [Shot(state, tab, theme, width) for state, tab in _RUNS for width in (1280, 390)]
            for theme in ("light", "dark")
            for _RUNS in [(("running", "train"), ("running", "data"), ("failed", "train"))]
        ],
        900,
    ),
    "tasks-1280": ([[Shot(f"task-{name}", tab) for name in _TASKS] for tab in ("data", "chat")], 700),
    "tasks-390": ([[Shot(f"task-{name}", tab, "dark", 390) for name in _TASKS] for tab in ("data", "chat")], 900),
    "chinese-1280": ([row("chinese", TABS[:3]), row("chinese", TABS[3:], "dark")], 800),
    "chinese-390": ([row("chinese", TABS, width=390)], 1100),
}


def sheet(rows: list[list[Shot]], most: int, now: Path, before: Path | None) -> Image.Image:
    """One picture with all `rows` of screenshots under their titles; `most` pixels of each are shown at most."""
    font = ImageFont.load_default(18)
    drawn = [[(shot, _scaled(shot, most, before if shot.before else now)) for shot in each] for each in rows]
    width = max(sum(image.width + GAP for _, image in each) for each in drawn) + GAP
    heights = [TITLE + max(image.height for _, image in each) + GAP for each in drawn]
    paper = Image.new("RGB", (width, sum(heights) + GAP), PAPER)
    pen, top = ImageDraw.Draw(paper), GAP
    for each, height in zip(drawn, heights, strict=True):
        left = GAP
        for shot, image in each:
            pen.text((left, top), _fitting(shot.title, font, image.width), INK, font)
            paper.paste(image, (left, top + TITLE - 8))
            left += image.width + GAP
        top += height
    return paper


def _scaled(shot: Shot, most: int, folder: Path) -> Image.Image:
    image = Image.open(folder / f"{shot.state}-{shot.tab}-{shot.theme}-{shot.width}.jpg").convert("RGB")
    width = SCALED[shot.width]
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    return image.crop((0, 0, width, min(image.height, most)))


def _fitting(title: str, font, width: int) -> str:
    """`title` without its last parts where it is wider than `width` pixels."""
    while font.getlength(title) > width and " · " in title:
        title = title.rpartition(" · ")[0]
    return title


def encoded(image: Image.Image) -> bytes:
    """`image` as WebP in at most LARGEST bytes: at a lower quality, then smaller, if need be."""
    while True:
        for quality in (80, 70, 60, 50, 40):
            made = io.BytesIO()
            image.save(made, "WEBP", quality=quality, method=6)
            if made.tell() <= LARGEST:
                return made.getvalue()
        image = image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("now", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CONTENTS), choices=CONTENTS)
    asked = parser.parse_args()
    SHEETS.mkdir(exist_ok=True)
    for name in asked.only:
        rows, most = CONTENTS[name]
        if asked.before is None and any(shot.before for each in rows for shot in each):
            continue
        path = SHEETS / f"{name}.webp"
        path.write_bytes(encoded(sheet(rows, most, asked.now, asked.before)))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
