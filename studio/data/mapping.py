"""A mapping says what a row's columns are; under it a row becomes one normalised record of the kind that a task wants.

    messages    {"messages": [{"role", "content"}, ...]} and "tools" where the row has them
    text        {"text": str}
    preference  {"prompt": [{"role", "content"}, ...], "chosen": str, "rejected": str}
    unpaired    {"prompt": [{"role", "content"}, ...], "completion": str, "label": bool}
    label       {"text": str, "label": str | list[str]}
    label_sets  {"text": str, "label": {label column: str}}, without the columns that the row leaves empty
    image       {"image": the place of a picture (`pictures.py`), "label": str}

Knows nothing about files; `shape.py` proposes mappings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from studio.data.pictures import PREFIX
from studio.data.rows import Row, RowProblem, place
from studio.data.turns import as_list, as_text, check_order, transcript, turns, unwrapped
from studio.options import Options, option
from studio.words import Sentence, StudioError

Shape = Literal["messages", "sharegpt", "alpaca", "prompt_completion", "preference", "ranked", "unpaired", "label", "label_columns", "image", "text"]
Want = Literal["messages", "text", "preference", "unpaired", "label", "label_sets", "image"]

SHAPES: dict[str, Sentence] = {
    "messages": Sentence("Conversations (role and content)"),
    "sharegpt": Sentence("Conversations (from and value)"),
    "alpaca": Sentence("Instruction, input, output"),
    "prompt_completion": Sentence("Prompt and answer"),
    "preference": Sentence("Better and worse answer"),
    "ranked": Sentence("Several answers, best first"),
    "unpaired": Sentence("Answer and thumbs up or down"),
    "label": Sentence("Text and label"),
    "label_columns": Sentence("Text and yes-or-no columns"),
    "image": Sentence("Picture and class"),
    "text": Sentence("Plain text"),
}
"""What a person reads for each shape."""

ROLES: dict[str, dict[str, bool]] = {
    "messages": {"messages": True, "tools": False},
    "sharegpt": {"messages": True, "system": False, "tools": False},
    "alpaca": {"instruction": True, "input": False, "output": True, "history": False, "system": False},
    "prompt_completion": {"prompt": True, "completion": True, "system": False},
    "preference": {"prompt": False, "chosen": True, "rejected": True, "system": False},
    "ranked": {"prompt": True, "input": False, "answers": True, "history": False, "system": False},
    "unpaired": {"prompt": True, "completion": True, "label": True, "system": False},
    "label": {"text": True, "label": True},
    "label_columns": {"text": True},
    "image": {"image": True, "label": True},
    "text": {"text": True},
}
"""Shape → its roles → whether a column must be given. The form of the Data tab is drawn from this."""

ROLE_TITLES: dict[str, Sentence] = {
    "messages": Sentence("messages"), "tools": Sentence("tools"), "system": Sentence("system text"), "instruction": Sentence("instruction"),
    "input": Sentence("input"), "output": Sentence("output"), "history": Sentence("earlier turns"), "prompt": Sentence("prompt"),
    "completion": Sentence("answer"), "chosen": Sentence("better answer"), "rejected": Sentence("worse answer"),
    "label": Sentence("label"), "image": Sentence("picture"), "text": Sentence("text"), "answers": Sentence("answers, best first"),
}
"""What a person reads for each role."""

WANTS: dict[str, Sentence] = {
    "messages": Sentence("conversations"), "text": Sentence("plain text"), "preference": Sentence("pairs of a better and a worse answer"),
    "unpaired": Sentence("answers marked good or bad"),
    "label": Sentence("texts with labels"), "label_sets": Sentence("texts with labels in one column or more"), "image": Sentence("pictures with classes"),
}
_FITS: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "sharegpt", "alpaca", "prompt_completion", "label", "preference", "ranked"),
    "text": ("text",), "preference": ("preference", "ranked"), "unpaired": ("unpaired",), "label": ("label", "label_columns"), "label_sets": ("label",), "image": ("image",),
}
"""Wanted record → shapes it can be made from without losing or inventing anything."""


class Mapping(Options):
    """Which column plays which role."""

    shape: Shape = option("messages", "Shape", "How one row of the data is built.")
    roles: dict[str, str] = option({}, "Columns", "For each role the column that plays it.", hidden=True)
    labels: list[str] = option(
        [], "More label columns", "Text and label: each is a label set of its own, beside the label's. Text and yes-or-no columns: each is a label that a row has or has not.", hidden=True
    )
    system: str | None = option(
        None, "System text", "Put before every conversation that has no system message of its own. Empty: none.", advanced=True
    )


def fits(mapping: Mapping, want: Want) -> bool:
    """Whether records of kind `want` can be made under `mapping`."""
    return mapping.shape in _FITS[want]


def check_mapping(mapping: Mapping, columns: Iterable[str], want: Want, name: str) -> None:
    """Raises StudioError if `mapping` cannot serve `want`, lacks a role, names a column that `name` does not have, or a label column twice."""
    if want not in get_args(Want):
        raise ValueError(f"want must be one of {get_args(Want)}, not {want!r}")
    if not fits(mapping, want):
        raise StudioError(
            "{name} holds '{shape}', from which no {want} can be made. Choose another task, or another shape on the Data tab.",
            name=name, shape=SHAPES[mapping.shape], want=WANTS[want],
        )
    have, known = list(columns), ROLES[mapping.shape]
    twice = next((column for at, column in enumerate(mapping.labels) if column in [*mapping.roles.values(), *mapping.labels[:at]]), None)
    if twice is not None:
        raise StudioError("Column '{column}' of {name} is chosen twice. The text and each label set need a column of their own.", column=twice, name=name)
    columned = mapping.shape == "label_columns"
    for role, column in [*mapping.roles.items(), *(("label", column) for column in mapping.labels)]:
        if role not in known and not (columned and column in mapping.labels):
            raise StudioError(
                "'{role}' is no role of the shape '{shape}'. Its roles are: {known}.", role=role, shape=SHAPES[mapping.shape], known=", ".join(known)
            )
        if column not in have:
            raise StudioError(
                "{name} has no column '{column}' for {role}. Its columns are: {columns}. Choose one of these.", name=name, column=column,
                role=ROLE_TITLES[role], columns=", ".join(str(key) for key in have[:40]),
            )
    for role, needed in {**known, "label": columned and not mapping.labels or known.get("label", False)}.items():
        if needed and role not in mapping.roles:
            raise StudioError(
                "No column of {name} is chosen for {role}. Its columns are: {columns}. Choose one of these.", name=name, role=ROLE_TITLES[role],
                columns=", ".join(str(key) for key in have[:40]),
            )


def apply(
    mapping: Mapping, row: Row, want: Want = "messages", name: str = "the data", unit: str = "line",
    mend: Callable[[list[dict]], list[dict]] | None = None, separator: str = "",
) -> dict:
    """`row` as one record of kind `want` (see the module). name and unit: how the sentence calls the row's place.
    mend: puts a conversation's turns in order before the order is checked. separator: what stands between the labels of a cell
    that may hold several, or none; "" where a row has one label.

    Raises RowProblem (a StudioError with a `kind`) where this row cannot be used, and StudioError where the mapping
    cannot serve `want` at all.
    """
    if not fits(mapping, want):
        check_mapping(mapping, row.values, want, name)
    where = place(row.file or name, row.number, unit)
    return _MAKERS[mapping.shape](_Cells(mapping, row, where, mend, separator), want)


class _Cells:
    """The cells of one row, asked for by role."""

    def __init__(self, mapping: Mapping, row: Row, where: Sentence, mend: Callable[[list[dict]], list[dict]] | None = None, separator: str = ""):
        self.mapping, self.row, self.place, self.mend, self.separator = mapping, row, where, mend, separator

    def cell(self, role: str) -> Any:
        """The value for `role`; None where no column plays it. A needed column that the row lacks is a problem."""
        column = self.mapping.roles.get(role)
        if column is None:
            return None
        if column not in self.row.values and ROLES[self.mapping.shape][role]:
            raise RowProblem(
                "missing", "{place} has no '{column}'; it has: {columns}. Add it or remove the row.", place=self.place, column=column,
                columns=", ".join(str(key) for key in list(self.row.values)[:20]) or "-",
            )
        return unwrapped(self.row.values.get(column))

    def text(self, role: str) -> str:
        """The cell as text; a problem where it is empty."""
        found = as_text(self.cell(role))
        if not found.strip():
            raise RowProblem(
                "empty", "{place} has nothing in '{column}'. Fill it or remove the row.", place=self.place,
                column=self.mapping.roles.get(role, role),
            )
        return found

    def talks(self, role: str) -> bool:
        """Whether the cell holds a list of turns, be it as JSON text, and not words."""
        items = as_list(self.cell(role)) or []
        return bool(items) and all(isinstance(item, dict) and not item.keys().isdisjoint(("role", "from")) for item in items)

    def turns(self, role: str) -> list[dict]:
        value = self.cell(role)
        if value is None or value == "":
            raise RowProblem(
                "empty", "{place} has nothing in '{column}'. Fill it or remove the row.", place=self.place, column=self.mapping.roles[role]
            )
        return turns(value, self.place, self.mapping.roles[role])

    def with_system(self, messages: list[dict]) -> list[dict]:
        """`messages` with the row's or the mapping's system text in front, unless they bring one."""
        text = as_text(self.cell("system")) if "system" in ROLES[self.mapping.shape] else ""
        text = text.strip() or (self.mapping.system or "").strip()
        if not text or (messages and messages[0]["role"] == "system"):
            return messages
        return [{"role": "system", "content": text}, *messages]

    def checked(self, messages: list[dict]) -> list[dict]:
        """`messages` with a system text, in an order that a chat template can render; a problem where they are not."""
        whole = self.with_system(messages)
        return check_order(self.mend(whole) if self.mend else whole, self.place)

    def exchange(self, prompt: str, answer: str, before: list[dict] | None = None) -> dict:
        asked = [*(before or []), {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return {"messages": self.checked(asked)}


def _conversation(cells: _Cells, want: Want) -> dict:
    record: dict = {"messages": cells.checked(cells.turns("messages"))}
    tools = cells.cell("tools")
    if tools:
        found = as_list(tools)
        if found is None:
            raise RowProblem("shape", "{place} has tools that are no list. Mend that row, or choose another column.", place=cells.place)
        record["tools"] = found
    return record


def _alpaca(cells: _Cells, want: Want) -> dict:
    return cells.exchange(_asked(cells, "instruction"), cells.text("output"), _history(cells))


def _asked(cells: _Cells, role: str) -> str:
    """The question with its input, as Alpaca puts them together."""
    question, extra = cells.text(role), as_text(cells.cell("input")).strip()
    return f"{question}\n\n{extra}" if extra else question


def _history(cells: _Cells) -> list[dict]:
    """Earlier questions and answers as turns."""
    value, before = cells.cell("history"), []
    pairs = as_list(value)
    if pairs is None and as_text(value).strip():
        raise RowProblem("shape", "{place} has a history that is no list of question and answer. Mend that row.", place=cells.place)
    for pair in pairs or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowProblem("shape", "{place} has a history that is no list of question and answer. Mend that row.", place=cells.place)
        before += [{"role": "user", "content": as_text(pair[0])}, {"role": "assistant", "content": as_text(pair[1])}]
    return before


def _prompt_completion(cells: _Cells, want: Want) -> dict:
    asked = cells.turns("prompt") if isinstance(cells.cell("prompt"), list) or cells.talks("prompt") else [{"role": "user", "content": cells.text("prompt")}]
    said = cells.turns("completion") if cells.talks("completion") else [{"role": "assistant", "content": cells.text("completion")}]
    return {"messages": cells.checked([*asked, *said])}


def _preference(cells: _Cells, want: Want) -> dict:
    prompt, chosen, rejected = _best_and_worst(cells) if cells.mapping.shape == "ranked" else _pair(cells)
    check_order([*prompt, {"role": "assistant", "content": chosen}], cells.place)
    if want == "messages":
        return {"messages": [*prompt, {"role": "assistant", "content": chosen}]}
    if chosen == rejected:
        raise RowProblem("same", "{place} has the same text as chosen and rejected. Change one or remove the row.", place=cells.place)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _pair(cells: _Cells) -> tuple[list[dict], str, str]:
    """(prompt, chosen, rejected); where both answers are whole conversations, the prompt is what they share."""
    asked = cells.cell("prompt")
    prompt = cells.turns("prompt") if isinstance(asked, list) or cells.talks("prompt") else []
    if not prompt and as_text(asked).strip():
        prompt = [{"role": "user", "content": as_text(asked)}]
    answers = []
    for role in ("chosen", "rejected"):
        talk = cells.turns(role) if isinstance(cells.cell(role), list) or cells.talks(role) else None if prompt else transcript(cells.text(role))
        if talk is None:
            answers.append((prompt, cells.text(role)))
            continue
        if not talk or talk[-1]["role"] != "assistant" or not talk[-1]["content"].strip():
            raise RowProblem("order", "{place} has no assistant's answer at the end of '{column}'. Mend or remove the row.", place=cells.place,
                             column=cells.mapping.roles[role])
        answers.append((talk[:-1] or prompt, talk[-1]["content"]))
    (prompt, chosen), (other, rejected) = answers
    if prompt != other:
        raise RowProblem("shape", "{place} has chosen and rejected answers to different prompts. Mend or remove the row.", place=cells.place)
    if not prompt:
        raise RowProblem("empty", "{place} has no prompt. Choose the column that holds it, or remove the row.", place=cells.place)
    return cells.with_system(prompt), chosen, rejected


def _best_and_worst(cells: _Cells) -> tuple[list[dict], str, str]:
    """(prompt, first answer, last answer) of a ranking; what stands between them is not learnt from."""
    answers = as_list(cells.cell("answers"))
    if answers is None or len(answers) < 2 or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise RowProblem("shape", "{place} has no list of two or more answers in '{column}'. Mend or remove the row.", place=cells.place,
                         column=cells.mapping.roles["answers"])
    prompt = cells.turns("prompt") if isinstance(cells.cell("prompt"), list) else [{"role": "user", "content": _asked(cells, "prompt")}]
    return cells.with_system([*_history(cells), *prompt]), answers[0], answers[-1]


YES_OR_NO = {
    "true": True, "1": True, "1.0": True, "yes": True, "good": True, "like": True, "thumbs_up": True, "\U0001f44d": True,
    "false": False, "0": False, "0.0": False, "-1": False, "no": False, "bad": False, "dislike": False, "thumbs_down": False, "\U0001f44e": False,
}
"""What files write for an answer that is wanted, and for one that is not."""


def _unpaired(cells: _Cells, want: Want) -> dict:
    label = YES_OR_NO.get(as_text(cells.cell("label")).strip().lower())
    if label is None:
        cells.text("label")
        raise RowProblem("shape", "{place} has '{label}' in '{column}', which is neither true nor false. Mend or remove the row.", place=cells.place,
                         label=as_text(cells.cell("label"))[:40], column=cells.mapping.roles["label"])
    *prompt, answer = _prompt_completion(cells, want)["messages"]
    return {"prompt": prompt, "completion": answer["content"], "label": label}


def _label(cells: _Cells, want: Want) -> dict:
    if want == "label_sets":
        return _label_sets(cells)
    text, label = cells.text("text"), cells.cell("label")
    several = as_list(label)
    if want == "messages":
        return cells.exchange(text, ", ".join(as_text(item) for item in several) if several else cells.text("label"))
    if several is None and _LIKE_A_LIST.match(written := as_text(label).strip()):
        raise RowProblem("shape", "{place} has {label} in '{column}', which is no list that can be read. Put its labels in quotes, with commas between them.",
                         place=cells.place, label=written[:40], column=cells.mapping.roles["label"])
    if cells.separator:
        return {"text": text, "label": labels_in(label, cells.separator)}
    labels = labels_in(several) if several is not None else None
    if labels == []:
        raise RowProblem("empty", "{place} has an empty list in '{column}'. Switch on Several labels, with which a text may have none, or give it a label.",
                         place=cells.place, column=cells.mapping.roles["label"])
    return {"text": text, "label": cells.text("label").strip() if labels is None else labels}


_LIKE_A_LIST = re.compile(r"""\[\s*['"]""")


def labels_in(value: Any, separator: str = "") -> list[str]:
    """The labels in one cell, each once: the items of a list, or what stands between the separators."""
    items = as_list(value)
    if items is None or not all(isinstance(item, str | int | float) for item in items):
        items = as_text(value).split(separator) if separator else [value]
    return list(dict.fromkeys(label for item in items if (label := as_text(item).strip())))


def _label_sets(cells: _Cells) -> dict:
    text, values = cells.text("text"), cells.row.values
    found = {column: as_text(values.get(column)).strip() for column in (cells.mapping.roles["label"], *cells.mapping.labels)}
    found = {column: label for column, label in found.items() if label}
    if not found:
        cells.text("label")
    return {"text": text, "label": found}


_FLAGS = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False, "": False}
"""What files write into the column of a label that a row has, and of one that it has not."""


def flag(value: Any) -> bool | None:
    """Whether a row has the label in whose column `value` stands; None where that says neither yes nor no."""
    return _FLAGS.get(as_text(value).strip().lower())


def _label_columns(cells: _Cells, want: Want) -> dict:
    """The columns that say yes are the text's labels, which may be none; where all are empty nobody has said anything."""
    text, names, values = cells.text("text"), cells.mapping.labels, cells.row.values
    if not any(as_text(values.get(name)).strip() for name in names):
        raise RowProblem("empty", "{place} has nothing in '{column}'. Fill it or remove the row.", place=cells.place, column=", ".join(names)[:200])
    if (odd := next((name for name in names if flag(values.get(name)) is None), None)) is not None:
        raise RowProblem("shape", "{place} has '{label}' in '{column}', which is neither true nor false. Mend or remove the row.", place=cells.place, label=as_text(values[odd])[:40], column=odd)
    return {"text": text, "label": [name for name in names if flag(values.get(name))]}


def _image(cells: _Cells, want: Want) -> dict:
    place = cells.text("image")
    if not place.startswith(PREFIX):
        raise RowProblem("shape", "{place} names no picture that was read. Bring the pictures themselves, in a zip of folders by class.", place=cells.place)
    return {"image": place, "label": cells.text("label").strip()}


def _text(cells: _Cells, want: Want) -> dict:
    return {"text": cells.text("text")}


_MAKERS: dict[str, Callable[[_Cells, Want], dict]] = {
    "messages": _conversation, "sharegpt": _conversation, "alpaca": _alpaca, "prompt_completion": _prompt_completion,
    "preference": _preference, "ranked": _preference, "unpaired": _unpaired, "label": _label, "label_columns": _label_columns, "image": _image,
    "text": _text,
}
