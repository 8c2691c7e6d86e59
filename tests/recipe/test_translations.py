"""Everything that the studio says is said in every language, with the same values in it."""

import ast
import re
from collections import defaultdict

import pytest

from studio.words import LANGUAGES
from tests.recipe import sentences

# What Python's json module says about a broken file is passed on to the person, and is translated with the studio's own
# words.
NOT_OURS = re.compile(r"(Expecting|Illegal|Invalid|Unterminated|Extra data)\b")
FOREIGN = [language for language in LANGUAGES if language != "en"]


def listing(title: str, items: dict[str, list[str]]) -> str:
    """A failure's message, room by room, so that each finds the own gaps."""
    lines = [title]
    for room, texts in sorted(items.items()):
        lines.append(f"\n  {room}: {len(texts)}")
        lines += [f"    {text}" for text in sorted(texts)]
    return "\n".join(lines)


@pytest.mark.parametrize("language", FOREIGN)
def test_everything_said_has_a_translation(language):
    known = {key for file in sentences.translation_files(language).values() for key in file}
    gaps: dict[str, list[str]] = defaultdict(list)
    for text, places in sentences.templates().items():
        if text not in known:
            gaps[f"assets/i18n/{language}/{sentences.room(places)}"].append(
                f"{text!r}  ({', '.join(sorted(places)[:2])})"
            )
    assert not gaps, listing("Not translated yet, by the file in which it belongs:", gaps)


@pytest.mark.parametrize("language", FOREIGN)
def test_translations_hold_the_same_values(language):
    wrong: dict[str, list[str]] = defaultdict(list)
    for name, file in sentences.translation_files(language).items():
        for key, value in file.items():
            if (
                sentences.placeholders(key) != sentences.placeholders(value)
                or key.count("**") != value.count("**")
                or not value.strip()
            ):
                wrong[name].append(f"{key!r} → {value!r}")
    assert not wrong, listing(
        "The translation has other {placeholders} or ** marks than the English, or is empty:", wrong
    )


@pytest.mark.parametrize("language", FOREIGN)
def test_no_text_is_translated_in_two_ways(language):
    seen: dict[str, dict[str, str]] = defaultdict(dict)
    for name, file in sentences.translation_files(language).items():
        for key, value in file.items():
            seen[key][name] = value
    differ = {
        key: [f"{name}: {value}" for name, value in found.items()]
        for key, found in seen.items()
        if len(set(found.values())) > 1
    }
    assert not differ, listing("Translated differently in several files; the last file would win:", differ)


@pytest.mark.parametrize("language", FOREIGN)
def test_no_translation_is_stale(language):
    used = sentences.strings()
    stale = {
        name: [key for key in file if key not in used and not NOT_OURS.match(key)]
        for name, file in sentences.translation_files(language).items()
    }
    stale = {name: keys for name, keys in stale.items() if keys}
    assert not stale, listing("Nothing says this any more; remove it, or correct the key:", stale)


def test_every_text_can_be_followed():
    lost = {place: sorted(sources) for place, sources in sentences.unfollowed().items()}
    assert not lost, listing(
        "Nobody knows which texts these hold; write them so that sentences.Walk can follow, or list them in "
        "sentences.SAID_ELSEWHERE:",
        lost,
    )


def test_the_walk_sees_what_it_should():
    found = sentences.templates()
    assert "Rank r" in found  # an option's title
    assert "{title} must be at least {limit}, but is {given}." in found  # a sentence in the code
    assert any("Leaves every weight" in text for text in found)  # a card
    assert "Balanced" in found  # a preset
    assert {"Hyperparameters", "Perplexity", "Good for"} <= found.keys()  # out of a table that a loop goes through
    assert {
        "Bring back",
        "The trash is empty.",
        "Running",
        "nats per token",
        "validation",
    } <= found.keys()  # through a parameter, a name, a dict, CHARTS
    assert {
        "Best result first",
        "System text",
        "Top-p",
    } <= found.keys()  # orders of the library; options of forms made in the window, and of the chat
    assert not {"gradient_norm", "eval_loss", "queued"} & found.keys()  # keys are not texts
    assert sentences.literals(
        ast.parse("_A = 'one'\nSentence(_A)\nStudioError('two' if x else 'three')\nRowProblem('kind', 'four')")
    ) == ["one", "two", "three", "four"]
    assert sentences.placeholders("{a} {b:.1g} {c!r} {d:row|rows}") == {"a", "b", "c"}
