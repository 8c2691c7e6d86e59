"""The Method tab's pieces: small enough, complete, and right about what cannot be used."""

import time

import pytest

from studio.draft import DraftEditor
from studio.methods import METHODS
from studio.methods.capabilities import CAPABILITIES
from studio.ui import method_cards
from studio.ui.method_tab import adapters, chosen_html, pair_with
from tests.models.model_folders import tokenizer_folder


class FakePage:
    """As much of a page as the pieces need."""

    def __init__(self, editor, language="en"):
        from studio.words import translate

        self.editor, self.language = editor, language
        self.t = lambda text, /, **values: translate(text, language, **values)
        self.say = lambda sentence: sentence.say(language)


@pytest.fixture
def editor(tmp_path):
    from studio.home import Home
    from studio.store import Store

    home = Home(tmp_path / "home")
    return DraftEditor(home, Store(home.database))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_cards_are_drawn_soon_and_stay_small(editor, language):
    page = FakePage(editor, language)
    preflight, draft = editor.preflight(), editor.draft()
    html = method_cards.cards_html(page, preflight, draft, "", "")
    began = time.process_time()
    method_cards.cards_html(page, preflight, draft, "", "")
    seconds = time.process_time() - began
    print(f"{len(METHODS)} cards: {len(html) / 1000:.0f} kB, {1000 * seconds:.0f} ms")
    assert html.count("<article") == len(METHODS)
    assert len(html.encode()) < 5000 * len(METHODS) and seconds < 0.02 * len(METHODS)


def test_search_finds_names_purposes_and_papers(editor):
    page = FakePage(editor)

    def found(words, kind=""):
        return set(method_cards.search(kind, words, page.language))

    assert "dora" in found("weight-decomposed") and "qlora" in found("4 bit") and found("xyzzy") == set()
    assert (
        found("4bit") == found("4 bit")
        and "qlora" in found("q-lora")
        and "adapter" in found("adpter")
        and "lora" in found("loar")
        and found("lora+") == {"lora_plus"}
    )
    assert found("soft prompt") == {
        "prompt_tuning",
        "prompt_ensemble",
        "p_tuning",
        "p_tuning_v2",
        "prefix_tuning",
        "intrinsic_prompt",
    }
    assert found("", "baseline") == {"full"}
    assert "No method fits" in method_cards.cards_html(page, editor.preflight(), editor.draft(), "", "xyzzy")


def test_the_comparison_has_every_row_for_both(editor):
    page = FakePage(editor)
    html = method_cards.compare_html(page, editor.preflight(), ["lora", "prompt_tuning"])
    assert html.count('scope="row"') == 11 + len(CAPABILITIES)
    assert "it changes the input" in html and "179,200" in html and "MB" in html
    assert "Choose two methods" in method_cards.compare_html(page, editor.preflight(), ["lora"])


def test_a_third_method_takes_the_place_of_the_first():
    assert (
        pair_with([], "a") == ["a"]
        and pair_with(["a"], "b") == ["a", "b"]
        and pair_with(["a", "b"], "c") == ["b", "c"]
        and pair_with(["a", "b"], "b") == ["a", "b"]
    )


def test_the_card_says_why_quantisation_rules_a_method_out(editor):
    editor.change(machine={**editor.draft()["machine"], "quantisation": "int8"})
    html = method_cards.cards_html(FakePage(editor), editor.preflight(), editor.draft(), "", "dora")
    assert "does not go with a base in 8 bit" in html and "disabled" in html


def test_only_what_can_be_used_can_be_chosen(editor):
    """Prefix-Tuning can go on from an adapter of the library, but no adapter makes it go with pictures; AdapterFusion
    lacks nothing else than adapters."""
    assert "disabled" not in method_cards.cards_html(
        FakePage(editor), editor.preflight(), editor.draft(), "", "adapterfusion"
    )
    editor.choose_task("image")
    html = method_cards.cards_html(FakePage(editor), editor.preflight(), editor.draft(), "", "prefix-tuning generation")
    assert "does not go with image models" in html and html.count("disabled") >= html.count("<article") == 1


def test_options_without_effect_on_the_model_are_reported(editor, tmp_path):
    """Phi-3 computes queries, keys and values in one layer, so (IA)³ can scale the MLP alone."""
    from transformers import Phi3Config, Phi3ForCausalLM

    Phi3ForCausalLM(
        Phi3Config(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            pad_token_id=0,
        )
    ).save_pretrained(tokenizer_folder(tmp_path / "phi3"))
    editor.change(model={"name": str(tmp_path / "phi3"), "revision": None})
    editor.choose_method("ia3")
    text = chosen_html(FakePage(editor), METHODS["ia3"])
    assert (
        "Scale keys and values" in text
        and "does nothing on Phi3ForCausalLM" in text
        and "Trainable parameters: 48" in text
    )
    editor.change(method={"name": "ia3", "attention": False})
    assert "does nothing" not in chosen_html(FakePage(editor), METHODS["ia3"])


def test_a_chooser_offers_only_what_its_method_can_take(editor):
    """Stage 2 of Intrinsic Prompt Tuning what stage 1 made, AdapterFusion the adapters that stand after the MLP
    alone."""
    from studio.options import form_fields

    page = FakePage(editor)
    page.store = editor.store
    for name, method in {
        "plain": {"name": "prompt_tuning"},
        "found": {"name": "intrinsic_prompt", "stage": "find"},
        "fine-tuned": {"name": "intrinsic_prompt", "stage": "train"},
    }.items():
        editor.store.add_adapter(
            name, name, None, {"base": "starter", "artefact_type": "PROMPT_TUNING", "recipe": {"method": method}}
        )
    for place in ("pfeiffer", "houlsby", "parallel"):
        editor.store.add_adapter(
            place,
            place,
            None,
            {
                "base": "starter",
                "artefact_type": "BOTTLENECK",
                "recipe": {"method": {"name": "adapter", "place": place}},
            },
        )
    editor.store.add_adapter(
        "other",
        "other",
        None,
        {
            "base": "elsewhere",
            "artefact_type": "BOTTLENECK",
            "recipe": {"method": {"name": "adapter", "place": "pfeiffer"}},
        },
    )

    def offered(method, key):
        field = next(field for field in form_fields(METHODS[method]) if field["key"] == key)
        return set(adapters(page, field["adapters"], field["made_with"]))

    assert offered("intrinsic_prompt", "subspace") == {"found"}
    assert offered("intrinsic_prompt", "prompts") == {"plain", "found", "fine-tuned"}
    assert offered("fusion", "adapters") == {"pfeiffer"}
