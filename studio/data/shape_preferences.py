"""Recognise preference pairs, rankings and good/bad labels from the column names and the first rows."""

from __future__ import annotations

import re
from collections import Counter

from studio.data.cells import as_list, as_text
from studio.data.columns import (
    SYNONYMS,
    Columns,
    Found,
    by_name,
    holds_history,
    named,
    names_evidence,
    role_evidence,
    with_extra,
)
from studio.data.mapping import Mapping
from studio.data.preference_rows import OF_BAD, YES_OR_NO, verdict
from studio.data.row_cells import normal
from studio.data.rows import Row
from studio.data.shape_graded import scores_beside
from studio.words import Sentence

_AROUND = ("input", "history", "system", "tools")
# Columns of these names usually hold grades; they count as verdicts only if 95 % of the values are yes or no.
_DOUBTFUL = ("rating", "score", "quality", "preferred", "reward")
# Column names of answers in some files, and of yes-or-no verdicts in others.
_VERDICTS_TOO = (
    "good",
    "bad",
    "better",
    "worse",
    "accepted",
    "refused",
    "preferred",
    "dispreferred",
    "winner",
    "loser",
)


def conversation(columns: Columns, taken: set[str], answered: bool | None = None) -> str | None:
    """Return the column that holds conversations, chosen by name if there are several; None if there is none.

    answered: whether the conversations must end with an answer (True), must not (False), or may (None).
    """
    found = {
        name: column
        for name, column in columns.items()
        if name not in taken and column.looks_like_conversation and column.lists and not holds_history(columns, name)
    }
    if answered is not None:
        found = {name: column for name, column in found.items() if (2 * column.answered >= column.filled) == answered}
    return named(found, "messages") or next(iter(found), None)


def _verdict(columns: Columns, name: str) -> Counter:
    """Counts of the values of a column that mean yes or no."""
    if columns[name].lists:
        return Counter()
    return Counter({value: count for value, count in columns[name].values.items() if value.lower() in YES_OR_NO})


def _only_good(columns: Columns, name: str) -> bool:
    """Whether no value of a column means no, so that it does not tell good from bad answers."""
    return all(verdict(value, name) for value in _verdict(columns, name))


def preferences(columns: Columns, rows: list[Row]) -> Found:
    """Recognise preference pairs.

    The chosen answer may also be the end of a conversation, or in a column named like an answer.
    """
    texts = {
        name: column
        for name, column in columns.items()
        if normal(name) not in _VERDICTS_TOO or _verdict(columns, name).total() < 0.9 * max(1, column.filled)
    }
    rejected = named(texts, "rejected")
    if rejected is None:
        return None
    roles = {"rejected": rejected}
    chosen = named(texts, "chosen", {rejected})
    talk = conversation(columns, {rejected, chosen or ""})
    if chosen is None:
        talk = conversation(columns, {rejected}, answered=True)
        chosen = None if talk else named(texts, "completion", {rejected})
        if not (talk or chosen):
            return None
    roles |= {"chosen": chosen} if chosen else {}
    prompt = (
        talk if talk and not (chosen and _whole(columns, chosen)) else named(columns, "prompt", set(roles.values()))
    )
    if prompt and chosen and prompt != talk and _whole(columns, chosen) and not _repeats(rows, prompt, chosen):
        prompt = None  # the conversations contain their prompts, and this column holds something else
    roles = {**({"prompt": prompt} if prompt else {}), **({"chosen": chosen} if chosen else {}), "rejected": rejected}
    roles = with_extra(columns, roles, _AROUND if prompt else _AROUND[1:])
    evidence = names_evidence({role: column for role, column in roles.items() if column != talk})
    if talk in roles.values():
        evidence.insert(
            0,
            Sentence("Column '{column}' holds the conversation that comes before the answers.", column=talk)
            if chosen
            else Sentence(
                "The last answer of the conversation in '{column}' is the better one, '{rejected}' the worse one.",
                column=talk,
                rejected=rejected,
            ),
        )
    if columns[rejected].ranked:
        evidence.append(
            Sentence(
                "Column '{column}' holds lists of answers in {count} of {rows} {rows:row|rows}; only the first of each "
                "is trained on.",
                column=rejected,
                count=columns[rejected].lists,
                rows=len(rows),
            )
        )
    return Mapping(shape="preference", roles=roles), evidence


