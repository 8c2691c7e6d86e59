"""The cells of one row, asked for by role, in the forms in which files write them: words, turns, lists of tools, weights.

Knows nothing about which records are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from studio.data.calls import tool_schemas
from studio.data.cells import as_list, as_text, structured
from studio.data.reasoning import join_reasoning, split_reasoning
from studio.data.roles import ROLES, Mapping
from studio.data.rows import Row, RowProblem
from studio.data.speakers import is_turn
from studio.data.turns import check_order, turns, unwrapped
from studio.words import Sentence

ASKED = ("user", "human", "query", "question", "prompt", "instruction", "input", "q")
"""Keys of a question in an object that holds one exchange."""
SAID = ("assistant", "gpt", "bot", "response", "answer", "completion", "output", "a")
"""Keys of its answer."""
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
"""What files write into the column of a label that a row has, and of one that it has not."""


def normal(name: str) -> str:
    """A column's name without capitals, blanks and hyphens."""
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def flag(value: Any) -> bool | None:
    """Whether a row has the label in whose column `value` stands; None where that says neither yes nor no."""
    return _FLAGS.get(as_text(value).strip().lower())


def turns_in(value: Any) -> list[dict] | None:
    """The turns as a cell holds them: a list of them or a single one, either also as written in text; None where it holds anything else."""
    if isinstance(value, str):
        start = value.lstrip()[:1]
        value = as_list(value) if start == "[" else structured(value) if start == "{" else None
    items = [value] if isinstance(value, dict) else value
    return items if isinstance(items, list) and items and all(map(is_turn, items)) else None


def number_in(value: Any) -> float | None:
    """A cell as the factor of a loss: a number from 0 on, 1 for yes and 0 for no; None where it is none of these."""
    if isinstance(value, str) and (text := flag(value)) is not None and value.strip():
        return float(text)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def is_empty(value: Any) -> bool:
    """Whether a cell says nothing: none, blanks, or not a number."""
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


