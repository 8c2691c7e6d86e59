"""A newcomer who knows only the visible words: from the first look to a downloaded adapter, in few clicks.

Nothing here uses an id or a class of the page. Bounds: 12 clicks for a file of one's own, 3 for an example.
"""

import json
import zipfile

import pytest

from tests.conftest import until
from tests.e2e.pages import train_with

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Newcomer:
    """Clicks on what can be read on the page, and counts the clicks."""

    def __init__(self, page):
        self.page, self.clicks = page, 0

    def click(self, words: str, role: str = "button"):
        found = self.page.get_by_role(role, name=words).filter(visible=True).first
        found.wait_for()
        found.click()
        self.clicks += 1

    def modality(self, words: str, seconds: float = 60):
        self.page.get_by_text(words).filter(visible=True).first.wait_for(timeout=seconds * 1000)

    def download(self, words: str, path):
        found = self.page.get_by_role("link", name=words).or_(self.page.get_by_role("button", name=words))
        found = found.filter(visible=True).first
        found.wait_for()
        with self.page.expect_download() as waiting:
            found.click()
        self.clicks += 1
        waiting.value.save_as(path)


def holds_an_adapter(path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("adapter_model.safetensors") for name in archive.namelist())


@pytest.fixture
def newcomer(new_studio, open_page):
    new_studio.open_window()
    new_studio.wait_for_standby()
    made = Newcomer(open_page(new_studio.address))
    made.studio = new_studio
    made.modality("Teach")
    return made


def test_an_example_in_three_clicks(newcomer, tmp_path):
    """The example is chosen already: Train, Start; then the adapter can be taken home from the same place. What a whole
    run of it learns, and how soon, says test_story.py."""
    train_with(newcomer.studio, max_steps=20, evaluations=1, evaluation_rows=4)
    newcomer.click("Train", role="tab")
    newcomer.click("Start")
    newcomer.modality("Done", seconds=240)
    newcomer.download("Download adapter", tmp_path / "adapter.zip")
    assert newcomer.clicks <= 3 and holds_an_adapter(tmp_path / "adapter.zip")


def test_a_file_of_ones_own_in_twelve_clicks(newcomer, tmp_path):
    rows = [{"prompt": f"What is {a} plus {b}?", "completion": f"It is {a + b}."} for a in range(6) for b in range(8)]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with newcomer.page.expect_file_chooser() as chooser:
        newcomer.click("Click to upload or drop files")
    chooser.value.set_files(path)
    newcomer.modality("sums.jsonl")
    until(lambda: "sums.jsonl" in json.dumps(newcomer.studio.store.note("draft") or {}), 30, "the file is not chosen")
    for step in ("Next: Method", "Next: Hyperparameters"):
        newcomer.click(step)
    newcomer.click("Fast look")
    newcomer.click("Next: Train")
    newcomer.click("Start")
    newcomer.modality("Done", seconds=240)
    newcomer.click("Try it in Chat")
    newcomer.page.get_by_placeholder("What would you like to ask?").fill("What is 2 plus 3?")
    newcomer.click("Send")
    newcomer.click("Train", role="tab")
    newcomer.download("Download adapter", tmp_path / "adapter.zip")
    assert newcomer.clicks <= 12 and holds_an_adapter(tmp_path / "adapter.zip")
