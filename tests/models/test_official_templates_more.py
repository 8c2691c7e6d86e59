"""More official templates: each renders what is written out here by hand, in transformers and in the studio alike."""

from pathlib import Path

import jinja2
import pytest
from model_folders import tokenizer
from official_renderings_more import (
    ANSWERED,
    ASKED,
    CALLED,
    DEEPSEEK_PARALLEL,
    HARMONY_CALL,
    PARALLEL,
    SCHEMA,
    SYSTEM,
    TALK,
    TOOLS,
    TYPES,
    WRITTEN,
)
from official_templates import FAMILIES
from official_templates_more import MORE, OFFERED, UNWRITTEN
from transformers.utils.chat_template_utils import render_jinja_template

from studio.models.catalogue import catalogue
from studio.models.codec import Codec
from studio.words import StudioError

FOLDER = Path(__file__).parent / "official"
BY_NAME = {family.name: family for family in MORE}


def rendered(family, messages, tools, asks):
    source = (FOLDER / family.file).read_text(encoding="utf-8")
    return render_jinja_template(
        [messages],
        tools=tools,
        chat_template=source,
        add_generation_prompt=asks,
        bos_token=family.bos,
        eos_token=family.eos,
    )[0][0]


def codec(family, folder):
    tokenizer(folder, bos_token=family.bos, eos_token=family.eos)
    (folder / "chat_template.jinja").write_text((FOLDER / family.file).read_text(encoding="utf-8"), encoding="utf-8")
    return Codec(folder)


@pytest.mark.parametrize(
    ("name", "messages", "tools", "asks", "text"),
    WRITTEN,
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_rendered_as_written_out(name, messages, tools, asks, text):
    assert rendered(BY_NAME[name], messages, tools, asks) == text


def test_each_family_is_written_out_twice():
    written = [name for name, *_ in WRITTEN]
    assert all(written.count(family.name) >= 2 for family in MORE) and len(BY_NAME) == len(MORE)


@pytest.mark.parametrize("family", MORE, ids=lambda family: family.name)
def test_the_studio_renders_the_same(family, tmp_path):
    """Also refused by the one is what the other refuses."""
    made, compared = codec(family, tmp_path), 0
    for messages in (
        TALK,
        ANSWERED,
        [SYSTEM, *TALK],
        [SYSTEM, *ANSWERED],
        CALLED,
        PARALLEL,
        [SYSTEM, *CALLED, *TALK],
        CALLED[:2],
    ):
        for tools in (None, TOOLS):
            for asks in (False, True):
                try:
                    expected = rendered(family, messages, tools, asks)
                except jinja2.TemplateError:
                    with pytest.raises(StudioError):
                        made.render(messages, for_answer=asks, tools=tools)
                else:
                    assert made.render(messages, for_answer=asks, tools=tools) == expected
                    compared += 1
    assert compared > 20


@pytest.mark.parametrize("family", [family for family in MORE if family.takes_tools], ids=lambda family: family.name)
def test_calls_are_read_back(family):
    assert family.calls(rendered(family, CALLED, TOOLS, False)) == [("add", {"a": 1, "b": [2]})]
    found = family.calls(rendered(family, PARALLEL, TOOLS, True))
    assert found == [("add", {"a": 1}), ("add", {"a": 3, "c": 'é"'})][: 2 if family.takes_parallel_calls else 1]
    assert family.calls(rendered(family, [SYSTEM, *ANSWERED], TOOLS, False)) == []


def test_calls_that_a_template_does_not_write():
    assert BY_NAME["deepseek_r1_distill"].calls(
        rendered(BY_NAME["deepseek_r1_distill"], DEEPSEEK_PARALLEL, None, True)
    ) == 2 * [("add", {"a": 1})]
    content = '<|tool_call|>[{"name": "add", "arguments": {"a": 1}}]'
    for name in ("granite3", "granite3_3"):
        assert BY_NAME[name].calls(
            rendered(BY_NAME[name], [ASKED, {"role": "assistant", "content": content}], TOOLS, False)
        ) == [("add", {"a": 1})]


@pytest.mark.parametrize("family", MORE, ids=lambda family: family.name)
def test_the_end_stands_behind_the_last_answer(family):
    text = rendered(family, ANSWERED, None, False)
    assert text.rpartition("See you.")[2].startswith(family.end) and rendered(family, TALK, None, True).endswith(
        family.opens_thought
    )


def test_reasoning_in_harmony():
    """Only behind the last answer without calls, or beside the last answer."""

    def thinking(message, text):
        return {**message, "thinking": text}

    first = [ASKED, thinking(CALLED[1], "Sum."), CALLED[2]]
    thought = "<|start|>assistant<|channel|>analysis<|message|>"
    assert thought + "Sum.<|end|>" + HARMONY_CALL in rendered(BY_NAME["gpt_oss"], first, TOOLS, True)
    text = rendered(BY_NAME["gpt_oss"], [*first, thinking(CALLED[3], "Done.")], TOOLS, False)
    assert "Sum." not in text and text.endswith(
        thought + "Done.<|end|><|start|>assistant<|channel|>final<|message|>It is 3.<|return|>"
    )
    assert thought not in rendered(BY_NAME["gpt_oss"], [ASKED, thinking(CALLED[3], "Done."), ASKED], None, True)
    with pytest.raises(jinja2.TemplateError, match="not both"):
        rendered(BY_NAME["gpt_oss"], [ASKED, thinking(PARALLEL[1], "Sum.")], TOOLS, False)


def test_types_in_harmony():
    tools = [
        {"type": "function", "function": {"name": "f", "description": "Does.", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "g", "description": "Goes."}},
    ]
    assert "// Does.\ntype f = " + TYPES + "// Goes.\ntype g = () => any;\n\n} // namespace" in rendered(
        BY_NAME["gpt_oss"], TALK, tools, True
    )


def test_every_model_on_offer_has_a_family():
    assert {offer.id for offer in catalogue() if offer.link and offer.reads == "text"} == set(OFFERED)
    written = {family.name for family in (*FAMILIES, *MORE)}
    assert set(OFFERED.values()) <= written | UNWRITTEN | {""} and not written & UNWRITTEN
    assert set(OFFERED.values()) >= UNWRITTEN
