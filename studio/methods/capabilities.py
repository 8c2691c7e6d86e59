"""Which features each method supports: 4-bit base models, gradient checkpointing, packing, merging …, as measured.

`capabilities.json` has a row for each method. It is written by `python -m tests.methods.capabilities`, never by hand,
and the tests compare it with the methods' behaviour. A cell is "yes" or the key of a reason below. Options of a method
are not considered; a method whose options change the answer overrides `Method.unsupported_reason`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from studio.words import Sentence

YES = "yes"
FILE = Path(__file__).with_name("capabilities.json")


@dataclass(frozen=True)
class Capability:
    """A column of the table.

    title: header; feature: its name in the message that a method does not support it; advice: what to do instead.
    """

    title: str
    feature: str
    advice: str


CAPABILITIES = {
    "nf4": Capability("4 bit", "a base in 4 bit", "Choose no quantisation, or LoRA."),
    "int8": Capability("8 bit", "a base in 8 bit", "Choose no quantisation, or LoRA."),
    "gradient_checkpointing": Capability(
        "Checkpointing", "gradient checkpointing", "Switch gradient checkpointing off."
    ),
    "packing": Capability("Packing", "packing", "Switch packing off."),
    "classification": Capability("Classification", "classification", "Choose LoRA."),
    "image": Capability("Images", "image models", "Choose LoRA."),
    "merge": Capability("Merge", "merging into the base model", "Download the adapter instead."),
    "hotswap": Capability("Hot-swap", "exchanging adapters in flight", "Load the other adapter beside it."),
    "blend": Capability("Blend", "blending adapters", "Blend LoRA adapters."),
    "convert": Capability("To LoRA", "turning it into a LoRA", "Train a LoRA."),
    "continued": Capability("Continue", "continuing from an adapter", "Train a new adapter."),
}
REASONS = {
    "bits": "the libraries have no form of it for quantised weights.",
    "wordless": "it puts trainable vectors before the text, and a picture has none.",
    "length": "it lengthens the text that can be read, and pictures have always the same size.",
    "still": "some of its parameters would not be trained, without an error.",
    "differs": "the outcome would be another one, without an error.",
    "head": "the classification head would not be trained, without an error.",
    "reload": "what is saved would not give the same answers.",
    "held": "no weight of the base model can hold it.",
    "shape": "its layers have no form as a LoRA.",
    "type": "only adapters of the type LoRA can.",
    "words": "it answers with words and has no head for classes.",
    "input": "it changes the input, not the weights.",
    "whole": "it trains all weights and gives a whole model.",
    "already": "it is a LoRA already.",
    "own": "it brings a base in 4 bit of its own.",
    "start": "what it trains is chosen or made anew at the start of each run.",
    "lossy": "a LoRA would lose too much of what was trained.",
    "untried": "nobody has tried it yet.",
}
# Task → capability that a method must have to support it. For other tasks `Method.tasks` decides.
TASKS = {"classification": "classification", "multitask": "classification", "image": "image"}


@cache
def rows() -> dict[str, dict[str, str]]:
    """Method → capability → "yes" or the key of a reason, from `capabilities.json`."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def cell(name: str, what: str) -> str:
    """Return "yes", or the key of the reason why method `name` does not support `what`; "untried" if not measured."""
    return rows().get(name, {}).get(what, "untried")


def unsupported_sentence(title: str, what: str, reason: str) -> Sentence:
    """The message that the method `title` does not support `what`, with advice. reason: key of `REASONS`."""
    capability = CAPABILITIES[what]
    return Sentence(
        "{method} does not go with {feature}: {reason} {advice}",
        method=Sentence(title),
        feature=Sentence(capability.feature),
        reason=Sentence(REASONS[reason]),
        advice=Sentence(capability.advice),
    )
