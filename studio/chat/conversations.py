"""Saved conversations: in the store for the owner, in the memory of the window for a visitor of a Space.

While answers are streamed into a conversation, everybody who loads it gets the same object, so that no change is lost.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from studio.chat.conversation import Conversation
from studio.store import Store
from studio.words import StudioError

_MAX_VISITED = 500  # conversations of visitors that are kept, the newest ones
_guard = threading.Lock()
_in_use: dict[str, tuple[Conversation, int]] = {}  # id → (conversation, number of users)
_visited: OrderedDict[tuple[str, str], Conversation] = OrderedDict()  # (session, id) → conversation of a visitor
_TITLE_LIMIT = 120


class Conversations:
    """The conversations of one person. visitor: their browser session where nothing of them may be stored, else ""."""

    def __init__(self, store: Store, visitor: str = ""):
        self.store, self.visitor = store, visitor

    def new(self, base: str) -> Conversation:
        """An empty conversation; it is kept once it is saved."""
        return Conversation(id=secrets.token_hex(8), base=base)

    def load(self, id: str) -> Conversation | None:
        """The conversation, or None where it does not exist (any more)."""
        with _guard:
            if self.visitor:
                return _visited.get((self.visitor, id))
            if id in _in_use:
                return _in_use[id][0]
        row = self.store.conversation(id) if id else None
        return Conversation.model_validate(row["value"]) if row else None

    def save(self, talk: Conversation) -> None:
        """Keep its present state."""
        if self.visitor:
            with _guard:
                _visited[self.visitor, talk.id] = talk
                while len(_visited) > _MAX_VISITED:
                    _visited.popitem(last=False)
            return
        value = talk.model_dump(mode="json", exclude_defaults=True)
        self.store.save_conversation(talk.id, talk.title, talk.words(), talk.is_judged(), value)

    @contextmanager
    def using(self, talk: Conversation) -> Iterator[Conversation]:
        """Share the object with everybody who loads the conversation meanwhile, and save it at the end."""
        if not self.visitor:
            with _guard:
                talk, users = _in_use.get(talk.id, (talk, 0))
                _in_use[talk.id] = (talk, users + 1)
        try:
            yield talk
        finally:
            if self.visitor or talk.id in _in_use:  # it may have been deleted meanwhile
                self.save(talk)
            with _guard:
                _, users = _in_use.pop(talk.id, (talk, 1))
                if users > 1:
                    _in_use[talk.id] = (talk, users - 1)

    def rename(self, id: str, title: str) -> None:
        """Give it another title. Raises StudioError for an empty one."""
        title = " ".join(title.split())
        if not title or len(title) > _TITLE_LIMIT:
            raise StudioError("A title must have 1 to {limit} characters.", limit=_TITLE_LIMIT)
        talk = self._existing(id)
        talk.title = title
        self.save(talk)

    def delete(self, id: str) -> None:
        """Delete it for good, with its verdicts and corrections."""
        if self.visitor:
            with _guard:
                _visited.pop((self.visitor, id), None)
            return
        with _guard:
            _in_use.pop(id, None)
        self.store.delete_conversation(id)

    def listing(self, search: str = "", limit: int = 100) -> list[tuple[str, str]]:
        """(id, title) of those that contain every word of `search`, the last changed first."""
        if not self.visitor:
            return [(row["id"], row["title"]) for row in self.store.conversations(search.split(), limit)]
        words = search.casefold().split()
        with _guard:
            own = [talk for (visitor, _), talk in reversed(_visited.items()) if visitor == self.visitor]
        found = [talk for talk in own if all(word in f"{talk.title}\n{talk.words()}".casefold() for word in words)]
        return [(talk.id, talk.title) for talk in found[:limit]]

    def exported(self, model: str, id: str = "") -> str:
        """JSONL with a line {"messages": […]} for the column of `model` of a conversation, or of all that have one.

        Messages without an answer at the end are left out. Raises StudioError where nothing is left.
        """
        talks = [self._existing(id)] if id else [self._existing(own) for own, _ in self.listing(limit=1_000_000)]
        lines = []
        for talk in talks:
            messages = talk.messages(model) if model in talk.columns else []
            while messages and messages[-1]["role"] != "assistant":
                messages.pop()
            if messages:
                lines.append(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
        if not lines:
            raise StudioError("There is no answer of this model to export yet.")
        return "".join(lines)

    def _existing(self, id: str) -> Conversation:
        talk = self.load(id)
        if talk is None:
            raise StudioError("This conversation does not exist any more.")
        return talk
