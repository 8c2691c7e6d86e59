"""Read the cells of one row by role, in the formats found in data files: text, turns, tool lists, weights.

Independent of the kind of record that is made from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from studio.data.calls import call_list, tool_schemas
from studio.data.cells import as_list, as_text, structured
from studio.data.reasoning import join_reasoning, split_reasoning
from studio.data.roles import ROLES, Mapping
from studio.data.rows import Row, RowProblem
from studio.data.speakers import ANSWER_KEYS, QUESTION_KEYS, is_turn
from studio.data.transcripts import open_prompt, transcript
from studio.data.turn_keys import UnreadKeys
from studio.data.turns import TALKS, check_order, turns, unwrapped
from studio.words import Sentence

_NO_INPUT = {"<noinput>", "nan", "none", "null"}
"""Texts in place of an input that is missing: Alpaca's, and those of tools that make texts of empty cells."""
_FLAGS = {
    "1": True,
    "1.0": True,
    "true": True,
    "yes": True,
    "0": False,
    "0.0": False,
    "false": False,
    "no": False,
    "": False,
}
"""Values of a yes-or-no column → whether it is true."""


_INNER_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")


def normal(name: str) -> str:
    """Normalise a column name: lower case, with underscores for spaces, hyphens and the capitals of camel case."""
    return _INNER_CAPITAL.sub("_", str(name).strip()).lower().replace(" ", "_").replace("-", "_")


def flag(value: Any) -> bool | None:
    """Parse a yes-or-no cell; None if it is neither."""
    return _FLAGS.get(as_text(value).strip().lower())


def turns_in(value: Any) -> list[dict] | None:
    """Return the turns in a cell: a list or a single turn, also if written as text; None if it holds anything else."""
    if isinstance(value, str):
        start = value.lstrip()[:1]
        value = as_list(value) if start == "[" else structured(value) if start == "{" else None
    items = [value] if isinstance(value, dict) else value
    return items if isinstance(items, list) and items and all(map(is_turn, items)) else None


def number_in(value: Any) -> float | None:
    """Parse a cell as a loss factor: a finite number of at least 0, or yes (1) and no (0); None if it is neither."""
    if isinstance(value, str) and (text := flag(value)) is not None and value.strip():
        return float(text)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def is_empty(value: Any) -> bool:
    """Whether a cell is None, blank or NaN."""
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


