"""A form made from options: what Python makes of it, and what it does under a person's fingers."""

import json
from typing import Literal

import gradio as gr
import pytest

from studio.options import Options, option
from studio.ui.form import OptionForm, defaults, form_values, translated_fields
from studio.words import Sentence
from tests.ui.bare import bare_page


class Example(Options):
    rank: int = option(8, "Rank r", "Width of the added matrices.", ge=1, le=256, slider=True, group="Adapter")
    bias: Literal["none", "all"] = option(
        "none", "Biases", "Which biases.", labels={"all": "All of them"}, group="Adapter"
    )
    rate: float = option(2e-4, "Learning rate", "How far one step goes.", gt=0, unit="per step", group="Training")
    steps: int | None = option(None, "Steps", "Empty: by epochs.", ge=1, group="Training")
    packing: bool = option(True, "Packing", "Several examples a row.", group="Training")
    dropout: float = option(0.0, "Dropout", "Share that is dropped.", ge=0, le=0.9, advanced=True)
    targets: list[str] = option(["q_proj"], "Targets", "Layers.", advanced=True)
    secret: int = option(1, "Secret", "Set elsewhere.", hidden=True)


class Chosen(Options):
    one: str | None = option(None, "Subspace", "Which one.", adapters="PROMPT_TUNING")
    bank: list[str] = option([], "Bank", "Which ones.", adapters="BOTTLENECK")


class Other(Options):
    rank: int = option(4, "Rank r", "Width.", ge=1)
    note: str = option("", "Note", "<b>anything</b> ${1+1} {{value}}")


# ---- conversion -----------------------------------------------------------------------------------------------------


def test_the_defaults_make_the_options_with_their_defaults():
    made, wrong = form_values(defaults(Example), Example)
    assert made == Example() and wrong == {}


def test_what_was_typed_becomes_the_type_it_should_be():
    raw = {"rank": 16, "rate": 1e-5, "steps": None, "packing": False, "targets": "q_proj, v_proj,"}
    made, _ = form_values(raw, Example)
    assert (made.rank, made.rate, made.steps, made.packing, made.targets) == (
        16,
        1e-5,
        None,
        False,
        ["q_proj", "v_proj"],
    )


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("rank", 0, "Rank r must be at least 1, but is 0."),
        ("rank", 1.5, "Rank r must be a whole number, but is '1.5'."),
        ("rate", "0,5", "Learning rate must be a number, but is '0,5'."),
        ("rate", None, "Learning rate is missing."),
        ("rate", "  ", "Learning rate is missing."),
    ],
)
def test_a_wrong_value_is_a_sentence_at_its_field(key, value, text):
    made, wrong = form_values({key: value}, Example)
    assert made is None and {place: sentence.say() for place, sentence in wrong.items()} == {key: text}


def test_what_the_form_does_not_have_is_left_out():
    made, wrong = form_values({"rank": 4, "note": "left over", "secret": 99}, Example)
    assert wrong == {} and made.rank == 4 and made.secret == 1


def test_titles_are_said_in_the_language():
    assert {field["key"]: field["title"] for field in translated_fields(Example, "zh")}["rate"] == "学习率"


def test_an_update_for_other_options_brings_their_defaults():
    update = OptionForm(Example).show(Other, values={"note": "x"})["value"]
    assert update["values"] == {"rank": 4, "note": "x"} and update["errors"] == {}
    assert [field["key"] for field in update["fields"]] == ["rank", "note"]


def test_options_that_choose_from_the_library_offer_its_adapters():
    fields = {
        field["key"]: field
        for field in translated_fields(Chosen, adapters=lambda kind, made_with: {"id1": f"a {kind}"})
    }
    assert fields["one"]["kind"] == "choice" and fields["one"]["choices"] == [
        {"value": "id1", "label": "a PROMPT_TUNING"}
    ]
    assert fields["bank"]["kind"] == "several" and fields["bank"]["choices"] == [
        {"value": "id1", "label": "a BOTTLENECK"}
    ]
    made, wrong = form_values({"one": None, "bank": ["id1", "id2"]}, Chosen)
    assert wrong == {} and made == Chosen(bank=["id1", "id2"])


# ---- in the browser -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(serve):
    page = bare_page()
    with gr.Blocks(analytics_enabled=False) as demo:
        form = OptionForm(Example)
        times = gr.Textbox(elem_id="times")
        heard, preset, other, lock = (
            gr.Textbox(elem_id="heard"),
            gr.Button("preset"),
            gr.Button("other"),
            gr.Button("lock"),
        )

        def check(raw):
            return form.complain(form_values(raw, Example)[1]), json.dumps(raw)

        page.on(form.input, check, form, [form, heard])
        page.on(heard.change, lambda count: str(int(count or 0) + 1), times, times)
        page.on(preset.click, lambda: form.show(values=Example(rank=64, rate=0.5)), None, form)
        page.on(
            other.click,
            lambda: form.show(Other, errors={"": Sentence("Whole form."), "rank": Sentence("Oh.")}),
            None,
            form,
        )
        page.on(lock.click, lambda: form.show(locked=True), None, form)
    return serve(demo)


@pytest.fixture
def page(open_page, address):
    opened = open_page(address)
    opened.get_by_label("Learning rate").wait_for()
    return opened


