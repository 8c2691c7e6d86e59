"""Tokenizer and chat template of one base model.

The window (token view, histogram, forecast), the trainer and the chat server all use this class, so training and
inference see the same tokens. It reads `tokenizer.json` and the template from the model's folder with the
`tokenizers` library and a sandboxed Jinja environment, without torch. Batches and losses are handled elsewhere.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
from tokenizers import Tokenizer

from studio.data.reasoning import CHANNELS, CLOSE, OPEN, gemma_text, split_reasoning
from studio.models.folders import read_json_object, read_text
from studio.models.template_environment import (
    TEMPLATE_ERRORS,
    ChatTemplateError,
    template_environment,
    with_tool_call_ids,
)
from studio.models.templates import OWN, rewrite_system_messages, template
from studio.words import StudioError

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Message keys from which chat templates take the reasoning before an answer (Qwen3 and DeepSeek, vLLM, GPT-OSS)."""
# Placeholders, to find what a template renders around an answer and its reasoning.
_ANSWER_PLACEHOLDER, _REASONING_PLACEHOLDER = ("\u2042answer\u2042", "\u2042thought\u2042")
_MARKERS = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]|[\s\S]")
"""Splits text into markers such as <|end|> and [/INST], which are compared as a whole, and single characters."""


@dataclass(frozen=True)
class Tokens:
    """Token ids, and for each token the character range (start, end) of the text that it covers."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class ChatTokenizer:
    """A model folder's tokenizer with a chat template: its own, or another one (a key of `templates.TEMPLATES`).

    system_rewrite: how system messages are rewritten, a key of `templates.SYSTEM_REWRITES`; "" leaves them to the
    template. append_eos: whether the end-of-sequence token is labelled after each answer, for templates that write
    no end marker of their own.
    """

    def __init__(
        self, folder: str | Path, template_name: str = OWN, system_rewrite: str = "", append_eos: bool = False
    ):
        self.folder, self.template_name = Path(folder), template_name
        self.system_rewrite, self.append_eos = system_rewrite, append_eos
        path = self.folder / "tokenizer.json"
        if not path.exists():
            raise StudioError(
                "The model in '{folder}' has no tokenizer.json, so its text cannot be read; choose a model that "
                "ships one.",
                folder=self.folder,
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises bare Exception for a broken file
            raise StudioError(
                "tokenizer.json in '{folder}' cannot be read ({detail}); download the model again.",
                folder=self.folder,
                detail=error,
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._config = read_json_object(self.folder / "tokenizer_config.json")

    @cached_property
    def template(self) -> str:
        """The Jinja source of the chat template; ChatML where the model has none and none is chosen. Another template
        that writes no begin-of-sequence token gets one where the tokenizer adds it to any text.
        """
        if self.template_name == OWN and self.own_template:
            return rewrite_system_messages(self.own_template, self.system_rewrite)
        source = template("chatml" if self.template_name == OWN else self.template_name)
        bos = "{{- bos_token }}" if self.adds_bos and "bos_token" not in source else ""
        return rewrite_system_messages(bos + source, self.system_rewrite)

    @property
    def overrides_template(self) -> bool:
        """Whether the chat template is not the model's own."""
        return self.template_name != OWN or not self.own_template

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the tokenizer puts its begin-of-sequence token before a text, as in the pretraining of its model."""
        bos = self._token_id("bos_token")
        return bos is not None and (
            self._tokenizer.encode("a").ids[:1] == [bos] or self._config.get("add_bos_token") is True
        )

    @cached_property
    def own_template(self) -> str | None:
        """The template that came with the model."""
        path = self.folder / "chat_template.jinja"
        if path.exists():
            return read_text(path)
        own = self._config.get("chat_template")
        if isinstance(own, list) and all(isinstance(item, dict) for item in own):
            own = next((item.get("template") for item in own if item.get("name") == "default"), None)
        if own is not None and not isinstance(own, str):
            raise StudioError(
                "tokenizer_config.json in '{folder}': chat_template is {value}, which is no chat template; "
                "download the model again, or choose another template on the Data tab.",
                folder=self.folder,
                value=repr(own)[:40],
            )
        return own or self._of_processor()

    def _of_processor(self) -> str | None:
        """The template in chat_template.json, the file used by some multimodal models (Mistral Small 3.1)."""
        own = read_json_object(self.folder / "chat_template.json").get("chat_template")
        return own if isinstance(own, str) else None

    def check_own_template(self) -> None:
        """Raise StudioError, which names the file, if the model's own template is not valid Jinja."""
        if not self.own_template:
            return
        try:
            template_environment().from_string(self.own_template)
        except jinja2.TemplateError as error:
            files = (
                "chat_template.jinja",
                "tokenizer_config.json" if self._config.get("chat_template") else "chat_template.json",
            )
            file = next(file for file in files if (self.folder / file).exists())
            raise StudioError(
                "The chat template in {file} in '{folder}' cannot be read ({detail}); download the model again, "
                "or choose another template on the Data tab.",
                file=file,
                folder=self.folder,
                detail=str(error).rstrip("."),
            ) from error

    def for_adapter(self, adapter: Path | None) -> ChatTokenizer:
        """This tokenizer with the chat template saved with an adapter, which is the one used in its training."""
        path = adapter / "chat_template.jinja" if adapter else None
        if path is None or not path.exists() or (saved := path.read_text(encoding="utf-8")) == self.template:
            return self
        fine_tuned = copy.copy(self)
        for derived_from_template in ("_compiled_template", "reasoning_key", "answer_end", "read_channels"):
            fine_tuned.__dict__.pop(derived_from_template, None)
        fine_tuned.template = saved
        return fine_tuned

    @cached_property
    def _compiled_template(self) -> jinja2.Template:
        return template_environment().from_string(self.template)

    def render(self, messages: list[dict], *, add_generation_prompt: bool = False, tools: list | None = None) -> str:
        """Render `messages` as the text given to the model, with `add_generation_prompt` up to the start of its answer.

        tools: the available tools. Reasoning in an assistant's content is passed to the template under
        `reasoning_key`. Raises ChatTemplateError if the template rejects the conversation.
        """
        turns = [self._template_message(turn) for turn in messages]
        try:
            return self._render(turns, add_generation_prompt, tools)
        except ChatTemplateError:
            if not any(turn.get("tool_calls") for turn in turns):
                raise
        # Mistral's templates require ids of nine letters or digits.
        return self._render(with_tool_call_ids(turns), add_generation_prompt, tools)

    def _render(self, messages: list[dict], add_generation_prompt: bool, tools: list | None) -> str:
        names = ("bos_token", "eos_token", "pad_token", "unk_token")
        special = {name: _token_text(self._config[name]) for name in names if self._config.get(name)}
        try:
            return self._compiled_template.render(
                messages=messages,
                tools=tools or None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **special,
            )
        except TEMPLATE_ERRORS as error:
            raise ChatTemplateError(
                "The model's chat template refuses this conversation: {detail}.", detail=str(error).rstrip(".")
            ) from error

    def _template_message(self, turn: dict) -> dict:
        """A record's message in the form expected by chat templates."""
        kept = {key: value for key, value in turn.items() if key not in ("weight", "span_weights", "media")}
        if (
            turn["role"] != "assistant"
            or not any(mark in (turn["content"] or "") for mark in ("</think", "<channel|>"))
            or not self.reasoning_key
            or any(turn.get(key) for key in REASONING_KEYS)
        ):
            return kept
        reasoning, answer = split_reasoning(turn["content"])
        # Passed even if it is empty: then the template does not search the content for reasoning.
        return {**kept, "content": answer, self.reasoning_key: reasoning}

    @cached_property
    def reasoning_key(self) -> str:
        """The message key from which the chat template reads reasoning; "" if from the content or not at all."""
        call = {"type": "function", "id": "call00000", "function": {"name": "f", "arguments": {}}}
        # Some templates render reasoning only in messages with tool calls (the first ones of Gemma 4).
        for more in ({}, {"tool_calls": [call]}):
            for key in REASONING_KEYS:
                answer = {"role": "assistant", "content": _ANSWER_PLACEHOLDER, key: _REASONING_PLACEHOLDER, **more}
                with contextlib.suppress(ChatTemplateError):
                    if _REASONING_PLACEHOLDER in self._render([{"role": "user", "content": "?"}, answer], False, None):
                        return key
        # Gemma 4's released template reads none; still, its reasoning must not be part of the content.
        return REASONING_KEYS[0] if self.read_channels is gemma_text else ""

    @property
    def reasoning_marks(self) -> tuple[str, str]:
        """The texts before and after the reasoning of an answer, for chat templates that do not render it."""
        if self.read_channels is gemma_text:
            return "<|channel>thought\n", "\n<channel|>"
        return f"{OPEN}\n", f"\n{CLOSE}\n\n"

    @cached_property
    def answer_end(self) -> tuple[str, str]:
        """(end marker of an answer, or ""; text written after it only at the end of a conversation).

        The marker is the common prefix of the texts after an answer between turns and at the end of a conversation. If
        there is none (GPT-OSS ends the last answer differently), it is the whole text after the last answer.
        """
        conversation = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER_PLACEHOLDER}]
        try:
            last = self._render(conversation, False, None).rpartition(_ANSWER_PLACEHOLDER)[2]
        except ChatTemplateError:
            return "", ""
        with contextlib.suppress(ChatTemplateError):
            continued = self._render([*conversation, {"role": "user", "content": "?"}], False, None)
            between_turns = continued.partition(_ANSWER_PLACEHOLDER)[2]
            mark = "".join(os.path.commonprefix([_MARKERS.findall(last), _MARKERS.findall(between_turns)])).rstrip()
            if not mark and last.strip():
                mark = last.rstrip()
            ends = [place + len(text) for text in self.eos_texts if (place := mark.find(text)) >= 0]
            mark = mark[
                : min(ends, default=len(mark))
            ]  # text after the EOS token may belong to the next turn (Command A)
            return mark, last[len(mark) :]
        return last.rstrip(), last[len(last.rstrip()) :]

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Tokens:
        """Tokenise `text`. add_special_tokens: add the tokenizer's BOS and EOS tokens; not for rendered templates."""
        found = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return Tokens(found.ids, found.offsets)

    @cached_property
    def vocab_size(self) -> int:
        """The highest token id plus one."""
        return (
            max(
                [
                    self._tokenizer.get_vocab_size(with_added_tokens=False) - 1,
                    *self._tokenizer.get_added_tokens_decoder(),
                ]
            )
            + 1
        )

    def tokens_from_id(self, first: int) -> dict[str, int]:
        """Text → id of all tokens with an id of at least `first`, in order of the id."""
        return dict(
            sorted(
                ((text, number) for text, number in self._tokenizer.get_vocab().items() if number >= first),
                key=lambda token: token[1],
            )
        )

    def decode(self, ids: list[int], *, keep_special_tokens: bool = False) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=not keep_special_tokens)

    @cached_property
    def read_channels(self) -> Callable[[str], str] | None:
        """The function that converts generated text with channels (special tokens included) to reasoning and answer,
        for chat templates that use channels (GPT-OSS, Gemma 4); None for other templates.
        """
        for token, read in CHANNELS.items():
            if token in self.template and self._tokenizer.token_to_id(token) is not None:
                return read
        return None

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Text → id of the special tokens, which `decode` omits by default."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    @cached_property
    def eos_ids(self) -> list[int]:
        """Token ids that end an answer: eos_token_id of generation_config.json, then the tokenizer's EOS token."""
        declared = read_json_object(self.folder / "generation_config.json").get("eos_token_id")
        ids = declared if isinstance(declared, list) else [] if declared is None else [declared]
        own = self._token_id("eos_token")
        return list(dict.fromkeys(ids + ([] if own is None else [own])))

    @cached_property
    def eos_texts(self) -> list[str]:
        """The tokens that end an answer, as text."""
        return [text for token in self.eos_ids if (text := self.decode([token], keep_special_tokens=True))]

    @cached_property
    def eos_text(self) -> str:
        """The end-of-sequence token as text, "" if the tokenizer has none."""
        return _token_text(self._config["eos_token"]) if self._config.get("eos_token") else ""

    @cached_property
    def pad_id(self) -> int:
        own = self._token_id("pad_token")
        return own if own is not None else (self.eos_ids or [0])[0]

    def _token_id(self, name: str) -> int | None:
        text = self._config.get(name)
        return self._tokenizer.token_to_id(_token_text(text)) if text else None


def _token_text(token) -> str:
    return token["content"] if isinstance(token, dict) else token
