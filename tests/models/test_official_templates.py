"""Templates of today's model families render what is written out here by hand, in transformers and the studio alike."""

from datetime import datetime

import jinja2
import pytest
from model_folders import tokenizer
from official_templates import FAMILIES, FOLDER, parameter_text
from transformers.utils.chat_template_utils import render_jinja_template

from studio.models.codec import Codec

BY_NAME = {family.name: family for family in FAMILIES}
TALK = [
    {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello! "}, {"role": "user", "content": "Bye"},
]
SYSTEM = {"role": "system", "content": "Be brief."}
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}},
}


def call(name="add", number="call00001", **arguments):
    return {"type": "function", "id": number, "function": {"name": name, "arguments": arguments}}


def result(content, number="call00001"):
    return {"role": "tool", "tool_call_id": number, "content": content}


CALLED = [
    {"role": "user", "content": "1+2?"},
    {"role": "assistant", "content": "", "tool_calls": [call(a=1, b=[2])]},
    result("3"),
    {"role": "assistant", "content": "It is 3."},
]
PARALLEL = [
    {"role": "user", "content": "1+2? 3+4?"},
    {"role": "assistant", "content": "", "tool_calls": [call(a=1, b=2), call(number="call00002", a="drei", b=True)]},
    result("3"), result("7", "call00002"),
]
TOOL_JSON = (
    '{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", '
    '"properties": {}}}}'
)
TOOL_REPR = TOOL_JSON.replace('"', "'")
HERMES = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{TOOL_JSON}\n</tools>\n\n"
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML "
    "tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
)
HERMES_CALLED = (
    "<|im_start|>user\n1+2?<|im_end|>\n"
    '<|im_start|>assistant\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2]}}\n</tool_call><|im_end|>\n'
    "<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>\n"
)
HERMES_PARALLEL = (
    "<|im_start|>user\n1+2? 3+4?<|im_end|>\n<|im_start|>assistant\n%s"
    '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>\n'
    '<tool_call>\n{"name": "add", "arguments": {"a": "drei", "b": true}}\n</tool_call><|im_end|>\n'
    "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\n7\n</tool_response><|im_end|>\n"
    "<|im_start|>assistant\n"
)
QWEN = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
CHATML_TALK = (
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello! <|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
    "<|im_start|>assistant\n"
)
CHATML_SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>\n"
QWEN3_5_TOOLS = (
    "<|im_start|>system\n# Tools\n\nYou have access to the following functions:\n\n<tools>\n" + TOOL_JSON +
    "\n</tools>\n\n"
    "If you choose to call a function ONLY reply in the following format with NO suffix:\n\n<tool_call>\n"
    "<function=example_function_name>\n"
    "<parameter=example_parameter_1>\nvalue_1\n</parameter>\n<parameter=example_parameter_2>\nThis is the value for "
    "the second parameter\n"
    "that can span\nmultiple lines\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within "
    "<tool_call></tool_call> XML tags\n- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language BEFORE the function call, but "
    "NOT after\n"
    "- If there is no function call available, answer the question like normal with your current knowledge and do not "
    "tell the user about "
    "function calls\n</IMPORTANT>\n\nBe brief.<|im_end|>\n"
)


def llama(date, tools=""):
    return ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            f"{tools}Cutting Knowledge Date: December 2023\n"
            f"Today Date: {date}\n\nBe brief.<|eot_id|>")


