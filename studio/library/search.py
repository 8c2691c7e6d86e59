"""Find adapters of the library: words, filters, order and paging, as one query of SQLite over the stored cards.

Reads no folders; a row's card is parsed only where the row is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from studio.home import PREVIEW
from studio.store import Store

SORTS = {
    "newest": "Newest first",
    "name": "Name",
    "metric": "Best result first",
    "size": "Smallest first",
    "parameters": "Fewest trainable parameters first",
}
METRICS = ("exact_match", "correct", "macro_f1", "preferred", "reward_accuracy", "eval_loss")
"""Metrics that can be filtered and sorted by; of the last one less is better."""
LOSS = "eval_loss"
MOST_CHOICES = 50  # values that a filter offers, the commonest ones; the search finds the others
_SEARCHED = ("method", "summary", "base", "data", "task", "artefact_type", "notes")
# json_extract would give the list as it is stored, with escapes in place of letters beyond ASCII.
_TAGS = "(SELECT group_concat(tag.value, ' ') FROM json_each(card, '$.tags') AS tag)"


@dataclass(frozen=True)
class Query:
    """What to find. A filter that is None or "" does not restrict.

    words: each must stand in the adapter's name, id, method, base, data, task, tags or notes. sort: a key of SORTS.
    metric: a key of METRICS, which must have been measured; `bound`: its least value, or its greatest for a loss.
    shown_only: only those that visitors of a Space may use. deleted: those in the trash instead.
    """

    words: str = ""
    sort: str = "newest"
    base: str | None = None
    method: str | None = None
    task: str | None = None
    tag: str | None = None
    metric: str | None = None
    bound: float | None = None
    shown_only: bool = False
    deleted: bool = False


def find(store: Store, query: Query) -> list[dict]:
    """The rows of all adapters that fit, in the order asked for."""
    where, values = _condition(query)
    return store.select(f"SELECT * FROM adapters WHERE {where} ORDER BY {_order(query)}", *values)


def matching(store: Store, query: Query) -> list[str]:
    """The ids of all adapters that fit, in the order asked for."""
    where, values = _condition(query)
    return [
        row["id"] for row in store.select(f"SELECT id FROM adapters WHERE {where} ORDER BY {_order(query)}", *values)
    ]


def choices(store: Store, *, shown_only: bool = False, deleted: bool = False) -> dict[str, list[str]]:
    """Filter (base, method, task, tag, metric) → the values that occur, the commonest first, at most MOST_CHOICES.

    Cached until an adapter changes: do not modify the result.
    """
    return _choices(store, store.revision("adapters"), shown_only, deleted)


@lru_cache(maxsize=16)
def _choices(store: Store, revision: int, shown_only: bool, deleted: bool) -> dict[str, list[str]]:
    """revision: of the adapters, part of the cache key."""
    where, values = _condition(Query(shown_only=shown_only, deleted=deleted))
    found = {}
    for key in ("base", "method", "task"):
        sql = (
            f"SELECT {_field(key)} AS word, count(*) AS number FROM adapters WHERE {where} AND word IS NOT NULL "
            "GROUP BY word ORDER BY number DESC, word LIMIT ?"
        )
        found[key] = [str(row["word"]) for row in store.select(sql, *values, MOST_CHOICES)]
    sql = (
        f"SELECT tag.value AS word, count(*) AS number FROM adapters, json_each(card, '$.tags') AS tag WHERE {where} "
        "GROUP BY word ORDER BY number DESC, word LIMIT ?"
    )
    found["tag"] = [str(row["word"]) for row in store.select(sql, *values, MOST_CHOICES)]
    sums = ", ".join(f"count({_metric(key)}) AS {key}" for key in METRICS)
    (measured,) = store.select(f"SELECT {sums} FROM adapters WHERE {where}", *values)
    found["metric"] = [key for key in METRICS if measured[key]]
    return found


def _condition(query: Query) -> tuple[str, list]:
    """The WHERE clause of a query and its values."""
    where, values = [f"deleted IS {'NOT ' if query.deleted else ''}NULL", "adapters.id NOT GLOB ?"], [f"{PREVIEW}*"]
    if query.shown_only:
        where.append("shown")
    for key in ("base", "method", "task"):
        if chosen := getattr(query, key):
            where.append(f"{_field(key)} = ?")
            values.append(chosen)
    if query.tag:
        where.append("EXISTS (SELECT 1 FROM json_each(card, '$.tags') AS tag WHERE folded(tag.value) = folded(?))")
        values.append(query.tag)
    if query.metric in METRICS:
        where.append(f"{_metric(query.metric)} IS NOT NULL")
        if query.bound is not None:
            where.append(f"{_metric(query.metric)} {'<=' if query.metric == LOSS else '>='} ?")
            values.append(query.bound)
    if query.words.split():
        texts = ", ".join(["name", "id", _TAGS, *(_field(key) for key in _SEARCHED)])
        where.append(f"holds_words(?, {texts})")
        values.append(query.words)
    return " AND ".join(where), values


def _order(query: Query) -> str:
    newest = "created DESC, rowid DESC"
    match query.sort:
        case "name":
            return f"folded(name), {newest}"
        case "metric" if query.metric in METRICS:
            value = _metric(query.metric)
            return f"{value} {'ASC' if query.metric == LOSS else 'DESC'}, {newest}"
        case "metric":  # exact match or accuracy (descending), then validation loss (ascending), missing last
            exact, loss = f"coalesce({_metric('exact_match')}, {_metric('correct')})", _metric(LOSS)
            return f"{exact} IS NULL, {exact} DESC, {loss} IS NULL, {loss}, {newest}"
        case "size":
            return f"coalesce({_field('bytes')}, 0), {newest}"
        case "parameters":
            return f"{_field('parameters')} IS NULL, {_field('parameters')}, {newest}"
        case _:
            return newest


def _field(key: str) -> str:
    return f"json_extract(card, '$.{key}')"


def _metric(key: str) -> str:
    return f"json_extract(card, '$.metrics.{key}')"
