"""Which form of tool calls a chat template writes is found by rendering one."""

import pytest

from studio.chat.tool_calls import tool_support
from tests.models.test_template_answers import ALL, make_tokenizer

FORMS = {
    **{name: "hermes" for name in ("Qwen2.5", "Qwen3", "Qwen3-Instruct-2507", "Qwen3-Thinking-2507")},
    **{name: "hermes" for name in ("Granite 4", "Granite 4.1", "chatml", "qwen3")},
    **{name: "xml" for name in ("Qwen3.5", "Qwen3.5 up to 2B", "Qwen3.6")},
    **{name: "llama" for name in ("Llama 3.1", "Llama 3.2", "Llama 3.3", "Llama 4", "llama3")},
    **{name: "mistral" for name in ("Mistral v0.3", "Mistral Nemo")},
    "Ministral 3": "mistral_named",
    **{name: "gemma" for name in ("Gemma 4 E2B and E4B", "Gemma 4 26B and 31B")},
}
UNKNOWN_FORM = {"GLM-4", "Granite 3", "GPT-OSS", "OLMo 3", "SmolLM3"}
"""Templates that offer tools, but whose calls are written in a form of their own, or not at all."""


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_form_of_each_template(name, tmp_path):
    support = tool_support(make_tokenizer(ALL[name], tmp_path))
    assert support.offers == (name in FORMS or name in UNKNOWN_FORM)
    assert (support.format.name if support.format else None) == FORMS.get(name)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_prefilled_answer_is_a_call_of_the_tool(name, tmp_path):
    """What the template writes of a call begins with the text that tool_choice puts before the answer."""
    tokenizer = make_tokenizer(ALL[name], tmp_path)
    call = {"type": "function", "id": "call00001", "function": {"name": "lamp", "arguments": {"room": "hall"}}}
    tool = {"type": "function", "function": {"name": "lamp", "description": "A lamp", "parameters": {}}}
    messages = [{"role": "user", "content": "Light!"}]
    prompt = tokenizer.render(messages, add_generation_prompt=True, tools=[tool])
    written = tokenizer.render([*messages, {"role": "assistant", "content": "", "tool_calls": [call]}], tools=[tool])
    support = tool_support(tokenizer)
    prefill = support.prefill(prompt, "lamp").strip()
    assert prefill.removeprefix("</think>").strip() in written
    opens_thought = prompt.rstrip().endswith("<think>")
    assert prefill.startswith("</think>") == opens_thought
