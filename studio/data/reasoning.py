"""The reasoning that precedes an answer, in the one form in which records carry it: `<think>…</think>` before the
answer's words.

Files keep it under keys, in columns of their own or inline; the readers bring all of them to this form, and the tasks
take it apart again for the chat template. Knows nothing about templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable

OPEN, CLOSE = "<think>", "</think>"
_INLINE = re.compile(
    r"\s*(?:<(?P<tag>think|thinking|thought)>(?P<tagged>.*?)</(?P=tag)>"
    r"|<\|channel>thought\n(?P<channel>.*?)<channel\|>)\s*",
    re.DOTALL,
)


def join_reasoning(reasoning: str, answer: str) -> str:
    """`answer` with `reasoning` before it, as Qwen3 and DeepSeek-R1 write both; `answer` itself where there is none."""
    return f"{OPEN}\n{reasoning.strip()}\n{CLOSE}\n\n{answer}" if reasoning.strip() else answer


def split_reasoning(content: str) -> tuple[str, str]:
    """(reasoning, answer) of an assistant's `content`; reasoning is "" where it has none.

    A closing mark without an opening one counts too: some files hold what a model wrote behind a prompt that opened it.
    """
    if found := _INLINE.match(content):
        return (found["tagged"] or found["channel"] or "").strip(), content[found.end() :]
    before, mark, after = content.partition(CLOSE)
    if mark and OPEN not in before:
        return before.strip(), after.lstrip()
    return "", content


_BETWEEN_CHANNELS = re.compile(r"<\|start\|>[^<]*|<\|end\|>|<\|return\|>|<\|call\|>")


def harmony_text(raw: str) -> str:
    """What a model said in channels (OpenAI's harmony format, as GPT-OSS speaks) with its reasoning as
    `<think>…</think>`.

    raw: the text with its special tokens; it may still grow, then what is returned grows too.
    """
    marks = [*_BETWEEN_CHANNELS.finditer(raw)]
    starts = [0, *(mark.end() for mark in marks)]
    ends = [*(mark.start() for mark in marks), len(raw)]
    made = ""
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        header, message, body = raw[start:end].partition("<|message|>")
        if message and "analysis" in header:
            made += f"{OPEN}\n{body}" + (f"\n{CLOSE}\n\n" if at < len(marks) else "")
        elif message:
            made += body
    return made


_GEMMA_CHANNEL = re.compile(r"<\|channel>[a-z]*\n?")
_GEMMA_CHANNEL_END = re.compile(r"\n?<channel\|>")


def gemma_text(raw: str) -> str:
    """What Gemma 4 wrote, with its thought channel as `<think>…</think>`; tool calls stand as it writes them.

    raw: the text with its special tokens; it may still grow, then what is returned grows too.
    """
    return _GEMMA_CHANNEL_END.sub(f"\n{CLOSE}\n\n", _GEMMA_CHANNEL.sub(f"{OPEN}\n", raw))


CHANNELS: dict[str, Callable[[str], str]] = {"<|channel|>": harmony_text, "<|channel>": gemma_text}
"""Special token that opens a channel → what brings text with such channels to the form `<think>…</think>`."""