LLAMA_TALK = (
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    "Hello!<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
)
TOOL_LINES = """{
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {}
        }
    }
}"""
LLAMA_CALLED = (
    "<|start_header_id|>user<|end_header_id|>\n\nGiven the following functions, please respond with a JSON for a "
    "function call with its proper "
    'arguments that best answers the given prompt.\n\nRespond in the format {"name": function name, "parameters": '
    'dictionary of argument name '
    "and its value}.Do not use variables.\n\n" + TOOL_LINES + "\n\n1+2?<|eot_id|>"
    '<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "add", "parameters": {"a": 1, "b": [2]}}<|eot_id|>'
    '<|start_header_id|>ipython<|end_header_id|>\n\n"3"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nIt '
    'is 3.<|eot_id|>'
)
TODAY_SHORT, TODAY_LONG = datetime.now().strftime("%d %b %Y"), datetime.now().strftime("%d %B %Y")
GEMMA_TALK = (
    "Hi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n"
    "<start_of_turn>model\n"
)
SMOLLM = (
    f"<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: {TODAY_LONG}\n"
    "Reasoning Mode: %s\n\n"
    "## Custom Instructions\n\nBe brief.\n\n"
)
GLM_FUNCTION = """{
    "name": "add",
    "description": "Adds.",
    "parameters": {
        "type": "object",
        "properties": {}
    }
}"""

