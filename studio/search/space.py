"""The space of a hyperparameter search: which options of a recipe are changed, and between which values.

An option says in its own field whether it can be searched and where (`studio.options.SearchRange`); a person ticks
options and narrows ranges.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from studio.methods import METHODS
from studio.options import SearchRange, form_fields, search_ranges
from studio.recipe import Recipe, recipe_from
from studio.training_options import Training
from studio.words import Sentence, StudioError

SPACES: dict[str, tuple[Sentence, Sentence]] = {
    "rate": (Sentence("Learning rate only"), Sentence("The option that matters most; a few tries are enough.")),
    "rank_rate": (
        Sentence("Rank and learning rate"),
        Sentence("How much the delta can learn, and how fast. α/r, its strength, stays as you chose it."),
    ),
    "everything": (Sentence("Everything"), Sentence("All options that can be searched. Needs many tries.")),
}
"""Key → (title, explanation) of the spaces that are proposed."""
_DIGITS = 4  # significant digits of a proposed number


class Parameter(BaseModel):
    """One option that a search changes: its place in the recipe, and its range, or the choices that are tried.

    whole: it is a whole number. log: values are drawn evenly by their logarithm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str
    key: str
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its dotted name in the recipe, "training.learning_rate"."""
        return f"{self.part}.{self.key}"

    def value_in(self, recipe: dict) -> Any:
        return recipe[self.part].get(self.key)

    def rounded(self, value: Any) -> Any:
        """A proposed value as it is written to the recipe: a number with few digits, within the range."""
        if self.choices or self.whole:
            return value
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def contains(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


def searchable(recipe: Recipe) -> list[Parameter]:
    """All options of the recipe that can be searched, each with its proposed range, in the order of the forms."""
    found = []
    for part, cls in (("training", Training), ("method", METHODS[recipe.method.name])):
        fields = {field["key"]: field for field in form_fields(cls)}
        for key, search in search_ranges(cls).items():
            current = getattr(getattr(recipe, part), key)
            if search.choices:
                found.append(Parameter(part=part, key=key, choices=search.choices))
            elif current is not None:
                found.append(_ranged(part, fields[key], search, current))
    return found


def _ranged(part: str, field: dict, search: SearchRange, current: float) -> Parameter:
    """The proposed range of a number; it always holds the recipe's own value."""
    low, high = (current / search.factor, current * search.factor) if search.factor else (search.low, search.high)
    least, most = field["minimum"], field["maximum"]
    low = min(low, current) if least is None else max(min(low, current), least)
    high = max(high, current) if most is None else min(max(high, current), most)
    log = search.log and low > 0
    if field["kind"] == "integer":
        low, high = math.floor(low), math.ceil(high)
    return Parameter(
        part=part, key=field["key"], low=_short(low), high=_short(high), whole=field["kind"] == "integer", log=log
    )


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def title_of(recipe: Recipe, parameter: Parameter) -> Sentence:
    cls = Training if parameter.part == "training" else METHODS[recipe.method.name]
    return Sentence(cls.model_fields[parameter.key].title)


def proposed(recipe: Recipe, space: str) -> list[Parameter]:
    """The parameters of a key of SPACES. Raises StudioError where the recipe's method has no such option."""
    if space not in SPACES:
        raise StudioError("Spaces are {choices}, not '{space}'.", choices=", ".join(SPACES), space=space)
    found = searchable(recipe)
    if space == "everything":
        return found
    wanted = ["training.learning_rate", *(["method.rank"] if space == "rank_rate" else [])]
    by_name = {parameter.name: parameter for parameter in found}
    for name in wanted:
        if name not in by_name:
            raise StudioError(
                "{method} has no option '{option}'.",
                method=Sentence(METHODS[recipe.method.name].title),
                option=name.partition(".")[2],
            )
    return [by_name[name] for name in wanted]


def narrowed(recipe: Recipe, parameter: Parameter, low: Any = None, high: Any = None) -> Parameter:
    """The parameter with the ends that a person gave, as numbers or text; None keeps the end.

    Raises StudioError, with one sentence, where they are no range of this option.
    """
    title = title_of(recipe, parameter)
    if parameter.choices:
        return parameter
    ends = []
    for given, kept in ((low, parameter.low), (high, parameter.high)):
        try:
            value = kept if given in (None, "") else float(given)
        except (TypeError, ValueError):
            raise StudioError("{title} must be a number, but is '{given}'.", title=title, given=given) from None
        if not math.isfinite(value):
            raise StudioError("{title} must be a number, but is '{given}'.", title=title, given=given)
        if parameter.whole and not value.is_integer():
            raise StudioError("{title} must be a whole number, but is '{given}'.", title=title, given=given)
        ends.append(value)
    made = parameter.model_copy(update={"low": ends[0], "high": ends[1], "log": parameter.log and ends[0] > 0})
    if made.low >= made.high:
        raise StudioError(
            "{title}: the search needs a range, but it is from {low} to {high}. The second must be greater.",
            title=title,
            low=_plain(made.low),
            high=_plain(made.high),
        )
    for value in ends:  # an end that the option does not allow is refused by the option itself
        _allowed(recipe, made, int(value) if made.whole else value)
    return made


def _allowed(recipe: Recipe, parameter: Parameter, value: Any) -> None:
    """Raise StudioError where the option's own limits forbid the value."""
    cls = Training if parameter.part == "training" else METHODS[recipe.method.name]
    field = next(field for field in form_fields(cls) if field["key"] == parameter.key)
    title = title_of(recipe, parameter)
    if field["minimum"] is not None and value < field["minimum"]:
        raise StudioError(
            "{title} must be at least {limit}, but is {given}.",
            title=title,
            limit=_plain(field["minimum"]),
            given=_plain(value),
        )
    if field["maximum"] is not None and value > field["maximum"]:
        raise StudioError(
            "{title} must be at most {limit}, but is {given}.",
            title=title,
            limit=_plain(field["maximum"]),
            given=_plain(value),
        )


def _plain(value: float) -> str:
    return f"{value:g}"


def changed(recipe: Recipe, parameters: list[Parameter], values: dict[str, Any]) -> Recipe:
    """The recipe with the values of a try, name of the parameter → value, and without a name.

    If the rank is searched and α is not, α/r stays as it was. Raises StudioError where the recipe is not valid then.
    """
    made = {**recipe.to_dict(), "name": ""}
    for parameter in parameters:
        made[parameter.part] = {**made[parameter.part], parameter.key: values[parameter.name]}
    method, names = made["method"], {parameter.name for parameter in parameters}
    if "method.rank" in names and "method.alpha" not in names and "alpha" in method:
        method["alpha"] = method["rank"] * recipe.method.alpha / recipe.method.rank
    return recipe_from(made)
