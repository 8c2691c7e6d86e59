"""Propose a mapping for a source from its column names and first rows, with the evidence for it.

Independent of file formats. Every proposal can be changed by the user.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from studio.data.columns import (
    SYNONYMS,
    Column,
    Columns,
    Found,
    by_name,
    holds_history,
    named,
    names_evidence,
    role_evidence,
    weighs_turns,
    with_extra,
)
from studio.data.mapping import SHAPES, Mapping, Want, fits
from studio.data.pictures import PREFIX, title_of
from studio.data.row_cells import normal
from studio.data.rows import Row
from studio.data.shape_graded import side_by_side
from studio.data.shape_labels import (
    LOOKED_AT,
    few_values,
    label_columns,
    labels,
    more_labels,
    separator_of,
    text_evidence,
)
from studio.data.shape_preferences import (
    conversation,
    doubtful_rankings,
    list_evidence,
    preferences,
    rankings,
    verdicts,
)
from studio.data.shape_unsupported import check_supported
from studio.data.source import Source
from studio.words import Sentence, StudioError

__all__ = ["LOOKED_AT", "Proposal", "propose", "separator_of"]

_NAMED = 12  # maximum number of unknown speakers listed in the evidence
_TABLES = ("csv", "tsv", "xlsx")  # formats in which lists can only be written as text


@dataclass
class Proposal:
    """mapping: the best guess; evidence: reasons for it; alternatives: other plausible mappings."""

    mapping: Mapping
    evidence: list[Sentence]
    alternatives: list[Mapping] = field(default_factory=list)


def propose(source: Source, want: Want | None = None) -> Proposal:
    """Return the mapping that fits `source` best, preferring those from which records of kind `want` can be made.

    If none can, the best mapping of any kind is returned. Raises StudioError if no shape is recognised, or if
    the data is of a kind that cannot be trained on.
    """
    rows = list(itertools.islice(source.rows(), LOOKED_AT))
    columns = {name: Column(name) for name in source.columns}
    typed = source.format not in _TABLES
    for row in rows:
        for name, value in row.values.items():
            columns.setdefault(name, Column(name)).see(value, typed)
    check_supported(columns, rows, source.name, source.format)
    found = [candidate for look in _LOOKS if (candidate := look(columns, rows))]
    if not found:
        raise StudioError(
            "The columns of {name} ({columns}) do not look like chat, text, labels or preferences. Choose the shape "
            "and its columns yourself.",
            name=source.name,
            columns=", ".join(map(str, list(columns)[:20])) or "-",
        )
    if want:
        found.sort(key=lambda candidate: not fits(candidate[0], want))
    (mapping, evidence), rest = found[0], found[1:]
    if want == "label_sets" and mapping.shape == "label":
        mapping, evidence = more_labels(mapping, evidence, columns)
    return Proposal(
        mapping, [Sentence("Read as: {shape}.", shape=SHAPES[mapping.shape]), *evidence], [other for other, _ in rest]
    )


def _conversations(columns: Columns, rows: list[Row]) -> Found:
    candidates = [column for name, column in columns.items() if not holds_history(columns, name)]
    best = max(candidates, key=lambda column: (max(column.openai, column.sharegpt), column.ordered), default=None)
    if best is None or max(best.openai, best.sharegpt) < 0.5 * max(1, best.filled):
        return None
    if best.name in (by_name(columns, ("chosen", "rejected"), ("prompt",)) or {}).values():
        return None
    if not best.ordered and best.name in (by_name(columns, ("prompt", "completion"), ()) or {}).values():
        return None  # the turns are prompts without answers, which are in the other column
    if 2 * best.answered < best.filled and any(named(columns, role, {best.name}) for role in ("completion", "answers")):
        return None  # the same, for a column of any name
    shape = "messages" if best.openai >= best.sharegpt else "sharegpt"
    roles = with_extra(columns, {"messages": best.name}, ("system", "tools", *_LEARNT))
    if "weight" not in roles and (listed := weighs_turns(columns, rows, best.name)):
        roles["weight"] = listed
    keys = ("role", "content") if shape == "messages" else ("from", "value")
    evidence = [
        Sentence(
            "Column '{column}' holds conversations written as one text, with the speaker's name before each message, "
            "in {count} of {rows} {rows:row|rows}.",
            column=best.name,
            count=best.transcripts,
            rows=len(rows),
        )
        if 2 * best.transcripts > best.filled
        else Sentence(
            "Column '{column}' holds lists of {first} and {second} in {count} of {rows} {rows:row|rows}.",
            column=best.name,
            first=keys[0],
            second=keys[1],
            count=max(best.openai, best.sharegpt),
            rows=len(rows),
        ),
        Sentence(
            "user and assistant alternate in {count} of {rows} {rows:row|rows}.", count=best.ordered, rows=len(rows)
        ),
        *(
            Sentence(
                "'{name}' is no name of a role; it speaks in turn with one other, so it is taken for the {role} in "
                "{count} of {rows} {rows:row|rows}.",
                name=name[:40],
                role=role,
                count=count,
                rows=len(rows),
            )
            for (name, role), count in best.taken.most_common(_NAMED)
        ),
        *role_evidence(columns, roles),
    ]
    return Mapping(shape=shape, roles=roles), evidence


_AROUND = ("input", "history", "system", "tools", "reasoning")
_LEARNT = ("weight", "mask_history")


def _instructions(columns: Columns, rows: list[Row]) -> Found:
    roles = by_name(columns, ("instruction", "output"))
    if roles is None:
        return None
    asked = named(
        columns, "prompt", {*roles.values()} | {name for name in columns if normal(name) not in ("question", "query")}
    )
    if asked and named(columns, "input", set(roles.values())) is None:
        roles["input"] = asked  # a fixed instruction with a separate question
    return _answered("alpaca", roles, columns, rows)


def _answered(shape: str, roles: dict[str, str], columns: Columns, rows: list[Row]) -> Found:
    """A mapping of prompt and answer with all optional roles for which there is a column."""
    roles = with_extra(columns, roles, tuple(role for role in (*_AROUND, *_LEARNT) if role not in roles))
    answer = roles["output" if shape == "alpaca" else "completion"]
    named_so = {
        role: column for role, column in roles.items() if columns[column].filled and role not in ("reasoning", *_LEARNT)
    }
    return Mapping(shape=shape, roles=roles), [
        *names_evidence(named_so),
        *role_evidence(columns, roles),
        *list_evidence(columns, rows, answer),
    ]


def _comprehension(columns: Columns, rows: list[Row]) -> Found:
    """Recognise reading comprehension: a question, a passage, and an answer or SQuAD's list of answers."""
    found = by_name(columns, ("prompt", "passage"))
    answer = found and (
        named(columns, "completion", set(found.values())) or named(columns, "answers", set(found.values()))
    )
    if not answer or not columns[answer].texts:
        return None
    mapping, evidence = _answered(
        "alpaca", {"instruction": found["prompt"], "input": found["passage"], "output": answer}, columns, rows
    )
    if wrapped := sum(isinstance(row.values.get(answer), dict) for row in rows):
        evidence.append(
            Sentence(
                "Column '{column}' holds lists of answers, as SQuAD does, in {count} of {rows} {rows:row|rows}; the "
                "first of each is trained on.",
                column=answer,
                count=wrapped,
                rows=len(rows),
            )
        )
    return mapping, evidence


