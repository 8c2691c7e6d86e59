"""What the templates of `official_templates_more.py` write, put down by hand, and the conversations behind it."""

import json
from datetime import datetime

SYSTEM = {"role": "system", "content": "Be brief."}
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
]
ANSWERED = [*TALK, {"role": "assistant", "content": "See you."}]
ADD = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "description": "First."},
        "b": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["a"],
}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": ADD}}]


def call(number="call00001", **arguments):
    return {"type": "function", "id": number, "function": {"name": "add", "arguments": arguments}}


def result(content, number="call00001"):
    return {"role": "tool", "tool_call_id": number, "content": content}


ASKED = {"role": "user", "content": "1+2?"}
CALLED = [
    ASKED,
    {"role": "assistant", "content": "", "tool_calls": [call(a=1, b=[2])]},
    result("3"),
    {"role": "assistant", "content": "It is 3."},
]
PARALLEL = [
    ASKED,
    {"role": "assistant", "content": "Both.", "tool_calls": [call(a=1), call("call00002", a=3, c='é"')]},
    result("3"),
    result("7", "call00002"),
]
TOOL_JSON = json.dumps(TOOLS[0])


def turns(start, middle, end, *pairs):
    return "".join(start + role + middle + text + end for role, text in pairs)


def phi4(*pairs):
    return turns("<|im_start|>", "<|im_sep|>", "<|im_end|>", *pairs)


def chatml(*pairs):
    return turns("<|im_start|>", "\n", "<|im_end|>\n", *pairs)


def granite(*pairs):
    return turns("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n", *pairs)


TODAY = datetime.now()
HARMONY = (
    "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\n"
    f"Current date: {TODAY:%Y-%m-%d}\n\nReasoning: medium\n\n"
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."
)
HARMONY_TOOLS = (
    HARMONY
    + "\nCalls to these tools must go to the commentary channel: 'functions'.<|end|><|start|>developer<|message|>%s# "
    "Tools\n\n"
    "## functions\n\nnamespace functions {\n\n// Adds.\ntype add = (_: {\n// First.\na: number,\nb?: number[],\n}) => "
    "any;\n\n} // namespace functions<|end|>"
)
HARMONY_CALL = '<|start|>assistant to=functions.add<|channel|>commentary json<|message|>{"a": 1, "b": [2]}<|call|>'
GRANITE_ABOUT = (
    f"Knowledge Cutoff Date: April 2024.\nToday's Date: {TODAY:%B %d, %Y}.\nYou are Granite, developed by IBM."
)
GRANITE_REST = (
    "<|tool_call|> followed by a JSON list of tools used. If a tool does not exist in the provided list of tools, "
    "notify the user that "
    "you do not have the ability to fulfill the request."
)
COMMAND = "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>"
COMMAND_TOOLS = (
    COMMAND + "# System Preamble\nYour information cutoff date is June 2024.\n\n## Available Tools\n```json\n[\n"
    '    {"name": "add", "description": "Adds.", "parameters": ' + json.dumps(ADD) + ', "responses": null}\n]\n```\n\n'
    "# Default Preamble\n- Your name is Command.\n- You are a large language model built by Cohere.%s"
    "<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>1+2?<|END_OF_TURN_TOKEN|>"
)
COMMAND_ASKS = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"


def command_result(number, content):
    return (
        '    {\n        "tool_call_id": "'
        + number
        + '",\n        "results": {\n            "0": '
        + content
        + '\n        },\n        "is_error": null\n    }'
    )


