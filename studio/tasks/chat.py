"""Chat: conversations, of which the assistant's words are learnt."""

from __future__ import annotations

import contextlib
from typing import ClassVar, Literal

from studio.models.codec import Codec
from studio.options import option
from studio.tasks.base import IGNORED, Encoded, Question, Task, masked
from studio.words import StudioError


class Chat(Task):
    """Answers in a conversation."""

    title: ClassVar[str] = "Chat"
    verb: ClassVar[str] = "chat"
    help: ClassVar[str] = "Answer questions and follow instructions, from examples of conversations."
    order: ClassVar[int] = 1
    wants: ClassVar[str] = "messages"

    name: Literal["chat"] = option("chat", "Task", "", hidden=True)
    learn_from: Literal["answers", "last", "questions", "everything"] = option(
        "answers", "Learn from", "Which words the loss sees. Learning the questions as well rarely helps.",
        labels={"answers": "All answers", "last": "Only the last answer", "questions": "Only what is not an answer", "everything": "Questions and answers"},
    )
    system: str = option("", "System prompt", "Put before every conversation that has no system message of its own. Empty: none.", max_length=4000)

    def messages(self, record: dict) -> list[dict]:
        """The record's conversation with the task's system prompt."""
        found = record["messages"]
        if self.system and (not found or found[0]["role"] != "system"):
            return [{"role": "system", "content": self.system}, *found]
        return found

    def rendered(self, record: dict, codec: Codec) -> str:
        return codec.render(self.messages(record), tools=record.get("tools"))

    def unseen(self, record: dict, codec: Codec) -> bool:
        messages, tools = self.messages(record), record.get("tools")
        bare = [{key: value for key, value in turn.items() if key != "tool_calls"} for turn in messages]
        for fewer, offered in ((messages, None), (bare, tools)):
            if (fewer, offered) != (messages, tools):
                with contextlib.suppress(StudioError):  # a template that refuses the rest of the conversation has a place for them
                    if codec.render(fewer, tools=offered) == self.rendered(record, codec):
                        return True
        return False

    def encode(self, record: dict, codec: Codec, max_length: int) -> list[Encoded]:
        messages, text = self.messages(record), self.rendered(record, codec)
        tokens = codec.encode(text)
        if self.learn_from == "everything":
            labels = list(tokens.ids)
        else:
            labels = masked(tokens, self._answers(messages, record.get("tools"), text, codec))
            if self.learn_from == "questions":
                labels = [IGNORED if label != IGNORED else token for token, label in zip(tokens.ids, labels, strict=True)]
        cut = max(0, len(tokens.ids) - max_length)
        return [Encoded(tokens.ids[:max_length], labels[:max_length], cut)]

    def _answers(self, messages: list[dict], tools: list | None, text: str, codec: Codec) -> list[tuple[int, int]]:
        """Where in `text` the assistant's words stand, from the first character to its end-of-turn token."""
        turns = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
        spans = []
        for at in turns[-1:] if self.learn_from == "last" else turns:
            if messages[at].get("weight") == 0 and self.learn_from != "questions":
                continue
            before = codec.render(messages[:at], for_answer=True, tools=tools)
            after = codec.render(messages[: at + 1], tools=tools)
            if not (text.startswith(before) and text.startswith(after.rstrip())):
                if at == turns[-1]:
                    raise StudioError("The model's chat template changes earlier words when an answer is added, so its answers cannot be found; set Learn from to 'Questions and answers'.")
                continue  # templates that drop an earlier answer's thoughts: that turn is read, not learnt
            spans.append((len(before), len(after.rstrip())))
        return spans

    def question(self, record: dict) -> Question | None:
        messages = self.messages(record)
        if messages and messages[-1]["role"] == "assistant" and len(messages) > 1:
            return Question(messages[:-1], messages[-1]["content"], record.get("tools"))
        return None