def _pairs(columns: Columns, rows: list[Row]) -> Found:
    roles = by_name(columns, ("prompt", "completion"))
    if (
        (talk := conversation(columns, set(), answered=False))
        and talk not in (roles or {}).values()
        and (answer := named(columns, "completion", {talk}))
    ):
        roles = {"prompt": talk, "completion": answer}
    if roles is None and (roles := by_name(columns, ("prompt", "answers"))):
        roles = {"prompt": roles["prompt"], "completion": roles["answers"]}
    if roles and normal(roles["prompt"]) in SYNONYMS["text"] and few_values(columns[roles["completion"]]):
        return None  # messages with their classes
    return _answered("prompt_completion", roles, columns, rows) if roles else None


def _summaries(columns: Columns, rows: list[Row]) -> Found:
    """Recognise a text and its summary."""
    found = by_name(columns, ("article", "summary"))
    if found is None or not columns[found["article"]].texts:
        return None
    return _answered("prompt_completion", {"prompt": found["article"], "completion": found["summary"]}, columns, rows)


def _pictures(columns: Columns, rows: list[Row]) -> Found:
    image = next(
        (
            name
            for name, column in columns.items()
            if column.filled and all(str(row.values.get(name) or PREFIX).startswith(PREFIX) for row in rows)
        ),
        None,
    )
    label = image and named(columns, "label", {image})
    if not label:
        return None
    if any(title_of(str(row.values.get(image))) == f"{image}/{row.number}" for row in rows):
        return Mapping(shape="image", roles={"image": image, "label": label}), names_evidence(
            {"image": image, "label": label}
        )
    evidence = [
        Sentence(
            "{count} {count:folder holds|folders hold} the pictures, so each folder's name is a class.",
            count=len(columns["label"].values),
        )
    ]
    return Mapping(shape="image", roles={"image": image, "label": label}), evidence


def _first_two(columns: Columns, rows: list[Row]) -> Found:
    texts = [column.name for column in columns.values() if column.texts]
    if len(columns) != 2 or len(texts) != 2:
        return None
    evidence = [
        Sentence(
            "There are two columns of text; '{first}' comes first, so it is taken for the question. Check this.",
            first=texts[0],
        )
    ]
    return Mapping(shape="prompt_completion", roles={"prompt": texts[0], "completion": texts[1]}), evidence


def _texts(columns: Columns, rows: list[Row]) -> Found:
    """Recognise plain text, by the column's name or as the only column.

    Other text columns are not proposed, because they rarely hold everything that is to be trained on.
    """
    column = named(columns, "text")
    texts = [name for name, seen in columns.items() if seen.texts]
    if column is None and len(texts) == 1 and len(columns) == 1:
        column = texts[0]
    if column is None or not columns[column].texts:
        return None
    return Mapping(shape="text", roles={"text": column}), [text_evidence(columns[column])]


_LOOKS = (
    _pictures,
    preferences,
    side_by_side,
    verdicts,
    _conversations,
    rankings,
    _instructions,
    _comprehension,
    _pairs,
    _summaries,
    doubtful_rankings,
    label_columns,
    labels,
    _first_two,
    _texts,
)
