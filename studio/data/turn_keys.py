"""Count the keys of messages, of their parts and calls, of exchanges and of graded answers that hold something and are
not read. A key of a part is named content.KEY, one of a tool call tool_calls.KEY.

Only conversations that are not plain turns are looked at, so plain ones cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from studio.data.calls import CALL_KEYS, call_objects
from studio.data.cells import as_text
from studio.data.contents import RESULT_KEYS, TEXT_KEYS, calls_of_part, medium_of_part, result_of_part
from studio.data.speakers import ROLES, speaker
from studio.data.turns import CALLS, CONTENTS, MARKED, READ, READ_OF

_KEPT = 1000
"""Maximum number of distinct keys that are counted, to bound memory where keys are values."""


class UnreadKeys:
    """Counts, for the rows of one file, the messages that have something in a key that is not read.

    weights_read: whether loss weights are read; those of judged answers are not. counts: key → messages. `name` is
    counted too where it is no name of a tool: it is read, but few chat templates write it.
    """

    def __init__(self, weights_read: bool = True):
        self.counts: Counter[str] = Counter()
        self._read_of_text = TEXT_KEYS.difference(() if weights_read else MARKED)
        self._read = {
            role: READ.difference(
                ("name",) if role != "tool" else (),
                *(keys for other, keys in READ_OF.items() if other != role),
                () if weights_read else MARKED,
            )
            for role in {*ROLES.values()}
        }

    def see(self, items: list) -> None:
        """Count the keys of the turns of one conversation; a speaker of no known role may have any key that is read."""
        for item in items:
            if not isinstance(item, dict):
                continue
            plain = len(item) <= 2 and item.keys() <= {"role", "content", "from", "value"}
            if not plain:
                self._see_turn(item)
            if not plain or isinstance(item.get("content", item.get("value")), list):
                self._see_parts(item)

    def _see_turn(self, item: dict) -> None:
        value = item.get("content")
        if value is None:
            value = next((item[key] for key in CONTENTS if item.get(key) is not None), None)
        read = self._read.get(ROLES.get(speaker(item)), READ)
        self.see_keys(item, read, [key for key in CONTENTS if key in item and item[key] != value])

    def _see_parts(self, item: dict) -> None:
        """Count the keys of the parts of the turn's content, and of its calls."""
        for parts in (item[key] for key in CONTENTS if isinstance(item.get(key), list)):
            for part in parts:
                if isinstance(part, dict):
                    self._see_part({key: value for key, value in part.items() if value is not None})
        for calls in (item[key] for key in CALLS if item.get(key)):
            self._see_calls(calls)

    def _see_part(self, part: dict) -> None:
        if (calls := calls_of_part(part)) is not None:
            self._see_calls(calls)
        elif (result := result_of_part(part)) is not None:
            self.see_keys(result if isinstance(result, dict) else {}, RESULT_KEYS, within="content.")
        elif medium_of_part(part) is None:  # media are reported as such
            self.see_keys(part, self._read_of_text, within="content.")

    def _see_calls(self, calls: Any) -> None:
        for each in call_objects(calls):
            self.see_keys(each, CALL_KEYS, within="tool_calls.")

    def see_keys(self, item: dict, read: Collection[str], besides: Collection[str] = (), within: str = "") -> None:
        """Count the keys of an object that hold something and are not in `read`, and those `besides` them.

        within: what each key's name begins with.
        """
        for key, value in item.items():
            if (key not in read or key in besides) and not _is_blank(value):
                name = f"{within}{key}"
                if name in self.counts or len(self.counts) < _KEPT:
                    self.counts[name] += 1


def _is_blank(value: Any) -> bool:
    """Whether a value holds nothing, also deep inside: columnar files give every message all keys of any message."""
    waiting = [value]
    while waiting:  # a loop, since values may be nested more deeply than functions can
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)
        elif as_text(value).strip():
            return False
    return True
