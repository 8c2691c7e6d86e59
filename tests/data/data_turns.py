"""One or more turns behind a question, read as a cell of messages is, or the sentence with which they are refused."""

import pytest

from studio.data.rows import RowProblem
from studio.data.turns import turns
from studio.words import Sentence

PLACE = Sentence("Line 1")


def of(*items) -> list[dict]:
    return turns([{"role": "user", "content": "hi"}, *items], PLACE, "m")[1:]


def refused(*items) -> str:
    with pytest.raises(RowProblem) as caught:
        of(*items)
    return str(caught.value)


def message_of(**keys) -> dict:
    return of({"role": "assistant", "content": "It is 4.", **keys})[0]
