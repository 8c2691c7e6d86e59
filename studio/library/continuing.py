"""Continue training from an adapter: whether it can be continued, the recipe for it, and whether a recipe fits it.

The recipe names the adapter in `model.adapter`; the worker loads its weights before the first step, see
`studio.training.initial`. Imports no torch.
"""

from __future__ import annotations

from studio.methods import METHODS
from studio.recipe import Recipe
from studio.store import Store
from studio.words import Sentence, StudioError

_FREE = {"dropout", "lr_ratio"}  # options of methods that change neither the shape nor the meaning of the weights


def refusal(card: dict) -> Sentence | None:
    """Why training cannot continue from the adapter with this card; None if it can."""
    if card.get("kind") == "model":
        return Sentence("This is a whole model: to train it further, give its folder as the base model.")
    cls = METHODS.get(_method(card).get("name", ""))
    if cls is None:
        return Sentence("How this adapter was made is not known here, so its training cannot be continued.")
    return cls().unsupported_reason("continued")


def draft(store: Store, adapter_id: str) -> dict:
    """The parts of a recipe that continues from an adapter of the library. Raises StudioError if it cannot."""
    row = _row(store, adapter_id)
    if refused := refusal(row["card"]):
        raise StudioError(refused)
    parts = row["card"]["recipe"]
    return {**parts, "name": "", "model": {**parts["model"], "adapter": adapter_id}}


def start_of(store: Store, recipe: Recipe) -> str | None:
    """The name of the adapter that a run of `recipe` continues from (its id, if it is gone); None if it starts anew."""
    row = store.adapter(recipe.model.adapter) if recipe.model.adapter else None
    return row["name"] if row else recipe.model.adapter


def mismatch(store: Store, recipe: Recipe) -> Sentence | None:
    """Why `recipe` cannot continue from the adapter that it names; None if it can, or if it names none."""
    if not recipe.model.adapter:
        return None
    try:
        row = _row(store, recipe.model.adapter)
    except StudioError as error:
        return error.sentence
    card, name = row["card"], row["name"]
    if refused := refusal(card):
        return refused
    if (card.get("base"), card.get("revision")) != (recipe.model.name, recipe.model.revision):
        return Sentence(
            "'{name}' was trained over {base}, and this run is over {other}: choose that base model, or stop "
            "continuing from it.",
            name=name,
            base=card.get("base", "?"),
            other=recipe.model.name,
        )
    then, now = _method(card), recipe.method.model_dump(mode="json")
    if then.get("name") != now["name"]:
        return Sentence(
            "'{name}' was trained with {method}: choose that method, or stop continuing from it.",
            name=name,
            method=Sentence(METHODS[then["name"]].title),
        )
    for key, field in type(recipe.method).model_fields.items():
        before = then.get(key, field.default)
        if key not in _FREE and before != now[key]:
            return Sentence(
                "'{name}' was trained with {option} = {value}, and this run says {other}: set it back, or stop "
                "continuing from it.",
                name=name,
                option=Sentence(field.title or key),
                value=_shown(before),
                other=_shown(now[key]),
            )
    if card.get("task") != recipe.task.name and (card.get("labels") or recipe.task.head() != "causal_lm"):
        return Sentence(
            "'{name}' was trained for another task; choose that task, or stop continuing from it.", name=name
        )
    return None


def _row(store: Store, adapter_id: str) -> dict:
    row = store.adapter(adapter_id)
    if row is None or row["deleted"] is not None:
        raise StudioError(
            "The adapter '{name}' that this run continues from is not in the library any more; restore it from the "
            "trash, or stop continuing from it.",
            name=row["name"] if row else adapter_id,
        )
    return row


def _method(card: dict) -> dict:
    found = (card.get("recipe") or {}).get("method")
    return found if isinstance(found, dict) else {}


def _shown(value) -> str:
    return "–" if value is None else str(value)
