"""Remedies for data that the chat template rejects, each tested on the rejected rows.

Independent of the user interface.
"""

from __future__ import annotations

from pathlib import Path

from studio.data.token_report import Tokens
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.models.templates import OWN, SYSTEM_REWRITES, TEMPLATES
from studio.recipe import Recipe

_MOST_TEMPLATES = 3  # maximum number of alternative templates offered


def add_template_fixes(tokens: Tokens, recipe: Recipe, folder: Path) -> None:
    """Set `ways`, `templates` and `endless` of `tokens`: which rewrites of system messages, and which other templates,
    accept the rows that the recipe's template rejects, and the remedy if it writes no end marker after an answer.

    folder: of the base model.
    """
    tokenizer = recipe.tokenizer(folder)
    if not tokenizer.answer_end[0] and not tokenizer.append_eos:
        tokens.endless = ("add",) if tokenizer.eos_text else ()
    refused = [row.value for rows in tokens.refused.values() for row in rows if row.value is not None]
    if not refused:
        return
    ends, chosen = tokenizer.append_eos, recipe.model.template
    systems = any(turn["role"] == "system" for value in refused for turn in value.get("messages") or value["prompt"])
    tokens.ways = tuple(
        way for way in SYSTEM_REWRITES if systems and _takes(recipe, ChatTokenizer(folder, chosen, way, ends), refused)
    )
    others = (name for name in TEMPLATES if name not in (OWN, chosen))
    tokens.templates = tuple(
        name for name in others if _takes(recipe, ChatTokenizer(folder, name), refused, whole=True)
    )[:_MOST_TEMPLATES]


def _takes(recipe: Recipe, tokenizer: ChatTokenizer, values: list[dict], *, whole: bool = False) -> bool:
    """Whether the template accepts every record and, with `whole`, renders all of their content."""
    try:
        for value in values:
            recipe.task.encode(value, tokenizer, recipe.training.max_length)
            if whole and recipe.task.drops_content(value, tokenizer):
                return False
    except ChatTemplateError:
        return False
    return True