def heard(page, text):
    page.wait_for_function("text => document.querySelector('#heard textarea').value.includes(text)", arg=text)


def error_at(page, key):
    return page.locator(f".of-field[data-key={key}] .of-error")


def test_typing_reaches_python_as_numbers_and_keeps_the_focus(page):
    field = page.get_by_label("Learning rate")
    field.fill("")
    field.press_sequentially("3e-5", delay=20)
    heard(page, '"rate": 3e-05')
    assert field.evaluate("node => node === document.activeElement")
    assert field.input_value() == "3e-5"


def test_a_wrong_value_shows_its_sentence_at_the_field_until_it_is_mended(page):
    field = page.get_by_label("Rank r")
    field.fill("1000")
    field.press("Enter")
    error = error_at(page, "rank")
    error.wait_for()
    assert error.inner_text() == "Rank r must be at most 256, but is 1000."
    assert field.get_attribute("aria-invalid") == "true"
    assert error.get_attribute("id") in field.get_attribute("aria-describedby")
    field.fill("12")
    error.wait_for(state="hidden")
    assert field.get_attribute("aria-invalid") is None


def test_an_answer_of_the_server_does_not_touch_the_field_that_is_being_typed_in(page):
    field = page.get_by_label("Learning rate")
    field.fill("0.01")
    page.get_by_role("button", name="preset").evaluate(
        "node => node.click()"
    )  # a click that leaves the focus where it is
    page.wait_for_function("() => document.querySelector('[data-key=rank] input.of-input').value === '64'")
    assert field.input_value() == "0.01"
    heard(page, '"rate": 0.01')


def test_what_the_server_shows_is_no_edit(page):
    page.get_by_role("button", name="preset").click()
    page.wait_for_function("() => document.querySelector('[data-key=rank] input.of-input').value === '64'")
    page.wait_for_timeout(700)
    assert page.locator("#times textarea").input_value() == ""
    page.get_by_label("Packing").uncheck()
    heard(page, '"rank": 64')
    page.wait_for_timeout(700)
    assert page.locator("#times textarea").input_value() == "1"


def test_switch_choice_slider_and_reset(page):
    page.get_by_label("Packing").uncheck()
    heard(page, '"packing": false')
    page.get_by_label("Biases").select_option("All of them")
    heard(page, '"bias": "all"')
    page.locator("[data-key=rank] input[type=range]").fill("32")
    heard(page, '"rank": 32')
    page.get_by_role("button", name="Back to the default: 8").click()
    heard(page, '"rank": 8')


def test_advanced_fields_are_folded_and_open_where_something_is_wrong(page):
    field = page.get_by_label("Dropout")
    assert not field.is_visible()
    page.get_by_text("Advanced (2)").click()
    field.fill("2")
    page.get_by_text("Advanced (2)").click()
    error_at(page, "dropout").wait_for()
    assert field.is_visible()


def test_everything_is_reached_by_the_keyboard_and_labelled(page):
    unlabelled = page.evaluate("""() => [...document.querySelectorAll('.option-form input, .option-form select')]
      .filter((node) => node.tabIndex >= 0 && !node.labels?.length).length""")
    assert unlabelled == 0
    page.get_by_label("Rank r").focus()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.closest('.of-field')?.dataset.key"))
    assert reached == ["bias", "rate", "steps", "packing"]


def test_other_options_replace_the_fields_and_text_is_never_markup(page):
    page.get_by_role("button", name="other").click()
    page.get_by_label("Note").wait_for()
    assert page.locator(".of-field").count() == 2
    assert page.locator("[data-key=note] .of-help").inner_text() == "<b>anything</b> ${1+1} {{value}}"
    assert page.locator(".of-whole").inner_text() == "Whole form."
    assert error_at(page, "rank").inner_text() == "Oh."
    assert page.get_by_label("Rank r").input_value() == "4"


def test_a_locked_form_shows_and_does_not_take(page):
    page.get_by_role("button", name="lock").click()
    page.wait_for_function("() => document.querySelector('[data-key=rate] input').disabled")
    assert page.get_by_label("Packing").is_disabled()


def test_adapters_of_the_library_are_ticked_and_a_lost_one_can_be_taken_off(serve, open_page):
    page = bare_page()
    with gr.Blocks(analytics_enabled=False) as demo:
        form = OptionForm(
            Chosen,
            value={"bank": ["lost"]},
            adapters=lambda kind, made_with: {"a": "First", "b": "Second"} if kind == "BOTTLENECK" else {},
        )
        heard_box = gr.Textbox(elem_id="heard")
        page.on(form.input, lambda raw: json.dumps(raw), form, heard_box)
    opened = open_page(serve(demo))
    opened.get_by_label("First").check()
    heard(opened, '"bank": ["a", "lost"]')
    opened.get_by_label("lost (not in the library any more)").uncheck()
    opened.get_by_label("Second").check()
    heard(opened, '"bank": ["a", "b"]')
    assert opened.locator("[data-key=one] .of-none").inner_text().startswith("The library has no adapter for this yet.")
    assert opened.get_by_label("Subspace").locator("option").all_inner_texts() == ["none chosen"]
