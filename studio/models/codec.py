"""Text ↔ token ids for one base model, its chat template included.

The window (preview, histogram, forecast), the trainer and the chat server all use this one class, so what a person
saw is what the model sees. It reads `tokenizer.json` and the template from the model's folder with the `tokenizers`
library and a sandboxed Jinja, never torch. It knows nothing about batches or losses.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from studio.models.templates import OWN, template
from studio.words import StudioError


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's words for other tools; here it renders its body."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class Tokens:
    """Token ids and, for each, the characters (start, end) of the text it stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class Codec:
    """A model folder's tokenizer and chat template, its own or a lent one (a key of `templates.TEMPLATES`)."""

    def __init__(self, folder: str | Path, lent: str = OWN):
        self.folder, self.lent = Path(folder), lent
        path = self.folder / "tokenizer.json"
        if not path.exists():
            raise StudioError("The model in '{folder}' has no tokenizer.json, so its text cannot be read; choose a model that ships one.", folder=self.folder)
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises bare Exception for a broken file
            raise StudioError("tokenizer.json in '{folder}' cannot be read ({detail}); download the model again.", folder=self.folder, detail=error) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._config = _read_json(self.folder / "tokenizer_config.json")

    @cached_property
    def template(self) -> str:
        """The Jinja source of the chat template; ChatML where the model has none and none is chosen."""
        return template(self.lent) if self.lent != OWN else self.own_template or template("chatml")

    @cached_property
    def own_template(self) -> str | None:
        """The template that came with the model."""
        path = self.folder / "chat_template.jinja"
        if path.exists():
            return path.read_text(encoding="utf-8")
        own = self._config.get("chat_template")
        if isinstance(own, list):
            own = next((item["template"] for item in own if item.get("name") == "default"), None)
        return own or None

    def as_taught(self, adapter: Path | None) -> Codec:
        """This codec with the chat template that is saved with an adapter, which it was taught with."""
        path = adapter / "chat_template.jinja" if adapter else None
        if path is None or not path.exists() or (saved := path.read_text(encoding="utf-8")) == self.template:
            return self
        taught = copy.copy(self)
        taught.__dict__.pop("_compiled", None)
        taught.template = saved
        return taught

    @cached_property
    def _compiled(self) -> jinja2.Template:
        def refuse(message: str):
            raise jinja2.TemplateError(message)

        def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
            return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
        environment.filters["tojson"] = tojson
        environment.globals.update(raise_exception=refuse, strftime_now=lambda form: datetime.now().strftime(form))
        return environment.from_string(self.template)

    def render(self, messages: list[dict], *, for_answer: bool = False, tools: list | None = None) -> str:
        """The text the model sees for `messages`; with `for_answer` up to where its answer begins. tools: what it may call."""
        names = ("bos_token", "eos_token", "pad_token", "unk_token")
        special = {name: _token_text(self._config[name]) for name in names if self._config.get(name)}
        try:
            return self._compiled.render(messages=messages, tools=tools or None, documents=None, add_generation_prompt=for_answer, **special)
        except jinja2.TemplateError as error:
            raise StudioError("The model's chat template refuses this conversation: {detail}.", detail=str(error).rstrip(".")) from error

    def encode(self, text: str, *, special: bool = False) -> Tokens:
        """`text` as tokens. `special` adds the tokenizer's own begin/end tokens (templates bring theirs along)."""
        found = self._tokenizer.encode(text, add_special_tokens=special)
        return Tokens(found.ids, found.offsets)

    def decode(self, ids: list[int], *, keep_special: bool = False) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=not keep_special)

    @cached_property
    def end_ids(self) -> list[int]:
        """Token ids at which an answer ends: generation_config's, else the tokenizer's end-of-sequence token."""
        declared = _read_json(self.folder / "generation_config.json").get("eos_token_id")
        ids = declared if isinstance(declared, list) else [] if declared is None else [declared]
        own = self._id("eos_token")
        return list(dict.fromkeys(ids + ([] if own is None else [own])))

    @cached_property
    def end_text(self) -> str:
        """The end-of-sequence token as text, "" if the tokenizer has none."""
        return _token_text(self._config["eos_token"]) if self._config.get("eos_token") else ""

    @cached_property
    def pad_id(self) -> int:
        own = self._id("pad_token")
        return own if own is not None else (self.end_ids or [0])[0]

    def _id(self, name: str) -> int | None:
        text = self._config.get(name)
        return self._tokenizer.token_to_id(_token_text(text)) if text else None


def _token_text(token) -> str:
    return token["content"] if isinstance(token, dict) else token


def _read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
