"""Write an Ollama Modelfile: FROM, ADAPTER, TEMPLATE, stop words and parameters.

Ollama renders prompts with Go templates, not with the model's Jinja template. A family's Go template is only written
where the Jinja template renders the same text for every conversation of `_TALKS`; else Ollama is left to choose one by
the template in the GGUF file. Rules: docs.ollama.com/modelfile and docs.ollama.com/template, read in November 2026.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.export.source import Source
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer, read_json_object

_Q, _A, _S = "what?", "that.", "be short"
_TALKS = (
    [("user", _Q)],
    [("user", _Q), ("assistant", _A), ("user", _Q)],
    [("system", _S), ("user", _Q)],
    [("system", _S), ("user", _Q), ("assistant", _A), ("user", _Q)],
)
_GENERATION_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""generation_config.json → Modelfile."""


@dataclass(frozen=True)
class Family:
    """A way to write conversations. render: what `go` gives for a conversation (without the BOS token)."""

    title: str
    go: str
    stop: tuple[str, ...]
    render: Callable[[list[tuple[str, str]]], str]


def _chatml(talk: list[tuple[str, str]]) -> str:
    turns = [f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in talk]
    return "".join(turns) + "<|im_start|>assistant\n"


def _llama3(talk: list[tuple[str, str]]) -> str:
    turns = [f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in talk]
    return "".join(turns) + "<|start_header_id|>assistant<|end_header_id|>\n\n"


def _phi3(talk: list[tuple[str, str]]) -> str:
    return "".join(f"<|{role}|>\n{text}<|end|>\n" for role, text in talk) + "<|assistant|>\n"


def _gemma(talk: list[tuple[str, str]]) -> str:
    prompt, system = "", ""
    for role, text in talk:
        if role == "system":
            system = f"{text}\n\n"
            continue
        prompt += f"<start_of_turn>{'model' if role == 'assistant' else 'user'}\n{system}{text}<end_of_turn>\n"
        system = ""
    return prompt + "<start_of_turn>model\n"


def _mistral(before: str, behind: str, after: str) -> Callable[[list[tuple[str, str]]], str]:
    """What stands before and behind a question, inside [INST] and [/INST], and after [/INST], before its answer."""

    def render(talk: list[tuple[str, str]]) -> str:
        prompt, system = "", ""
        for role, text in talk:
            if role == "system":
                system = f"{text}\n\n"
            elif role == "user":
                prompt, system = prompt + f"[INST]{before}{system}{text}{behind}[/INST]", ""
            else:
                prompt += f"{after}{text}</s>"
        return prompt

    return render


def _mistral_go(before: str, behind: str, after: str) -> str:
    # The system message stands in the first question; .System holds all system messages.
    return (
        "{{- range $at, $_ := .Messages }}"
        '{{- if eq .Role "user" }}'
        f"[INST]{before}"
        "{{ if and (le $at 1) $.System }}{{ $.System }}\n\n{{ end }}"
        f"{{{{ .Content }}}}{behind}[/INST]"
        '{{- else if eq .Role "assistant" }}'
        f"{after}{{{{ .Content }}}}</s>"
        "{{- end }}{{- end }}"
    )


FAMILIES = (
    Family(
        "ChatML",
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n",
        ("<|im_end|>", "<|im_start|>"),
        _chatml,
    ),
    Family(
        "Llama 3",
        "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ("<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
        _llama3,
    ),
    Family(
        "Phi-3",
        "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
        ("<|end|>", "<|user|>", "<|assistant|>"),
        _phi3,
    ),
    Family(
        "Gemma",
        '{{- range $at, $_ := .Messages }}{{- if eq .Role "user" }}<start_of_turn>user\n'
        "{{ if and (le $at 1) $.System }}{{ $.System }}\n\n{{ end }}{{ .Content }}<end_of_turn>\n"
        '{{ else if eq .Role "assistant" }}<start_of_turn>model\n{{ .Content }}<end_of_turn>\n{{ end }}{{- end }}'
        "<start_of_turn>model\n",
        ("<end_of_turn>", "<start_of_turn>"),
        _gemma,
    ),
    *(
        Family("Mistral", _mistral_go(*spaces), ("[INST]", "[/INST]", "</s>"), _mistral(*spaces))
        for spaces in itertools.product((" ", ""), repeat=3)  # its releases differ in them
    ),
)


