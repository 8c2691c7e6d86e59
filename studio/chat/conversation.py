"""A conversation with several models as plain data: for each model a tree of messages, of which one path is shown.

An edited message or another answer becomes a sibling of the earlier one, which stays reachable.

    talk = Conversation(id="1", shown=["base", "adapter"])
    talk.ask("What is it?")
    answer = talk.columns["base"].add("assistant", "It is a ship.")

Knows nothing about models, storage or the page.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

START = 0  # parent of the first messages
_TITLE_LENGTH = 60


class AnswerFacts(BaseModel):
    """How an answer came about, as the server measured it. finish: "stop", "length", "tool_calls",
    "cancelled" or "error".
    """

    finish: str
    tokens: int = 0
    first_token_seconds: float = 0.0
    tokens_per_second: float = 0.0


class Message(BaseModel):
    """A message in the tree. parent: id of the message before it, or START. corrects: id of the answer in whose place a
    person wrote this one.
    """

    id: int
    parent: int
    role: Literal["user", "assistant"]
    content: str
    facts: AnswerFacts | None = None
    verdict: Literal["", "up", "down"] = ""
    corrects: int | None = None


class Column(BaseModel):
    """The messages between the person and one model. chosen: parent id → id of the child that is shown; where it says
    nothing, the newest one. scale: the adapter's strength.
    """

    scale: float = 1.0
    messages: list[Message] = []
    chosen: dict[int, int] = {}

    def message(self, id: int) -> Message:
        """The message with this id. Raises KeyError."""
        found = next((message for message in self.messages if message.id == id), None)
        if found is None:
            raise KeyError(id)
        return found

    def children(self, parent: int) -> list[Message]:
        """The versions of what follows the message `parent`, oldest first."""
        return [message for message in self.messages if message.parent == parent]

    def path(self) -> list[Message]:
        """The messages shown, from the first to the last."""
        found, parent = [], START
        while children := self.children(parent):
            chosen = self.chosen.get(parent)
            found.append(next((child for child in children if child.id == chosen), children[-1]))
            parent = found[-1].id
        return found

    def before(self, id: int) -> list[Message]:
        """The messages from the first to the one before `id`."""
        found, parent = [], self.message(id).parent
        while parent != START:
            found.insert(0, self.message(parent))
            parent = found[0].parent
        return found

    def add(self, role: str, content: str, parent: int | None = None, corrects: int | None = None) -> Message:
        """Add a message after `parent` (by default the last one shown), and show it."""
        if parent is None:
            path = self.path()
            parent = path[-1].id if path else START
        id = max((message.id for message in self.messages), default=START) + 1
        message = Message(id=id, parent=parent, role=role, content=content, corrects=corrects)
        self.messages.append(message)
        self.chosen[parent] = id
        return message

    def versions(self, id: int) -> tuple[int, int]:
        """(number of the message among its versions, from 1; how many there are)."""
        siblings = self.children(self.message(id).parent)
        return [sibling.id for sibling in siblings].index(id) + 1, len(siblings)

    def show_version(self, id: int, step: int) -> None:
        """Show the version that is `step` after the message, or before it; nothing where there is none."""
        parent = self.message(id).parent
        siblings = self.children(parent)
        at = [sibling.id for sibling in siblings].index(id) + step
        if 0 <= at < len(siblings):
            self.chosen[parent] = siblings[at].id

    def remove(self, id: int) -> None:
        """Remove a message and all that follows it."""
        parent = self.message(id).parent
        gone = {id}
        for message in self.messages:  # a message comes after its parent
            if message.parent in gone:
                gone.add(message.id)
        self.messages = [message for message in self.messages if message.id not in gone]
        self.chosen = {key: value for key, value in self.chosen.items() if key not in gone and value not in gone}
        if siblings := self.children(parent):
            self.chosen.setdefault(parent, siblings[-1].id)

    def last_question(self) -> Message | None:
        """The last message of the person that is shown."""
        return next((message for message in reversed(self.path()) if message.role == "user"), None)


class Conversation(BaseModel):
    """Columns of one conversation. columns: model ("base" or an adapter's id) → its messages. shown: the models that
    answer now, in order; other columns are kept.
    """

    id: str
    title: str = ""
    base: str = "starter"
    system: str = ""
    shown: list[str] = []
    columns: dict[str, Column] = {}

    def show(self, models: list[str]) -> None:
        """Let `models` answer from now on."""
        self.shown = list(models)
        for model in models:
            self.columns.setdefault(model, Column())

    def ask(self, text: str) -> list[str]:
        """Add a message of the person to every column shown; returns their models."""
        self.show(self.shown)
        for model in self.shown:
            self.columns[model].add("user", text)
        self._give_title(text)
        return self.shown

    def edit_question(self, model: str, id: int, text: str) -> list[str]:
        """Put `text` in place of a message of the person, in all columns shown that have as many before it; returns
        their models.
        """
        at = sum(message.role == "user" for message in self.columns[model].before(id))
        changed = []
        for each in self.shown:
            column = self.columns[each]
            asked = [message for message in column.path() if message.role == "user"]
            if at < len(asked):
                column.add("user", text, parent=asked[at].parent)
                changed.append(each)
        if at == 0 and len(changed) == len(self.shown):
            self.title = ""
            self._give_title(text)
        return changed

    def correct(self, model: str, id: int, text: str) -> Message:
        """Put the person's `text` in place of an answer, as another version of it."""
        answer = self.columns[model].message(id)
        corrects = answer.corrects or answer.id
        return self.columns[model].add("assistant", text, parent=answer.parent, corrects=corrects)

    def is_judged(self) -> bool:
        """Whether any answer was judged or corrected."""
        every = (message for column in self.columns.values() for message in column.messages)
        return any(message.verdict or message.corrects for message in every)

    def words(self) -> str:
        """All that is written in it, to search in."""
        return "\n".join(message.content for column in self.columns.values() for message in column.messages)

    def messages(self, model: str, until: int | None = None) -> list[dict]:
        """The system prompt and the shown messages of a column as {"role", "content"}. until: the id of the message
        before which they end, on whatever path it lies.
        """
        column = self.columns[model]
        path = column.path() if until is None else column.before(until)
        system = [{"role": "system", "content": self.system.strip()}] if self.system.strip() else []
        return [*system, *({"role": message.role, "content": message.content} for message in path)]

    def _give_title(self, text: str) -> None:
        if not self.title:
            words = " ".join(text.split())
            self.title = words if len(words) <= _TITLE_LENGTH else f"{words[: _TITLE_LENGTH - 1].rstrip()}…"
