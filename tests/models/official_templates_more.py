"""More model families and how their chat templates write; see `official_templates.py` for what each field promises."""

from __future__ import annotations

import json
import re

from official_templates import Family

Calls = list[tuple[str, dict]]
_DECODER = json.JSONDecoder()


def _json_behind(mark: str, text: str) -> list:
    """The JSON values that stand right behind each match of the pattern `mark`; other text behind it is passed over."""
    return [_DECODER.raw_decode(text, found.end())[0] for found in re.finditer(mark, text)]


def harmony_calls(text: str) -> Calls:
    """Calls addressed to a function in the commentary channel, each a message of its own."""
    mark = r" to=functions\.([^<\s]+)<\|channel\|>commentary \w+<\|message\|>(?=\{)"
    return list(zip(re.findall(mark, text), _json_behind(mark, text)))


def command_calls(text: str) -> Calls:
    """The lists of Command A's actions."""
    return [
        (call["tool_name"], call["parameters"])
        for made in _json_behind(r"<\|START_ACTION\|>(?=\[)", text)
        for call in made
    ]


def deepseek_calls(text: str) -> Calls:
    """A fenced block of JSON behind each name."""
    mark = r"<｜tool▁call▁begin｜>function<｜tool▁sep｜>([^\n]+)\n```json\n(?=\{)"
    return list(zip(re.findall(mark, text), _json_behind(mark, text)))


def granite3_calls(text: str) -> Calls:
    """The lists behind Granite 3's mark, which its system text mentions as well."""
    return [(call["name"], call["arguments"]) for made in _json_behind(r"<\|tool_call\|>(?=\[)", text) for call in made]


def olmo3_calls(text: str) -> Calls:
    """Lines of the form name(key=JSON, key=JSON) between the marks of the calls."""
    made = []
    for found in re.finditer(r"(?:<function_calls>|(?<=\))\n)([\w.-]+)\(", text):
        arguments, at = {}, found.end()
        while text[at] != ")":
            key, at = re.compile(r"(?:, )?([^=]+)=").match(text, at).group(1), text.index("=", at) + 1
            arguments[key], at = _DECODER.raw_decode(text, at)
        made.append((found.group(1), arguments))
    return made


def tagged_calls(text: str) -> Calls:
    """One JSON object in each pair of tags; the system text shows the form with what is no JSON."""
    return [(call["name"], call["arguments"]) for call in _json_behind(r'<tool_call>\n(?=\{"name": ")', text)]


PHI3 = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>")
COMMAND = (
    "<BOS_TOKEN>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|START_THINKING|>",
    "<|END_THINKING|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
    "<|START_TOOL_RESULT|>",
    "<|END_TOOL_RESULT|>",
)
DEEPSEEK = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁outputs▁end｜>",
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
)
GRANITE = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")
OLMO3 = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<functions>",
    "</functions>",
    "<function_calls>",
    "</function_calls>",
)