# family, messages, tools, add_generation_prompt, further variables, what is rendered
CASES = [
    ("qwen2_5", TALK, None, True, {}, QWEN + "<|im_end|>\n" + CHATML_TALK),
    ("qwen2_5", [SYSTEM, *TALK], None, True, {}, CHATML_SYSTEM + CHATML_TALK),
    ("qwen2_5", CALLED, [TOOL], False, {}, QWEN + "\n\n" + HERMES + HERMES_CALLED +
        "<|im_start|>assistant\nIt is 3.<|im_end|>\n"),
    ("qwen2_5", PARALLEL, None, True, {}, QWEN + "<|im_end|>\n" + HERMES_PARALLEL % ""),
    ("qwen3", [SYSTEM, *TALK], None, True, {}, CHATML_SYSTEM + CHATML_TALK),
    ("qwen3", TALK, None, True, {"enable_thinking": False}, CHATML_TALK + "<think>\n\n</think>\n\n"),
    ("qwen3", CALLED, [TOOL], False, {}, "<|im_start|>system\n" + HERMES + HERMES_CALLED
     + "<|im_start|>assistant\n<think>\n\n</think>\n\nIt is 3.<|im_end|>\n"),
    ("qwen3", PARALLEL, None, True, {}, HERMES_PARALLEL % ""),
    ("qwen3_thinking", [SYSTEM, *TALK], None, True, {}, CHATML_SYSTEM + CHATML_TALK + "<think>\n"),
    ("qwen3_thinking", [SYSTEM, *CALLED], [TOOL], False, {}, "<|im_start|>system\nBe brief.\n\n" + HERMES +
        HERMES_CALLED
     + "<|im_start|>assistant\n<think>\n\n</think>\n\nIt is 3.<|im_end|>\n"),
    ("qwen3_5", [SYSTEM, *TALK], None, True, {}, CHATML_SYSTEM + CHATML_TALK.replace("Hello! ", "Hello!") +
        "<think>\n"),
    ("qwen3_5", TALK, None, True, {"enable_thinking": False}, CHATML_TALK.replace("Hello! ", "Hello!") +
        "<think>\n\n</think>\n\n"),
    ("qwen3_5", [SYSTEM, *CALLED], [TOOL], False, {}, QWEN3_5_TOOLS +
        "<|im_start|>user\n1+2?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
     "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n[2]\n</parameter>\n</function>\n"
     "</tool_call><|im_end|>\n"
     "<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n\n"
     "</think>\n\nIt is 3.<|im_end|>\n"),
    ("qwen3_5", PARALLEL, None, False, {}, "<|im_start|>user\n1+2? 3+4?<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n"
     "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n2\n</parameter>\n</function>\n"
     "</tool_call>\n"
     "<tool_call>\n<function=add>\n<parameter=a>\ndrei\n</parameter>\n<parameter=b>\nTrue\n</parameter>\n"
     "</function>\n</tool_call><|im_end|>\n"
     "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\n7\n</tool_response><|im_end|>\n"),
    ("llama3_1", [SYSTEM, *TALK], None, True, {}, llama("26 Jul 2024") + LLAMA_TALK),
    ("llama3_1", [SYSTEM, *CALLED], [TOOL], False, {}, llama("26 Jul 2024", "Environment: ipython\n") + LLAMA_CALLED),
    ("llama3_3", [SYSTEM, *TALK], None, True, {"date_string": "1 May 2025"}, llama("1 May 2025") + LLAMA_TALK),
    ("llama3_3", [SYSTEM, *CALLED], [TOOL], False, {}, llama("26 Jul 2024", "Environment: ipython\n") + LLAMA_CALLED),
    ("llama3_2", [SYSTEM, *TALK], None, True, {}, llama(TODAY_SHORT) + LLAMA_TALK),
    ("llama3_2", [SYSTEM, *CALLED], [TOOL], False, {}, llama(TODAY_SHORT, "Environment: ipython\n") + LLAMA_CALLED),
    ("gemma2", TALK, None, True, {}, "<bos><start_of_turn>user\n" + GEMMA_TALK),
    ("gemma2", TALK[:2], None, False, {}, "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
        "Hello!<end_of_turn>\n"),
    ("gemma3", TALK, None, True, {}, "<bos><start_of_turn>user\n" + GEMMA_TALK),
    ("gemma3", [SYSTEM, *TALK], None, True, {}, "<bos><start_of_turn>user\nBe brief.\n\n" + GEMMA_TALK),
    ("mistral_v0_3", [SYSTEM, *TALK], None, True, {}, "<s>[INST] Hi[/INST] Hello!</s>[INST] Be brief.\n\nBye[/INST]"),
    ("mistral_v0_3", [SYSTEM, *TALK[:2]], None, False, {}, "<s>[INST] Hi[/INST] Hello!</s>"),
    ("mistral_v0_3", CALLED, [TOOL], False, {}, f"<s>[AVAILABLE_TOOLS] [{TOOL_JSON}][/AVAILABLE_TOOLS][INST] "
        f"1+2?[/INST]"
     '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1, "b": [2]}, "id": "call00001"}]</s>'
     '[TOOL_RESULTS] {"content": 3, "call_id": "call00001"}[/TOOL_RESULTS] It is 3.</s>'),
    ("mistral_v0_3", [*TALK[:2], *PARALLEL], [TOOL, TOOL], False, {}, "<s>[INST] Hi[/INST] Hello!</s>"
     f"[AVAILABLE_TOOLS] [{TOOL_JSON}, {TOOL_JSON}][/AVAILABLE_TOOLS][INST] 1+2? 3+4?[/INST]"
     '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1, "b": 2}, "id": "call00001"}, '
     '{"name": "add", "arguments": {"a": "drei", "b": true}, "id": "call00002"}]</s>'
     '[TOOL_RESULTS] {"content": 3, "call_id": "call00001"}[/TOOL_RESULTS][TOOL_RESULTS] {"content": 7, "call_id": '
     '"call00002"}[/TOOL_RESULTS]'),
    ("mistral_nemo", [SYSTEM, *TALK], None, True, {}, "<s>[INST]Hi[/INST]Hello! </s>[INST]Be brief.\n\nBye[/INST]"),
    ("mistral_nemo", CALLED, [TOOL], False, {}, f"<s>[AVAILABLE_TOOLS][{TOOL_JSON}][/AVAILABLE_TOOLS][INST]1+2?[/INST]"
     '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1, "b": [2]}, "id": "call00001"}]</s>'
     '[TOOL_RESULTS]{"content": 3, "call_id": "call00001"}[/TOOL_RESULTS]It is 3.</s>'),
    ("smollm3", [SYSTEM, *TALK], None, True, {}, SMOLLM % "/think" + CHATML_TALK),
    ("smollm3", [{"role": "system", "content": "Be brief. /no_think"}, *TALK], None, True, {}, SMOLLM % "/no_think"
     + CHATML_TALK.replace("assistant\n", "assistant\n<think>\n\n</think>\n")),
    ("smollm3", [{"role": "system", "content": "Be brief. /system_override"}, *TALK], None, True, {}, CHATML_SYSTEM +
        CHATML_TALK),
    ("smollm3", [SYSTEM, *CALLED], [TOOL], False, {}, SMOLLM % "/think" +
        "### Tools\n\nYou may call one or more functions to assist with the user "
     f"query.\nYou are provided with function signatures within <tools></tools> XML tags:\n\n<tools>\n"
     f"{TOOL_REPR}\n</tools>\n\n"
     "For each function call, return a json object with function name and arguments within <tool_call></tool_call> "
     "XML tags:\n<tool_call>\n"
     '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>\n\n<|im_end|>\n<|im_start|>user\n'
     '1+2?<|im_end|>\n'
     "<|im_start|>assistant\n<|im_end|>\n<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\nIt is 3.<|im_end|>\n"),
    ("glm4", [SYSTEM, *TALK], None, True, {}, "[gMASK]<sop><|system|>\nBe brief.<|user|>\nHi<|assistant|>\nHello! "
        "<|user|>\nBye<|assistant|>"),
    ("glm4", CALLED, [TOOL], False, {}, f"[gMASK]<sop><|system|>\n# 可用工具\n\n## add\n\n{GLM_FUNCTION}\n在调用上述函数时，请使用 "
        f"Json 格式表示调用的参数。"
     '<|user|>\n1+2?<|assistant|>add\n{"a": 1, "b": [2]}<|observation|>\n3<|assistant|>\nIt is 3.'),
    ("glm4", PARALLEL, None, True, {}, '[gMASK]<sop><|user|>\n1+2? 3+4?<|assistant|>add\n{"a": 1, "b": '
        '2}<|assistant|>add\n{"a": "drei", "b": true}'
     "<|observation|>\n3<|observation|>\n7<|assistant|>"),
]


