"""Make records from rows with preference pairs, rankings or good/bad labels.

The records hold preferences or feedback; if `want` is "messages", they are conversations with the preferred or good
answer only. Independent of file formats.
"""

from __future__ import annotations

from studio.data.cells import as_list, as_text
from studio.data.gradings import GRADED, first_is_better, graded_answers, grades_in, is_graded, is_tie
from studio.data.roles import Want
from studio.data.row_cells import Cells, flag, is_empty, normal
from studio.data.rows import RowProblem
from studio.data.transcripts import transcript
from studio.data.turns import check_order, turns

YES_OR_NO = {
    "true": True,
    "1": True,
    "1.0": True,
    "yes": True,
    "y": True,
    "good": True,
    "like": True,
    "liked": True,
    "thumbs_up": True,
    "thumbs up": True,
    "up": True,
    "upvote": True,
    "desirable": True,
    "positive": True,
    "correct": True,
    "approved": True,
    "+1": True,
    "accepted": True,
    "chosen": True,
    "\U0001f44d": True,
    "好": True,
    "赞": True,
    "是": True,
    "false": False,
    "0": False,
    "0.0": False,
    "-1": False,
    "-1.0": False,
    "no": False,
    "n": False,
    "bad": False,
    "dislike": False,
    "disliked": False,
    "thumbs_down": False,
    "thumbs down": False,
    "down": False,
    "downvote": False,
    "undesirable": False,
    "negative": False,
    "incorrect": False,
    "wrong": False,
    "rejected": False,
    "\U0001f44e": False,
    "坏": False,
    "踩": False,
    "否": False,
}
"""Values in data files → whether the answer is marked as good."""
OF_BAD = (
    "thumbs_down",
    "thumb_down",
    "disliked",
    "is_disliked",
    "dislike",
    "downvoted",
    "downvote",
    "undesirable",
    "is_undesirable",
    "is_bad",
)
"""Column names with inverted meaning: true marks a bad answer."""


def verdict(value: object, column: str) -> bool | None:
    """Whether the `value` in `column` marks the answer as good; None if it says neither good nor bad."""
    text = YES_OR_NO.get(as_text(value).strip().lower())
    return text if text is None or normal(column) not in OF_BAD or flag(value) is None else not text


def preference(cells: Cells, want: Want) -> dict:
    """The record of a preference pair or ranking: prompt, chosen, rejected; the chosen conversation for "messages"."""
    prompt, chosen, rejected = (
        _best_and_worst(cells) if cells.mapping.shape == "ranked" else _pair(cells, alone=want == "messages")
    )
    if cells.rewrite and (mended := cells.rewrite([*prompt, chosen])) and mended[-1] == chosen:
        prompt = mended[:-1]
    check_order([*prompt, chosen], cells.place)
    if want == "messages":
        return {"messages": [*prompt, chosen], **cells.tools()}
    better, worse = (_words(cells, answer) for answer in (chosen, rejected))
    if better == worse:
        raise RowProblem(
            "same", "{place} has the same text as chosen and rejected. Change one or remove the row.", place=cells.place
        )
    return {"prompt": prompt, "chosen": better, "rejected": worse, **cells.tools()}


def _words(cells: Cells, answer: dict) -> str:
    """The text of a judged answer. Raises RowProblem if the answer calls tools."""
    if answer.get("tool_calls"):
        raise RowProblem(
            "calls",
            "{place} has an answer that calls tools, which cannot be trained on with judgements yet, only in Chat. "
            "Remove the row.",
            place=cells.place,
        )
    return answer["content"]


