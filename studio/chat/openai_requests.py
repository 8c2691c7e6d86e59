"""Requests of OpenAI's API, checked: the JSON body of a chat or text completion → `CompletionRequest`.

What would change the answer and cannot be done here is refused in a sentence; fields that change nothing (`user`,
`store`, `metadata`, …) are ignored. Knows nothing about HTTP and models. Source: OpenAI API reference, Chat
Completions and Completions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from studio.chat.adapter_scale import MAX_SCALE
from studio.chat.sampling import Sampling
from studio.data.reasoning import join_reasoning
from studio.options import require_valid
from studio.words import StudioError

MAX_CHOICES = 16
_MAX_STOPS = 16
_MAX_TOP_LOGPROBS = 20
_ROLES = ("system", "developer", "user", "assistant", "tool")


class RequestError(StudioError):
    """A request that cannot be served. status: of HTTP. code, param: of OpenAI's error objects."""

    def __init__(self, message, *, status: int = 400, code: str | None = None, param: str | None = None, **values):
        super().__init__(message, **values)
        self.status, self.code, self.param = status, code, param


@dataclass(frozen=True)
class CompletionRequest:
    """prompts: conversations (lists of messages) or texts; each gets `n` choices. model: "" for the base. stop: texts
    that end an answer. top_logprobs: how many alternatives are reported with each token, None for no
    log-probabilities. tools: JSON schemas. tool_choice: "none", "auto", "required", or the name of a tool. echo:
    whether a text completion repeats its prompt. continued: the answer so far, where one is to be continued.
    adapter_scale: the strength of the adapter.
    """

    chat: bool
    model: str
    prompts: list
    sampling: Sampling
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    tools: list | None = None
    tool_choice: str = "auto"
    echo: bool = False
    continued: str = ""
    adapter_scale: float = 1.0

    def sampling_of(self, choice: int) -> Sampling:
        """The sampling of one of the `n` choices: each has a seed of its own, derived from the request's."""
        if not choice or self.sampling.seed is None:
            return self.sampling
        return self.sampling.model_copy(update={"seed": (self.sampling.seed + choice) % 2**31})


def chat_request(body: dict) -> CompletionRequest:
    """The request in the body of POST /v1/chat/completions. Raises StudioError."""
    _refuse_unsupported(body)
    tools, tool_choice = _tools(body)
    wants = _flag(body, "logprobs")
    top = _number(body, "top_logprobs", 0, 0, _MAX_TOP_LOGPROBS)
    if top and not wants:
        raise RequestError("top_logprobs needs logprobs to be true.", param="top_logprobs")
    messages, continued = _messages(body), ""
    if _flag(body, "continue_final_message"):
        *messages, last = messages
        continued = last["content"]
        if last["role"] != "assistant" or not continued or not messages:
            raise RequestError(
                "continue_final_message needs messages that end with the beginning of an answer.", param="messages"
            )
    return CompletionRequest(
        chat=True,
        prompts=[messages],
        continued=continued,
        top_logprobs=top if wants else None,
        tools=tools,
        tool_choice=tool_choice,
        **_common(body),
    )


def text_request(body: dict) -> CompletionRequest:
    """The request in the body of POST /v1/completions. Raises StudioError."""
    _refuse_unsupported(body)
    if body.get("suffix"):
        raise RequestError("suffix is not supported; a text can only be continued at its end.", param="suffix")
    if body.get("best_of") not in (None, body.get("n") or 1):
        raise RequestError("best_of is not supported; leave it out.", param="best_of")
    prompt = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(text, str) and text for text in prompts):
        raise RequestError("There is nothing to continue; write some text first.", param="prompt")
    logprobs = body.get("logprobs")
    return CompletionRequest(
        chat=False,
        prompts=prompts,
        top_logprobs=None if logprobs is None else _number(body, "logprobs", 0, 0, _MAX_TOP_LOGPROBS),
        echo=_flag(body, "echo"),
        **_common(body),
    )


def _common(body: dict) -> dict:
    values = {key: body[key] for key in Sampling.model_fields if body.get(key) is not None}
    if body.get("max_completion_tokens") is not None:
        values["max_tokens"] = body["max_completion_tokens"]
    if values.get("top_k") == -1:  # vLLM's and Open WebUI's way to say "all"
        values["top_k"] = 0
    if values.get("seed") == -1:
        del values["seed"]
    usage = body.get("stream_options") or {}
    return {
        "model": str(body.get("model") or ""),
        "sampling": require_valid(Sampling, values),
        "n": _number(body, "n", 1, 1, MAX_CHOICES),
        "stream": _flag(body, "stream"),
        "include_usage": isinstance(usage, dict) and bool(usage.get("include_usage")),
        "stop": _stop(body),
        "adapter_scale": adapter_scale(body),
    }


def adapter_scale(body: dict) -> float:
    """The field `adapter_scale` of a request, by default 1. Raises RequestError where it is out of range."""
    value = body.get("adapter_scale")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SCALE:
        raise RequestError(
            "adapter_scale must be a number from 0 to {high}, but is {value}.",
            param="adapter_scale",
            high=int(MAX_SCALE),
            value=str(value)[:40],
        )
    return float(value)


