"""Today's model families and how their chat templates write: the templates beside this file, and what each promises."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "official"
Calls = list[tuple[str, dict]]


def no_calls(text: str) -> Calls:
    """The calls of a family that writes none."""
    return []


@dataclass(frozen=True)
class Family:
    name: str                 # "qwen3"
    file: str                 # "qwen3.jinja" in tests/models/official/
    bos: str                  # as in tokenizer_config, "" if none
    eos: str
    special: tuple[str, ...]  # special token texts that the template writes
    end: str                  # what ends an assistant's answer where the conversation ends, e.g. "<|im_end|>"; "" if nothing
    source: str               # public page that says so
    call_end: str = ""        # what ends an answer that is a call, if not `end`
    generation_ends: tuple[str, ...] = ()   # other tokens that end a generation (GLM-4: "<|user|>", "<|observation|>")
    takes_system: bool = True
    takes_tools: bool = True           # writes tools, calls and results
    takes_parallel_calls: bool = True
    takes_content_with_calls: bool = True   # writes the words beside calls
    reasoning_key: str = ""            # the key of a message from which it takes reasoning
    opens_thought: str = ""            # what the generation prompt opens, e.g. "<think>\n"
    calls: Callable[[str], list[tuple[str, dict]]] = no_calls   # (name, arguments) of each call in a rendered answer


def hermes_calls(text: str) -> Calls:
    """Calls written as JSON between <tool_call> and </tool_call>, which JSON cannot hold on a line of its own."""
    found = [json.loads(body) for body in re.findall(r"<tool_call>\n(\{.*?\})\n</tool_call>", text, re.DOTALL)]
    return [(call["name"], call["arguments"]) for call in found]


def parameter_text(value) -> str:
    """A call's argument as Qwen3.5 writes it: objects and lists as JSON, all else as Python's str ("True", "None")."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else str(value)


def parameter_calls(text: str) -> Calls:
    """Calls in Qwen3.5's tags. Each argument is the text that stands there (see `parameter_text`): the format does not
    tell "3" from 3."""
    made = []
    for name, body in re.findall(r"<tool_call>\n<function=([^>\n]+)>\n(.*?)</function>\n</tool_call>", text, re.DOTALL):
        pairs = re.findall(r"<parameter=([^>\n]+)>\n(.*?)\n</parameter>\n", body, re.DOTALL)
        made.append((name, dict(pairs)))
    return made


def llama_calls(text: str) -> Calls:
    """The one call that is a whole answer of Llama 3."""
    body = text.rpartition("<|end_header_id|>\n\n")[2].removesuffix("<|eot_id|>")
    if not body.startswith('{"name": "'):
        return []
    try:
        call = json.loads(body)
    except ValueError:
        return []
    return [(call["name"], call["parameters"])] if set(call) == {"name", "parameters"} else []


def mistral_calls(text: str) -> Calls:
    """The list that follows Mistral's mark, with or without a blank between them."""
    _, mark, rest = text.partition("[TOOL_CALLS]")
    if not mark:
        return []
    found, _ = json.JSONDecoder().raw_decode(rest.lstrip(" "))
    return [(call["name"], call["arguments"]) for call in found]


def glm_calls(text: str) -> Calls:
    """Parts of the form "name, line break, JSON object", each behind an <|assistant|> of its own."""
    made = []
    for part in text.split("<|assistant|>"):
        name, _, body = part.partition("\n")
        if re.fullmatch(r"[\w.-]+", name) and body.startswith("{"):
            made.append((name, json.loads(re.split(r"<\|(?:user|observation|endoftext)\|>", body)[0])))
    return made


# Qwen's <tool_call>, <tool_response> and <think> are added tokens, but not special ones.
CHATML = ("<|im_start|>", "<|im_end|>")
LLAMA = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
GEMMA = ("<bos>", "<start_of_turn>", "<end_of_turn>")
MISTRAL = (
    "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
)
GLM = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")

