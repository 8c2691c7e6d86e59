"""Where an adapter comes from, and what was made from it.

A card names its parents: `card["parents"] = [{"id", "name", "relation"}]`, with a relation of RELATIONS. The name is
the parent's at that time, so that it can be shown when the parent is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.store import Store

RELATIONS = {
    "continued": "Continued from",
    "blended": "Blended from",
    "converted": "Converted from",
    "merged": "Merged from",
}
MOST_CHILDREN = 50


@dataclass(frozen=True)
class Relative:
    """A parent or a child. where: "here" (in the library), "trash" or "gone"."""

    id: str
    name: str
    relation: str
    where: str


def parent(adapter_id: str, name: str, relation: str) -> dict:
    """An entry of a card's `parents`."""
    if relation not in RELATIONS:
        raise ValueError(f"not a relation: {relation}")
    return {"id": adapter_id, "name": name, "relation": relation}


def merged_adapter(card: dict) -> str | None:
    """The id of the adapter that was merged into the model with this card; None for anything else."""
    if card.get("kind") != "model":
        return None
    return next((each["id"] for each in card.get("parents") or () if each["relation"] == "merged"), None)


def parents(store: Store, card: dict) -> list[Relative]:
    """The adapters that the one with this card was made from, in the order of the card, under their present names."""
    return [_relative(store, entry) for entry in card.get("parents") or () if isinstance(entry, dict)]


def children(store: Store, adapter_id: str) -> list[Relative]:
    """The adapters that were made from this one, newest first; at most MOST_CHILDREN."""
    rows = store.select(
        "SELECT adapters.id AS id, adapters.name AS name, deleted, json_extract(parent.value, '$.relation') AS relation"
        " FROM adapters, json_each(card, '$.parents') AS parent WHERE json_extract(parent.value, '$.id') = ? "
        "ORDER BY created DESC LIMIT ?",
        adapter_id,
        MOST_CHILDREN,
    )
    return [
        Relative(row["id"], row["name"], str(row["relation"]), "here" if row["deleted"] is None else "trash")
        for row in rows
    ]


def _relative(store: Store, entry: dict) -> Relative:
    row = store.adapter(str(entry.get("id", "")))
    where = "gone" if row is None else "here" if row["deleted"] is None else "trash"
    name = row["name"] if row else str(entry.get("name") or entry.get("id") or "?")
    return Relative(str(entry.get("id", "")), name, str(entry.get("relation", "")), where)