def family_of(tokenizer: ChatTokenizer) -> tuple[Family | None, str]:
    """(the family whose text the chat template renders, or None; text that it puts before every conversation
    without a system message, such as Qwen2.5's own system message).
    """
    rendered = [_render(tokenizer, talk) for talk in _TALKS]
    for family in FAMILIES:
        ours = [family.render(talk) for talk in _TALKS]
        alone = rendered[0] or ""
        before = alone.removesuffix(ours[0]) if alone.endswith(ours[0]) else None
        if before is None:
            continue
        expected = [before + ours[0], before + ours[1], ours[2], ours[3]]
        pairs = [(text, want) for text, want in zip(rendered, expected, strict=True) if text is not None]
        if len(pairs) >= 2 and all(text == want for text, want in pairs) and (not before or rendered[2] is not None):
            return family, before
    return None, ""


def _render(tokenizer: ChatTokenizer, talk: list[tuple[str, str]]) -> str | None:
    """The prompt without the BOS token, which llama.cpp adds; None where the template refuses the conversation."""
    try:
        turns = [{"role": role, "content": content} for role, content in talk]
        text = tokenizer.render(turns, add_generation_prompt=True)
    except ChatTemplateError:
        return None
    bos = read_json_object(tokenizer.folder / "tokenizer_config.json").get("bos_token")
    bos = bos["content"] if isinstance(bos, dict) else bos
    return text.removeprefix(bos) if bos else text


def template(tokenizer: ChatTokenizer) -> tuple[str | None, tuple[str, ...]]:
    """(Go template, or None where the GGUF file's own must do; stop words)."""
    family, before = family_of(tokenizer)
    if family is None:
        return None, tuple(tokenizer.eos_texts)
    go = f"{{{{- if not .System }}}}{before}{{{{ end }}}}{family.go}" if before else family.go
    return go, tuple(dict.fromkeys([*family.stop, *tokenizer.eos_texts]))


def modelfile(source: Source, model: str, adapter: str = "") -> str:
    """The Modelfile. model: what FROM names; adapter: path of the LoRA file, or ""."""
    folder = None if source.whole else source.folder
    tokenizer = ChatTokenizer(source.model_folder).for_adapter(folder)
    lines = [f"FROM {model}", *([f"ADAPTER {adapter}"] if adapter else [])]
    if source.card.get("task") == "chat":
        go, stop = template(tokenizer)
        if go is None:
            lines += ["# No TEMPLATE: Ollama chooses one by the chat template that the GGUF file carries."]
        else:
            lines += [f'TEMPLATE """{go}"""']
    else:
        go, stop = "{{ .Prompt }}", tuple(tokenizer.eos_texts)
        lines += [f'TEMPLATE """{go}"""']
    lines += [f'PARAMETER stop "{word}"' for word in stop]
    settings = read_json_object(source.model_folder / "generation_config.json")
    if settings.get("do_sample") is False:
        lines += ["PARAMETER temperature 0"]
    else:
        lines += [
            f"PARAMETER {ours} {settings[key]}" for key, ours in _GENERATION_PARAMETERS.items() if key in settings
        ]
    return "\n".join(lines) + "\n"


def write(source: Source, folder: Path, *, model: str, adapter: str = "") -> None:
    """Write `Modelfile` to `folder`; `ollama create NAME -f Modelfile` there makes the model."""
    (folder / "Modelfile").write_text(modelfile(source, model, adapter), encoding="utf-8")
