"""Find runs: words, tag, method, state and paging, as one query of SQLite."""

from __future__ import annotations

from dataclasses import dataclass

from studio.store import Store

_SEARCHED = ("method.name", "model.name", "data.source", "task.name")  # of the recipe, besides the run's name and tags
# json_extract would give the list as it is stored, with escapes in place of letters beyond ASCII.
_TAGS = "(SELECT group_concat(tag.value, ' ') FROM json_each(runs.tags) AS tag)"
_STATE = "(SELECT state FROM jobs WHERE jobs.run_id = runs.id AND kind = 'train' ORDER BY id DESC LIMIT 1)"
_METHOD = "json_extract(recipe, '$.method.name')"


@dataclass(frozen=True)
class Query:
    """What to find; an empty filter does not restrict. words: each must stand in the run's name, id or tags, or in the
    names of its method, base model, data or task.
    """

    words: str = ""
    tag: str = ""
    method: str = ""
    state: str = ""


def matching(store: Store, query: Query) -> list[str]:
    """The ids of all runs that fit, newest first."""
    where, values = [f"{_STATE} IS NOT NULL"], []
    if query.words.split():
        texts = ", ".join(["name", "id", _TAGS, *(f"json_extract(recipe, '$.{key}')" for key in _SEARCHED)])
        where.append(f"holds_words(?, {texts})")
        values.append(query.words)
    if query.tag:
        where.append("EXISTS (SELECT 1 FROM json_each(runs.tags) AS tag WHERE folded(tag.value) = folded(?))")
        values.append(query.tag)
    for column, value in ((_METHOD, query.method), (_STATE, query.state)):
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    sql = f"SELECT id FROM runs WHERE {' AND '.join(where)} ORDER BY rowid DESC"
    return [row["id"] for row in store.select(sql, *values)]


def choices(store: Store) -> dict[str, list[str]]:
    """Filter (tag, method, state) → the values that occur: tags from the newest run on, the others by name."""
    tags = "SELECT tag.value AS word FROM runs, json_each(runs.tags) AS tag GROUP BY word ORDER BY max(created) DESC"
    rest = {"method": _METHOD, "state": _STATE}
    found = {
        key: store.select(f"SELECT DISTINCT {column} AS word FROM runs WHERE word IS NOT NULL ORDER BY word")
        for key, column in rest.items()
    }
    return {key: [row["word"] for row in rows] for key, rows in {"tag": store.select(tags), **found}.items()}