def comparison_request(body: dict) -> tuple[str, list[dict] | str, str, float]:
    """(model, messages or text, answer, strength of the adapter) in the body of POST /v1/compare."""
    asked = str(body["prompt"]) if body.get("prompt") else _messages(body)
    return str(body.get("model") or ""), asked, str(body.get("answer") or ""), adapter_scale(body)


def _refuse_unsupported(body: dict) -> None:
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") not in (None, "text"):
        raise RequestError(
            "response_format '{form}' is not supported: nothing here forces an answer into JSON. Ask for JSON in the "
            "prompt, and check the answer.",
            param="response_format",
            form=form.get("type"),
        )
    if body.get("logit_bias"):
        raise RequestError("logit_bias is not supported; leave it out.", param="logit_bias")
    if body.get("functions") or body.get("function_call"):
        raise RequestError("functions is OpenAI's old form; send tools instead.", param="functions")
    if "audio" in (body.get("modalities") or []) or body.get("audio"):
        raise RequestError("This server answers in text only.", param="modalities")


def _flag(body: dict, key: str) -> bool:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise RequestError(
            "{field} must be true or false, but is {value}.", param=key, field=key, value=str(value)[:40]
        )
    return bool(value)


def _number(body: dict, key: str, default: int, low: int, high: int) -> int:
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RequestError(
            "{field} must be a whole number from {low} to {high}, but is {value}.",
            param=key,
            field=key,
            low=low,
            high=high,
            value=str(value)[:40],
        )
    return value


def _stop(body: dict) -> tuple[str, ...]:
    stop = body.get("stop")
    texts = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or len(texts) > _MAX_STOPS or not all(isinstance(text, str) for text in texts):
        raise RequestError("stop must be a text, or a list of at most {count} texts.", param="stop", count=_MAX_STOPS)
    return tuple(text for text in texts if text)


def _tools(body: dict) -> tuple[list | None, str]:
    tools, choice = body.get("tools") or None, body.get("tool_choice") or "auto"
    if tools is not None:
        known = isinstance(tools, list) and all(
            isinstance(tool, dict) and tool.get("type") == "function" and isinstance(tool.get("function"), dict)
            for tool in tools
        )
        if not known or not all(isinstance(tool["function"].get("name"), str) for tool in tools):
            raise RequestError(
                "tools must be a list of tools of the type function, each with a function that has a name.",
                param="tools",
            )
        tools = [{**tool, "function": {"description": "", "parameters": {}, **tool["function"]}} for tool in tools]
    if isinstance(choice, dict):
        choice = (choice.get("function") or {}).get("name") or ""
        if choice not in [tool["function"]["name"] for tool in tools or []]:
            raise RequestError("tool_choice names a tool that is not among tools.", param="tool_choice")
    elif choice not in ("none", "auto", "required"):
        raise RequestError("tool_choice must be none, auto, required, or name a tool.", param="tool_choice")
    if choice == "required" and not tools:
        raise RequestError("tool_choice needs tools to choose from.", param="tool_choice")
    return (None if choice == "none" else tools), choice


def _messages(body: dict) -> list[dict]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("There is nothing to answer; write a message first.", param="messages")
    names: dict[str, str] = {}  # tool call id → name of its tool
    made = []
    for item in messages:
        made.append(_message(item, names))
        for call in made[-1].get("tool_calls", []):
            names[call["id"]] = call["function"]["name"]
    return made


def _message(item, names: dict[str, str]) -> dict:
    role = item.get("role") if isinstance(item, dict) else None
    if role not in _ROLES:
        raise RequestError(
            "A message's role must be one of {roles}, but is '{role}'.",
            param="messages",
            roles=", ".join(_ROLES),
            role=role,
        )
    content = _text(item.get("content"))
    if role == "tool":
        called = str(item.get("tool_call_id") or "")
        name = item.get("name") or names.get(called) or ""
        return {"role": "tool", "content": content, "tool_call_id": called, **({"name": str(name)} if name else {})}
    if role != "assistant":
        return {"role": "system" if role == "developer" else role, "content": content}
    reasoning = item.get("reasoning_content")
    message = {"role": role, "content": join_reasoning(reasoning, content) if isinstance(reasoning, str) else content}
    calls = item.get("tool_calls") or []
    return {**message, "tool_calls": [_tool_call(call) for call in calls]} if calls else message


def _text(content) -> str:
    """The text of a message's content: a string, or parts of which all must be text."""
    if not isinstance(content, list):
        return "" if content is None else str(content)
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise RequestError(
                "A message has a part of the type '{kind}', but this server reads text only.",
                param="messages",
                kind=kind,
            )
    return "".join(str(part.get("text") or "") for part in content)


def _tool_call(call) -> dict:
    function = call.get("function") if isinstance(call, dict) else None
    try:
        arguments = function.get("arguments") or {}
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        if isinstance(function["name"], str) and isinstance(arguments, dict):
            return {
                "id": str(call.get("id") or ""),
                "type": "function",
                "function": {"name": function["name"], "arguments": arguments},
            }
    except (AttributeError, KeyError, ValueError):
        pass
    raise RequestError(
        "A message's tool_calls must hold a function with a name, and its arguments as a JSON object.", param="messages"
    )
