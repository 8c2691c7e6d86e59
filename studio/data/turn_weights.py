"""Loss weights of a turn as data files mark them: a factor for the whole turn, and factors for spans of its text.

    weight, loss_weight, loss_scale    a number: OpenAI (0 or 1), LLaMA-Factory, ms-swift
    loss, train, training, trainable   true or false, or a number: ms-swift, axolotl
    train_on_turn                      the same: home-llm, for axolotl's message_field_training
    loss_mask, step_loss_mask          the same, 1 is trained on: slime
    masked, mask_loss, no_loss         true or false, true is not trained on: torchtune
    train_detail, training_detail      [{"begin_offset", "end_offset", "train"}] in characters of the content: axolotl.
                                       Both offsets are inclusive; characters in no entry are not trained on.

The factor is 1 if nothing is marked; the factors of different marks are multiplied. Raises RowProblem for an invalid
factor.
"""

from __future__ import annotations

import math
from typing import Any

from studio.data.cells import as_text, structured
from studio.data.rows import RowProblem
from studio.words import Sentence

MARKS = (
    *("weight", "loss_weight", "loss_scale", "loss", "train", "training", "trainable", "train_on_turn"),
    *("loss_mask", "step_loss_mask"),
)
NEGATED = ("masked", "mask_loss", "no_loss")
"""Marks with inverted meaning: true is not trained on."""
DETAILS = ("train_detail", "training_detail")
_SAID = {"true": 1, "false": 0}

Spans = list[list]
"""[[start, end, factor], …]: half-open character ranges in order, without those whose factor is 1."""


def weight_of(item: dict, place: Sentence) -> float | None:
    """The product of the distinct factors that a turn or a span is marked with; None if it has no mark."""
    found = {_number(item[key], key, place) for key in MARKS if key in item and as_text(item[key]).strip()}
    for key in NEGATED:
        if key in item and as_text(item[key]).strip():
            masked = _number(item[key], key, place)
            if masked not in (0, 1):
                raise _no_weight(item[key], key, place)
            found.add(1 - masked)
    return math.prod(found) if found else None


def _number(value: Any, key: str, place: Sentence) -> float:
    if value in (0, 1):  # includes False and True
        return int(value)
    try:
        text = as_text(value).strip().lower()
        number = _SAID[text] if text in _SAID else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise _no_weight(value, key, place)
    return int(number) if number == int(number) else number


def _no_weight(value: Any, key: str, place: Sentence) -> RowProblem:
    return RowProblem(
        "shape",
        "{place} has a message with '{key}': {value}, which is no weight. Write true, false, or a number from 0 up.",
        place=place,
        key=key,
        value=as_text(value)[:40],
    )


def detailed(item: dict, length: int, place: Sentence) -> Spans | None:
    """Span factors from axolotl's `train_detail`, for a content of `length` characters; None if the turn has none."""
    details = next((structured(item[key]) for key in DETAILS if item.get(key)), None)
    if not details:
        return None
    labelled = [0.0] * length
    for detail in details if isinstance(details, list) else [details]:
        begin, end = (_offset(detail, key, place) for key in ("begin_offset", "end_offset"))
        factor = weight_of(detail, place)
        if end < begin or factor is None:
            raise _no_detail(place)
        for at in range(begin, min(end + 1, length)):
            labelled[at] = max(labelled[at], factor)
    return _runs(labelled)


def _offset(detail: Any, key: str, place: Sentence) -> int:
    value = detail.get(key) if isinstance(detail, dict) else None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < math.inf
        or value != int(value)
    ):
        raise _no_detail(place)
    return int(value)


def _no_detail(place: Sentence) -> RowProblem:
    return RowProblem(
        "shape",
        "{place} has a 'train_detail' that is no list of begin_offset, end_offset and train. Correct that row.",
        place=place,
    )


def _runs(factors: list[float]) -> Spans:
    found: Spans = []
    for at, factor in enumerate(factors):
        if found and found[-1][2] == factor and found[-1][1] == at:
            found[-1][1] = at + 1
        else:
            found.append([at, at + 1, factor])
    return [
        [start, end, int(factor) if factor == int(factor) else factor] for start, end, factor in found if factor != 1
    ]


def overlaid(one: Spans, other: Spans) -> Spans:
    """Combine two lists of spans; where spans overlap, their factors are multiplied."""
    if not one or not other:
        return one or other
    cuts = sorted({at for start, end, _ in (*one, *other) for at in (start, end)})
    found: Spans = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        factor = math.prod(span[2] for span in (*one, *other) if span[0] <= start and end <= span[1])
        if factor == 1:
            continue
        if found and found[-1][1] == start and found[-1][2] == factor:
            found[-1][1] = end
        else:
            found.append([start, end, factor])
    return found


def moved(spans: Spans, by: int) -> Spans:
    """Shift `spans` by a number of characters."""
    return [[start + by, end + by, factor] for start, end, factor in spans]