def rendered(name, messages, tools=None, prompt=False, **more):
    family = BY_NAME[name]
    source = (FOLDER / family.file).read_text(encoding="utf-8")
    texts, _ = render_jinja_template([messages], tools=tools, chat_template=source, add_generation_prompt=prompt,
                                     bos_token=family.bos, eos_token=family.eos, **more)
    return texts[0]


def names(cases):
    return [f"{case[0]}-{at}" for at, case in enumerate(cases)]


@pytest.mark.parametrize("name, messages, tools, prompt, more, text", CASES, ids=names(CASES))
def test_written_out_by_hand(name, messages, tools, prompt, more, text):
    assert rendered(name, messages, tools, prompt, **more) == text


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_transformers_and_the_studio_render_the_same(family, tmp_path):
    folder = tokenizer(tmp_path, bos_token=family.bos or None, eos_token=family.eos)
    (folder / "chat_template.jinja").write_text((FOLDER / family.file).read_text(encoding="utf-8"), encoding="utf-8")
    codec = Codec(folder)
    cases = [case for case in CASES if case[0] == family.name and not case[4]]
    assert len(cases) >= 2 or family.name == "llama3_3"
    for _, messages, tools, prompt, _, text in cases:
        assert codec.render(messages, for_answer=prompt, tools=tools) == text


WITH_TOOLS = [family for family in FAMILIES if family.takes_tools]


@pytest.mark.parametrize("family", WITH_TOOLS, ids=lambda family: family.name)
def test_calls_are_read_from_an_answer(family):
    talk = PARALLEL if family.takes_parallel_calls else CALLED
    before, whole = (rendered(family.name, talk[:count], prompt=count == 1) for count in (1, 2))
    common = before.removesuffix(family.opens_thought)
    assert whole.startswith(common)
    expected = [(made["function"]["name"], made["function"]["arguments"]) for made in talk[1]["tool_calls"]]
    if family.name == "qwen3_5":
        expected = [(name, {key: parameter_text(value) for key, value in given.items()}) for name, given in expected]
    assert family.calls(whole[len(common):]) == expected
    assert family.calls(rendered(family.name, TALK)) == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_ends_an_answer(family):
    assert rendered(family.name, TALK[:2]).rstrip("\n").endswith(family.end or "Hello! ")
    if family.takes_tools:
        assert rendered(family.name, CALLED[:2]).rstrip("\n").endswith(family.call_end or family.end)


