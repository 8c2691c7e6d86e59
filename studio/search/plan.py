"""A hyperparameter search as it was started: recipe, space, metric, budget; a file in a folder of its own in the home.

searches/ID/search.json      the plan; written once, never changed
searches/ID/study.sqlite3    the engine's own record of all tries (Optuna)
searches/ID/rows/            the rows of the data: to train on, to choose by, and the untouched ones
searches/ID/lock             held by the driver that takes a step
"""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.home import Home, safe_name
from studio.recipe import Recipe, recipe_from
from studio.runs.comparison import LOWER_IS_BETTER
from studio.search.space import Parameter
from studio.words import Sentence, StudioError

METRICS_OF_TASK = {
    "messages": ("eval_loss", "exact_match"),
    "text": ("eval_loss",),
    "preference": ("eval_loss", "preferred"),
    "unpaired": ("eval_loss", "reward_accuracy"),
    "label": ("macro_f1", "correct", "eval_loss"),
    "label_sets": ("macro_f1", "correct", "eval_loss"),
    "image": ("macro_f1", "correct", "eval_loss"),
}
"""Kind of record → the metrics by which its tries can be judged, the proposed one first."""
MAX_TRIES, MAX_MINUTES = 500, 7 * 24 * 60
PRUNING: dict[str, Sentence] = {
    "halving": Sentence("Yes, half at each look"),
    "hyperband": Sentence("Yes, more cautiously"),
    "none": Sentence("No, never"),
}
"""Rule by which tries are stopped early → title: asynchronous successive halving (Li et al. 2020, arXiv:1810.05934),
Hyperband (Li et al. 2018, arXiv:1603.06560), or none."""
_LOOKS = 4  # least number of evaluations of a try


class Plan(BaseModel):
    """What a search is to do. recipe: of the draft. metric: that tries are judged by. tries, minutes: the budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: str
    created: float
    recipe: dict
    parameters: list[Parameter] = Field(min_length=1)
    metric: str
    pruning: Literal["halving", "hyperband", "none"] = "halving"
    tries: int = Field(ge=1, le=MAX_TRIES)
    minutes: float = Field(gt=0, le=MAX_MINUTES)
    seed: int = 0

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    @property
    def looks(self) -> int:
        """How many evaluations a try has."""
        return max(_LOOKS, self.draft.training.evaluations)

    @property
    def draft(self) -> Recipe:
        """The recipe from which the search started."""
        return recipe_from(self.recipe)

    @property
    def tag(self) -> str:
        """The tag of its runs, by which Compare runs finds them."""
        return self.title


def new_id() -> str:
    return time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)


def folder(home: Home, search_id: str) -> Path:
    """The folder of a search."""
    return home.root / "searches" / safe_name(search_id)


def write(home: Home, plan: Plan) -> None:
    """Write a new search, whole or not at all."""
    place = folder(home, plan.id)
    half = place.with_name(f".{plan.id}.half")
    half.mkdir(parents=True)
    (half / "search.json").write_text(plan.model_dump_json(), encoding="utf-8")
    os.replace(half, place)


def read(home: Home, search_id: str) -> Plan:
    """Read a search. Raises StudioError if there is none of this id, or its file cannot be read."""
    path = folder(home, search_id) / "search.json"
    if not path.exists():
        raise StudioError("There is no search '{search}'.", search=search_id)
    try:
        return Plan.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise StudioError("{file} cannot be read ({detail}).", file=str(path), detail=error) from error


def listed(home: Home) -> list[str]:
    """The ids of all searches, newest first."""
    return sorted((path.parent.name for path in (home.root / "searches").glob("[!.]*/search.json")), reverse=True)