def _whole(columns: Columns, name: str) -> bool:
    """Whether at least half of the cells of an answer column are complete conversations."""
    return 2 * columns[name].ordered >= max(1, columns[name].filled)


def _repeats(rows: list[Row], prompt: str, chosen: str) -> bool:
    """Whether the prompt column repeats what the conversations in the chosen column contain."""
    pairs = [(as_text(asked), as_text(row.values.get(chosen))) for row in rows if (asked := row.values.get(prompt))]
    return bool(pairs) and 2 * sum(as_text([asked])[2:-2] in talk or asked in talk for asked, talk in pairs) >= len(
        pairs
    )


def verdicts(columns: Columns, rows: list[Row]) -> Found:
    """Recognise answers labelled good or bad: prompt, answer and label, the first two also as one conversation."""
    least = {name: 0.95 if normal(name) in _DOUBTFUL else 0.5 for name in columns}
    names = {
        normal(name): name
        for name, column in columns.items()
        if _verdict(columns, name).total() > least[name] * column.filled
        and not (normal(name) in _DOUBTFUL and _only_good(columns, name))
    }
    rated = next((names[synonym] for synonym in SYNONYMS["rated"] if synonym in names), None)
    if rated is None:
        return None
    rest = {name: column for name, column in columns.items() if name != rated}
    roles = by_name(rest, ("prompt", "completion")) or {}
    if talk := conversation(rest, set(roles.values()), answered=True):
        roles = {"prompt": talk}
    elif (talk := conversation(rest, set(roles.values()), answered=False)) and (
        answer := named(rest, "completion", {talk})
    ):
        roles = {"prompt": talk, "completion": answer}
    if not roles:
        return None
    roles = with_extra(rest, roles, ((*_AROUND, "reasoning") if "completion" in roles else _AROUND))
    known = _verdict(columns, rated)
    good = sum(count for value, count in known.items() if verdict(value, rated))
    evidence = [
        Sentence(
            "Column '{column}' says yes or no in {answered} of {rows} {rows:row|rows}, yes in {count} of them.",
            column=rated,
            answered=known.total(),
            count=good,
            rows=len(rows),
        ),
        *names_evidence({role: column for role, column in roles.items() if column != talk}),
        *role_evidence(rest, roles),
    ]
    if normal(rated) in OF_BAD:
        evidence[0] = Sentence(
            "Column '{column}' says which answers are bad: {count} of {rows} {rows:row|rows} {count:is|are} good.",
            column=rated,
            count=good,
            rows=len(rows),
        )
    if talk:
        evidence.insert(
            1,
            Sentence("What it judges is the last answer of the conversation in '{column}'.", column=talk)
            if "completion" not in roles
            else Sentence("Column '{column}' holds the conversation that comes before the answers.", column=talk),
        )
    return Mapping(shape="unpaired", roles={**roles, "label": rated}), evidence


# ---- rankings, as opposed to answers that are lists ------------------------------------------------------------------

_ASKS_FOR_A_LIST = re.compile(
    r"\b(?:json|lists?|arrays?|enumerate|extract|name (?:\w+ )?\w+s|all (?:the )?\w+s)\b|列出|列表|清单|数组",
    re.IGNORECASE,
)


def rankings(columns: Columns, rows: list[Row]) -> Found:
    """Recognise a prompt with a list of ranked answers, also in the columns of the Alpaca format."""
    found = _ranking(columns, rows)
    return found if found and why_one_answer(columns, rows, found[0].roles["answers"]) is None else None


def doubtful_rankings(columns: Columns, rows: list[Row]) -> Found:
    """Like `rankings`, for columns whose lists are more likely one answer each."""
    found = _ranking(columns, rows)
    return found if found and why_one_answer(columns, rows, found[0].roles["answers"]) is not None else None


