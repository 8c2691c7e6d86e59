"""Comparisons that the surveys of the field make, as small sets of runs of the draft: `READY`.

A comparison is data: a title, an explanation, and for each of its variants what it changes in the recipe. Every variant
is validated as a recipe; where one does not go with the draft, `refusal` says why. Each variant is run with several
seeds, because a difference smaller than that between two seeds says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from studio.draft.editor import DraftEditor
from studio.jobs import client
from studio.methods import METHODS
from studio.recipe import Recipe, recipe_from
from studio.words import Sentence, StudioError

SEEDS = (1, 2, 3)
"""How many seeds can be chosen."""
# Times AdamW's learning rate. Validation loss of the captain after two epochs of LoRA on the starter: AdamW at 0.003
# 0.08; SGD at the same rate 8.5, at 100 times the rate 1.0, at 300 times 0.15, at 1000 times 2.9.
_SGD_RATE = 300


@dataclass(frozen=True)
class Variant:
    """changes: the recipe → part → option → value, what the variant changes in it."""

    title: Sentence
    changes: Callable[[Recipe], dict[str, dict]]


@dataclass(frozen=True)
class ReadyComparison:
    title: Sentence
    explanation: Sentence
    variants: tuple[Variant, ...]
    needs: tuple[str, ...] = ()  # options of the method


@dataclass(frozen=True)
class Plan:
    """What starting a comparison queues. runs: (name, recipe), in the order of the queue. seconds: forecast for all of
    them, one after another, None if it is not known; sure: it rests on measured speeds.
    """

    title: Sentence
    runs: list[tuple[Sentence, Recipe]]
    seconds: float | None
    sure: bool


def _rank(rank: int) -> Callable[[Recipe], dict]:
    return lambda recipe: {"method": {"rank": rank, "alpha": rank * recipe.method.alpha / recipe.method.rank}}


READY: dict[str, ReadyComparison] = {
    "rank": ReadyComparison(
        Sentence("Rank 8 or 16"),
        Sentence(
            "A higher rank r can learn more and costs memory. α/r, the strength of the delta, stays as you chose it."
        ),
        (Variant(Sentence("r = 8"), _rank(8)), Variant(Sentence("r = 16"), _rank(16))),
        ("rank", "alpha"),
    ),
    "alpha": ReadyComparison(
        Sentence("α = r or α = 2r"),
        Sentence("The delta is scaled by α/r. Twice the rank is the usual choice, once the rank the cautious one."),
        (
            Variant(Sentence("α = r"), lambda recipe: {"method": {"alpha": recipe.method.rank}}),
            Variant(Sentence("α = 2r"), lambda recipe: {"method": {"alpha": 2 * recipe.method.rank}}),
        ),
        ("rank", "alpha"),
    ),
    "optimiser": ReadyComparison(
        Sentence("AdamW or SGD"),
        Sentence(
            "AdamW keeps two numbers for each trainable parameter, SGD none. SGD does not scale its steps, so it gets "
            "{times} times your learning rate.",
            times=_SGD_RATE,
        ),
        (
            Variant(Sentence("AdamW"), lambda recipe: {"training": {"optimiser": "adamw"}}),
            Variant(
                Sentence("SGD"),
                lambda recipe: {
                    "training": {"optimiser": "sgd", "learning_rate": _SGD_RATE * recipe.training.learning_rate}
                },
            ),
        ),
    ),
    "schedule": ReadyComparison(
        Sentence("Learning-rate schedules"),
        Sentence("How the learning rate goes down over the run: by a cosine, in a straight line, or not at all."),
        tuple(
            Variant(title, lambda recipe, name=name: {"training": {"lr_scheduler_type": name}})
            for name, title in {
                "cosine": Sentence("Cosine to zero"),
                "linear": Sentence("Linear to zero"),
                "constant": Sentence("Constant"),
            }.items()
        ),
    ),
    "layers": ReadyComparison(
        Sentence("Attention or all layers"),
        Sentence(
            "The first paper on LoRA changed the attention only; later ones found all linear layers better, at more "
            "than twice the parameters."
        ),
        (
            Variant(Sentence("attention"), lambda recipe: {"method": {"targets": "attention"}}),
            Variant(Sentence("all linear layers"), lambda recipe: {"method": {"targets": "all-linear"}}),
        ),
        ("targets",),
    ),
}


def refusal(editor: DraftEditor, key: str) -> Sentence | None:
    """Why the comparison cannot be made from the draft; None if it can, as far as is known without reading the data."""
    preflight, ready = editor.preflight(), READY[key]
    if preflight.wrong:
        return next(iter(preflight.problems.values()))
    method = METHODS[preflight.recipe.method.name]
    for option in ready.needs:
        if option not in method.model_fields:
            return Sentence("{method} has no option '{option}'.", method=Sentence(method.title), option=option)
    for variant in ready.variants:
        try:
            recipe = _with(preflight.recipe, variant.changes(preflight.recipe))
        except StudioError as error:
            return error.sentence
        if refused := recipe.refusal(preflight.shape) or recipe.conflict():
            return refused
    return None


def plan(editor: DraftEditor, key: str, seeds: int) -> Plan:
    """The runs of a comparison with `seeds` seeds, first all variants with the draft's seed, then with the next.

    Raises StudioError with the first problem of the draft or of one of its variants.
    """
    if refused := refusal(editor, key):
        raise StudioError(refused)
    ready, draft = READY[key], editor.preflight().recipe
    variants = [(variant.title, _with(draft, variant.changes(draft))) for variant in ready.variants]
    checked = [editor.preflight_of(recipe.to_dict()) for _, recipe in variants]
    if problem := next((sentence for preflight in checked for sentence in preflight.problems.values()), None):
        raise StudioError(problem)
    forecasts = [preflight.forecast for preflight in checked]
    known = all(forecasts)
    runs = []
    for seed in range(draft.training.seed, draft.training.seed + seeds):
        for title, recipe in variants:
            name = Sentence("{variant} · seed {seed}", variant=title, seed=seed)
            runs.append((name, _with(recipe, {"training": {"seed": seed}})))
    return Plan(
        ready.title,
        runs,
        seeds * sum(each.seconds for each in forecasts) if known else None,
        known and all(each.sure for each in forecasts),
    )


def start(editor: DraftEditor, key: str, seeds: int, language: str = "en") -> str:
    """Queue the runs of a comparison; returns the tag that they have in common, its title and the time."""
    found = plan(editor, key, seeds)
    tag = f"{found.title.say(language)} · {time.strftime('%m-%d %H:%M:%S')}"
    client.start_runs(
        editor.home, editor.store, [(name.say(language), recipe.to_dict()) for name, recipe in found.runs], tag
    )
    return tag


def _with(recipe: Recipe, changes: dict[str, dict]) -> Recipe:
    """The recipe with some options changed, without a name. Raises StudioError where it is not valid then."""
    values = {**recipe.to_dict(), "name": ""}
    return recipe_from(values | {part: {**values[part], **options} for part, options in changes.items()})