class Cells:
    """The cells of one row. place: how a sentence calls the row; mend: puts a conversation's turns in order before the order is checked;
    separator: what stands between several labels in one cell."""

    def __init__(
        self,
        mapping: Mapping,
        row: Row,
        place: Sentence,
        rewrite: Callable[[list[dict]], list[dict]] | None = None,
        separator: str = "",
    ):
        self.mapping, self.row, self.place, self.rewrite, self.separator = mapping, row, place, rewrite, separator
        self.columns = mapping.roles

    def cell(self, role: str) -> Any:
        """The value for `role`; None where no column plays it. A needed column that the row lacks is a problem."""
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
        """The cell as text; a problem where it is empty."""
        found = self.text_of(role)
        if not found.strip():
            raise self.empty(role)
        return found

    def text_of(self, role: str) -> str:
        """The cell as text; nothing where it is empty."""
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
        """The conversation in a cell; a problem where it holds none."""
        value = self.cell(role)
        if value is None or value == "":
            raise self.empty(role)
        return turns(value, self.place, self.columns[role])

    def talk(self, role: str) -> list[dict] | None:
        """The turns in a cell that may hold words in their place, which gives None."""
        found = turns_in(self.cell(role))
        return None if found is None else turns(found, self.place, self.columns[role])

    def asked(self, role: str) -> list[dict]:
        """All that comes before the answer: earlier turns, then the question, words or turns, with its input."""
        talk = self.turns(role) if isinstance(self.cell(role), list) else self.talk(role)
        extra = self.text_of("input").strip() if "input" in self.columns else ""
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

    def history(self) -> list[dict]:
        """Earlier questions and answers as turns: pairs of both, objects of both, turns, or one text after the other."""
        if "history" not in self.columns or is_empty(value := self.cell("history")):
            return []
        items = structured(value)
        items = items if isinstance(items, list) else None
        if items and all(map(is_turn, items)):
            return turns(items, self.place, self.columns["history"])
        if items and len(items) % 2 == 0 and all(isinstance(item, str) for item in items):
            items = [items[at : at + 2] for at in range(0, len(items), 2)]
        pairs = [_exchange(item) for item in items] if items is not None else [None]
        if None in pairs:
            raise RowProblem(
                "shape",
                "{place} has a history that is no list of question and answer. Correct that row.",
                place=self.place,
            )
        return [
            {"role": role, "content": as_text(words)}
            for pair in pairs
            for role, words in zip(("user", "assistant"), pair, strict=True)
        ]

    def answer(self, role: str) -> list[dict]:
        """The answer's turns, after the row's reasoning."""
        message = self.talk(role)
        if message is None:
            message = [{"role": "assistant", "content": self.text(role)}]
        if "reasoning" not in self.columns or message[-1]["role"] != "assistant":
            return message
        return [*message[:-1], {**message[-1], "content": self.reasoned(message[-1]["content"])}]

    def reasoned(self, answer: str) -> str:
        """`answer` behind the reasoning that has a column of its own."""
        value = self.cell("reasoning")
        thoughts = "\n".join(map(as_text, value)) if isinstance(value, list) else self.text_of("reasoning")
        inline, words = split_reasoning(answer)
        if not inline or not thoughts.strip():
            return join_reasoning(thoughts, answer)
        return answer if thoughts.strip() in inline else join_reasoning(f"{thoughts.strip()}\n\n{inline}", words)

    def with_system(self, messages: list[dict]) -> list[dict]:
        """`messages` with the row's system text in front, before one of their own, or with the mapping's where neither says anything."""
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
        """`messages` with a system text, in an order that a chat template can render; a problem where they are not."""
        whole = self.with_system(messages)
        return check_order(self.rewrite(whole) if self.rewrite else whole, self.place)

    def conversation(self, messages: list[dict]) -> dict:
        """`messages` as a record: checked, weighed as the row says, with its tools."""
        offered = [
            tool for turn in messages for tool in turn.get("tools", ())
        ]  # some files offer them in the system turn
        bare = (
            [{key: value for key, value in turn.items() if key != "tools"} for turn in messages]
            if offered
            else messages
        )
        return {"messages": self.weighed(self.checked(bare)), **({"tools": offered} if offered else {}), **self.tools()}

    def tools(self) -> dict:
        """{"tools": […]} where the row offers any, in a column of its own or beside the messages of its prompt; else nothing."""
        if "tools" in self.columns:
            value = self.cell("tools")
        else:
            asked = self.row.values.get(self.columns.get("prompt"))
            value = asked.get("tools") if isinstance(asked, dict) else None
        found = tool_schemas(value, self.place)
        return {"tools": found} if found else {}

    def weighed(self, messages: list[dict]) -> list[dict]:
        """`messages` whose answers have the weights that the row's own columns ask for, on top of what each turn says."""
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
        """The factor of the loss of the row's answers; 1 where the row says nothing."""
        if is_empty(value := self.cell("weight")):
            return 1
        number = number_in(value)
        if number is None:
            raise RowProblem(
                "shape",
                "{place} has '{value}' in '{column}', which is no weight: a number from 0 on. Correct or remove the row.",
                place=self.place,
                value=as_text(value)[:40],
                column=self.columns["weight"],
            )
        return int(number) if number.is_integer() else number


def _exchange(item: Any) -> list | None:
    """[question, answer] of one entry of a history; None where it is none."""
    if isinstance(item, list):
        return item if len(item) == 2 else None
    if not isinstance(item, dict):
        return None
    asked, text = (next((item[key] for key in keys if key in item), None) for keys in (ASKED, SAID))
    return None if asked is None or text is None else [asked, text]


def _system_text(value: Any) -> str:
    """A system text, also where it comes in parts, as Bedrock writes it."""
    if isinstance(value, dict):
        value = value.get("content", value.get("text", value))
    if isinstance(value, list) and all(
        isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str)) for part in value
    ):
        return "\n\n".join(part if isinstance(part, str) else part["text"] for part in value)
    return "" if is_empty(value) else as_text(value)