def _pair(cells: Cells, alone: bool) -> tuple[list[dict], dict, dict]:
    """(prompt, chosen answer, rejected answer) of a row.

    Where both answers are whole conversations, the prompt is what precedes their last turn, and must be the same in
    both. alone: only the chosen answer is trained on, so that a row without a rejected one is accepted.
    """
    prompt = cells.prompt_turns("prompt") if cells.text_of("prompt").strip() else cells.history()
    if alone and is_empty(cells.cell("rejected")):
        own, chosen = (
            _answer(cells, "chosen", prompt) if "chosen" in cells.columns else _parted(cells, prompt, "prompt")
        )
        other, rejected = own, chosen
    elif "chosen" in cells.columns:
        (own, chosen), (other, rejected) = (_answer(cells, role, prompt) for role in _better_first(cells))
        if (
            own is prompt is other
            and prompt
            and prompt[-1]["role"] == "assistant"
            and prompt[-1]["content"] in (chosen["content"], rejected["content"])
        ):
            own = other = prompt[:-1]  # the prompt column repeats one of the two answers as its last turn
    else:
        own, chosen = _parted(cells, prompt, "prompt")
        other, rejected = _answer(cells, "rejected", own, unlike=chosen["content"])
    if own is not other and _spoken(own) != _spoken(other):
        raise RowProblem(
            "shape",
            "{place} has chosen and rejected answers to different prompts. Correct or remove the row.",
            place=cells.place,
        )
    if not own:
        raise RowProblem(
            "empty", "{place} has no prompt. Choose the column that holds it, or remove the row.", place=cells.place
        )
    return cells.with_system(own), chosen, rejected


def _better_first(cells: Cells) -> tuple[str, str]:
    """The roles of the better and the worse answer, which a column may name row by row.

    Raises RowProblem if it names neither.
    """
    if "better" not in cells.columns:
        return "chosen", "rejected"
    value, first, second = cells.cell("better"), cells.columns["chosen"], cells.columns["rejected"]
    found = first_is_better(value, first, second)
    if found is None and is_tie(value):
        raise RowProblem(
            "tie",
            "{place} says in '{column}' that no answer is the better one. Choose one or remove the row.",
            place=cells.place,
            column=cells.columns["better"],
        )
    if found is None:
        raise RowProblem(
            "shape",
            "{place} has '{value}' in '{column}', which names neither '{first}' nor '{second}'. Correct or remove the "
            "row.",
            place=cells.place,
            value=as_text(value)[:40],
            column=cells.columns["better"],
            first=first,
            second=second,
        )
    return ("chosen", "rejected") if found else ("rejected", "chosen")


def _spoken(turns: list[dict]) -> list[tuple[str, str]]:
    """(role, content) of all turns but the system ones, to compare conversations by."""
    return [(turn["role"], turn["content"]) for turn in turns if turn["role"] != "system"]


def _parted(cells: Cells, talk: list[dict], role: str) -> tuple[list[dict], dict]:
    """(turns before the answer, answer) of a conversation. Raises RowProblem if it does not end with an answer."""
    if not talk or talk[-1]["role"] != "assistant" or not (talk[-1]["content"].strip() or talk[-1].get("tool_calls")):
        raise RowProblem(
            "order",
            "{place} has no assistant's answer at the end of '{column}'. Correct or remove the row.",
            place=cells.place,
            column=cells.columns.get(role, role),
        )
    return talk[:-1], talk[-1]


def _answer(cells: Cells, role: str, prompt: list[dict], unlike: str | None = None) -> tuple[list[dict], dict]:
    """(prompt, answer) of the column of `role`: a text, a single message, or a conversation.

    unlike: if the cell lists several answers, skip those equal to this text.
    """
    talk = cells.optional_turns(role)
    if talk is None and not prompt:
        talk = transcript(cells.text(role))
    if talk is None:
        return prompt, {"role": "assistant", "content": _one_of(cells, role, unlike)}
    before, answer = _parted(cells, talk, role)
    if (
        before
        and prompt
        and prompt[-1]["role"] != "user"
        and before[0]["role"] == "user"
        and _spoken(before)[: len(_spoken(prompt))] != _spoken(prompt)
    ):
        before = [*prompt, *before]
    return before or prompt, answer


def _one_of(cells: Cells, role: str, unlike: str | None) -> str:
    """The text of one answer.

    A list of texts in the column of the rejected answer is several answers, of which the first that differs from
    `unlike` (by default the chosen answer) is taken; if the chosen answer is a list as well, it is one answer.
    """
    value = cells.cell(role)
    if (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(words := next(iter(value.values())), str)
        and value.keys() <= {"content", "value", "text"}
    ):
        value = words
    if (
        role == "rejected"
        and isinstance(value, list)
        and not isinstance(cells.cell("chosen"), list)
        and all(isinstance(item, str) for item in value)
    ):
        unlike = as_text(cells.cell("chosen")) if unlike is None else unlike
        value = next((item for item in value if item.strip() and item != unlike), "")
    if is_empty(value) or not (words := as_text(value)).strip():
        raise cells.empty(role)
    return words