THOUGHT = [
    {"role": "user", "content": "One?"}, {"role": "assistant", "content": "1", "reasoning_content": "first"},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "", "reasoning_content": "second", "tool_calls": [call(a=1)]}, result("2"),
    {"role": "assistant", "content": "2", "reasoning_content": ""},
]
THOUGHT_CALL = {
    "qwen3": '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
    "qwen3_thinking": '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
    "qwen3_5": "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
}


@pytest.mark.parametrize("name", THOUGHT_CALL)
def test_thoughts_are_kept_behind_the_last_question(name):
    expected = (
        "<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\nTwo?<|im_end|>\n"
        f"<|im_start|>assistant\n<think>\nsecond\n</think>\n\n{THOUGHT_CALL[name]}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n2\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n\n"
        "</think>\n\n2<|im_end|>\n"
    )
    assert rendered(name, THOUGHT) == expected
    inline = [THOUGHT[0], {"role": "assistant", "content": "<think>\nfirst\n</think>\n\n1"}]
    asked = "<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(name, inline) == asked + "<think>\nfirst\n</think>\n\n1<|im_end|>\n"
    inline[1]["reasoning_content"] = ""  # a text, so the content is not split
    assert rendered(name, inline) == asked + "<think>\n\n</think>\n\n<think>\nfirst\n</think>\n\n1<|im_end|>\n"
    response = {"role": "user", "content": "<tool_response>\n2\n</tool_response>"}
    assert "<think>\nsecond\n</think>" in rendered(name, [*THOUGHT[:4], response])  # a result is no question


def test_words_beside_calls():
    talk = [CALLED[0], {**CALLED[1], "content": "Let me see."}]
    assert "assistant\nLet me see.\n<tool_call>\n{" in rendered("qwen2_5", talk)
    assert "</think>\n\nLet me see.\n<tool_call>\n{" in rendered("qwen3", talk)
    assert "</think>\n\nLet me see.\n\n<tool_call>\n<function=add>" in rendered("qwen3_5", talk)
    assert '<|assistant|>\nLet me see.<|assistant|>add\n{"a": 1' in rendered("glm4", talk)
    for name in ("llama3_1", "llama3_2", "mistral_v0_3", "mistral_nemo"):
        assert "Let me see." not in rendered(name, talk)


TWICE = [TALK[0], TALK[0]]
SHORT_ID = [CALLED[0], {"role": "assistant", "content": "", "tool_calls": [call(number="1", a=1)]}]
REFUSED = [
    ("gemma2", [SYSTEM, *TALK], "System role not supported"), ("gemma2", TWICE, "must alternate"),
    ("gemma3", [SYSTEM, *TWICE], "must alternate"),
    ("mistral_v0_3", TWICE, "must alternate"), ("mistral_nemo", [SYSTEM, *TWICE], "must alternate"),
    ("mistral_v0_3", SHORT_ID, "length 9"),
    ("mistral_nemo", SHORT_ID, "length 9"), ("mistral_nemo", [*CALLED[:2], result("3", "1")], "length 9"),
    ("llama3_1", PARALLEL, "single tool-calls at once"), ("llama3_2", PARALLEL, "single tool-calls at once"),
    ("qwen3_5", [*TALK, SYSTEM], "System message must be at the beginning"),
    ("qwen3_5", [SYSTEM], "No user query found"),
]


@pytest.mark.parametrize("name, messages, reason", REFUSED, ids=names(REFUSED))
def test_refused(name, messages, reason):
    with pytest.raises(Exception, match=reason):
        rendered(name, messages)


def test_the_date_of_llama_3_2_without_a_clock():
    source = (FOLDER / "llama3_2.jinja").read_text(encoding="utf-8")
    assert "Today Date: 26 Jul 2024\n" in jinja2.Environment().from_string(source).render(messages=TALK)
