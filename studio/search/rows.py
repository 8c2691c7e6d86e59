"""The rows of a search: those to train on, and the validation rows in two halves. One half chooses among the tries; the
other is used by no try and judges the best one at the end, so that its figure is not flattered by the choice.

The rows are written as the studio reads them from the recipe's data, so every try trains on the rows of an ordinary
run. Reading them again must give the same rows; that is checked.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import orjson

from studio.data.data_spec import DataSpec
from studio.data.dataset import Dataset, load
from studio.data.mapping import Mapping
from studio.data.records import Records
from studio.data.splitting import mix
from studio.home import Home
from studio.recipe import Recipe
from studio.search.plan import Plan, folder
from studio.words import StudioError

LEAST = 4  # distinct validation rows
_WHILE_TRAINING = ("refused", "no_end", "long")  # remedies that act on rows as they are encoded, not as they are read
_SPLIT_SEED = 12
_COLUMNS = {
    "messages": {"messages": "messages", "tools": "tools"},
    "text": {"text": "text"},
    "preference": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "tools": "tools"},
    "unpaired": {"prompt": "prompt", "completion": "completion", "label": "label", "tools": "tools"},
    "label": {"text": "text", "label": "label"},
    "image": {"image": "image", "label": "label"},
}


def write(home: Home, plan: Plan) -> tuple[int, int]:
    """Write the rows of a search, unless they are there; returns the numbers of rows that choose and that report.

    Raises StudioError where the data cannot be read or has too few validation rows.
    """
    place = folder(home, plan.id) / "rows"
    if not place.exists():
        recipe = plan.draft
        data = load(recipe.data, want=recipe.task.record_kind, separator=recipe.task.label_separator)
        choosing, reporting = halves(data.validation, plan.seed)
        half = place.with_name(".rows.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for name, records in (("train", data.train), ("choosing", choosing), ("reporting", reporting)):
            _write(half / f"{name}.jsonl", records)
        _check(half, recipe, data, choosing, reporting)
        os.replace(half, place)
    return tuple(_count(place / f"{name}.jsonl") for name in ("choosing", "reporting"))


def counts(home: Home, search_id: str) -> tuple[int, int] | None:
    """The numbers of rows that choose and that report; None as long as they are not written."""
    place = folder(home, search_id) / "rows"
    return tuple(_count(place / f"{name}.jsonl") for name in ("choosing", "reporting")) if place.exists() else None


def halves(records: Records, seed: int = 0) -> tuple[Records, Records]:
    """Divide validation rows by a hash of their content; equal rows are in the same half.

    Raises StudioError if there are fewer than LEAST different ones.
    """
    different = np.unique(records.digests)
    if len(different) < LEAST:
        raise StudioError(
            "A search needs at least {least} different validation rows, but there are {count}: half of them choose the "
            "settings, the others judge them. Raise the validation fraction on the Data tab.",
            least=LEAST,
            count=len(different),
        )
    first = different[np.argsort(mix(different, seed + _SPLIT_SEED), kind="stable")[: len(different) // 2]]
    chooses = np.isin(records.digests, first)
    return records[np.flatnonzero(chooses)], records[np.flatnonzero(~chooses)]


def data_of(place: Path, recipe: Recipe, part: str = "choosing") -> DataSpec:
    """The data section that trains on the written rows and evaluates on those of `part`."""
    kind = recipe.task.record_kind
    mapping = _mapping(kind, place / "train.jsonl")
    return DataSpec(
        source=str(place / "train.jsonl"),
        mapping=mapping,
        validation=str(place / f"{part}.jsonl"),
        validation_mapping=mapping,
        remedies={key: value for key, value in recipe.data.remedies.items() if key in _WHILE_TRAINING},
        seed=recipe.data.seed,
    )


def _mapping(kind: str, path: Path) -> Mapping:
    with open(path, "rb") as file:
        columns = list(dict.fromkeys(key for line in file for key in orjson.loads(line)))
    if kind == "label_sets":
        first, *more = [column for column in columns if column != "text"]
        return Mapping(shape="label", roles={"text": "text", "label": first}, labels=more)
    roles = {role: column for role, column in _COLUMNS[kind].items() if column in columns}
    return Mapping(shape=kind, roles=roles)


def _write(path: Path, records: Records) -> None:
    with open(path, "wb") as file:
        for record in records:
            value = record.value
            if isinstance(value.get("label"), dict):  # several label columns
                value = {"text": value["text"], **value["label"]}
            file.write(orjson.dumps(value) + b"\n")


def _check(place: Path, recipe: Recipe, data: Dataset, choosing: Records, reporting: Records) -> None:
    """Raise StudioError unless the rows, read again, are those that were written."""
    for part, expected in (("choosing", choosing), ("reporting", reporting)):
        again = load(data_of(place, recipe, part), want=recipe.task.record_kind, separator=recipe.task.label_separator)
        same = all(
            np.array_equal(np.sort(read.digests), np.sort(written.digests))
            for read, written in ((again.train, data.train), (again.validation, expected))
        )
        if not same:
            raise StudioError(
                "The rows of this data cannot be set aside for a search: written and read again, they are not the "
                "same. Please report this, with an example of the data."
            )


def _count(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)