def _best_and_worst(cells: Cells) -> tuple[list[dict], dict, dict]:
    """(prompt, best answer, worst answer) of a ranking; the answers between them are not used."""
    ranked = _ranked(cells)
    (best, most), (worst, least) = (pick(ranked, key=lambda answer: answer[1]) for pick in (max, min))
    if most == least:
        raise RowProblem(
            "tie",
            "{place} says in '{column}' that no answer is the better one. Choose one or remove the row.",
            place=cells.place,
            column=cells.columns.get("scores", cells.columns["answers"]),
        )
    return cells.with_system(cells.prompt_turns("prompt")), _message(cells, best), _message(cells, worst)


def _message(cells: Cells, answer: str | dict) -> dict:
    """An answer of a ranking, a text or a turn, as an assistant message."""
    if isinstance(answer, dict):
        return turns([answer], cells.place, cells.columns["answers"], cells.unread.see)[0]
    return {"role": "assistant", "content": answer}


def _ranked(cells: Cells) -> list[tuple[str | dict, float]]:
    """(answer, grade: more is better) of each answer of a ranking; without grades the first is the best.

    Raises RowProblem if there are fewer than two answers, an empty one, or not one grade for each.
    """
    value = cells.cell("answers")
    ranked = graded_answers(value) if is_graded(value) else None
    for item in as_list(value) if ranked else ():
        cells.unread.see_keys(item, GRADED)
    if ranked is None:
        answers = as_list(value) or []
        grades = [-at for at in range(len(answers))]
        if "scores" in cells.columns:
            grades = grades_in(cells.cell("scores"), cells.columns["scores"]) or []
        if len(grades) != len(answers):
            raise RowProblem(
                "shape",
                "{place} has {answers} {answers:answer|answers} in '{column}', but {grades} {grades:number|numbers} in "
                "'{scores}'. Correct or remove the row.",
                place=cells.place,
                answers=len(answers),
                column=cells.columns["answers"],
                grades=len(grades),
                scores=cells.columns["scores"],
            )
        ranked = list(zip(answers, grades, strict=True))
    texts = [answer for answer, _ in ranked if not isinstance(answer, dict)]
    if len(ranked) < 2 or not all(isinstance(answer, str) and answer.strip() for answer in texts):
        raise RowProblem(
            "shape",
            "{place} has no list of two or more answers in '{column}'. Correct or remove the row.",
            place=cells.place,
            column=cells.columns["answers"],
        )
    return ranked


def unpaired(cells: Cells, want: Want) -> dict:
    """The record of an answer labelled good or bad: prompt, completion, label; the conversation for "messages".

    Without a column of its own, the answer is the last turn of the prompt column. Raises RowProblem for a bad answer if
    `want` is "messages".
    """
    label = verdict(cells.cell("label"), cells.columns["label"])
    if label is None:
        cells.text("label")
        raise RowProblem(
            "shape",
            "{place} has '{label}' in '{column}', which is neither true nor false. Correct or remove the row.",
            place=cells.place,
            label=as_text(cells.cell("label"))[:40],
            column=cells.columns["label"],
        )
    message = cells.answer("completion") if "completion" in cells.columns else []
    messages = cells.checked([*cells.prompt_turns("prompt"), *message])
    if want != "messages":
        *prompt, answer = messages
        return {"prompt": prompt, "completion": _words(cells, answer), "label": label, **cells.tools()}
    if not label:
        raise RowProblem(
            "bad",
            "{place} has an answer that is marked as bad in '{column}', so Chat does not train on it. To train on good "
            "and bad answers, choose Feedback.",
            place=cells.place,
            column=cells.columns["label"],
        )
    return {"messages": messages, **cells.tools()}
