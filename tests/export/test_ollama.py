"""Modelfiles: Ollama's Go template gives, letter by letter, the prompt that the model's Jinja template gives."""

from __future__ import annotations

import json
import re

import pytest

from studio.export import ollama
from studio.export.source import Source
from studio.home import STARTER
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.templates import template

TALK = [("system", "Be brief."), ("user", "Hi!"), ("assistant", "Ahoy."), ("user", "And now?")]
PHI3 = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
QWEN25 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen.<|im_end|>\n{% endif %}"
    + "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SOURCES = {
    "chatml": template("chatml"),
    "qwen3": template("qwen3"),
    "llama3": template("llama3"),
    "gemma": template("gemma"),
    "mistral": template("mistral"),
    "phi3": PHI3,
    "qwen2.5": QWEN25,
}


def with_template(source: str, folder) -> ChatTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes((STARTER / "tokenizer.json").read_bytes())
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": source}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return ChatTokenizer(folder)


def go(source: str, talk: list[tuple[str, str]]) -> str:
    """Evaluate the part of Go's text/template that is used here: range, if, else if, eq, le, and, not, fields."""
    system = "\n\n".join(text for role, text in talk if role == "system")
    source = re.sub(r"\s*\{\{-", "{{", source)
    assert "-}}" not in source
    tokens = re.split(r"\{\{\s*(.*?)\s*\}\}", source)
    pieces = [(at % 2 == 1, token) for at, token in enumerate(tokens)]

    def value(expression: str, scope: dict):
        words = re.findall(r'\([^()]*\)|"[^"]*"|\S+', expression)
        match words:
            case ["eq", left, right]:
                return value(left, scope) == value(right, scope)
            case ["le", left, right]:
                return value(left, scope) <= value(right, scope)
            case ["not", operand]:
                return not value(operand, scope)
            case ["and", left, right]:
                return value(left, scope) and value(right, scope)
        (word,) = words
        if word.startswith("("):
            return value(word[1:-1], scope)
        if word.startswith('"'):
            return word[1:-1]
        return int(word) if word.isdigit() else scope[word]

    def run(at: int, scope: dict, live: bool) -> tuple[str, int]:
        text = ""
        while at < len(pieces):
            action, token = pieces[at]
            if not action:
                text += token if live else ""
            elif token == "end" or token.startswith("else"):
                return text, at
            elif token.startswith("range"):
                start = at
                for number, (role, content) in enumerate(talk):
                    inner = {**scope, ".Role": role, ".Content": content, "$at": number}
                    part, at = run(start + 1, inner, live)
                    text += part
            elif token.startswith("if "):
                done, condition = False, token.removeprefix("if ")
                while True:
                    chosen = live and not done and bool(condition == "" or value(condition, scope))
                    part, at = run(at + 1, scope, chosen)
                    text, done = text + part, done or chosen
                    if pieces[at][1] == "end":
                        break
                    condition = pieces[at][1].removeprefix("else").strip().removeprefix("if").strip()
            else:
                text += str(value(token, scope)) if live else ""
            at += 1
        return text, at

    return run(0, {".System": system, "$.System": system}, True)[0]


@pytest.mark.parametrize("name", SOURCES)
def test_the_go_template_gives_the_prompt_of_the_jinja_template(name, tmp_path):
    tokenizer = with_template(SOURCES[name], tmp_path / name)
    found, stop = ollama.template(tokenizer)
    assert found and stop
    for talk in (TALK, TALK[1:], TALK[:2], TALK[1:2]):
        messages = [{"role": role, "content": content} for role, content in talk]
        expected = tokenizer.render(messages, add_generation_prompt=True).removeprefix("<s>")
        assert go(found, talk) == expected


def test_a_template_that_nobody_knows_is_left_to_the_gguf_file(tmp_path):
    tokenizer = with_template(template("alpaca"), tmp_path / "model")
    assert ollama.template(tokenizer) == (None, ())
    source = Source("x", "x", tmp_path / "model", {"kind": "model", "task": "chat"})
    text = ollama.modelfile(source, "./x.gguf")
    assert 'TEMPLATE "' not in text and "# No TEMPLATE" in text


def test_the_starters_modelfile():
    source = Source("x", "x", STARTER, {"kind": "model", "task": "chat"})
    text = ollama.modelfile(source, "./base.gguf", "./lora.gguf")
    assert text.startswith('FROM ./base.gguf\nADAPTER ./lora.gguf\nTEMPLATE """')
    assert 'PARAMETER stop "<|im_end|>"' in text and "PARAMETER temperature 0" in text
    talk = [{"role": role, "content": content} for role, content in TALK]
    found = re.search(r'TEMPLATE """(.*?)"""', text, re.S)[1]
    assert go(found, TALK) == ChatTokenizer(STARTER).render(talk, add_generation_prompt=True)