class Cells:
    """The cells of one row, read by role.

    place: how error messages refer to the row; rewrite: function that repairs a conversation's turns before their order
    is checked; separator: separator of several labels in one cell; unread: counts the keys of messages that are not
    read.
    """

    def __init__(
        self,
        mapping: Mapping,
        row: Row,
        place: Sentence,
        rewrite: Callable[[list[dict]], list[dict]] | None = None,
        separator: str = "",
        unread: UnreadKeys | None = None,
    ):
        self.mapping, self.row, self.place, self.rewrite, self.separator = mapping, row, place, rewrite, separator
        self.unread = UnreadKeys() if unread is None else unread
        self.columns = mapping.roles

    def cell(self, role: str) -> Any:
        """The value for `role`; None if no column has the role.

        Raises RowProblem if the row lacks the column of a required role.
        """
        column = self.columns.get(role)
        if column is None:
            return None
        if column not in self.row.values and ROLES[self.mapping.shape][role]:
            raise RowProblem(
                "missing",
                "{place} has no '{column}'; it has: {columns}. Add it or remove the row.",
                place=self.place,
                column=column,
                columns=", ".join(str(key) for key in list(self.row.values)[:20]) or "-",
            )
        return unwrapped(self.row.values.get(column))

    def text(self, role: str) -> str:
        """The cell as text. Raises RowProblem if it is empty."""
        found = self.text_of(role)
        if not found.strip():
            raise self.empty(role)
        return found

    def text_of(self, role: str) -> str:
        """The cell as text; "" if it is empty."""
        value = self.cell(role)
        return "" if is_empty(value) else as_text(value)

    def empty(self, role: str) -> RowProblem:
        return RowProblem(
            "empty",
            "{place} has nothing in '{column}'. Fill it or remove the row.",
            place=self.place,
            column=self.columns.get(role, role),
        )

    def turns(self, role: str) -> list[dict]:
        """The conversation in a cell. Raises RowProblem if there is none."""
        value = self.cell(role)
        if value is None or value == "":
            raise self.empty(role)
        self._see_wrapper(role)
        return turns(value, self.place, self.columns[role], self.unread.see)

    def optional_turns(self, role: str) -> list[dict] | None:
        """The turns in a cell that may hold plain text instead; None if it does."""
        found = turns_in(self.cell(role))
        if found is None:
            return None
        self._see_wrapper(role)
        return turns(found, self.place, self.columns[role], self.unread.see)

    def _see_wrapper(self, role: str) -> None:
        """Count the keys that an object has beside its list of messages."""
        value = self.row.values.get(self.columns[role])
        if isinstance(value, dict) and not is_turn(value):
            self.unread.see_keys(value, (*TALKS, "tools"))

    def prompt_turns(self, role: str) -> list[dict]:
        """All turns before the answer: the history, then the prompt (text or turns) with its input."""
        talk = self.turns(role) if isinstance(self.cell(role), list) else self.optional_turns(role)
        extra = self.text_of("input").strip() if "input" in self.columns else ""
        extra = "" if extra.lower() in _NO_INPUT else extra
        if talk is None:
            talk = self._written_talk(role)
        if talk is None:
            question = self.text(role)
            return [*self.history(), {"role": "user", "content": f"{question}\n\n{extra}" if extra else question}]
        if extra:
            last = max((at for at, turn in enumerate(talk) if turn["role"] == "user"), default=None)
            if last is None:
                return [*self.history(), *talk, {"role": "user", "content": extra}]
            talk = [
                {**turn, "content": f"{turn['content']}\n\n{extra}"} if at == last else turn
                for at, turn in enumerate(talk)
            ]
        return [*self.history(), *talk]

    def _written_talk(self, role: str) -> list[dict] | None:
        """The turns of a prompt that is written as one text; None if it is a question like any other.

        Where the answer has no column, it is the last turn.
        """
        if {"completion", "output", "chosen", "answers"}.isdisjoint(self.columns):
            return transcript(self.text_of(role))
        return open_prompt(self.text_of(role))

    def history(self) -> list[dict]:
        """The earlier turns of the conversation.

        The cell holds turns, [question, answer] pairs, objects with both, or a flat list of alternating texts. Raises
        RowProblem for anything else.
        """
        if "history" not in self.columns or is_empty(value := self.cell("history")):
            return []
        items = structured(value)
        items = items if isinstance(items, list) else None
        if items and all(map(is_turn, items)):
            return turns(items, self.place, self.columns["history"], self.unread.see)
        if items and len(items) % 2 == 0 and all(isinstance(item, str) for item in items):
            items = [items[at : at + 2] for at in range(0, len(items), 2)]
        pairs = [_exchange(item) for item in items] if items is not None else [None]
        if None in pairs:
            raise RowProblem(
                "shape",
                "{place} has a history that is no list of question and answer. Correct that row.",
                place=self.place,
            )
        for item in items:
            if isinstance(item, dict):
                self.unread.see_keys(item, (*QUESTION_KEYS, *ANSWER_KEYS))
        return [
            {"role": role, "content": as_text(words)}
            for pair in pairs
            for role, words in zip(("user", "assistant"), pair, strict=True)
        ]

    def answer(self, role: str) -> list[dict]:
        """The turns of the answer, with the row's reasoning in front of the last one."""
        message = self.optional_turns(role)
        if message is None:
            message = [self._called(role) or {"role": "assistant", "content": self.text(role)}]
        if "reasoning" not in self.columns or message[-1]["role"] != "assistant":
            return message
        return [*message[:-1], {**message[-1], "content": self.with_reasoning(message[-1]["content"])}]

    def _called(self, role: str) -> dict | None:
        """The answer as a message of tool calls, if it is a list of calls of the row's tools (xLAM); None if not."""
        value = structured(self.cell(role))
        calls = value if isinstance(value, list) else [value]
        if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
            return None
        offered = {tool["function"]["name"] for tool in self.tools().get("tools", ())}
        if not offered or not all(call["name"] in offered or "arguments" in call for call in calls):
            return None
        return {"role": "assistant", "content": "", "tool_calls": call_list(calls, self.place)}

    def with_reasoning(self, answer: str) -> str:
        """`answer` with the text of the reasoning column joined in front of it."""
        value = self.cell("reasoning")
        thoughts = "\n".join(map(as_text, value)) if isinstance(value, list) else self.text_of("reasoning")
        inline, words = split_reasoning(answer)
        if not inline or not thoughts.strip():
            return join_reasoning(thoughts, answer)
        return answer if thoughts.strip() in inline else join_reasoning(f"{thoughts.strip()}\n\n{inline}", words)

    def with_system(self, messages: list[dict]) -> list[dict]:
        """Return `messages` with the row's system text as a system message, before the text of an existing one.

        If there is neither, the system text of the mapping is used.
        """
        text = _system_text(self.cell("system")).strip() if "system" in self.columns else ""
        own = messages[0]["content"] if messages and messages[0]["role"] == "system" else None
        if own is not None:
            return (
                [{**messages[0], "content": f"{text}\n\n{own}"}, *messages[1:]]
                if text and text not in own
                else messages
            )
        text = text or (self.mapping.system or "").strip()
        return [{"role": "system", "content": text}, *messages] if text else messages

    def checked(self, messages: list[dict]) -> list[dict]:
        """Return `messages` with a system text, repaired and checked by `check_order`. Raises RowProblem."""
        whole = self.with_system(messages)
        return check_order(self.rewrite(whole) if self.rewrite else whole, self.place)

    def conversation(self, messages: list[dict]) -> dict:
        """Make a record from `messages`: order checked, loss weights of the row applied, tools added."""
        # Some files list the tools in the system turn.
        offered = [tool for turn in messages for tool in turn.get("tools", ())]
        bare = (
            [{key: value for key, value in turn.items() if key != "tools"} for turn in messages]
            if offered
            else messages
        )
        messages = self.with_weights(self.checked(self.with_weight_list(bare)))
        return {"messages": messages, **({"tools": offered} if offered else {}), **self.tools()}

    def tools(self) -> dict:
        """Return {"tools": […]} from the tools column or the object in the prompt cell; {} if there are none."""
        if "tools" in self.columns:
            value = self.cell("tools")
        else:
            asked = self.row.values.get(self.columns.get("prompt"))
            value = asked.get("tools") if isinstance(asked, dict) else None
        found = tool_schemas(value, self.place)
        return {"tools": found} if found else {}

    def with_weights(self, messages: list[dict]) -> list[dict]:
        """Return `messages` with the loss weights of the row's columns multiplied with those of the turns."""
        if "mask_history" in self.columns and self.flagged("mask_history"):
            last = len(messages) - 1
            messages = [
                {**turn, "weight": 0} if turn["role"] == "assistant" and at < last else turn
                for at, turn in enumerate(messages)
            ]
        factor = self.factor() if "weight" in self.columns else 1
        if factor == 1:
            return messages
        return [
            {**turn, "weight": turn.get("weight", 1) * factor}
            if turn["role"] == "assistant" or "weight" in turn
            else turn
            for turn in messages
        ]

    def with_weight_list(self, messages: list[dict]) -> list[dict]:
        """Return `messages` with the loss weights that the row lists, one for each message or for each answer.

        Raises RowProblem if there is another number of weights.
        """
        if "weight" not in self.columns or (listed := as_list(self.cell("weight"))) is None:
            return messages
        factors, answers = factors_in(listed), [turn for turn in messages if turn["role"] == "assistant"]
        if factors is None or len(factors) not in (len(messages), len(answers)):
            raise RowProblem(
                "shape",
                "{place} has in '{column}' no list with a weight from 0 on for each of its {messages} "
                "{messages:message|messages} or {answers} {answers:answer|answers}. Correct or remove the row.",
                place=self.place,
                column=self.columns["weight"],
                messages=len(messages),
                answers=len(answers),
            )
        each = len(factors) == len(messages)
        left = iter(factors)
        return [_weighed(turn, next(left)) if each or turn["role"] == "assistant" else turn for turn in messages]

    def flagged(self, role: str) -> bool:
        text = flag(value := self.cell(role))
        if text is None:
            raise RowProblem(
                "shape",
                "{place} has '{label}' in '{column}', which is neither true nor false. Correct or remove the row.",
                place=self.place,
                label=as_text(value)[:40],
                column=self.columns[role],
            )
        return text

    def factor(self) -> float:
        """The loss factor of the row's answers; 1 if the cell is empty. Raises RowProblem if it is no weight."""
        if is_empty(value := self.cell("weight")) or as_list(value) is not None:  # `with_weight_list` applies a list
            return 1
        number = number_in(value)
        if number is None:
            raise RowProblem(
                "shape",
                "{place} has '{value}' in '{column}', which is no weight: a number from 0 on. Correct or remove the "
                "row.",
                place=self.place,
                value=as_text(value)[:40],
                column=self.columns["weight"],
            )
        return int(number) if number.is_integer() else number