MORE: tuple[Family, ...] = (
    # The end-of-text token stands behind the whole where no answer is asked for. Role "tool", tools and calls are
    # left out.
    Family(
        "phi3",
        "phi3.jinja",
        "<s>",
        "<|endoftext|>",
        PHI3,
        "<|end|>",
        "https://huggingface.co/microsoft/Phi-3-mini-4k-instruct",
        takes_tools=False,
    ),
    # As phi3, but an empty system text is left out.
    Family(
        "phi3_5",
        "phi3_5.jinja",
        "<s>",
        "<|endoftext|>",
        PHI3,
        "<|end|>",
        "https://huggingface.co/microsoft/Phi-3.5-mini-instruct",
        takes_tools=False,
    ),
    # Doubtful: whether <|im_end|> or <|endoftext|> is the tokenizer's eos_token (it was changed); the template writes
    # neither by name.
    Family(
        "phi4",
        "phi4.jinja",
        "<|endoftext|>",
        "<|im_end|>",
        ("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        "<|im_end|>",
        "https://huggingface.co/microsoft/phi-4",
        takes_tools=False,
    ),
    # Tools are a text in the key `tools` of the system message; the variable `tools` and the calls of an answer are
    # left out, so the family counts as one without tools. Results are written as turns of role "tool".
    Family(
        "phi4_mini",
        "phi4_mini.jinja",
        "<|endoftext|>",
        "<|endoftext|>",
        (*PHI3, "<|tool|>", "<|/tool|>"),
        "<|end|>",
        "https://huggingface.co/microsoft/Phi-4-mini-instruct",
        takes_tools=False,
    ),
    # Reasoning (and words beside a call) only where no answer without calls follows, one call a message: further ones
    # are left out without a word. Both reasoning and words beside a call are refused. `"tool_calls" in message` holds
    # for an empty list, too, which is refused. Results are written as JSON. Messages to refuse have other sentences
    # in the official file; built-in tools (browser, python) and `model_identity` are left out of this one.
    Family(
        "gpt_oss",
        "gpt_oss.jinja",
        "<|startoftext|>",
        "<|return|>",
        HARMONY,
        "<|return|>",
        "https://cookbook.openai.com/articles/openai-harmony",
        call_end="<|call|>",
        generation_ends=("<|call|>",),
        takes_parallel_calls=False,
        takes_content_with_calls=False,
        reasoning_key="thinking",
        calls=harmony_calls,
    ),
    # The official model has two templates; transformers takes the one for tools where `tools` are given, which is
    # what this file does. Without tools: texts are stripped, turns must alternate, and calls are left out. With
    # tools: the generation prompt is written whether it is asked for or not (doubtful for Command A itself: found so
    # for Command R7B, whose format it shares), and the plan before calls comes from `tool_plan`, not from the
    # content. Of the fixed preamble, which is never learnt, only headings and some lines are written here: not byte
    # for byte.
    Family(
        "command_a",
        "command_a.jinja",
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
        COMMAND,
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        "https://docs.cohere.com/docs/command-a-hf",
        call_end="<|END_ACTION|><|END_OF_TURN_TOKEN|>",
        takes_content_with_calls=False,
        calls=command_calls,
    ),
    # Calls are written only from a message whose content is null and whose arguments are text; a message with "" as
    # content loses its calls, so the family counts as one without tools. A single call is not closed, the second
    # closes all, and a second message with calls is not opened: so it was published. Results open once in a
    # conversation. An answer behind results keeps its thoughts. Doubtful: with several system texts the last is taken
    # (a later file joins them). <｜User｜> and the tool marks are added tokens, perhaps not special ones.
    Family(
        "deepseek_r1_distill",
        "deepseek_r1_distill.jinja",
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        DEEPSEEK,
        "<｜end▁of▁sentence｜>",
        "https://huggingface.co/deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        takes_tools=False,
        opens_thought="<think>\n",
        calls=deepseek_calls,
    ),
    # The roles' marks are no tokens of their own. Role "tool", tools and calls are left out.
    Family(
        "olmo2",
        "olmo2.jinja",
        "<|endoftext|>",
        "<|endoftext|>",
        ("<|endoftext|>",),
        "<|endoftext|>",
        "https://huggingface.co/allenai/OLMo-2-1124-7B-Instruct",
        takes_tools=False,
    ),
    # Granite 3.1 and 3.2, then 3.3. Tools are a turn of their own, results one of role "tool"; the calls of an answer
    # are left out (a person writes <|tool_call|>[…] into the content), so the family counts as one without tools.
    # Documents, `controls` and `thinking` are left out of the files.
    Family(
        "granite3",
        "granite3.jinja",
        "<|end_of_text|>",
        "<|end_of_text|>",
        (*GRANITE, "<|tool_call|>"),
        "<|end_of_text|>",
        "https://huggingface.co/ibm-granite/granite-3.1-8b-instruct",
        takes_tools=False,
        calls=granite3_calls,
    ),
    Family(
        "granite3_3",
        "granite3_3.jinja",
        "<|end_of_text|>",
        "<|end_of_text|>",
        (*GRANITE, "<|tool_call|>"),
        "<|end_of_text|>",
        "https://huggingface.co/ibm-granite/granite-3.3-8b-instruct",
        takes_tools=False,
        calls=granite3_calls,
    ),
    # Doubtful: early files of 4.0 had another default system text ("Knowledge Cutoff Date …"). Documents are left out
    # of the file.
    Family(
        "granite4",
        "granite4.jinja",
        "<|end_of_text|>",
        "<|end_of_text|>",
        GRANITE,
        "<|end_of_text|>",
        "https://huggingface.co/ibm-granite/granite-4.0-micro",
        calls=tagged_calls,
    ),
    # The last answer ends in <|endoftext|>, every other one in <|im_end|>. A system text gets no word on functions
    # where there are none. Doubtful: found in a Python copy of the official file, not in that file itself.
    Family(
        "olmo3",
        "olmo3.jinja",
        "<|endoftext|>",
        "<|endoftext|>",
        OLMO3,
        "<|endoftext|>",
        "https://allenai.github.io/open-instruct/olmo3",
        generation_ends=("<|im_end|>",),
        calls=olmo3_calls,
    ),
    # Qwen3's form without reasoning: neither written nor dropped.
    Family(
        "qwen3_instruct",
        "qwen3_instruct.jinja",
        "",
        "<|im_end|>",
        ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        "https://huggingface.co/Qwen/Qwen3-4B-Instruct-2507",
        calls=tagged_calls,
    ),
    Family(
        "smollm2",
        "smollm2.jinja",
        "<|im_start|>",
        "<|im_end|>",
        ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        "https://huggingface.co/HuggingFaceTB/SmolLM2-1.7B-Instruct",
        takes_tools=False,
    ),
    # The roles' marks are no tokens of their own, nor is there a begin token.
    Family(
        "tinyllama",
        "tinyllama.jinja",
        "<s>",
        "</s>",
        ("</s>",),
        "</s>",
        "https://huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        takes_tools=False,
    ),
)

OFFERED: dict[str, str] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2",
    "HuggingFaceTB/SmolLM2-360M-Instruct": "smollm2",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": "smollm2",
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
    "Qwen/Qwen3.5-0.8B": "qwen3_5_small",
    "Qwen/Qwen3.5-2B": "qwen3_5_small",
    "Qwen/Qwen3.5-4B": "qwen3_5",
    "Qwen/Qwen3.5-9B": "qwen3_5",
    "Qwen/Qwen3.5-27B": "qwen3_5",
    "Qwen/Qwen3.6-27B": "qwen3_6",
    "Qwen/Qwen3-0.6B": "qwen3",
    "Qwen/Qwen3-1.7B": "qwen3",
    "Qwen/Qwen3-4B": "qwen3",
    "Qwen/Qwen3-4B-Instruct-2507": "qwen3_instruct",
    "Qwen/Qwen3-8B": "qwen3",
    "Qwen/Qwen3-14B": "qwen3",
    "Qwen/Qwen3-32B": "qwen3",
    "Qwen/Qwen2.5-0.5B-Instruct": "qwen2_5",
    "Qwen/Qwen2.5-1.5B-Instruct": "qwen2_5",
    "Qwen/Qwen2.5-3B-Instruct": "qwen2_5",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2_5",
    "Qwen/Qwen2.5-14B-Instruct": "qwen2_5",
    "Qwen/Qwen2.5-32B-Instruct": "qwen2_5",
    "meta-llama/Llama-3.2-1B-Instruct": "llama3_2",
    "meta-llama/Llama-3.2-3B-Instruct": "llama3_2",
    "meta-llama/Llama-3.1-8B-Instruct": "llama3_1",
    "meta-llama/Llama-3.3-70B-Instruct": "llama3_3",
    "google/gemma-3-270m-it": "gemma3",
    "google/gemma-3-1b-it": "gemma3",
    "google/gemma-2-2b-it": "gemma2",
    "google/gemma-2-9b-it": "gemma2",
    "google/gemma-2-27b-it": "gemma2",
    "mistralai/Ministral-8B-Instruct-2410": "ministral_8b",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistral_v0_3",
    "mistralai/Mistral-Nemo-Instruct-2407": "mistral_nemo",
    "mistralai/Mistral-Small-24B-Instruct-2501": "mistral_small",
    "microsoft/phi-4": "phi4",
    "allenai/Olmo-3-7B-Instruct": "olmo3",
    "allenai/Olmo-3.1-32B-Instruct": "olmo3_1",
    "allenai/OLMo-2-0425-1B-Instruct": "olmo2",
    "allenai/OLMo-2-1124-7B-Instruct": "olmo2",
    "allenai/OLMo-2-1124-13B-Instruct": "olmo2",
    "allenai/OLMo-2-0325-32B-Instruct": "olmo2",
    "ibm-granite/granite-4.1-3b": "granite4",
    "ibm-granite/granite-4.1-8b": "granite4",
    "ibm-granite/granite-3.3-2b-instruct": "granite3_3",
    "ibm-granite/granite-3.3-8b-instruct": "granite3_3",
    "tiiuae/Falcon3-1B-Instruct": "falcon3",
    "tiiuae/Falcon3-3B-Instruct": "falcon3",
    "tiiuae/Falcon3-7B-Instruct": "falcon3",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "tinyllama",
    "zai-org/GLM-4-9B-0414": "glm4",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": "deepseek_r1_distill",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "deepseek_r1_distill",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": "deepseek_r1_distill",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": "deepseek_r1_distill",
}
"""Model id in presets/models.yaml → name of the family of its official template; "" for a base model without one."""

UNWRITTEN = {"qwen3_5_small", "qwen3_6", "ministral_8b", "mistral_small", "olmo3_1", "falcon3"}
"""Families of models on offer whose templates nobody has written yet."""
