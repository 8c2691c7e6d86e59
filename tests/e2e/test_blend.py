"""With the mouse: two adapters blended with sliders, tried in Chat and saved; one converted to a lower rank, its
fidelity seen, and saved; what cannot be blended says why."""

import pytest

from studio.home import STARTER
from studio.library import adapter_store, lineage
from tests.conftest import until
from tests.e2e.pages import ask, open_studio, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ADAPTERS = {"one": "Sailor", "two": "Clerk", "dora": "Painter"}


@pytest.fixture(scope="module")
def page(studio, browser, tmp_path_factory):
    """The page of a studio whose library holds two small LoRA adapters of the starter and a DoRA."""
    from tests.merging.conftest import lora

    folder = tmp_path_factory.mktemp("adapters")
    for seed, (adapter, name) in enumerate(ADAPTERS.items()):
        lora(folder / adapter, STARTER, seed, deviation=0.09, use_dora=adapter == "dora", r=4)
        card = {"kind": "adapter", "method": "dora" if adapter == "dora" else "lora", "summary": "LoRA r=4",
                "artefact_type": "LORA", "base": "starter", "task": "chat", "data": "captain.jsonl",
                "rows": 4}  # fmt: skip
        adapter_store.add(studio.home, studio.store, source=folder / adapter, name=name, run_id=None, card=card,
                  adapter_id=adapter)  # fmt: skip
    page = open_studio(studio, browser)
    tab(page, "Library")
    page.wait_for_selector(".card.adapter")
    yield page
    page.close()


def open_panel(page, panel: str, *adapters: str) -> None:
    """Open a panel of the Library as its buttons do: by the text in its hidden component."""
    page.evaluate(
        """text => {
          const box = document.querySelector('#library-opened textarea, #library-opened input');
          box.value = text;
          box.dispatchEvent(new Event('input', { bubbles: true }));
        }""",
        f"{panel}:{','.join(adapters)}",
    )
    page.locator(f"#{panel}-panel").wait_for(state="visible")


def test_blend_with_sliders_try_it_in_chat_and_save_it(page, studio):
    open_panel(page, "blend", "one")
    page.get_by_text("Choose 2 to 8 adapters to blend.").wait_for()
    page.click("#blend-adapters input")
    page.get_by_role("option", name="Painter").click()
    page.get_by_text("“Painter” uses DoRA").wait_for()
    assert page.locator("#blend-start").is_disabled()
    page.click("#blend-adapters input")
    page.keyboard.press("Backspace")
    page.get_by_role("option", name="Clerk").click()
    page.get_by_text("Weight of “Clerk”").wait_for()
    page.wait_for_function("!document.querySelector('#blend-start').disabled")
    slider = page.locator("#blend-weight-1 input[type=range]")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)  # to about −1
    weight = float(page.locator("#blend-weight-1 input[type=number]").input_value())
    assert -1.3 < weight < -0.7
    page.click("#blend-method input")
    page.get_by_role("option", name="SVD", exact=True).click()
    page.get_by_text("The weighted sum, then the closest adapter").wait_for()
    page.locator("#blend-options input").first.fill("6")
    page.click("#blend-start")
    page.locator("#blend-made .preview").wait_for()
    (preview,) = studio.store.previews()
    assert preview["card"]["made"]["method"] == {"name": "svd", "rank": 6}
    assert preview["card"]["parents"][1]["weight"] == weight and preview["id"] not in page.inner_text("#adapters")
    assert "Error of the weight changes" in page.inner_text("#blend-made")

    page.locator("#blend-made").get_by_role("button", name="Try it in Chat").click()
    page.wait_for_function(
        "name => [...document.querySelectorAll('#chat-models .token, #chat-models [class*=token]')]"
        ".some(node => node.innerText.includes(name))",
        arg=preview["name"][:12],
    )
    tried = ask(page, "Hello")
    assert len(tried) == 2 and tried[0] != tried[1]

    tab(page, "Library")
    page.fill("#blend-name input, #blend-name textarea", "Sailor, not clerk")
    page.locator("#blend-made").get_by_role("button", name="Save to the library").click()
    page.get_by_role("heading", name="Sailor, not clerk").wait_for()
    assert studio.store.previews() == []
    saved = studio.store.adapters()[0]
    assert saved["name"] == "Sailor, not clerk"
    tab(page, "Chat")
    # the preview is gone from the choice, and the newest adapter has taken its place
    page.wait_for_function("document.querySelector('#chat-models').innerText.includes('Sailor, not clerk')")
    assert ask(page, "Hello")[-1] == tried[-1]


def test_convert_to_a_lower_rank_sees_the_fidelity_first(page, studio):
    tab(page, "Library")
    open_panel(page, "convert", "one")
    page.locator("#convert-options input").first.fill("2")
    page.click("#convert-start")
    page.locator("#convert-made .preview").wait_for()
    text = page.inner_text("#convert-made")
    assert "not saved yet" in text and "Same answers" in text and "8 fixed questions" in text
    page.locator("#convert-made summary").click()
    assert page.locator("#convert-made .layer-errors li").count() == 10
    before = len(studio.store.adapters())
    page.locator("#convert-made").get_by_role("button", name="Save to the library").click()
    until(lambda: len(studio.store.adapters()) == before + 1, 30, "it was not saved")
    card = studio.store.adapters()[0]["card"]
    assert card["parents"] == [{"id": "one", "name": "Sailor", "relation": "converted"}]
    assert {rank for _, rank, _ in card["made"]["layers"]} == {2}


def test_switch_the_task_of_a_merged_model(page, studio):
    job = studio.store.queue_job("export", {"adapter": "one", "target": "merged"})
    until(lambda: studio.store.job(job)["state"] in ("done", "failed"), 120, "the merge goes on")
    assert studio.store.job(job)["state"] == "done", studio.store.job(job)["reason"]
    model = studio.store.job(job)["result"]["adapter"]
    open_panel(page, "switch", model)
    page.click("#switch-adapter input")
    page.get_by_role("option", name="Clerk · LoRA r=4", exact=True).click()
    page.click("#switch-start")
    page.get_by_text("are those of a fresh merge, bit for bit").wait_for()
    assert lineage.merged_adapter(studio.store.adapter(model)["card"]) == "two"
    page.wait_for_function("document.querySelector('#switch-about').innerText.includes('Clerk')")