FAMILIES: tuple[Family, ...] = (
    Family("qwen2_5", "qwen2_5.jinja", "", "<|im_end|>", CHATML, "<|im_end|>",
           "https://huggingface.co/Qwen/Qwen2.5-7B-Instruct", calls=hermes_calls),
    Family("qwen3", "qwen3.jinja", "", "<|im_end|>", CHATML, "<|im_end|>",
           "https://huggingface.co/Qwen/Qwen3-8B", reasoning_key="reasoning_content", calls=hermes_calls),
    Family("qwen3_thinking", "qwen3_thinking.jinja", "", "<|im_end|>", CHATML, "<|im_end|>",
           "https://huggingface.co/Qwen/Qwen3-4B-Thinking-2507",
           reasoning_key="reasoning_content", opens_thought="<think>\n", calls=hermes_calls),
    # Pictures and videos are left out of the file. A conversation without a question of a user is refused, so
    # is a system text further down.
    Family("qwen3_5", "qwen3_5.jinja", "", "<|im_end|>", CHATML, "<|im_end|>",
           "https://huggingface.co/Qwen/Qwen3.5-9B",
           reasoning_key="reasoning_content", opens_thought="<think>\n", calls=parameter_calls),
    # Llama 3.3's template is the same as 3.1's where no built-in tools are given (built-in tools are left out
    # of the file). The text of a tool's result is written as JSON, in quotes, because a string is iterable.
    # `"tool_calls" in message` holds for an empty list, too, which is refused.
    Family("llama3_1", "llama3_1.jinja", "<|begin_of_text|>", "<|eot_id|>", LLAMA, "<|eot_id|>",
           "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct",
           takes_parallel_calls=False, takes_content_with_calls=False, calls=llama_calls),
    Family("llama3_3", "llama3_1.jinja", "<|begin_of_text|>", "<|eot_id|>", LLAMA, "<|eot_id|>",
           "https://huggingface.co/meta-llama/Llama-3.3-70B-Instruct",
           takes_parallel_calls=False, takes_content_with_calls=False, calls=llama_calls),
    Family("llama3_2", "llama3_2.jinja", "<|begin_of_text|>", "<|eot_id|>", LLAMA, "<|eot_id|>",
           "https://huggingface.co/meta-llama/Llama-3.2-3B-Instruct",
           takes_parallel_calls=False, takes_content_with_calls=False, calls=llama_calls),
    Family("gemma2", "gemma2.jinja", "<bos>", "<eos>", GEMMA, "<end_of_turn>",
           "https://huggingface.co/google/gemma-2-2b-it", takes_system=False, takes_tools=False),
    Family("gemma3", "gemma3.jinja", "<bos>", "<eos>", GEMMA, "<end_of_turn>",
           "https://huggingface.co/google/gemma-3-4b-it", takes_tools=False),
    # Mistral's system text is written only where the conversation's last message is a user's: it is missing
    # from one that ends in an answer.
    Family("mistral_v0_3", "mistral_v0_3.jinja", "<s>", "</s>", MISTRAL, "</s>",
           "https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3",
           takes_content_with_calls=False, calls=mistral_calls),
    Family("mistral_nemo", "mistral_nemo.jinja", "<s>", "</s>", MISTRAL, "</s>",
           "https://huggingface.co/mistralai/Mistral-Nemo-Instruct-2407",
           takes_content_with_calls=False, calls=mistral_calls),
    # Tools are written into the system text (as Python's str of each), and results as turns of a user, but the
    # calls of an answer are left out, so the family counts as one without tools. Doubtful: the system turn is
    # closed only where tools follow, which is how the released file was found quoted; rendered prompts are
    # found both with and without that end. Doubtful, too: the quoted file lists tools only from `xml_tools`, so
    # `tools` may be written by later files alone (this one takes either).
    Family("smollm3", "smollm3.jinja", "", "<|im_end|>", CHATML, "<|im_end|>",
           "https://huggingface.co/HuggingFaceTB/SmolLM3-3B", takes_tools=False),
    # The official file (GLM-4-0414) takes a call as an answer whose `metadata` is the function's name, and a
    # result as role "observation". It leaves out `tool_calls` and role "tool"; this file writes them in the
    # same form, one answer for each call. Doubtful: the line breaks between two tools.
    Family("glm4", "glm4.jinja", "", "<|endoftext|>", GLM, "",
           "https://huggingface.co/zai-org/GLM-4-9B-0414",
           generation_ends=("<|user|>", "<|observation|>"), calls=glm_calls),
)