def _ranking(columns: Columns, rows: list[Row]) -> Found:
    answers = named(columns, "answers")
    if answers is None or max(columns[answers].ranked, columns[answers].graded) < 0.5 * max(1, columns[answers].filled):
        return None
    prompt = named(columns, "prompt", {answers}) or conversation(columns, {answers}, answered=False)
    if prompt is None:
        return None
    roles, evidence = {"prompt": prompt, "answers": answers}, _ranking_evidence(columns, rows, answers)
    if not columns[answers].graded and (scores := scores_beside(columns, rows, answers)):
        roles["scores"] = scores
        evidence = Sentence(
            "Column '{scores}' grades the answers in '{column}' one by one. The best is the one with {best:the lowest "
            "rank|the highest score}.",
            scores=scores,
            column=answers,
            best=1 if "rank" in normal(scores) else 2,
        )
    return Mapping(shape="ranked", roles=with_extra(columns, roles, _AROUND)), [
        evidence,
        *names_evidence({"prompt": prompt}),
    ]


def _ranking_evidence(columns: Columns, rows: list[Row], answers: str) -> Sentence:
    if columns[answers].graded:
        return Sentence(
            "Column '{column}' holds lists of answers with a rank or score each in {count} of {rows} {rows:row|rows}. "
            "The best is the one with the lowest rank or the highest score.",
            column=answers,
            count=columns[answers].graded,
            rows=len(rows),
        )
    return Sentence(
        "Column '{column}' holds lists of two or more answers in {count} of {rows} {rows:row|rows}. If each list is "
        "one answer, choose the shape 'Prompt and answer' "
        "or 'Instruction, input, output'.",
        column=answers,
        count=columns[answers].ranked,
        rows=len(rows),
    )


def why_one_answer(columns: Columns, rows: list[Row], name: str) -> Sentence | None:
    """Reason why each list of texts in a column is one answer and not a ranking; None if it looks like a ranking."""
    column = columns[name]
    if column.graded:
        return Sentence("its name is that of one answer") if normal(name) == "output" else None
    if 2 * column.written > column.ranked:
        return Sentence("they stand as text in the file")
    if 2 * _found_in_questions(rows, name) > column.ranked:
        return Sentence("what they hold stands in the questions")
    if normal(name) != "output":  # all other names of the role "answers" imply several answers
        return None
    if column.ranked < column.filled:
        return Sentence("not every row has two or more different texts there")
    if max(column.items.values()) < 0.9 * column.ranked:
        return Sentence("some are longer than others")
    if 2 * sum(bool(_ASKS_FOR_A_LIST.search(_question(row, name))) for row in rows) > len(rows):
        return Sentence("the questions ask for lists")
    return Sentence("they hold single words") if column.words < 1.5 * column.ranked else None


def _question(row: Row, answer: str) -> str:
    return "\n".join(as_text(value) for name, value in row.values.items() if name != answer)


def _found_in_questions(rows: list[Row], name: str) -> int:
    """Number of rows in which most list items occur in the other columns, as in extraction tasks."""
    lists = [(row, [as_text(item) for item in as_list(row.values.get(name)) or []]) for row in rows]
    return sum(2 * sum(item in _question(row, name) for item in items) > len(items) for row, items in lists if items)


def list_evidence(columns: Columns, rows: list[Row], answer: str) -> list[Sentence]:
    """Evidence on an answer column whose cells hold lists of texts."""
    lists = max(columns[answer].ranked, columns[answer].graded)
    if not lists:
        return []
    reason = why_one_answer(columns, rows, answer) or Sentence("its name is that of one answer")
    return [
        Sentence(
            "Column '{column}' holds lists in {count} of {rows} {rows:row|rows}; each is taken as one answer, as JSON: "
            "{reason}. If they are several answers, the best one "
            "first, choose the shape 'Several answers, best first'.",
            column=answer,
            count=lists,
            rows=len(rows),
            reason=reason,
        )
    ]