def factors_in(items: list) -> list[float] | None:
    """The loss factors in a list, 1 for an empty item; None if another item is none."""
    numbers = [1.0 if is_empty(item) else number_in(item) for item in items]
    return None if None in numbers else numbers


def _weighed(turn: dict, factor: float) -> dict:
    """Return `turn` with its loss weight multiplied; that of a turn which is not an answer is 0 unless it is marked."""
    usual = 1 if turn["role"] == "assistant" else 0
    weight = turn.get("weight", 1) * factor
    rest = {key: value for key, value in turn.items() if key != "weight"}
    return rest if weight == usual else {**rest, "weight": int(weight) if weight == int(weight) else weight}


def _exchange(item: Any) -> list | None:
    """[question, answer] of one entry of a history; None if it has another form."""
    if isinstance(item, list):
        return item if len(item) == 2 else None
    if not isinstance(item, dict):
        return None
    asked, text = (next((item[key] for key in keys if key in item), None) for keys in (QUESTION_KEYS, ANSWER_KEYS))
    return None if asked is None or text is None else [asked, text]


def _system_text(value: Any) -> str:
    """The text of a system prompt, which may be an object or a list of parts (Bedrock, Gemini)."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("content", "text", "parts") if key in value), value)
    if isinstance(value, list) and all(
        isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str)) for part in value
    ):
        return "\n\n".join(part if isinstance(part, str) else part["text"] for part in value)
    return "" if is_empty(value) else as_text(value).removeprefix("SYSTEM:")  # glaive writes it before its texts
