"""The reasoning that precedes an answer, in the one form in which records carry it: `<think>…</think>` before the answer's words.

Files keep it under keys, in columns of their own or inline; the readers bring all of them to this form, and the tasks take it apart
again for the chat template. Knows nothing about templates.
"""

from __future__ import annotations

import re

OPEN, CLOSE = "<think>", "</think>"
_INLINE = re.compile(r"\s*<(think|thinking|thought)>(.*?)</\1>\s*", re.DOTALL)


def join_reasoning(reasoning: str, answer: str) -> str:
    """`answer` with `reasoning` before it, as Qwen3 and DeepSeek-R1 write both; `answer` itself where there is none."""
    return f"{OPEN}\n{reasoning.strip()}\n{CLOSE}\n\n{answer}" if reasoning.strip() else answer


def split_reasoning(content: str) -> tuple[str, str]:
    """(reasoning, answer) of an assistant's `content`; reasoning is "" where it has none.

    A closing mark without an opening one counts too: some files hold what a model wrote behind a prompt that opened it.
    """
    if found := _INLINE.match(content):
        return found[2].strip(), content[found.end() :]
    before, mark, after = content.partition(CLOSE)
    if mark and OPEN not in before:
        return before.strip(), after.lstrip()
    return "", content
