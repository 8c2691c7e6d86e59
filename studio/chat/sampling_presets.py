"""Named sampling options: the built-in ones, and those that a person saved in the store. No torch here."""

from __future__ import annotations

from studio.chat.sampling import Sampling
from studio.store import Store
from studio.words import StudioError

BUILT_IN: dict[str, dict] = {
    "Greedy": {"temperature": 0.0},
    "Precise": {"temperature": 0.3, "top_p": 0.9},
    "Balanced": {"temperature": 0.7, "top_p": 0.95},
    "Creative": {"temperature": 1.1, "min_p": 0.05},
}
"""Name → the options that differ from the defaults. The answer's length and the seed stay as they are."""
_KEPT = ("max_tokens", "seed")
_NOTE = "sampling_presets"


def own_presets(store: Store) -> dict[str, dict]:
    """Name → options of the saved presets, by name."""
    return dict(sorted(store.note(_NOTE, {}).items()))


def apply_preset(store: Store, name: str, now: dict) -> dict:
    """The form's values after choosing a preset. now: its present values. Raises StudioError for an unknown name."""
    if name in BUILT_IN:
        return Sampling().model_dump() | BUILT_IN[name] | {key: now[key] for key in _KEPT if key in now}
    own = own_presets(store)
    if name not in own:
        raise StudioError("There is no preset '{name}' any more.", name=name[:60])
    return Sampling().model_dump() | own[name]


def save_preset(store: Store, name: str, sampling: Sampling) -> str:
    """Save `sampling` under a name, in place of an own preset of that name; returns the name. Raises StudioError where
    it cannot be used.
    """
    name = " ".join(name.split())
    if not name or len(name) > 40:
        raise StudioError("Give the preset a name of 1 to 40 characters.")
    if name in BUILT_IN:
        raise StudioError("'{name}' is a built-in preset; choose another name.", name=name)
    store.set_note(_NOTE, own_presets(store) | {name: sampling.model_dump(mode="json")})
    return name


def delete_preset(store: Store, name: str) -> None:
    """Delete an own preset. Raises StudioError for a built-in one."""
    if name in BUILT_IN:
        raise StudioError("'{name}' is a built-in preset and stays.", name=name)
    store.set_note(_NOTE, {key: value for key, value in own_presets(store).items() if key != name})
