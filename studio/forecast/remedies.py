"""Remedies for a run that does not fit into memory: each is a sentence and the corresponding changes to the recipe.

The forecast is repeated with each remedy; those that save too little are not offered. Independent of the page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from studio.forecast.estimate import Forecast
from studio.forecast.estimate import forecast as make_forecast
from studio.hardware import Hardware, gigabytes
from studio.methods import METHODS
from studio.recipe import Recipe, recipe_from
from studio.words import Sentence, StudioError

Changes = dict[str, Any]
_KEPT_FREE = 0.05  # fraction of the device's memory that is reserved for other processes
_WORTH = 0.03  # smallest fraction of the needed memory that a remedy must save to be offered


def memory_problem(forecast: Forecast, hardware: Hardware) -> Sentence | None:
    """A sentence that says how much memory is missing, or None if the run fits into the memory that is free now."""
    if forecast.memory_bytes <= _room(forecast.device, hardware):
        return None
    return Sentence(
        "Not enough memory on {device}: {needed} GB needed, {free} GB free.",
        device=hardware.short(forecast.device),
        needed=gigabytes(forecast.memory_bytes),
        free=gigabytes(hardware.free_on(forecast.device)),
    )


def not_enough_memory(forecast: Forecast, hardware: Hardware) -> list[tuple[Sentence, Changes]]:
    """Return the remedies as (sentence, changes), those that suffice alone first; [] if the run fits.

    Changes map dotted keys of the recipe to values, for `changed`:
    {"training.batch_size": 4, "training.gradient_accumulation_steps": 2}.
    """
    room = _room(forecast.device, hardware)
    if forecast.memory_bytes <= room:
        return []
    found: list[tuple[int, Sentence, Changes]] = []
    for title, changes in _ideas(forecast, room, hardware):
        after = _after(forecast, changes, hardware)
        if after is not None and after < forecast.memory_bytes * (1 - _WORTH):
            text = Sentence("{remedy} ({memory} GB)", remedy=title, memory=gigabytes(after))
            found.append((after, text, changes))
    found.sort(key=lambda item: item[0] > room)  # stable: keeps the order of `_ideas` within both groups
    return [(text, changes) for _, text, changes in found]


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """Return the recipe with the dotted keys set; raises `StudioError` if the result is not a valid recipe."""
    values = recipe.to_dict()
    for key, value in changes.items():
        *path, last = key.split(".")
        place = values
        for part in path:
            place = place[part]
        place[last] = value
    return recipe_from(values)


def _ideas(forecast: Forecast, room: int, hardware: Hardware) -> list[tuple[Sentence, Changes]]:
    """All possible remedies, those that change the run least first; whether they help is not checked here."""
    recipe = forecast.question.recipe
    training, machine, method = recipe.training, recipe.machine, recipe.method
    ideas = _smaller_batches(forecast, room, hardware)
    if not machine.gradient_checkpointing and not method.unsupported_reason("gradient_checkpointing"):
        ideas.append((Sentence("Turn on gradient checkpointing"), {"machine.gradient_checkpointing": True}))
    if training.optimiser in ("adamw", "paged_adamw"):
        ideas.append((Sentence("Use the 8-bit optimiser"), {"training.optimiser": "adamw_8bit"}))
    if recipe.quantisation == "none" and not method.unsupported_reason("nf4") and method.name != "lora":
        ideas.append((Sentence("Quantise the base model to 4 bit"), {"machine.quantisation": "nf4"}))
    if method.name == "lora":
        ideas.append((Sentence("Use QLoRA"), {"method": _as(method, "qlora"), "machine.quantisation": "none"}))
    if method.artefact_type == "model":
        ideas.append(
            (
                Sentence("Use LoRA"),
                {"method": {"name": "lora"}, "training.learning_rate": METHODS["lora"].learning_rate},
            )
        )
        ideas.append(
            (
                Sentence("Use QLoRA"),
                {"method": {"name": "qlora"}, "training.learning_rate": METHODS["qlora"].learning_rate},
            )
        )
    if (
        training.max_length > 64
        and forecast.question.lengths
        and max(forecast.question.lengths) > training.max_length // 2
    ):
        half = max(64, training.max_length // 2)
        ideas.append((Sentence("Cut examples at {length} tokens", length=half), {"training.max_length": half}))
    return ideas


def _smaller_batches(forecast: Forecast, room: int, hardware: Hardware) -> list[tuple[Sentence, Changes]]:
    """Halve the batch size until the run fits or it is 1; gradient accumulation keeps the effective batch size."""
    training = forecast.question.recipe.training
    size, changes = training.batch_size, None
    while size > 1:
        size = (size + 1) // 2
        changes = {
            "training.batch_size": size,
            "training.gradient_accumulation_steps": -(-training.effective_batch // size),
        }
        after = _after(forecast, changes, hardware)
        if after is None or after <= room:
            break
    if changes is None:
        return []
    halved = size == (training.batch_size + 1) // 2
    return [(Sentence("Halve the batch") if halved else Sentence("Make the batch {size}", size=size), changes)]


def _as(method, name: str) -> dict:
    """Options of the method `name`, taking over those of `method` that both have."""
    other = METHODS[name].model_fields
    return {
        "name": name,
        **{key: value for key, value in method.model_dump().items() if key in other and key != "name"},
    }


def _after(forecast: Forecast, changes: Changes, hardware: Hardware) -> int | None:
    asked = forecast.question
    try:
        recipe = changed(asked.recipe, changes)
    except StudioError:
        return None
    if recipe.refusal(asked.shape) or recipe.conflict():
        return None
    again = replace(asked, recipe=recipe)
    return make_forecast(again.recipe, again.shape, again.lengths, again.rows, hardware).memory_bytes


def _room(device: str, hardware: Hardware) -> int:
    return int(hardware.free_on(device) - _KEPT_FREE * hardware.memory_of(device))
