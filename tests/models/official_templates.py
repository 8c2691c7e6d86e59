"""Chat templates of today's model families, for tests: one table, with a parser of each family's calls.

The files in `official/` are written for these tests after each family's public documentation and render what the
family's own template renders for a conversation of text (no pictures, no documents): with or without system text,
tools, calls whose arguments are objects, results, thoughts, and generation prompt. `test_official_templates.py` shows
it; ours are shorter, because options that the studio never sets are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.chat.tool_calls import FORMATS
from tests.models.official_calls import (
    Calls,
    harmony_calls,
    json_calls,
    llama4_calls,
    llama_calls,
    mistral_calls,
    named_calls,
    no_calls,
    pythonic_calls,
    xml_calls,
)

gemma_calls = next(form.read for form in FORMATS if form.name == "gemma")
FOLDER = Path(__file__).parent / "official"


@dataclass(frozen=True)
class Family:
    """One family's chat format.

    file: in `official/`. bos, eos: token texts of tokenizer_config ("" for none). special: special tokens that the
    template writes. end: what ends an answer at the end of a conversation ("" for nothing). source: the public page.
    generation_ends: further tokens that generation_config lists as ends. takes_system: whether a system text is
    accepted. takes_tools, takes_calls: whether `tools` and an answer's `tool_calls` are written. takes_parallel_calls:
    whether all of several calls are. takes_content_with_calls: whether the content beside calls is. takes_reasoning:
    the message keys that reasoning is read from. trims: whether contents lose their outer white space.
    opens_thought: what the generation prompt opens. settings: Jinja that stands before the file's. calls: the calls in
    a rendered answer or conversation.
    """

    name: str
    file: str
    bos: str
    eos: str
    special: tuple[str, ...]
    end: str
    source: str
    generation_ends: tuple[str, ...] = ()
    takes_system: bool = True
    takes_tools: bool = False
    takes_calls: bool = False
    takes_parallel_calls: bool = False
    takes_content_with_calls: bool = True
    takes_reasoning: tuple[str, ...] = ()
    trims: bool = False
    opens_thought: str = ""
    settings: str = ""
    calls: Callable[[str], Calls] = no_calls

    @property
    def template(self) -> str:
        """The Jinja source."""
        return self.settings + (FOLDER / f"{self.file}.jinja").read_text(encoding="utf-8")


_TOOLS = {"takes_tools": True, "takes_calls": True}
_PARALLEL = {**_TOOLS, "takes_parallel_calls": True}
_TURNS = ("<|im_start|>", "<|im_end|>")
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>")


def _qwen(name: str, file: str, source: str, **more) -> Family:
    given = {"generation_ends": ("<|endoftext|>",), "calls": json_calls, **_PARALLEL, **more}
    return Family(name, file, "", "<|im_end|>", _TURNS, "<|im_end|>", source, **given)


def _qwen35(name: str, file: str, source: str, opens_thought: str = "") -> Family:
    more = {
        "takes_reasoning": ("reasoning_content",),
        "trims": True,
        "opens_thought": opens_thought,
        "calls": xml_calls,
    }
    return _qwen(name, file, source, **more)


def _llama(name: str, file: str, source: str) -> Family:
    special = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    more = {"trims": True, "calls": llama_calls, "generation_ends": ("<|end_of_text|>", "<|eom_id|>"), **_TOOLS}
    return Family(
        name,
        file,
        "<|begin_of_text|>",
        "<|eot_id|>",
        special,
        "<|eot_id|>",
        source,
        takes_content_with_calls=False,
        **more,
    )


def _gemma(name: str, file: str, source: str, **more) -> Family:
    special = ("<bos>", "<start_of_turn>", "<end_of_turn>")
    return Family(
        name,
        file,
        "<bos>",
        "<eos>",
        special,
        "<end_of_turn>",
        source,
        generation_ends=("<end_of_turn>",),
        trims=True,
        **more,
    )


def _gemma4(name: str, source: str, **more) -> Family:
    special = ("<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", '<|"|>', "<|tool>", "<tool|>")
    calls = ("<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>")
    return Family(
        name,
        "gemma4",
        "<bos>",
        "<eos>",
        (*special, *calls),
        "<turn|>",
        source,
        generation_ends=("<turn|>", "<|tool_response>"),
        takes_reasoning=("reasoning_content", "reasoning"),
        trims=True,
        calls=gemma_calls,
        **_PARALLEL,
        **more,
    )


def _mistral(name: str, file: str, source: str, **more) -> Family:
    # The system text is written only where the last message is the user's: a finished conversation loses it.
    special = (
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
        "[TOOL_CALLS]",
        "[AVAILABLE_TOOLS]",
        "[/AVAILABLE_TOOLS]",
        "[TOOL_RESULTS]",
        "[/TOOL_RESULTS]",
    )
    return Family(
        name,
        file,
        "<s>",
        "</s>",
        special,
        "</s>",
        source,
        takes_content_with_calls=False,
        calls=mistral_calls,
        **_PARALLEL,
        **more,
    )


def _phi3(name: str, file: str, source: str) -> Family:
    special = (*_ROLES, "<|end|>", "<|endoftext|>")
    return Family(
        name, file, "<s>", "<|endoftext|>", special, "<|end|>", source, generation_ends=("<|assistant|>", "<|end|>")
    )


def _granite(name: str, file: str, source: str, **more) -> Family:
    given = {"special": ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"), "takes_tools": True, **more}
    end = "<|end_of_text|>"
    return Family(name=name, file=file, bos=end, eos=end, end=end, source=source, **given)


FAMILIES: tuple[Family, ...] = (
    _qwen("Qwen2.5", "qwen2_5", "Qwen/Qwen2.5-7B-Instruct; Qwen documentation, Function Calling"),
    _qwen("Qwen3", "qwen3", "Qwen/Qwen3-8B", takes_reasoning=("reasoning_content",)),
    _qwen(
        "Qwen3-Thinking-2507",
        "qwen3_thinking_2507",
        "Qwen/Qwen3-4B-Thinking-2507",
        takes_reasoning=("reasoning_content",),
        opens_thought="<think>\n",
    ),
    _qwen("Qwen3-Instruct-2507", "qwen3_instruct_2507", "Qwen/Qwen3-4B-Instruct-2507"),
    # Qwen3.5 writes a think block, be it empty, into every answer behind the last question. Its generation ends are not
    # confirmed.
    _qwen35("Qwen3.5", "qwen3_5", "Qwen/Qwen3.5-4B", "<think>\n"),
    _qwen35("Qwen3.5 up to 2B", "qwen3_5_small", "Qwen/Qwen3.5-2B"),
    _qwen35("Qwen3.6", "qwen3_6", "Qwen/Qwen3.6-27B", "<think>\n"),
    _llama("Llama 3.1", "llama3_1", "meta-llama/Llama-3.1-8B-Instruct; Meta's prompt format page of Llama 3.1"),
    _llama("Llama 3.2", "llama3_2", "meta-llama/Llama-3.2-3B-Instruct"),
    _llama("Llama 3.3", "llama3_1", "meta-llama/Llama-3.3-70B-Instruct, whose template is that of 3.1 byte for byte"),
    # As transformers' converter of the weights writes it. Its generation ends are those of the public config.json.
    Family(
        "Llama 4",
        "llama4",
        "<|begin_of_text|>",
        "<|eot|>",
        ("<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|python_start|>", "<|python_end|>"),
        "<|eot|>",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct; Meta's prompt format page of Llama 4",
        generation_ends=("<|end_of_text|>", "<|eom|>"),
        calls=llama4_calls,
        **_PARALLEL,
    ),
    _gemma(
        "Gemma 2",
        "gemma2",
        "google/gemma-2-2b-it; Gemma documentation, Formatting and system instructions",
        takes_system=False,
    ),
    _gemma("Gemma 3", "gemma3", "google/gemma-3-1b-it; Gemma documentation, Formatting and system instructions"),
    # As of July 2026. A call ends with <|tool_response>.
    _gemma4("Gemma 4 E2B and E4B", "google/gemma-4-E2B-it; Gemma documentation, Gemma 4 Prompt Formatting"),
    _gemma4(
        "Gemma 4 26B and 31B",
        "google/gemma-4-26B-A4B-it",
        settings="{%- set empty_thought = true -%}",
        opens_thought="<|channel>thought\n<channel|>",
    ),
    _mistral("Mistral v0.3", "mistral_v0_3", "mistralai/Mistral-7B-Instruct-v0.3", trims=True),  # answers only
    _mistral("Mistral Nemo", "mistral_nemo", "mistralai/Mistral-Nemo-Instruct-2407"),
    Family(
        "Mistral Small 3",
        "mistral_small_3",
        "<s>",
        "</s>",
        ("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        "</s>",
        "mistralai/Mistral-Small-24B-Instruct-2501",
    ),
    # The default system text of each size says its own name; which ends its generation_config lists is not confirmed.
    Family(
        "Ministral 3",
        "ministral3",
        "<s>",
        "</s>",
        (
            "<s>",
            "</s>",
            "[INST]",
            "[/INST]",
            "[SYSTEM_PROMPT]",
            "[/SYSTEM_PROMPT]",
            "[TOOL_CALLS]",
            "[ARGS]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
            "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]",
        ),
        "</s>",
        "mistralai/Ministral-3-3B-Instruct-2512, chat_template.jinja",
        calls=named_calls,
        **_PARALLEL,
    ),
    _phi3("Phi-3", "phi3", "microsoft/Phi-3-mini-4k-instruct"),
    _phi3("Phi-3.5", "phi3_5", "microsoft/Phi-3.5-mini-instruct"),
    Family("Phi-4", "phi4", "<|endoftext|>", "<|im_end|>", (*_TURNS, "<|im_sep|>"), "<|im_end|>", "microsoft/phi-4"),
    # A result is a turn as any other; <|tool|> and <|/tool|> stand only around a system message's own `tools`.
    Family(
        "Phi-4-mini",
        "phi4_mini",
        "<|endoftext|>",
        "<|endoftext|>",
        (*_ROLES, "<|tool|>", "<|/tool|>", "<|end|>", "<|endoftext|>"),
        "<|end|>",
        "microsoft/Phi-4-mini-instruct",
        generation_ends=("<|end|>",),
    ),
    Family(
        "SmolLM2", "smollm2", "<|im_start|>", "<|im_end|>", _TURNS, "<|im_end|>", "HuggingFaceTB/SmolLM2-1.7B-Instruct"
    ),
    # Answers lose line breaks at their front. That `tools` are taken for `xml_tools` is what the file's history on the
    # hub says; how it does that is not confirmed.
    Family("SmolLM3", "smollm3", "", "<|im_end|>", _TURNS, "<|im_end|>", "HuggingFaceTB/SmolLM3-3B", takes_tools=True),
    # The comma in the Chinese sentence behind a tool is full-width where projects quote it; the hub's page was seen
    # with an ASCII one.
    Family(
        "GLM-4",
        "glm4",
        "",
        "<|endoftext|>",
        ("[gMASK]", "<sop>", *_ROLES, "<|observation|>"),
        "",
        "zai-org/GLM-4-32B-0414, chat_template.jinja",
        generation_ends=("<|user|>", "<|observation|>"),
        takes_tools=True,
    ),
    Family(
        "GLM-4-9B-Chat",
        "glm4_9b_chat",
        "",
        "<|endoftext|>",
        ("[gMASK]", "<sop>", *_ROLES),
        "",
        "THUDM/glm-4-9b-chat",
        generation_ends=("<|user|>", "<|observation|>"),
    ),
    # Content beside a call is written as a thought, as long as no answer follows; of several calls the first is
    # written; an answer that is a call ends with <|call|>.
    Family(
        "GPT-OSS",
        "gpt_oss",
        "<|startoftext|>",
        "<|return|>",
        ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>"),
        "<|return|>",
        "openai/gpt-oss-20b; OpenAI's harmony format page",
        generation_ends=("<|endoftext|>", "<|call|>"),
        takes_content_with_calls=False,
        takes_reasoning=("thinking",),
        calls=harmony_calls,
        **_TOOLS,
    ),
    # Confirmed for Command R7B, which shares the format; that Command A's default template is the same is not. The
    # template called tool_use beside it is another one.
    Family(
        "Command A",
        "command_a",
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
        (
            "<BOS_TOKEN>",
            "<|START_OF_TURN_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|START_RESPONSE|>",
            "<|END_RESPONSE|>",
            "<|END_OF_TURN_TOKEN|>",
        ),
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        "CohereLabs/c4ai-command-r7b-12-2024",
        trims=True,
    ),
    # Thoughts stand in the content, and the template cuts them off; calls are written only beside a content that is
    # null, and then their arguments must be text.
    Family(
        "DeepSeek-R1-Distill",
        "deepseek_r1_distill",
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        (
            "<｜begin▁of▁sentence｜>",
            "<｜User｜>",
            "<｜Assistant｜>",
            "<｜end▁of▁sentence｜>",
            "<｜tool▁outputs▁begin｜>",
            "<｜tool▁output▁begin｜>",
            "<｜tool▁output▁end｜>",
            "<｜tool▁outputs▁end｜>",
        ),
        "<｜end▁of▁sentence｜>",
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        opens_thought="<think>\n",
    ),
    # <|system|>, <|user|> and <|assistant|> are plain text to OLMo 2's tokenizer.
    Family(
        "OLMo 2",
        "olmo2",
        "<|endoftext|>",
        "<|endoftext|>",
        ("<|endoftext|>",),
        "<|endoftext|>",
        "allenai/OLMo-2-1124-7B-Instruct",
    ),
    # An answer that is not the last message ends with <|im_end|>. Its generation ends are not confirmed.
    Family(
        "OLMo 3",
        "olmo3",
        "<|endoftext|>",
        "<|endoftext|>",
        (*_TURNS, "<|endoftext|>"),
        "<|endoftext|>",
        "allenai/Olmo-3-7B-Instruct; allenai/Olmo-3-7B-Instruct-SFT, chat_template.jinja",
        generation_ends=("<|im_end|>",),
        calls=pythonic_calls,
        **_PARALLEL,
    ),
    # Calls and results are messages with the roles assistant_tool_call and tool_response; `tool_calls` is not read.
    _granite(
        "Granite 3",
        "granite3",
        "ibm-granite/granite-3.3-2b-instruct",
        special=("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>"),
    ),
    _granite("Granite 4", "granite4", "ibm-granite/granite-4.0-micro", calls=json_calls, **_PARALLEL),
    # <|system|>, <|user|> and <|assistant|> are plain text to TinyLlama's tokenizer.
    Family("TinyLlama", "tinyllama", "<s>", "</s>", ("</s>",), "</s>", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
    _granite("Granite 4.1", "granite4_1", "ibm-granite/granite-4.1-3b", calls=json_calls, **_PARALLEL),
)
BY_NAME = {family.name: family for family in FAMILIES}

OFFERED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "SmolLM2",
    "HuggingFaceTB/SmolLM2-360M-Instruct": "SmolLM2",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": "SmolLM2",
    "HuggingFaceTB/SmolLM3-3B": "SmolLM3",
    **{f"Qwen/Qwen3-{size}B": "Qwen3" for size in ("0.6", "1.7", "4", "8", "14", "32")},
    "Qwen/Qwen3-4B-Instruct-2507": "Qwen3-Instruct-2507",
    "Qwen/Qwen3-4B-Thinking-2507": "Qwen3-Thinking-2507",
    **{f"Qwen/Qwen2.5-{size}B-Instruct": "Qwen2.5" for size in ("0.5", "1.5", "3", "7", "14", "32")},
    "meta-llama/Llama-3.2-1B-Instruct": "Llama 3.2",
    "meta-llama/Llama-3.2-3B-Instruct": "Llama 3.2",
    "meta-llama/Llama-3.1-8B-Instruct": "Llama 3.1",
    "meta-llama/Llama-3.3-70B-Instruct": "Llama 3.3",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "Llama 4",
    "openai/gpt-oss-20b": "GPT-OSS",
    **{f"google/gemma-3-{size}-it": "Gemma 3" for size in ("270m", "1b", "4b", "12b", "27b")},
    **{f"google/gemma-4-{size}-it": "Gemma 4 E2B and E4B" for size in ("E2B", "E4B")},
    **{f"google/gemma-4-{size}-it": "Gemma 4 26B and 31B" for size in ("26B-A4B", "31B")},
    **{f"google/gemma-2-{size}b-it": "Gemma 2" for size in (2, 9, 27)},
    "mistralai/Mistral-7B-Instruct-v0.3": "Mistral v0.3",
    "mistralai/Mistral-Nemo-Instruct-2407": "Mistral Nemo",
    **{f"mistralai/Ministral-3-{size}B-Instruct-2512-BF16": "Ministral 3" for size in (3, 8, 14)},
    "mistralai/Mistral-Small-24B-Instruct-2501": "Mistral Small 3",
    "microsoft/phi-4": "Phi-4",
    "microsoft/Phi-4-mini-instruct": "Phi-4-mini",
    **{f"allenai/OLMo-2-{size}B-Instruct": "OLMo 2" for size in ("0425-1", "1124-7", "1124-13", "0325-32")},
    "allenai/Olmo-3-7B-Instruct": "OLMo 3",
    "allenai/Olmo-3.1-32B-Instruct": "OLMo 3",
    **{f"ibm-granite/granite-3.3-{size}b-instruct": "Granite 3" for size in (2, 8)},
    **{f"ibm-granite/granite-4.0-{size}": "Granite 4" for size in ("350m", "1b", "micro")},
    **{f"ibm-granite/granite-4.1-{size}b": "Granite 4.1" for size in (3, 8)},
    **{f"Qwen/Qwen3.5-{size}B": "Qwen3.5 up to 2B" for size in ("0.8", "2")},
    **{f"Qwen/Qwen3.5-{size}B": "Qwen3.5" for size in ("4", "9", "27")},
    "Qwen/Qwen3.6-27B": "Qwen3.6",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "TinyLlama",
    "zai-org/GLM-4-9B-0414": "GLM-4",
    **{
        f"deepseek-ai/DeepSeek-R1-Distill-{base}B": "DeepSeek-R1-Distill"
        for base in ("Qwen-1.5", "Qwen-7", "Qwen-32", "Llama-8")
    },
}
"""Hub id of each model on offer (presets/models.yaml) that chats → its family here."""