GRANITE4_TOOLS = (
    "You are a helpful assistant with access to the following tools. You may call one or more tools to assist with the "
    "user query.\n\n"
    f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{TOOL_JSON}\n</tools>\n\n"
    "For each tool call, return a json object with function name and arguments within <tool_call></tool_call> XML "
    "tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>. If a tool does not exist '
    "in the provided list of "
    "tools, notify the user that you do not have the ability to fulfill the request."
)
THOUGHT = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "<think>\nHm\n</think>\n\nHello!"},
    {"role": "user", "content": "Bye"},
]
DEEPSEEK_CALLED = [
    ASKED,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
    },
    result("3"),
]
DEEPSEEK_PARALLEL = [
    ASKED,
    {"role": "assistant", "content": None, "tool_calls": 2 * DEEPSEEK_CALLED[1]["tool_calls"]},
    result("3"),
    result("3"),
]
DEEPSEEK_CALL = '<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{"a": 1}\n```<｜tool▁call▁end｜>'
BEGIN, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"

WRITTEN = [  # family, messages, tools, whether an answer is asked for, what is written
    (
        "phi3",
        [SYSTEM, *TALK],
        None,
        True,
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n<|user|>\nBye<|end|>\n"
        "<|assistant|>\n",
    ),
    (
        "phi3",
        CALLED,
        TOOLS,
        False,
        "<|user|>\n1+2?<|end|>\n<|assistant|>\n<|end|>\n<|assistant|>\nIt is 3.<|end|>\n<|endoftext|>",
    ),
    (
        "phi3",
        [{**SYSTEM, "content": ""}, ASKED],
        None,
        True,
        "<|system|>\n<|end|>\n<|user|>\n1+2?<|end|>\n<|assistant|>\n",
    ),
    ("phi3_5", [{**SYSTEM, "content": ""}, ASKED], None, True, "<|user|>\n1+2?<|end|>\n<|assistant|>\n"),
    ("phi3_5", ANSWERED[2:], None, False, "<|user|>\nBye<|end|>\n<|assistant|>\nSee you.<|end|>\n<|endoftext|>"),
    (
        "phi4",
        [SYSTEM, *TALK],
        None,
        True,
        phi4(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye"))
        + "<|im_start|>assistant<|im_sep|>",
    ),
    (
        "phi4",
        ANSWERED,
        None,
        False,
        phi4(("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye"), ("assistant", "See you.")),
    ),
    (
        "phi4_mini",
        [SYSTEM, *TALK],
        None,
        True,
        "<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|>Hello!<|end|><|user|>Bye<|end|><|assistant|>",
    ),
    (
        "phi4_mini",
        [{**SYSTEM, "tools": TOOL_JSON}, *CALLED],
        None,
        False,
        f"<|system|>Be brief.<|tool|>{TOOL_JSON}<|/tool|><|end|><|user|>1+2?<|end|><|assistant|><|end|><|tool|>3<|end|>"
        "<|assistant|>It is 3.<|end|><|endoftext|>",
    ),
    (
        "gpt_oss",
        [SYSTEM, *TALK],
        None,
        True,
        HARMONY
        + "<|end|><|start|>developer<|message|># Instructions\n\nBe brief.\n\n<|end|><|start|>user<|message|>Hi<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Hello!<|end|><|start|>user<|message|>Bye<|end|>"
        "<|start|>assistant",
    ),
    (
        "gpt_oss",
        ANSWERED[2:],
        None,
        False,
        HARMONY
        + "<|end|><|start|>user<|message|>Bye<|end|><|start|>assistant<|channel|>final<|message|>See you.<|return|>",
    ),
    (
        "gpt_oss",
        CALLED,
        TOOLS,
        False,
        HARMONY_TOOLS % ""
        + "<|start|>user<|message|>1+2?<|end|>"
        + HARMONY_CALL
        + "<|start|>functions.add to=assistant<|channel|>commentary<|message|>"
        '"3"<|end|><|start|>assistant<|channel|>final<|message|>It is 3.<|return|>',
    ),
    (
        "gpt_oss",
        [SYSTEM, *PARALLEL],
        TOOLS,
        True,
        HARMONY_TOOLS % "# Instructions\n\nBe brief.\n\n"
        + "<|start|>user<|message|>1+2?<|end|><|start|>assistant<|channel|>analysis<|message|>Both.<|end|>"
        + HARMONY_CALL.replace(', "b": [2]', "")
        + '<|start|>functions.add to=assistant<|channel|>commentary<|message|>"3"<|end|>'
        '<|start|>functions.add to=assistant<|channel|>commentary<|message|>"7"<|end|><|start|>assistant',
    ),
    (
        "command_a",
        [SYSTEM, *TALK],
        None,
        True,
        COMMAND
        + "Be brief.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
        + COMMAND_ASKS
        + "<|START_RESPONSE|>Hello!<|END_RESPONSE|><|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye"
        "<|END_OF_TURN_TOKEN|>" + COMMAND_ASKS + "<|START_RESPONSE|>",
    ),
    (
        "command_a",
        ANSWERED[2:],
        None,
        False,
        COMMAND
        + "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|>"
        + COMMAND_ASKS
        + "<|START_RESPONSE|>See you.<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    ),
    (
        "command_a",
        CALLED,
        TOOLS,
        False,
        COMMAND_TOOLS % "" + COMMAND_ASKS + "<|START_THINKING|><|END_THINKING|><|START_ACTION|>[\n"
        '    {"tool_call_id": "0", "tool_name": "add", "parameters": {"a": 1, "b": [2]}}\n]<|END_ACTION|>'
        "<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[\n"
        + command_result("0", '"3"')
        + "\n]<|END_TOOL_RESULT|><|END_OF_TURN_TOKEN|>"
        + COMMAND_ASKS
        + "<|START_RESPONSE|>It is 3.<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
        + COMMAND_ASKS,
    ),
    (
        "command_a",
        [SYSTEM, *PARALLEL],
        TOOLS,
        True,
        COMMAND_TOOLS % "\n\n# Developer Preamble\nBe brief."
        + COMMAND_ASKS
        + "<|START_THINKING|><|END_THINKING|><|START_ACTION|>[\n"
        '    {"tool_call_id": "0", "tool_name": "add", "parameters": {"a": 1}},\n'
        '    {"tool_call_id": "1", "tool_name": "add", "parameters": {"a": 3, "c": "é\\""}}\n]<|END_ACTION|>'
        "<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[\n"
        + command_result("0", '"3"')
        + ",\n"
        + command_result("1", '"7"')
        + "\n]<|END_TOOL_RESULT|><|END_OF_TURN_TOKEN|>"
        + COMMAND_ASKS,
    ),
    (
        "deepseek_r1_distill",
        [SYSTEM, *THOUGHT],
        None,
        True,
        f"{BEGIN}Be brief.<｜User｜>Hi<｜Assistant｜>\n\nHello!{END}<｜User｜>Bye<｜Assistant｜><think>\n",
    ),
    (
        "deepseek_r1_distill",
        [*TALK[2:], THOUGHT[1]],
        None,
        False,
        f"{BEGIN}<｜User｜>Bye<｜Assistant｜>\n\nHello!{END}",
    ),
    ("deepseek_r1_distill", CALLED[:2], TOOLS, False, f"{BEGIN}<｜User｜>1+2?<｜Assistant｜>{END}"),
    (
        "deepseek_r1_distill",
        [*DEEPSEEK_CALLED, THOUGHT[1]],
        None,
        False,
        f"{BEGIN}<｜User｜>1+2?<｜Assistant｜><｜tool▁calls▁begin｜>{DEEPSEEK_CALL}<｜tool▁outputs▁begin｜>"
        f"<｜tool▁output▁begin｜>3<｜tool▁output▁end｜>"
        f"<｜tool▁outputs▁end｜><think>\nHm\n</think>\n\nHello!{END}",
    ),
    (
        "deepseek_r1_distill",
        DEEPSEEK_PARALLEL,
        None,
        True,
        f"{BEGIN}<｜User｜>1+2?<｜Assistant｜><｜tool▁calls▁begin｜>{DEEPSEEK_CALL}\n{DEEPSEEK_CALL}<｜tool▁calls▁end｜>{END}"
        f"<｜tool▁outputs▁begin｜>"
        "<｜tool▁output▁begin｜>3<｜tool▁output▁end｜>\n<｜tool▁output▁begin｜>3<｜tool▁output▁end｜><｜tool▁outputs▁end｜>",
    ),
    (
        "olmo2",
        [SYSTEM, *TALK],
        None,
        True,
        "<|endoftext|><|system|>\nBe brief.\n<|user|>\nHi\n<|assistant|>\nHello!<|endoftext|>\n<|user|>\nBye\n"
        "<|assistant|>\n",
    ),
    ("olmo2", ANSWERED[2:], None, False, "<|endoftext|><|user|>\nBye\n<|assistant|>\nSee you.<|endoftext|>"),
    (
        "granite3",
        [SYSTEM, *TALK],
        None,
        True,
        granite(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye"))
        + "<|start_of_role|>assistant<|end_of_role|>",
    ),
    (
        "granite3",
        TALK[:1],
        None,
        False,
        granite(("system", GRANITE_ABOUT + " You are a helpful AI assistant."), ("user", "Hi")),
    ),
    (
        "granite3",
        CALLED,
        TOOLS,
        False,
        granite(
            (
                "system",
                GRANITE_ABOUT
                + " You are a helpful AI assistant with access to the following tools. When a tool is required to "
                "answer the user's "
                "query, respond with " + GRANITE_REST,
            ),
            ("tools", json.dumps(TOOLS, indent=4)),
            ("user", "1+2?"),
            ("assistant", ""),
            ("tool", "3"),
            ("assistant", "It is 3."),
        ),
    ),
    (
        "granite3_3",
        TALK[:1],
        None,
        False,
        granite(("system", GRANITE_ABOUT + " You are a helpful AI assistant."), ("user", "Hi")),
    ),
    (
        "granite3_3",
        CALLED,
        TOOLS,
        False,
        granite(
            (
                "system",
                GRANITE_ABOUT
                + " You are a helpful assistant with access to the following tools. When a tool is required to answer "
                "the user's "
                "query, respond only with " + GRANITE_REST,
            ),
            ("available_tools", json.dumps(TOOLS, indent=4)),
            ("user", "1+2?"),
            ("assistant", ""),
            ("tool", "3"),
            ("assistant", "It is 3."),
        ),
    ),
    (
        "granite4",
        TALK,
        None,
        True,
        granite(
            ("system", "You are a helpful assistant. Please ensure responses are professional, accurate, and safe."),
            ("user", "Hi"),
            ("assistant", "Hello!"),
            ("user", "Bye"),
        )
        + "<|start_of_role|>assistant<|end_of_role|>",
    ),
    (
        "granite4",
        CALLED,
        TOOLS,
        False,
        granite(
            ("system", GRANITE4_TOOLS),
            ("user", "1+2?"),
            ("assistant", '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2]}}\n</tool_call>'),
            ("user", "\n<tool_response>\n3\n</tool_response>"),
            ("assistant", "It is 3."),
        ),
    ),
    (
        "granite4",
        [SYSTEM, *PARALLEL],
        TOOLS,
        False,
        granite(
            ("system", "Be brief.\n\n" + GRANITE4_TOOLS),
            ("user", "1+2?"),
            (
                "assistant",
                'Both.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
                '<tool_call>\n{"name": "add", "arguments": {"a": 3, "c": "é\\""}}\n</tool_call>',
            ),
            ("user", "\n<tool_response>\n3\n</tool_response>\n<tool_response>\n7\n</tool_response>"),
        ),
    ),
    (
        "smollm2",
        [SYSTEM, *TALK],
        None,
        True,
        turns(
            "<|im_start|>",
            "\n",
            "<|im_end|>\n",
            ("system", "Be brief."),
            ("user", "Hi"),
            ("assistant", "Hello!"),
            ("user", "Bye"),
        )
        + "<|im_start|>assistant\n",
    ),
    (
        "smollm2",
        TALK[:1],
        None,
        False,
        turns(
            "<|im_start|>",
            "\n",
            "<|im_end|>\n",
            ("system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
            ("user", "Hi"),
        ),
    ),
    (
        "tinyllama",
        [SYSTEM, *TALK],
        None,
        True,
        "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
    ),
    ("tinyllama", ANSWERED[2:], None, False, "<|user|>\nBye</s>\n<|assistant|>\nSee you.</s>\n"),
    (
        "olmo3",
        TALK,
        None,
        True,
        chatml(
            (
                "system",
                "You are a helpful function-calling AI assistant. You do not currently have access to any functions. "
                "<functions></functions>",
            ),
            ("user", "Hi"),
            ("assistant", "Hello!"),
            ("user", "Bye"),
        )
        + "<|im_start|>assistant\n",
    ),
    (
        "olmo3",
        [SYSTEM, *ANSWERED],
        None,
        False,
        chatml(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye"))
        + "<|im_start|>assistant\nSee you.<|endoftext|>",
    ),
    (
        "olmo3",
        CALLED,
        TOOLS,
        False,
        chatml(
            (
                "system",
                "You are a helpful function-calling AI assistant. You are provided with function signatures within "
                "<functions></functions> XML tags. You may call one or more functions to assist with the user query. "
                "Output any function calls within <function_calls></function_calls> XML tags. Do not make assumptions "
                f"about what values to plug into functions.<functions>[{TOOL_JSON}]</functions>",
            ),
            ("user", "1+2?"),
            ("assistant", "<function_calls>add(a=1, b=[2])</function_calls>"),
            ("environment", "3"),
        )
        + "<|im_start|>assistant\nIt is 3.<|endoftext|>",
    ),
    (
        "olmo3",
        [SYSTEM, *PARALLEL],
        TOOLS,
        True,
        chatml(
            ("system", f"Be brief.<functions>[{TOOL_JSON}]</functions>"),
            ("user", "1+2?"),
            ("assistant", 'Both.<function_calls>add(a=1)\nadd(a=3, c="é\\"")</function_calls>'),
            ("environment", "3"),
            ("environment", "7"),
        )
        + "<|im_start|>assistant\n",
    ),
    (
        "qwen3_instruct",
        [SYSTEM, *TALK],
        None,
        True,
        chatml(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye"))
        + "<|im_start|>assistant\n",
    ),
    ("qwen3_instruct", THOUGHT[:2], None, False, chatml(("user", "Hi"), ("assistant", THOUGHT[1]["content"]))),
    (
        "qwen3_instruct",
        [SYSTEM, *PARALLEL],
        TOOLS,
        False,
        chatml(
            (
                "system",
                "Be brief.\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
                f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
                f"{TOOL_JSON}\n</tools>\n\nFor each function call, return a json object with function name and "
                "arguments within "
                "<tool_call></tool_call> XML tags:\n"
                '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
            ),
            ("user", "1+2?"),
            (
                "assistant",
                'Both.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
                '<tool_call>\n{"name": "add", "arguments": {"a": 3, "c": "é\\""}}\n</tool_call>',
            ),
            ("user", "<tool_response>\n3\n</tool_response>\n<tool_response>\n7\n</tool_response>"),
        ),
    ),
]
SCHEMA = {
    "type": "object",
    "required": ["o"],
    "properties": {
        "o": {
            "type": "object",
            "properties": {"x": {"type": "string", "nullable": True}, "y": {"type": "boolean"}},
            "required": ["x"],
        },
        "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        "n": {"type": "integer", "default": 3},
        "any": {"type": ["string", "null"]},
        "either": {"oneOf": [{"type": "string"}, {"type": "number"}]},
        "all": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        "bare": {"type": "array"},
        "free": {"type": "object"},
        "what": {},
    },
}
TYPES = (
    '(_: {\no: {\nx: \n                string | null, y?: \n                boolean},\nunit?: "c" | "f", // default: '
    "c,\nn?: number, // default: 3,\n"
    "any?: string | null,\neither?: string | \nnumber,\nall?: string[][],\nbare?: any[],\nfree?: object,\nwhat?: "
    "any,\n}) => any;\n\n"
)
