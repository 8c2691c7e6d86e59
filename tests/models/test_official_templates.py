"""The official templates write what is written out, what transformers makes of them, and what their table says."""

import json

import pytest
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from studio.models.catalogue import catalogue
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.resolve import STARTERS
from studio.words import StudioError
from tests.models.model_folders import tokenizer_folder
from tests.models.official_calls import xml_calls
from tests.models.official_templates import BY_NAME, FAMILIES, FOLDER, OFFERED
from tests.models.official_written import TODAY, WRITTEN


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def call(**arguments):
    return {"type": "function", "id": "call12345", "function": {"name": "weather", "arguments": arguments}}


SYSTEM, ASK, REPLY = message("system", "Be brief."), message("user", " Hi "), message("assistant", " Hello ")
AGAIN, SECOND_REPLY = message("user", "And?"), message("assistant", "Nine.")
RESULT = message("tool", "9 degrees", tool_call_id="call12345", name="weather")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Says the weather",
            "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
        },
    }
]
CASES = {
    "asked": [SYSTEM, ASK, REPLY, AGAIN],
    "plain": [ASK, REPLY],
    "called": [ASK, message("assistant", "", tool_calls=[call(town="Köln")]), RESULT, SECOND_REPLY],
}
TWO_CALLS = [call(town="Köln", days=[1, 2]), call(town="Bonn", near=True)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """tokenizer(family): its template in a model folder with its begin and end tokens."""

    def made(family):
        tokens = {f"{key}_token": text for key in ("bos", "eos") if (text := getattr(family, key))}
        folder = tokenizer_folder(tmp_path_factory.mktemp("model"), **tokens)
        (folder / "chat_template.jinja").write_text(family.template, encoding="utf-8")
        return ChatTokenizer(folder)

    codecs = {family.name: made(family) for family in FAMILIES}
    return lambda family: codecs[family.name if hasattr(family, "name") else family]


def conversation(family, *messages):
    """The messages, without the system text where the family takes none."""
    return [message for message in messages if family.takes_system or message["role"] != "system"]


each = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_every_file_is_in_the_table_and_written_out():
    files = {path.stem for path in FOLDER.glob("*.jinja")}
    assert files == {family.file for family in FAMILIES} == set(WRITTEN) and len(BY_NAME) == len(FAMILIES)
    assert all(len(cases) >= 2 for cases in WRITTEN.values())


def test_every_offered_model_that_chats_has_its_family_here():
    chats = {offer.id for offer in catalogue() if offer.modality == "text" and offer.id not in STARTERS.values()}
    assert set(OFFERED) == chats and set(OFFERED.values()) <= set(BY_NAME)


@each
def test_rendered_text(tokenizer, family):
    for case, expected in WRITTEN[family.file].items():
        tools = TOOLS if case == "called" else None
        text = tokenizer(family).render(
            conversation(family, *CASES[case]), add_generation_prompt=case == "asked", tools=tools
        )
        # A family with settings of its own shares its file with another, and differs in the generation prompt alone.
        assert text == expected + family.opens_thought * bool(family.settings and case == "asked")
    assert ("called" in WRITTEN[family.file]) == family.takes_tools


def conversations(family):
    thought = {key: "\nhm\n" for key in family.takes_reasoning}
    yield from ([SYSTEM, ASK], [SYSTEM, ASK, REPLY], [ASK, REPLY, AGAIN, SECOND_REPLY], [ASK, REPLY, AGAIN])
    yield from ([ASK, ASK], [REPLY], [SYSTEM, SYSTEM, ASK, REPLY])
    old, new = (message("assistant", f"<think>\n{word}\n</think>\n\nHello", **thought) for word in ("old", "new"))
    yield [SYSTEM, ASK, old, AGAIN, new]
    both, one = (message("assistant", "", tool_calls=calls, **thought) for calls in (TWO_CALLS, TWO_CALLS[:1]))
    yield [SYSTEM, ASK, both, RESULT, RESULT, SECOND_REPLY, AGAIN, one, RESULT]
    found = message("tool", '{"a": "ü"}', tool_call_id="call12345")
    yield [
        ASK,
        message("assistant", "Let me see.", tool_calls=TWO_CALLS[:1]),
        found,
        message("assistant", "Nine.", **thought),
    ]
    yield [ASK, message("assistant", "", tool_calls=[{**TWO_CALLS[0], "id": "short"}]), RESULT, SECOND_REPLY]


@each
def test_transformers_renders_the_same(tokenizer, family):
    rendered = 0
    for messages in conversations(family):
        for tools in (None, TOOLS):
            for asked in (False, True):
                given = {"bos_token": family.bos, "eos_token": family.eos, "chat_template": family.template}
                try:
                    made = render_jinja_template([messages], tools=tools, add_generation_prompt=asked, **given)
                    (expected,), _ = made
                except TemplateError as error:
                    if "length 9" in str(error):  # ChatTokenizer renumbers the calls
                        continue
                    with pytest.raises(StudioError, match="refuses this conversation"):
                        tokenizer(family).render(messages, add_generation_prompt=asked, tools=tools)
                else:
                    rendered += 1
                    assert tokenizer(family).render(messages, add_generation_prompt=asked, tools=tools) == expected
    assert rendered >= 8


@each
def test_table_of_plain_conversations(tokenizer, family):
    rendered = tokenizer(family).render(conversation(family, SYSTEM, ASK, REPLY, AGAIN, SECOND_REPLY))
    behind = rendered.rpartition("Nine.")[2]
    assert behind.startswith(family.end) and (family.end or not behind)
    prompt = tokenizer(family).render(conversation(family, SYSTEM, ASK, REPLY, AGAIN), add_generation_prompt=True)
    opened = next((mark for mark in ("<think>\n", "<|channel>thought\n<channel|>") if prompt.endswith(mark)), "")
    assert opened == family.opens_thought
    assert ("Be brief." in prompt) == family.takes_system and family.trims == (" Hello " not in prompt)
    by_role = any(f"'<|' {join} message.role" in family.template for join in "+~")
    assert all(token in family.template or token in (family.bos, family.eos) or by_role for token in family.special)
    if not family.takes_system:
        with pytest.raises(StudioError, match="System role not supported"):
            tokenizer(family).render([SYSTEM, ASK])


def test_an_end_token_is_in_the_tokenizer_or_generation_config():
    for family in FAMILIES:
        ends = {family.eos, *family.generation_ends}
        assert not family.end or any(family.end.endswith(end) for end in ends), family.name
        assert family.end or ends & set(family.special), family.name


@each
def test_table_of_tool_calls(tokenizer, family):
    if family.name in ("Command A", "Gemma 2", "Gemma 3", "Mistral Small 3"):
        with pytest.raises(StudioError, match="must alternate|Only user, system and assistant"):  # of the result
            tokenizer(family).render(
                [ASK, message("assistant", "", tool_calls=TWO_CALLS[:1]), RESULT, SECOND_REPLY], tools=TOOLS
            )
        assert not family.takes_tools and not family.takes_calls
        return
    one = [ASK, message("assistant", "Let me see.", tool_calls=TWO_CALLS[:1]), RESULT, SECOND_REPLY]
    text = tokenizer(family).render(one, tools=TOOLS)
    assert ("Says the weather" in text) == family.takes_tools
    assert ("Let me see." in text) == family.takes_content_with_calls
    known = [("weather", made["function"]["arguments"]) for made in TWO_CALLS]
    if family.calls is xml_calls:  # which has no types
        near = "true" if family.name == "Qwen3.6" else "True"
        known = [("weather", {"town": "Köln", "days": "[1, 2]"}), ("weather", {"town": "Bonn", "near": near})]
    assert family.calls(text) == (known[:1] if family.takes_calls else [])
    both = [ASK, message("assistant", "", tool_calls=TWO_CALLS), RESULT, RESULT, SECOND_REPLY]
    if family.file.startswith("llama3"):
        with pytest.raises(StudioError, match="only supports single tool-calls"):
            tokenizer(family).render(both)
        return
    found = family.calls(tokenizer(family).render(both, tools=TOOLS))
    assert found == (known if family.takes_parallel_calls else known[:1] if family.takes_calls else [])


@each
def test_table_of_reasoning(tokenizer, family):
    for key in ("reasoning_content", "thinking", "reasoning"):
        text = tokenizer(family).render([ASK, message("assistant", "Hello", **{key: "hm, well"})])
        assert ("hm, well" in text) == (key in family.takes_reasoning)


@pytest.mark.parametrize("name", ["Qwen3", "Qwen3-Thinking-2507", "Qwen3.5", "Qwen3.5 up to 2B", "Qwen3.6"])
def test_qwen_drops_reasoning_before_the_last_question(tokenizer, name):
    old, new = (
        message("assistant", "Hello", reasoning_content="old"),
        message("assistant", "Hi", reasoning_content="new"),
    )
    text = tokenizer(name).render([ASK, old, AGAIN, new])
    assert "assistant\nHello<|im_end|>" in text and "old" not in text
    assert text.endswith("<|im_start|>assistant\n<think>\nnew\n</think>\n\nHi<|im_end|>\n")
    thoughts = (("old", "Hello"), ("new", "Hi"))
    inside = [message("assistant", f"<think>\n{thought}\n</think>\n\n{output}") for thought, output in thoughts]
    assert tokenizer(name).render([ASK, inside[0], AGAIN, inside[1]]) == text
    asks_tool = message("assistant", "", tool_calls=TWO_CALLS[1:], reasoning_content="which town?")
    assert "<think>\nwhich town?\n</think>\n\n<tool_call>" in tokenizer(name).render(
        [ASK, asks_tool, RESULT, SECOND_REPLY]
    )
    assert "which town?" not in tokenizer(name).render([ASK, asks_tool, RESULT, SECOND_REPLY, AGAIN])


def test_qwen3_adds_an_empty_think_block_to_the_last_answer_only(tokenizer):
    calls = message("assistant", "", tool_calls=TWO_CALLS[1:])
    assert tokenizer("Qwen3").render([ASK, calls, RESULT, SECOND_REPLY]).count("<think>") == 1
    assert tokenizer("Qwen3.5").render([ASK, calls, RESULT, SECOND_REPLY]).count("<think>") == 2
    assert "assistant\n Hello <|im_end|>" in tokenizer("Qwen3-Instruct-2507").render([ASK, REPLY])


@pytest.mark.parametrize("name", ["Qwen2.5", "Qwen3", "Qwen3-Instruct-2507", "Qwen3.5", "Granite 4", "Granite 4.1"])
def test_results_that_follow_each_other_are_one_turn(tokenizer, name):
    calls, second = message("assistant", "", tool_calls=TWO_CALLS), message("tool", "8 degrees")
    text = tokenizer(name).render([ASK, calls, RESULT, second, SECOND_REPLY, AGAIN])
    end = BY_NAME[name].end
    both = "\n<tool_response>\n9 degrees\n</tool_response>\n<tool_response>\n8 degrees\n</tool_response>"
    assert f"{both}{end}\n" in text and text.count("<tool_response>") == 2
    assert text.count("<|im_start|>user" if end == "<|im_end|>" else "<|start_of_role|>user") == 3


@pytest.mark.parametrize("name", ["Qwen3", "Qwen3.5"])
def test_a_result_in_a_question_is_no_question(tokenizer, name):
    thinks, result = (
        message("assistant", "Hello", reasoning_content="hm, well"),
        "<tool_response>9 degrees</tool_response>",
    )
    assert "hm, well" in tokenizer(name).render([ASK, thinks, message("user", result), SECOND_REPLY])
    assert "hm, well" not in tokenizer(name).render([ASK, thinks, AGAIN, SECOND_REPLY])


@pytest.mark.parametrize("name", ["Mistral v0.3", "Mistral Nemo"])
def test_mistral_lists_tools_in_json(tokenizer, name):
    other = {"type": "function", "function": {"name": "time", "description": "Says the time", "parameters": {}}}
    text = tokenizer(name).render([ASK], tools=[*TOOLS, other])
    listed = text.partition("[AVAILABLE_TOOLS]")[2].partition("[/AVAILABLE_TOOLS]")[0]
    assert json.loads(listed) == [*TOOLS, other]


def test_qwen3_5_refuses(tokenizer):
    for messages, says in (
        ([SYSTEM], "No user query"),
        ([ASK, SYSTEM], "must be at the beginning"),
        ([ASK, message("developer", "x")], "Unexpected message role"),
    ):
        with pytest.raises(StudioError, match=says):
            tokenizer("Qwen3.5").render(messages)


@pytest.mark.parametrize("name", ["Mistral v0.3", "Mistral Nemo"])
def test_mistral_refuses_and_drops_content(tokenizer, name):
    calls = message("assistant", "", tool_calls=TWO_CALLS[1:])
    short = message("assistant", "", tool_calls=[{**TWO_CALLS[1], "id": "1"}])
    for messages, says in (
        ([ASK, AGAIN], "must alternate"),
        ([SYSTEM, SYSTEM, ASK], "must alternate"),
        ([ASK, SYSTEM], "Only user and assistant roles"),
    ):
        with pytest.raises(StudioError, match=says):
            tokenizer(name).render(messages)
    assert '"id": "000000000"' in tokenizer(name).render(
        [ASK, short]
    )  # ids that it refuses are numbered anew, and the results with them
    assert '"call_id": "000000000"' in tokenizer(name).render([ASK, calls, message("tool", "9")])
    assert "Be brief." not in tokenizer(name).render([SYSTEM, ASK, REPLY])
    assert "Be brief." in tokenizer(name).render([SYSTEM, ASK, REPLY, AGAIN])
    text = tokenizer(name).render([ASK, REPLY, AGAIN, SECOND_REPLY], tools=TOOLS)
    assert text.index("Hello") < text.index("[AVAILABLE_TOOLS]") < text.index("And?")  # before the last question


def test_deepseek_drops_reasoning_and_a_result_needs_no_prompt(tokenizer):
    render, thinks = tokenizer("DeepSeek-R1-Distill").render, message("assistant", "<think>\nhm\n</think>\n\nHello")
    assert render([ASK, thinks, AGAIN], add_generation_prompt=True) == (
        "<｜begin▁of▁sentence｜><｜User｜> Hi <｜Assistant｜>\n\nHello<｜end▁of▁sentence｜>"
        "<｜User｜>And?<｜Assistant｜><think>\n"
    )
    output = "<｜tool▁output▁begin｜>9 degrees<｜tool▁output▁end｜>"
    assert render([ASK, message("assistant", "I look."), RESULT, RESULT], add_generation_prompt=True).endswith(
        f"<｜tool▁outputs▁begin｜>{output}\n{output}<｜tool▁outputs▁end｜>"
    )


def test_gpt_oss_channels(tokenizer):
    thinks = message("assistant", "Hello", thinking="hm")
    render, answer = tokenizer("GPT-OSS").render, "<|start|>assistant<|channel|>final<|message|>Hello"
    assert render([ASK, thinks]).endswith(
        f" Hi <|end|><|start|>assistant<|channel|>analysis<|message|>hm<|end|>{answer}<|return|>"
    )
    assert render([ASK, thinks, AGAIN], add_generation_prompt=True).endswith(
        f" Hi <|end|>{answer}<|end|><|start|>user<|message|>And?<|end|><|start|>assistant"
    )
    calls = message("assistant", "", tool_calls=TWO_CALLS[1:], thinking="which town?")
    assert "<|channel|>analysis<|message|>which town?<|end|>" in render(
        [ASK, calls, RESULT], add_generation_prompt=True
    )
    assert "which town?" not in render([ASK, calls, RESULT, SECOND_REPLY])
    for messages, says in (
        ([ASK, RESULT], "no previous assistant message"),
        ([ASK, {**calls, "content": "x"}], "both content and thinking"),
        ([ASK, message("assistant", "<|channel|>final<|message|>x")], "channel.* tags"),
    ):
        with pytest.raises(StudioError, match=says):
            render(messages)


def test_gpt_oss_writes_parameters_as_typescript(tokenizer):
    properties = {
        "town": {"type": "string", "enum": ["Köln", "Bonn"], "description": "Where", "default": "Bonn"},
        "days": {"type": "array", "items": {"type": "integer"}},
        "near": {"type": "boolean", "default": True},
        "at": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
        "any": {},
    }
    parameters = {"type": "object", "properties": properties, "required": ["days"]}
    tools = [{"type": "function", "function": {"name": "f", "description": "F", "parameters": parameters}}]
    expected = (
        'type f = (_: {\n// Where\ntown?: "Köln" | "Bonn", // default: Bonn,\ndays: number[],\n'
        "near?: boolean, // default: true,\nat?: {\nx: \n                number},\nany?: any,\n}) => any;"
    )
    assert expected in tokenizer("GPT-OSS").render([ASK], tools=tools)


def test_smollm3_modes(tokenizer):
    off = tokenizer("SmolLM3").render(
        [message("system", "Be brief. /no_think"), ASK, REPLY, AGAIN], add_generation_prompt=True
    )
    assert "Reasoning Mode: /no_think\n\n## Custom Instructions\n\nBe brief.\n\n" in off
    assert off.count("<|im_start|>assistant\n<think>\n\n</think>\n") == 2
    overridden = tokenizer("SmolLM3").render([message("system", "Be brief. /system_override"), ASK])
    assert overridden.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")
    default = "Custom Instructions\n\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face. Your role"
    assert default in tokenizer("SmolLM3").render([ASK])


def test_phi_omits_an_empty_system_message_and_takes_tools_from_it(tokenizer):
    assert tokenizer("Phi-3").render([message("system", ""), ASK]).startswith("<|system|>\n<|end|>\n")
    assert tokenizer("Phi-3.5").render([message("system", ""), ASK]).startswith("<|user|>")
    text = tokenizer("Phi-4-mini").render([{**SYSTEM, "tools": '[{"name": "weather"}]'}, ASK, REPLY])
    assert text == (
        '<|system|>Be brief.<|tool|>[{"name": "weather"}]<|/tool|><|end|>'
        "<|user|> Hi <|end|><|assistant|> Hello <|end|><|endoftext|>"
    )


def test_glm_4_calls_are_metadata_and_results_observations(tokenizer):
    talked = [
        ASK,
        message("assistant", '{"town": "Köln"}', metadata="weather"),
        message("observation", "9 degrees"),
        SECOND_REPLY,
    ]
    assert tokenizer("GLM-4").render(talked) == (
        '[gMASK]<sop><|user|>\n Hi <|assistant|>weather\n{"town": "Köln"}<|observation|>\n9 degrees<|assistant|>\nNine.'
    )


def test_olmo_3_ends_its_last_answer_with_another_token(tokenizer):
    text = tokenizer("OLMo 3").render(
        [SYSTEM, ASK, REPLY, AGAIN, message("assistant", "I look.", tool_calls=TWO_CALLS)], tools=TOOLS
    )
    assert text.startswith("<|im_start|>system\nBe brief.<functions>[") and "assistant\n Hello <|im_end|>\n" in text
    assert text.endswith(
        'assistant\nI look.<function_calls>weather(town="Köln", days=[1, 2])\n'
        'weather(town="Bonn", near=true)</function_calls><|endoftext|>'
    )
    assert "You do not currently have access to any functions. <functions></functions>" in tokenizer("OLMo 3").render(
        [ASK]
    )


def test_mistral_small_3_refuses_results(tokenizer):
    with pytest.raises(StudioError, match="Only user, system and assistant roles"):
        tokenizer("Mistral Small 3").render([ASK, message("assistant", "", tool_calls=TWO_CALLS), RESULT])


def test_default_system_texts(tokenizer):
    assert (
        tokenizer("Qwen2.5")
        .render([ASK])
        .startswith(
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        )
    )
    assert (
        tokenizer("Granite 3")
        .render([ASK])
        .startswith(
            f"<|start_of_role|>system<|end_of_role|>Knowledge Cutoff Date: April 2024. "
            f"Today's Date: {TODAY:%B %d, %Y}. "
            "You are Granite, developed by IBM. You are a helpful AI assistant.<|end_of_text|>\n"
        )
    )
    assert "professional, accurate, and safe.<|end_of_text|>" in tokenizer("Granite 4").render([ASK])
    assert "system" not in tokenizer("Granite 4.1").render([ASK])
