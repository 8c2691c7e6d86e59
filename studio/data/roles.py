"""Define the shapes of dataset rows, the column roles of each shape, and the `Mapping` of columns to roles.

Independent of row contents: `mapping.py` converts rows to records, `shape.py` proposes mappings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from studio.options import Options, option
from studio.words import Sentence, StudioError

Shape = Literal[
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "preference",
    "ranked",
    "unpaired",
    "label",
    "label_columns",
    "image",
    "text",
]
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
"""Shape → title."""

_TALK = {"history": False, "system": False, "tools": False}
_LEARNT = {"weight": False, "mask_history": False}
ROLES: dict[str, dict[str, bool]] = {
    "messages": {"messages": True, "system": False, "tools": False, **_LEARNT},
    "sharegpt": {"messages": True, "system": False, "tools": False, **_LEARNT},
    "alpaca": {"instruction": True, "input": False, "output": True, "reasoning": False, **_TALK, **_LEARNT},
    "prompt_completion": {"prompt": True, "completion": True, "input": False, "reasoning": False, **_TALK, **_LEARNT},
    "preference": {"prompt": False, "chosen": False, "rejected": True, "better": False, "input": False, **_TALK},
    "ranked": {"prompt": True, "answers": True, "scores": False, "input": False, **_TALK},
    "unpaired": {"prompt": True, "completion": False, "label": True, "input": False, "reasoning": False, **_TALK},
    "label": {"text": True, "input": False, "label": True},
    "label_columns": {"text": True},
    "image": {"image": True, "label": True},
    "text": {"text": True},
}
"""Shape → role → whether a column is required. The form of the Data tab is generated from this.

If the chosen or the labelled answer has no column of its own, it is the last answer of the conversation in the prompt
column.
"""

ROLE_TITLES: dict[str, Sentence] = {
    "messages": Sentence("messages"),
    "tools": Sentence("tools"),
    "system": Sentence("system text"),
    "instruction": Sentence("instruction"),
    "input": Sentence("input"),
    "output": Sentence("output"),
    "history": Sentence("earlier turns"),
    "prompt": Sentence("prompt"),
    "completion": Sentence("answer"),
    "chosen": Sentence("better answer"),
    "rejected": Sentence("worse answer"),
    "label": Sentence("label"),
    "image": Sentence("picture"),
    "text": Sentence("text"),
    "answers": Sentence("answers, best first"),
    "scores": Sentence("scores of the answers"),
    "better": Sentence("which of the two is better"),
    "reasoning": Sentence("reasoning before the answer"),
    "weight": Sentence("weight of the answers"),
    "mask_history": Sentence("only the last answer is trained on"),
}
"""Role → title."""

WANTS: dict[str, Sentence] = {
    "messages": Sentence("conversations"),
    "text": Sentence("plain text"),
    "preference": Sentence("pairs of a better and a worse answer"),
    "unpaired": Sentence("answers marked good or bad"),
    "label": Sentence("texts with labels"),
    "label_sets": Sentence("texts with labels in one column or more"),
    "image": Sentence("pictures with classes"),
}
_FITS: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "sharegpt", "alpaca", "prompt_completion", "label", "preference", "ranked", "unpaired"),
    "text": ("text",),
    "preference": ("preference", "ranked"),
    "unpaired": ("unpaired",),
    "label": ("label", "label_columns"),
    "label_sets": ("label",),
    "image": ("image",),
}
"""Kind of record → shapes from which it can be made without adding content.

"messages" uses only the preferred answers of preference data, and only the answers labelled good of unpaired data.
"""


class Mapping(Options):
    """Assignment of columns to roles."""

    shape: Shape = option("messages", "Shape", "How one row of the data is built.")
    roles: dict[str, str] = option({}, "Columns", "For each role the column that plays it.", hidden=True)
    labels: list[str] = option(
        [],
        "More label columns",
        "Text and label: each is a label set of its own, beside the label's. Text and yes-or-no columns: each is a "
        "label that a row has or has not.",
        hidden=True,
    )
    system: str | None = option(
        None,
        "System text",
        "Put before every conversation that has no system message of its own. Empty: none.",
        advanced=True,
    )


def fits(mapping: Mapping, want: Want) -> bool:
    """Whether records of kind `want` can be made under `mapping`."""
    return mapping.shape in _FITS[want]


def check_mapping(mapping: Mapping, columns: Iterable[str], want: Want, name: str) -> None:
    """Raise StudioError if `mapping` does not fit the columns or `want`.

    That is the case if no record of kind `want` can be made, a required role is missing, a role is unknown, a column
    does not exist, or a label column is used twice. name: name of the source, for error messages.
    """
    if want not in get_args(Want):
        raise ValueError(f"want must be one of {get_args(Want)}, not {want!r}")
    if not fits(mapping, want):
        raise StudioError(
            "{name} holds '{shape}', from which no {want} can be made. Choose another task, or another shape on the "
            "Data tab.",
            name=name,
            shape=SHAPES[mapping.shape],
            want=WANTS[want],
        )
    have, known = list(columns), ROLES[mapping.shape]
    twice = next(
        (
            column
            for at, column in enumerate(mapping.labels)
            if column in [*mapping.roles.values(), *mapping.labels[:at]]
        ),
        None,
    )
    if twice is not None:
        raise StudioError(
            "Column '{column}' of {name} is chosen twice. The text and each label set need a column of their own.",
            column=twice,
            name=name,
        )
    columned = mapping.shape == "label_columns"
    for role, column in [*mapping.roles.items(), *(("label", column) for column in mapping.labels)]:
        if role not in known and not (columned and column in mapping.labels):
            raise StudioError(
                "'{role}' is no role of the shape '{shape}'. Its roles are: {known}.",
                role=role,
                shape=SHAPES[mapping.shape],
                known=", ".join(known),
            )
        if column not in have:
            raise StudioError(
                "{name} has no column '{column}' for {role}. Its columns are: {columns}. Choose one of these.",
                name=name,
                column=column,
                role=ROLE_TITLES[role],
                columns=", ".join(str(key) for key in have[:40]),
            )
    for role, needed in {**known, "label": columned and not mapping.labels or known.get("label", False)}.items():
        if needed and role not in mapping.roles:
            raise StudioError(
                "No column of {name} is chosen for {role}. Its columns are: {columns}. Choose one of these.",
                name=name,
                role=ROLE_TITLES[role],
                columns=", ".join(str(key) for key in have[:40]),
            )


def columns_of(mapping: Mapping) -> set[str]:
    """The columns that are read under `mapping`."""
    return {*mapping.roles.values(), *mapping.labels}
