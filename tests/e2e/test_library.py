"""The Library as a workbench: a person finds, marks, compares, imports, continues and throws away adapters."""

import pytest

from studio.home import STARTER
from studio.library import adapter_store
from tests.conftest import Studio, until
from tests.e2e.pages import ready, tab
from tests.library.many import fill

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A studio whose library holds forty adapters, and one of the starter that is whole."""
    studio = Studio(tmp_path_factory.mktemp("home"))
    fill(studio.home, studio.store, 40)
    real_adapter(studio, tmp_path_factory.mktemp("made"))
    studio.open_window()
    yield studio
    studio.end()


def real_adapter(studio, folder) -> None:
    from studio.methods import METHODS
    from studio.models.load import load_base
    from studio.recipe import Recipe

    method = METHODS["lora"](rank=2, targets="q_proj")
    method.wrap(load_base(STARTER)).save_pretrained(folder)
    training = {"max_steps": 2, "evaluations": 0, "evaluation_rows": 0, "sample_prompts": 0, "max_length": 32}
    recipe = Recipe(method=method, training=training, data={"source": "captain", "max_rows": 16}).to_dict()
    card = {
        "kind": "adapter",
        "method": "lora",
        "summary": method.summary(),
        "artefact_type": "LORA",
        "base": "starter",
        "revision": None,
        "task": "chat",
        "recipe": recipe,
    }
    adapter_store.add(studio.home, studio.store, source=folder, name="First mate", run_id="mate", card=card)


def shows(page, selector: str, *words: str) -> None:
    page.wait_for_function(
        "([place, words]) => words.every(word => document.querySelector(place)?.innerText.includes(word))",
        arg=[selector, list(words)],
    )


def cards(page, count: int) -> None:
    page.wait_for_function("count => document.querySelectorAll('#adapters article').length === count", arg=count)


def search(page, words: str) -> None:
    page.fill("#library-search input, #library-search textarea", words)


def test_a_workbench_for_adapters(studio, open_page, tmp_path):
    page = open_page(studio.address)
    ready(page)
    tab(page, "Library")
    cards(page, 24)
    shows(page, "#adapters", "1 to 24 of 41 adapters")
    page.locator("#adapters [data-act=page]").last.click()
    cards(page, 17)

    find_and_annotate(page, studio)
    compare(page)
    path = take_home(page, tmp_path)
    bring_back(page, studio, path)
    go_on(page, studio)
    throw_away(page, studio)


def find_and_annotate(page, studio) -> None:
    search(page, "first mate")
    cards(page, 1)
    page.locator("#adapters [data-act=details]").click()
    page.fill("#library-notes textarea", "Speaks\nlike a sailor")
    page.fill("#new-tag input, #new-tag textarea", "keeper, sea")
    page.click("#save-details")
    shows(page, "#library-tags", "#keeper", "#sea")
    page.get_by_label("Remove the tag sea").click()
    until(lambda: studio.store.adapter("mate")["card"].get("tags") == ["keeper"], 20, "the tag stays")
    assert studio.store.adapter("mate")["card"]["notes"] == "Speaks\nlike a sailor"
    page.click("#close-details")
    search(page, "")
    cards(page, 24)
    page.locator("#adapters [data-item=keeper]").click()  # a tag is a filter
    cards(page, 1)
    page.click("#library-filters button")
    page.locator("#library-tag input").fill("")
    page.locator("#library-tag input").press("Enter")
    cards(page, 24)


def compare(page) -> None:
    search(page, "adapter-003")
    cards(page, 10)
    boxes = page.locator("#adapters input[data-pick]")
    boxes.nth(0).focus()
    page.keyboard.press("Space")
    boxes.nth(1).check()
    shows(page, "#library-bar", "2 adapters selected")
    page.locator("#library-bar [data-act=compare]").click()
    shows(page, "#compared-adapters", "What differs in their recipes", "Training loss", "Norm per layer")
    assert page.locator("#compared-adapters polyline").count() == 4  # two losses, two norms
    with page.expect_download() as taken:
        page.click("#compare-csv")
    assert taken.value.suggested_filename == "comparison.csv"
    page.click("#close-compare")
    page.locator("#library-bar [data-act=clear]").click()
    shows(page, "#library-bar", "Select adapters")
    assert page.locator("#adapters input[data-pick]:checked").count() == 0


def take_home(page, folder):
    search(page, "keeper")
    cards(page, 1)
    with page.expect_download() as taken:
        page.locator("#adapters [data-act=download]").click()
    path = folder / "Seafarer.zip"
    taken.value.save_as(path)
    return path


def bring_back(page, studio, path) -> None:
    page.click("#library-import button")
    page.fill("#import-place input, #import-place textarea", "/nowhere at all")
    page.click("#import-start")
    shows(page, "#import-state", "There is no folder")
    page.set_input_files("#import-file input[type=file]", str(path))
    shows(page, "#import-file", "Seafarer")
    page.click("#import-start")
    shows(page, "#import-state", "'Seafarer' is in the library now")
    search(page, "Seafarer")
    cards(page, 1)
    (row,) = [row for row in studio.store.adapters() if row["name"] == "Seafarer"]
    assert row["card"]["recipe"]["method"]["rank"] == 2 and row["card"]["imported_from"] == "Seafarer.zip"


def go_on(page, studio) -> None:
    page.locator("#adapters [data-act=continue]").click()
    shows(page, "#sentence", "It continues from Seafarer")
    tab(page, "Method")
    shows(page, "#about-model", "continues from the adapter 'Seafarer'")
    tab(page, "Train")
    page.click("#start")
    run = studio.wait_for_run("done", "failed", seconds=120)
    assert run["state"] == "done", run["reason"]
    child = studio.store.adapter(run["id"])["card"]
    assert child["parents"][0]["name"] == "Seafarer" and child["parents"][0]["relation"] == "continued"
    tab(page, "Library")
    shows(page, "#adapters", "Seafarer")
    page.locator("#adapters [data-act=details]").first.click()
    shows(page, "#library-about .lineage", "Made from it:")
    page.locator("#library-about .lineage [data-act=details]").click()
    shows(page, "#library-about .lineage", "Continued from Seafarer")
    page.click("#close-details")
    tab(page, "Method")
    page.locator("#about-model [data-act=start-anew]").click()
    page.wait_for_function("!document.querySelector('#sentence').innerText.includes('continues')")


def throw_away(page, studio) -> None:
    tab(page, "Library")
    search(page, "Adapter 12")
    cards(page, 1)
    page.locator("#adapters [data-act=delete]").click()
    shows(page, "#adapters", "No adapter fits")
    search(page, "")
    page.get_by_label("Show the trash").check()
    cards(page, 1)
    shows(page, "#adapters", "Deleted")
    page.locator("#adapters [data-act=restore]").click()
    shows(page, "#adapters", "The trash is empty")
    page.get_by_label("Show the trash").uncheck()
    search(page, "Adapter 12")
    cards(page, 1)
    page.locator("#adapters [data-act=delete]").click()
    shows(page, "#adapters", "No adapter fits")
    page.get_by_label("Show the trash").check()
    cards(page, 1)
    page.locator("#adapters [data-act=remove]").click()
    shows(page, "#adapters", "No adapter fits")
    assert studio.store.adapter("adapter-0012") is None
