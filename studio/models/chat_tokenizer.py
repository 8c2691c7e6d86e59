"""Tokenizer and chat template of one base model.

The window (token view, histogram, forecast), the trainer and the chat server all use this class, so training and
inference see the same tokens. It reads `tokenizer.json` and the template from the model's folder with the
`tokenizers` library and a sandboxed Jinja environment, without torch. Batches and losses are handled elsewhere.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from studio.data.reasoning import CHANNELS, CLOSE, OPEN, gemma_text, split_reasoning
from studio.models.templates import OWN, rewrite_system_messages, template
from studio.words import StudioError

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Message keys from which chat templates take the reasoning before an answer (Qwen3 and DeepSeek, vLLM, GPT-OSS)."""
# Placeholders, to find what a template renders around an answer and its reasoning.
_ANSWER_PLACEHOLDER, _REASONING_PLACEHOLDER = ("\u2042answer\u2042", "\u2042thought\u2042")
_TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""Exceptions that a template can raise on a conversation that it does not support."""
_MARKERS = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]|[\s\S]")
"""Splits text into markers such as <|end|> and [/INST], which are compared as a whole, and single characters."""


class ChatTemplateError(StudioError):
    """A chat template rejects a conversation. kind: the kind of finding that reports it."""

    kind = "refused"


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks assistant tokens for other tools; here only its body is rendered."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


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
            return _read_text(path)
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
            _environment().from_string(self.own_template)
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
        return _environment().from_string(self.template)

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
        return self._render(_with_tool_call_ids(turns), add_generation_prompt, tools)

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
        except _TEMPLATE_ERRORS as error:
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


def _with_tool_call_ids(messages: list[dict]) -> list[dict]:
    """`messages` with tool call ids replaced by nine-digit numbers, in the tool results too."""
    numbers: dict[str, str] = {}
    waiting: list[str] = []
    count, made = 0, []
    for turn in messages:
        turn = dict(turn)
        if turn.get("tool_calls"):
            waiting, calls = [], []
            for call in turn["tool_calls"]:
                number, count = f"{count:09d}", count + 1
                numbers[str(call.get("id"))] = number
                waiting.append(number)
                calls.append({**call, "id": number})
            turn["tool_calls"] = calls
        elif turn["role"] == "tool":
            named = numbers.get(str(turn.get("tool_call_id"))) if turn.get("tool_call_id") else None
            turn["tool_call_id"] = named if named in waiting or not waiting else waiting[0]
            if turn["tool_call_id"] in waiting:
                waiting.remove(turn["tool_call_id"])
        made.append(turn)
    return made


def _token_text(token) -> str:
    return token["content"] if isinstance(token, dict) else token


def _environment() -> ImmutableSandboxedEnvironment:
    """The sandboxed Jinja environment with the functions and filters that chat templates expect."""

    def refuse(message: str):
        raise jinja2.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=refuse, strftime_now=lambda form: datetime.now().strftime(form))
    return environment


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StudioError(
            "{file} in '{folder}' cannot be read ({detail}); download the model again.",
            file=path.name,
            folder=path.parent,
            detail=error,
        ) from error


def read_json_object(path: Path) -> dict:
    """Read the JSON object in the file at `path`; {} if there is no file.

    Raises StudioError, which names the file, for any other content.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(_read_text(path))
    except ValueError as error:
        raise StudioError(
            "{file} in '{folder}' is not valid JSON ({detail}); download the model again.",
            file=path.name,
            folder=path.parent,
            detail=error,
        ) from error
    if not isinstance(found, dict):
        raise StudioError(
            "{file} in '{folder}' must hold a JSON object, but holds {value}; download the model again.",
            file=path.name,
            folder=path.parent,
            value=str(found)[:40],
        )
    return found
