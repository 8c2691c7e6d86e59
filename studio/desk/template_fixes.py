"""What can be done where a chat template does not take the data: each change is tried on the very rows that it refuses.

Knows nothing about the page.
"""

from __future__ import annotations

from pathlib import Path

from studio.data.token_report import Tokens
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.models.templates import OWN, SYSTEM_REWRITES, TEMPLATES
from studio.recipe import Recipe

_LENT_AT_MOST = 3  # templates that are offered


def add_template_fixes(tokens: Tokens, recipe: Recipe, folder: Path) -> None:
    """Write into `tokens` which remedies, and which lent templates, take the rows that `recipe`'s template refuses,
    and what can be done where it writes no end of an answer. folder: the model's.
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
    lent = (name for name in TEMPLATES if name not in (OWN, chosen))
    tokens.templates = tuple(name for name in lent if _takes(recipe, ChatTokenizer(folder, name), refused, whole=True))[
        :_LENT_AT_MOST
    ]


def _takes(recipe: Recipe, tokenizer: ChatTokenizer, values: list[dict], *, whole: bool = False) -> bool:
    """Whether the template takes every record; with `whole` also whether it leaves nothing of them out."""
    try:
        for value in values:
            recipe.task.encode(value, tokenizer, recipe.training.max_length)
            if whole and recipe.task.drops_content(value, tokenizer):
                return False
    except ChatTemplateError:
        return False
    return True
