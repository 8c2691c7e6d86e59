"""Order the answers of a row by the grades that stand with them, and find which of two answers is the better one.

[{"answer": "…", "rank": 2}, …]  [{"response": "…", "overall_score": 7.5}, …]     grades in the list (Nectar,
                                                                                  UltraFeedback, Vertex)
["…", "…"] and [1.0, 5.0]                                                         grades in a list of their own
response_0, response_1 and better_response_id: 1                                  which of two columns is better
"""

from __future__ import annotations

import math
import os
import re
from typing import Any

from studio.data.cells import as_list, as_text
from studio.data.row_cells import normal
from studio.data.speakers import ANSWER_KEYS, is_turn

_TEXTS = (*ANSWER_KEYS, "text", "content", "value", "generation", "generated_text", "message")
_RANKS = ("rank", "ranking")
_SCORES = ("score", "overall_score", "rating", "reward", "grade")
GRADED = frozenset((*_TEXTS, *_RANKS, *_SCORES))
"""Keys of an answer in a list of graded answers that are read."""
_MARKS = (("0", "1"), ("1", "2"), ("a", "b"), ("j", "k"))
_TIES = ("tie", "both", "neither", "same", "equal", "none", "draw")


def is_graded(value: Any) -> bool:
    """Whether a cell is a list of two or more objects, each with an answer and its rank or score."""
    items = as_list(value)
    return bool(items) and len(items) > 1 and all(map(_graded, items))


def graded_answers(value: Any) -> list[tuple[Any, float]]:
    """(answer: a text or a turn, grade: more is better) of each object in such a cell."""
    return [_graded(item) for item in as_list(value) or []]


def _graded(item: Any) -> tuple[Any, float] | None:
    if not isinstance(item, dict) or is_turn(item):
        return None
    answer = next((item[key] for key in _TEXTS if isinstance(item.get(key), str) or is_turn(item.get(key))), None)
    for keys, sign in ((_RANKS, -1), (_SCORES, 1)):
        grade = next((number for key in keys if (number := _number(item.get(key))) is not None), None)
        if answer is not None and grade is not None:
            return answer, sign * grade
    return None


def grades_in(value: Any, column: str) -> list[float] | None:
    """The grades in a cell of `column`, more is better; None if it is no list of numbers."""
    items = as_list(value)
    numbers = [_number(item) for item in items or []]
    if not numbers or None in numbers:
        return None
    return [-number for number in numbers] if "rank" in normal(column) else numbers


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def two_columns(names: list[str], stems: set[str]) -> tuple[str, str] | None:
    """Two columns named alike but for a mark, such as response_0 and response_1; None if there are none, or a third.

    stems: normalised names without the mark that count.
    """
    for marks in _MARKS:
        for first in names:
            stem, mark = normal(first)[:-1], normal(first)[-1:]
            if mark != marks[0] or stem.strip("_") not in stems:
                continue
            alike = [name for name in names if re.fullmatch(re.escape(stem) + "[0-9a-k]", normal(name))]
            second = next((name for name in alike if normal(name) == stem + marks[1]), None)
            if second and len(alike) == 2:
                return first, second
    return None


def first_is_better(value: Any, first: str, second: str) -> bool | None:
    """Whether `value` names the column `first` as the better one; None if it names neither of the two.

    It may be the column's name, its mark, or end with the mark: "response_1", "1", "model_b".
    """
    text = re.sub(r"\.0$", "", normal(as_text(value)))
    names = normal(first), normal(second)
    if text in names:
        return text == names[0]
    cut = len(os.path.commonprefix(names))
    if (found := re.fullmatch(r"(?:[^-]*[^-0-9a-z])?([0-9a-z]+)", text)) and found[1] in (
        names[0][cut:],
        names[1][cut:],
    ):
        return found[1] == names[0][cut:]
    return None


def is_tie(value: Any) -> bool:
    """Whether `value` says that neither of two answers is better."""
    return normal(as_text(value)).startswith(_TIES) or not as_text(value).strip()
