"""Reasoning inside an answer: joined, split, and left alone where there is none."""

import re

import pytest

from studio.data.reasoning import gemma_text, harmony_text, join_reasoning, split_reasoning


@pytest.mark.parametrize(
    ("content", "reasoning", "answer"),
    [
        ("<think>\nTwo and two.\n</think>\n\nFour.", "Two and two.", "Four."),
        ("<think>a</think>b", "a", "b"),
        ("<thinking>a</thinking> b", "a", "b"),
        ("\n<think>\n\n</think>\n\nFour.", "", "Four."),
        ("a\n</think>\n\nb", "a", "b"),  # the prompt opened it
        ("Write <think> and </think> around it.", "", "Write <think> and </think> around it."),
        ("No thoughts", "", "No thoughts"),
        ("", "", ""),
        ("<think>never closed", "", "<think>never closed"),
    ],
)
def test_reasoning_is_split_off(content, reasoning, answer):
    assert split_reasoning(content) == (reasoning, answer)


def test_joining_and_splitting_give_the_same():
    assert split_reasoning(join_reasoning("Two\n\nand two.", "Four.")) == ("Two\n\nand two.", "Four.")
    assert join_reasoning("  ", "Four.") == "Four."


def test_a_thought_channel_becomes_reasoning_and_grows():
    raw = '<|channel>thought\nTwo and two.\n<channel|>Four.<|tool_call>call:f{a:<|"|>b<|"|>}<tool_call|>'
    call = '<|tool_call>call:f{a:<|"|>b<|"|>}<tool_call|>'
    assert gemma_text(raw) == f"<think>\nTwo and two.\n</think>\n\nFour.{call}"
    whole = re.findall(r"<[^<>]*>|[a-z]+\n?|.", raw, re.DOTALL)  # tokens: marks come whole
    seen = [gemma_text("".join(whole[:at])) for at in range(len(whole))]
    assert all(after.startswith(before) for before, after in zip(seen, seen[1:], strict=False))
    assert split_reasoning("<|channel>thought\nhm\n<channel|>Four.") == ("hm", "Four.")


def test_channels_become_reasoning_and_grow():
    raw = "<|channel|>analysis<|message|>Two and two.<|end|><|start|>assistant<|channel|>final<|message|>Four."
    assert harmony_text(raw) == "<think>\nTwo and two.\n</think>\n\nFour."
    seen = [harmony_text(raw[:at]) for at in range(len(raw)) if not raw[:at].endswith(tuple("<|endretucasls"))]
    assert all(after.startswith(before) for before, after in zip(seen, seen[1:], strict=False))
    assert harmony_text("<|channel|>final<|message|>Hi<|return|>") == "Hi"
