"""Training data from conversations: judged and corrected answers become rows for chat, preference and feedback.

    chat        answers that were marked as good, and corrections
    preference  an answer marked as bad, with its correction or with a good answer to the same messages
    feedback    each answer that was marked as good or bad

The conversations are the truth; rows are made from them on demand. Knows nothing about the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from studio.chat.conversation import Column, Conversation, Message
from studio.store import Store
from studio.uploads import import_file
from studio.words import StudioError

TASKS = ("chat", "preference", "feedback")


def rows(talks: Iterable[Conversation]) -> dict[str, list[dict]]:
    """Task → rows, without repeated ones, in the columns that `studio.data` recognises by itself."""
    found: dict[str, dict[str, dict]] = {task: {} for task in TASKS}

    def add(task: str, row: dict) -> None:
        found[task].setdefault(json.dumps(row, sort_keys=True, ensure_ascii=False), row)

    for talk in talks:
        judged = [
            (talk.messages(model, message.id), message, column)
            for model, column in talk.columns.items()
            for message in column.messages
            if message.role == "assistant" and message.content.strip() and (message.verdict or message.corrects)
        ]
        for before, message, column in judged:
            if message.verdict != "down":
                add("chat", {"messages": [*before, {"role": "assistant", "content": message.content}]})
            if message.verdict:
                add("feedback", {"prompt": before, "completion": message.content, "label": message.verdict == "up"})
            if message.verdict == "down":
                for better in _better(before, message, column, judged):
                    add("preference", {"prompt": before, "chosen": better, "rejected": message.content})
    return {task: list(own.values()) for task, own in found.items()}


def _better(before: list[dict], bad: Message, column: Column, judged: list) -> list[str]:
    """The texts to prefer over a bad answer: its own correction, else the good answers to the same messages."""
    own = [each.content for each in column.messages if each.corrects == bad.id and each.content.strip()]
    good = own[-1:] or [other.content for prompt, other, _ in judged if other.verdict == "up" and prompt == before]
    return [text for text in dict.fromkeys(good) if text != bad.content]


def rows_in_store(store: Store) -> dict[str, list[dict]]:
    """`rows` of all saved conversations."""
    return rows(Conversation.model_validate(row["value"]) for row in store.judged_conversations())


def write_dataset(store: Store, uploads: Path, task: str) -> Path:
    """Write the rows for `task` as JSONL into the uploads; returns the file. Raises StudioError for none."""
    own = rows_in_store(store)[task]
    if not own:
        raise StudioError("No answer of your chats was judged or corrected for this yet.")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"chats-{task}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own), encoding="utf-8")
        return import_file(uploads, path)
