"""What each official template writes, written out: two conversations for each file in `official/`.

"asked": system text (where the family takes one), question, answer, question, with the generation prompt. "called":
question, call, result, answer, with tools. "plain": question and answer, for families that write no tools. The blanks
around " Hi " and " Hello " show what is trimmed.
"""

from datetime import datetime

from tests.models.official_written_ministral import ministral

TODAY = datetime.now()
TOOL = (
    '{"type": "function", "function": {"name": "weather", "description": "Says the weather", "parameters": '
    '{"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}}}'
)
XML_TOOLS = (
    "# Tools\n\nYou have access to the following functions:\n\n<tools>\n"
    + TOOL
    + "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple "
    "lines\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow "
    "the specified format: an inner <function=...></function> block must be nested within <tool_call>"
    "</tool_call> XML tags\n- Required parameters MUST be specified\n- You may provide optional reasoning for "
    "your function call in natural language BEFORE the function call, but NOT after\n- If there is no function "
    "call available, answer the question like normal with your current knowledge and do not tell the user "
    "about function calls\n</IMPORTANT>"
)
JSON_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
    "function signatures within <tools></tools> XML tags:\n<tools>\n"
    + TOOL
    + "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>'
    "}\n</tool_call>"
)
GRANITE_TOOLS = (
    "You are a helpful assistant with access to the following tools. You may call one or more tools to assist "
    "with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n"
    "<tools>\n"
    + TOOL
    + "\n</tools>\n\nFor each tool call, return a json object with function name and arguments within <tool_call>"
    '</tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call>. If a tool does not exist in the provided list of tools, notify the user that you do not "
    "have the ability to fulfill the request."
)
LLAMA_TOOLS = (
    "Given the following functions, please respond with a JSON for a function call with its proper arguments "
    'that best answers the given prompt.\n\nRespond in the format {"name": function name, "parameters": '
    'dictionary of argument name and its value}.Do not use variables.\n\n{\n    "type": "function",\n    '
    '"function": {\n        "name": "weather",\n        "description": "Says the weather",\n        '
    '"parameters": {\n            "type": "object",\n            "properties": {\n                "town": {\n'
    '                    "type": "string"\n                }\n            },\n            "required": [\n'
    '                "town"\n            ]\n        }\n    }\n}\n\n'
)
INDENTED = (
    '{\n    "name": "weather",\n    "description": "Says the weather",\n    "parameters": {\n        "type": '
    '"object",\n        "properties": {\n            "town": {\n                "type": "string"\n            '
    '}\n        },\n        "required": [\n            "town"\n        ]\n    }\n}'
)
WRITTEN = {
    "qwen2_5": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n "
        "Hello <|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
        "called": "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.\n\n"
        + JSON_TOOLS
        + '<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n<tool_call>\n{"name": "weather", '
        '"arguments": {"town": "Köln"}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n9 degrees\n'
        "</tool_response><|im_end|>\n<|im_start|>assistant\nNine.<|im_end|>\n",
    },
    "qwen3": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n "
        "Hello <|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
        "called": "<|im_start|>system\n"
        + JSON_TOOLS
        + '<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n<tool_call>\n{"name": "weather", '
        '"arguments": {"town": "Köln"}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n9 degrees\n'
        "</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nNine.<|im_end|>\n",
    },
    "qwen3_thinking_2507": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n "
        "Hello <|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n<think>\n",
        "called": "<|im_start|>system\n"
        + JSON_TOOLS
        + '<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n<tool_call>\n{"name": "weather", '
        '"arguments": {"town": "Köln"}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n9 degrees\n'
        "</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nNine.<|im_end|>\n",
    },
    "qwen3_instruct_2507": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n "
        "Hello <|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
        "called": "<|im_start|>system\n"
        + JSON_TOOLS
        + '<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n<tool_call>\n{"name": "weather", '
        '"arguments": {"town": "Köln"}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n9 degrees\n'
        "</tool_response><|im_end|>\n<|im_start|>assistant\nNine.<|im_end|>\n",
    },
    "qwen3_5": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello"
        "<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n<think>\n",
        "called": "<|im_start|>system\n"
        + XML_TOOLS
        + "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        "<tool_call>\n<function=weather>\n<parameter=town>\nKöln\n</parameter>\n</function>\n</tool_call>"
        "<|im_end|>\n<|im_start|>user\n<tool_response>\n9 degrees\n</tool_response><|im_end|>\n<|im_start|>"
        "assistant\n<think>\n\n</think>\n\nNine.<|im_end|>\n",
    },
    "qwen3_5_small": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello"
        "<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "called": "<|im_start|>system\n"
        + XML_TOOLS
        + "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        "<tool_call>\n<function=weather>\n<parameter=town>\nKöln\n</parameter>\n</function>\n</tool_call>"
        "<|im_end|>\n<|im_start|>user\n<tool_response>\n9 degrees\n</tool_response><|im_end|>\n<|im_start|>"
        "assistant\n<think>\n\n</think>\n\nNine.<|im_end|>\n",
    },
    "qwen3_6": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello"
        "<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n<think>\n",
        "called": "<|im_start|>system\n"
        + XML_TOOLS
        + "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        "<tool_call>\n<function=weather>\n<parameter=town>\nKöln\n</parameter>\n</function>\n</tool_call>"
        "<|im_end|>\n<|im_start|>user\n<tool_response>\n9 degrees\n</tool_response><|im_end|>\n<|im_start|>"
        "assistant\n<think>\n\n</think>\n\nNine.<|im_end|>\n",
    },
    "llama3_1": {
        "asked": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
        "2023\n"
        "Today Date: 26 Jul 2024\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user"
        "<|end_header_id|>\n\nAnd?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "called": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\nCutting "
        "Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user"
        "<|end_header_id|>\n\n"
        + LLAMA_TOOLS
        + 'Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{"name": "weather", "parameters": '
        '{"town": "Köln"}}<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n"9 degrees"<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\nNine.<|eot_id|>",
    },
    "llama3_2": {
        "asked": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
        "2023\n"
        "Today Date: "
        f"{TODAY:%d %b %Y}"
        "\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
        "assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?"
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "called": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\nCutting "
        "Knowledge Date: December 2023\nToday Date: "
        f"{TODAY:%d %b %Y}"
        "\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        + LLAMA_TOOLS
        + 'Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{"name": "weather", "parameters": '
        '{"town": "Köln"}}<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n"9 degrees"<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\nNine.<|eot_id|>",
    },
    "llama4": {
        "asked": "<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe brief.<|eot|><|header_start|>user"
        "<|header_end|>\n\n Hi <|eot|><|header_start|>assistant<|header_end|>\n\n Hello <|eot|>"
        "<|header_start|>user<|header_end|>\n\nAnd?<|eot|><|header_start|>assistant<|header_end|>\n\n",
        "plain": "<|begin_of_text|><|header_start|>user<|header_end|>\n\n Hi <|eot|><|header_start|>assistant"
        "<|header_end|>\n\n Hello <|eot|>",
        "called": "<|begin_of_text|><|header_start|>user<|header_end|>\n\n"
        + LLAMA_TOOLS
        + 'Hi<|eot|><|header_start|>assistant<|header_end|>\n\n<|python_start|><|python_end|>{"name": "weather", '
        '"parameters": {"town": "Köln"}}<|eot|><|header_start|>ipython<|header_end|>\n\n"9 degrees"<|eot|>'
        "<|header_start|>assistant<|header_end|>\n\nNine.<|eot|>",
    },
    "gemma2": {
        "asked": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n<start_of_turn>"
        "user\nAnd?<end_of_turn>\n<start_of_turn>model\n",
        "plain": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n",
    },
    "gemma3": {
        "asked": "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
        "<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\n",
        "plain": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n",
    },
    "mistral_v0_3": {
        "asked": "<s>[INST]  Hi [/INST] Hello</s>[INST] Be brief.\n\nAnd?[/INST]",
        "called": "<s>[AVAILABLE_TOOLS] ["
        + TOOL
        + '][/AVAILABLE_TOOLS][INST]  Hi [/INST][TOOL_CALLS] [{"name": "weather", "arguments": {"town": "Köln"}, '
        '"id": "call12345"}]</s>[TOOL_RESULTS] {"content": 9 degrees, "call_id": "call12345"}[/TOOL_RESULTS] '
        "Nine.</s>",
    },
    "mistral_nemo": {
        "asked": "<s>[INST] Hi [/INST] Hello </s>[INST]Be brief.\n\nAnd?[/INST]",
        "called": "<s>[AVAILABLE_TOOLS]["
        + TOOL
        + '][/AVAILABLE_TOOLS][INST] Hi [/INST][TOOL_CALLS][{"name": "weather", "arguments": {"town": "Köln"}, '
        '"id": "call12345"}]</s>[TOOL_RESULTS]{"content": 9 degrees, "call_id": '
        '"call12345"}[/TOOL_RESULTS]Nine.</s>',
    },
    "mistral_small_3": {
        "asked": "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST] Hi [/INST] Hello </s>[INST]And?[/INST]",
        "plain": "<s>[SYSTEM_PROMPT]You are Mistral Small 3, a Large Language Model (LLM) created by Mistral AI, a "
        "French startup headquartered in Paris.\nYour knowledge base was last updated on 2023-10-01. The "
        "current date is "
        f"{TODAY:%Y-%m-%d}"
        ".\n\nWhen you're not sure about some information, you say that you don't have the information and "
        "don't make up anything.\nIf the user's question is not clear, ambiguous, or does not provide enough "
        "context for you to accurately answer the question, you do not try to answer it right away and you "
        'rather ask the user to clarify their request (e.g. "What are some good restaurants around me?" => '
        '"Where are you?" or "When is the next flight to Tokyo" => "Where do you travel '
        'from?")[/SYSTEM_PROMPT][INST] Hi [/INST] Hello </s>',
    },
    "ministral3": ministral(TOOL),
    "phi3": {
        "asked": "<|system|>\nBe brief.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\n Hello <|end|>\n<|user|>\nAnd?"
        "<|end|>\n<|assistant|>\n",
        "plain": "<|user|>\n Hi <|end|>\n<|assistant|>\n Hello <|end|>\n<|endoftext|>",
    },
    "phi3_5": {
        "asked": "<|system|>\nBe brief.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\n Hello <|end|>\n<|user|>\nAnd?"
        "<|end|>\n<|assistant|>\n",
        "plain": "<|user|>\n Hi <|end|>\n<|assistant|>\n Hello <|end|>\n<|endoftext|>",
    },
    "phi4": {
        "asked": "<|im_start|>system<|im_sep|>Be brief.<|im_end|><|im_start|>user<|im_sep|> Hi <|im_end|><|im_start|>"
        "assistant<|im_sep|> Hello <|im_end|><|im_start|>user<|im_sep|>And?<|im_end|><|im_start|>assistant"
        "<|im_sep|>",
        "plain": "<|im_start|>user<|im_sep|> Hi <|im_end|><|im_start|>assistant<|im_sep|> Hello <|im_end|>",
    },
    "phi4_mini": {
        "asked": "<|system|>Be brief.<|end|><|user|> Hi <|end|><|assistant|> Hello <|end|><|user|>And?<|end|>"
        "<|assistant|>",
        "plain": "<|user|> Hi <|end|><|assistant|> Hello <|end|><|endoftext|>",
    },
    "smollm2": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n "
        "Hello <|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
        "plain": "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n Hello <|im_end|>\n",
    },
    "smollm3": {
        "asked": "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: "
        f"{TODAY:%d %B %Y}"
        "\nReasoning Mode: /think\n\n## Custom Instructions\n\nBe brief.\n\n<|im_start|>user\n Hi <|im_end|>\n"
        "<|im_start|>assistant\n Hello <|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
        "called": "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: "
        f"{TODAY:%d %B %Y}"
        "\nReasoning Mode: /think\n\n## Custom Instructions\n\nYou are a helpful AI assistant named SmolLM, "
        "trained by Hugging Face. Your role as an assistant involves thoroughly exploring questions through a "
        "systematic thinking process before providing the final precise and accurate solutions. This requires "
        "engaging in a comprehensive cycle of analysis, summarizing, exploration, reassessment, reflection, "
        "backtracking, and iteration to develop well-considered thinking process. Please structure your "
        "response into two main sections: Thought and Solution using the specified format: <think> Thought "
        "section </think> Solution section. In the Thought section, detail your reasoning process in steps. "
        "Each step should include detailed considerations such as analysing questions, summarizing relevant "
        "findings, brainstorming new ideas, verifying the accuracy of the current steps, refining any errors, "
        "and revisiting previous steps. In the Solution section, based on various attempts, explorations, and "
        "reflections from the Thought section, systematically present the final solution that you deem "
        "correct. The Solution section should be logical, accurate, and concise and detail necessary steps "
        "needed to reach the conclusion.\n\n### Tools\n\nYou may call one or more functions to assist with the "
        "user query.\nYou are provided with function signatures within <tools></tools> XML tags:\n\n<tools>\n"
        "{'type': 'function', 'function': {'name': 'weather', 'description': 'Says the weather', 'parameters': "
        "{'type': 'object', 'properties': {'town': {'type': 'string'}}, 'required': ['town']}}}\n</tools>\n\n"
        "For each function call, return a json object with function name and arguments within <tool_call>"
        '</tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
        "</tool_call>\n\n<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
        "<|im_start|>user\n9 degrees<|im_end|>\n<|im_start|>assistant\nNine.<|im_end|>\n",
    },
    "glm4": {
        "asked": "[gMASK]<sop><|system|>\nBe brief.<|user|>\n Hi <|assistant|>\n Hello <|user|>\nAnd?<|assistant|>",
        "called": "[gMASK]<sop><|system|>\n# 可用工具\n\n## weather\n\n"
        + INDENTED
        + "\n在调用上述函数时，请使用 Json 格式表示调用的参数。<|user|>\n Hi <|assistant|>\n<|assistant|>\nNine.",
    },
    "glm4_9b_chat": {
        "asked": "[gMASK]<sop><|system|>\nBe brief.<|user|>\n Hi <|assistant|>\n Hello <|user|>\nAnd?<|assistant|>\n",
        "plain": "[gMASK]<sop><|user|>\n Hi <|assistant|>\n Hello ",
    },
    "gpt_oss": {
        "asked": "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge "
        "cutoff: 2024-06\nCurrent date: "
        f"{TODAY:%Y-%m-%d}"
        "\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, final. Channel must be included for "
        "every message.<|end|><|start|>developer<|message|># Instructions\n\nBe brief.\n\n<|end|><|start|>user"
        "<|message|> Hi <|end|><|start|>assistant<|channel|>final<|message|> Hello <|end|><|start|>user"
        "<|message|>And?<|end|><|start|>assistant",
        "called": "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge "
        "cutoff: 2024-06\nCurrent date: "
        f"{TODAY:%Y-%m-%d}"
        "\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, final. Channel must be included for "
        "every message.\nCalls to these tools must go to the commentary channel: 'functions'.<|end|><|start|>"
        "developer<|message|># Tools\n\n## functions\n\nnamespace functions {\n\n// Says the weather\ntype "
        "weather = (_: {\ntown: string,\n}) => any;\n\n} // namespace functions<|end|><|start|>user<|message|> "
        'Hi <|end|><|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{"town": "Köln"}'
        '<|call|><|start|>functions.weather to=assistant<|channel|>commentary<|message|>"9 degrees"<|end|>'
        "<|start|>assistant<|channel|>final<|message|>Nine.<|return|>",
    },
    "command_a": {
        "asked": "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
        "<|START_RESPONSE|>Hello<|END_RESPONSE|><|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>And?"
        "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>",
        "plain": "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
        "<|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>Hello"
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    },
    "deepseek_r1_distill": {
        "asked": "<｜begin▁of▁sentence｜>Be brief.<｜User｜> Hi <｜Assistant｜> Hello <｜end▁of▁sentence｜>"
        "<｜User｜>And?<｜Assistant｜><think>\n",
        "plain": "<｜begin▁of▁sentence｜><｜User｜> Hi <｜Assistant｜> Hello <｜end▁of▁sentence｜>",
    },
    "olmo2": {
        "asked": "<|endoftext|><|system|>\nBe brief.\n<|user|>\n Hi \n<|assistant|>\n Hello <|endoftext|>\n<|user|>\n"
        "And?\n<|assistant|>\n",
        "plain": "<|endoftext|><|user|>\n Hi \n<|assistant|>\n Hello <|endoftext|>",
    },
    "olmo3": {
        "asked": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n "
        "Hello <|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
        "called": "<|im_start|>system\nYou are a helpful function-calling AI assistant. You are provided with function "
        "signatures within <functions></functions> XML tags. You may call one or more functions to assist with "
        "the user query. Output any function calls within <function_calls></function_calls> XML tags. Do not "
        "make assumptions about what values to plug into functions.<functions>["
        + TOOL
        + "]</functions><|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n<function_calls>"
        'weather(town="Köln")</function_calls><|im_end|>\n<|im_start|>environment\n9 degrees<|im_end|>\n'
        "<|im_start|>assistant\nNine.<|endoftext|>",
    },
    "granite3": {
        "asked": "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|> "
        "Hi <|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|> Hello <|end_of_text|>\n<|start_of_role|>"
        "user<|end_of_role|>And?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "called": "<|start_of_role|>system<|end_of_role|>Knowledge Cutoff Date: April 2024. Today's Date: "
        f"{TODAY:%B %d, %Y}"
        ". You are Granite, developed by IBM. You are a helpful assistant with access to the following tools. "
        "When a tool is required to answer the user's query, respond only with <|tool_call|> followed by a "
        "JSON list of tools used. If a tool does not exist in the provided list of tools, notify the user that "
        "you do not have the ability to fulfill the request.<|end_of_text|>\n<|start_of_role|>available_tools"
        '<|end_of_role|>[\n    {\n        "type": "function",\n        "function": {\n            "name": '
        '"weather",\n            "description": "Says the weather",\n            "parameters": {\n'
        '                "type": "object",\n                "properties": {\n                    "town": {\n'
        '                        "type": "string"\n                    }\n                },\n                '
        '"required": [\n                    "town"\n                ]\n            }\n        }\n    }\n]'
        "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|> Hi <|end_of_text|>\n<|start_of_role|>assistant"
        "<|end_of_role|><|end_of_text|>\n<|start_of_role|>tool<|end_of_role|>9 degrees<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>Nine.<|end_of_text|>\n",
    },
    "granite4": {
        "asked": "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|> "
        "Hi <|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|> Hello <|end_of_text|>\n<|start_of_role|>"
        "user<|end_of_role|>And?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "called": "<|start_of_role|>system<|end_of_role|>"
        + GRANITE_TOOLS
        + "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|> Hi <|end_of_text|>\n<|start_of_role|>assistant"
        '<|end_of_role|><tool_call>\n{"name": "weather", "arguments": {"town": "Köln"}}\n</tool_call>'
        "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>\n<tool_response>\n9 degrees\n</tool_response>"
        "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>Nine.<|end_of_text|>\n",
    },
    "gemma4": {
        "asked": "<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\nHello<turn|>\n"
        "<|turn>user\nAnd?<turn|>\n<|turn>model\n",
        "called": '<bos><|turn>system\n<|tool>declaration:weather{description:<|"|>Says the weather<|"|>,parameters:'
        '{properties:{town:{type:<|"|>STRING<|"|>}},required:[<|"|>town<|"|>],type:<|"|>OBJECT<|"|>}}<tool|><turn|>\n'
        '<|turn>user\nHi<turn|>\n<|turn>model\n<|tool_call>call:weather{town:<|"|>Köln<|"|>}<tool_call|>'
        '<|tool_response>response:weather{value:<|"|>9 degrees<|"|>}<tool_response|>Nine.<turn|>\n',
    },
    "tinyllama": {
        "asked": "<|system|>\nBe brief.</s>\n<|user|>\n Hi </s>\n<|assistant|>\n Hello </s>\n<|user|>\nAnd?</s>\n"
        "<|assistant|>\n",
        "plain": "<|user|>\n Hi </s>\n<|assistant|>\n Hello </s>\n",
    },
    "granite4_1": {
        "asked": "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|> "
        "Hi <|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|> Hello <|end_of_text|>\n<|start_of_role|>"
        "user<|end_of_role|>And?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "called": "<|start_of_role|>system<|end_of_role|>"
        + GRANITE_TOOLS
        + "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|> Hi <|end_of_text|>\n<|start_of_role|>assistant"
        '<|end_of_role|><tool_call>\n{"name": "weather", "arguments": {"town": "Köln"}}\n</tool_call>'
        "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>\n<tool_response>\n9 degrees\n</tool_response>"
        "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>Nine.<|end_of_text|>\n",
    },
}
