"""Every answer that is marked as learnt is learnt, whole and alone, behind the very prompt that Chat sends, under any
chat template.

Conversations are made by seeds (`conversations.py`), rendered by each lent template, by those of today's model
families (`tests/models/official`), and by odd ones. What is learnt is compared with the conversation, not with what
the code under test found.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from conversations import conversation
from official_calls import xml_calls
from official_templates import FAMILIES, FOLDER, Family
from tokenizers import Tokenizer

from studio.data.reasoning import CLOSE, OPEN, channels_text, split_reasoning
from studio.home import STARTER
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.models.templates import OWN, TEMPLATES
from studio.tasks import IGNORED, answers
from studio.tasks.chat import Chat

CONVERSATIONS_EACH = 72
"""Conversations for each template; with about thirty templates more than two thousand."""
CUSTOM_TEMPLATES = {
    "eos_behind_the_whole": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}",
        "<|end|>",
    ),
    "blank_after_the_prompt": (
        "{% for m in messages %}{{ m.role | upper + ':' + (' ' + m.content if m.content else '') + '</s>\n' }}"
        "{% endfor %}"
        "{{ 'ASSISTANT: ' if add_generation_prompt }}",
        "</s>",
    ),
    "other_words_before_the_answer": (
        "{% for m in messages %}{{ '## ' + m.role + '\n' + m.content | trim + '</s>' }}{% endfor %}"
        "{{ '## assistant, it is your turn\n' if add_generation_prompt }}",
        "</s>",
    ),
}
CALL_ENDS = {"GPT-OSS": "<|call|>"}
"""Families in which a call ends otherwise than words."""
OVERRIDES = {
    "chatml": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
    "alpaca": "</s>",
}


def hermes_calls(text: str) -> list[tuple[str, dict]]:
    found = [json.loads(one) for one in re.findall(r"<tool_call>\n(.*?)\n</tool_call>", text, re.DOTALL)]
    return [(one["name"], one["arguments"]) for one in found]


def llama_call(text: str) -> list[tuple[str, dict]]:
    found = re.search(r'(\{"name": .*\})', text, re.DOTALL)
    return [(one["name"], one["parameters"])] if found and (one := json.JSONDecoder().raw_decode(found[1])[0]) else []


def override_family(name: str) -> Family:
    tools = name in ("chatml", "qwen3", "llama3")
    return Family(
        name,
        "",
        "<s>",
        "</s>",
        (),
        OVERRIDES[name],
        "assets/templates",
        takes_tools=tools,
        takes_calls=tools,
        calls=llama_call if name == "llama3" else hermes_calls,
        takes_parallel_calls=name != "llama3",
        takes_content_with_calls=name != "llama3",
        takes_reasoning="reasoning_content" if name == "qwen3" else "",
    )


ALL = {
    **{name: override_family(name) for name in TEMPLATES if name != OWN},
    **{one.name: one for one in FAMILIES},
    **{
        name: Family(name, "", "<s>", "</s>", (), end, "", takes_tools=False)
        for name, (_, end) in CUSTOM_TEMPLATES.items()
    },
}


def model_folder(family: Family, folder: Path) -> Path:
    """The starter's tokenizer with the family's special tokens, and its template where it is not a lent one."""
    folder.mkdir(parents=True, exist_ok=True)
    raw_tokenizer = Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    raw_tokenizer.add_special_tokens(
        [text for text in dict.fromkeys([family.bos, family.eos, *family.special]) if text]
    )
    raw_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({key: text for key, text in (("bos_token", family.bos), ("eos_token", family.eos)) if text})
    )
    shutil.copyfile(STARTER / "config.json", folder / "config.json")
    if family.name in CUSTOM_TEMPLATES:
        (folder / "chat_template.jinja").write_text(CUSTOM_TEMPLATES[family.name][0], encoding="utf-8")
    elif family.file:
        shutil.copyfile(FOLDER / f"{family.file}.jinja", folder / "chat_template.jinja")
    return folder


def make_tokenizer(family: Family, folder: Path) -> ChatTokenizer:
    return ChatTokenizer(model_folder(family, folder), family.name if family.name in OVERRIDES else OWN)


def labelled_runs(tokenizer: ChatTokenizer, record: dict, task: Chat) -> list[tuple[list[int], list[int]]]:
    """(tokens before, tokens) of each run of learnt tokens, in order."""
    found = []
    for example in task.encode(record, tokenizer, 1 << 20):
        at = 0
        while at < len(example.ids):
            end = at
            while end < len(example.ids) and example.labels[end] != IGNORED:
                end += 1
            if end > at:
                assert example.labels[at:end] == example.ids[at:end]
                found.append((example.ids[:at], example.ids[at:end]))
            at = max(end, at + 1)
    return found


def answer_errors(tokenizer: ChatTokenizer, family: Family, record: dict, task: Chat | None = None) -> list[str]:
    """What is wrong with what is learnt from a conversation; empty where it is exactly the answers."""
    task = task or Chat()
    messages = task.messages(record)
    wanted = [at for at, turn in enumerate(messages) if turn["role"] == "assistant" and turn.get("weight", 1)]
    runs = labelled_runs(tokenizer, record, task)
    if len(runs) != len(wanted):
        return [f"{len(runs)} learnt runs for {len(wanted)} answers"]
    wrong = []
    prompts = [tokenizer.render(messages[:at], add_generation_prompt=True, tools=record.get("tools")) for at in wanted]
    runs = {tuple(before): answer for before, answer in runs}
    for at, prompt in zip(wanted, prompts, strict=True):
        answer = runs.get(tuple(tokenizer.encode(prompt).ids))
        if answer is None:
            wrong.append(f"turn {at}: nothing is learnt behind Chat's prompt")
            continue
        wrong += [
            f"turn {at}: {what}"
            for what in answer_differences(
                tokenizer, family, messages[at], prompt, tokenizer.decode(answer, keep_special_tokens=True)
            )
        ]
    return wrong


def answer_differences(tokenizer: ChatTokenizer, family: Family, turn: dict, prompt: str, text: str) -> list[str]:
    """How the learnt `text` differs from the turn: its reasoning, its words, its calls, its end."""
    wrong = []
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in turn.get("tool_calls", [])]
    end = CALL_ENDS.get(family.name, family.end) if calls else family.end
    if not text.endswith(end):
        wrong.append(f"does not end with {end!r}: {text!r}")
    reasoning, words = split_reasoning(turn["content"])
    answer, text = text, text.removesuffix(end)
    if "<|channel|>" in text:
        text = channels_text(text + "<|end|>" * bool(calls))
    if prompt.rstrip().endswith(OPEN):
        text = f"{OPEN}\n{text}"
    if text.startswith(
        "<|START_RESPONSE|>"
    ):  # Command A writes what is said, reasoning included, in a block of its own
        text = text.removeprefix("<|START_RESPONSE|>")
    thought, rest = split_reasoning(text)
    if thought != reasoning and (reasoning or thought):
        wrong.append(f"reasoning {thought!r} for {reasoning!r}")
    if calls:
        if family.calls is xml_calls:  # such a form has no types: true is "true" or "True"
            calls = [(name, {key: str(value) for key, value in arguments.items()}) for name, arguments in calls]
        try:
            found = family.calls(
                answer
                if "<|channel|>" in answer
                else split_reasoning(f"{OPEN}\n" * prompt.rstrip().endswith(OPEN) + answer)[1]
            )
        except ValueError as error:
            found = [error]
        if found != calls and (family.calls is not xml_calls or str(found).lower() != str(calls).lower()):
            wrong.append(f"calls {found} for {calls}: {answer!r}")
        if words.strip() and family.takes_content_with_calls and words.strip() not in rest:
            wrong.append(f"words {words!r} are not in {rest!r}")
    else:
        for mark in family.special:
            rest = rest.replace(mark, "") if mark not in words else rest
        if rest.strip() != words.strip():
            wrong.append(f"{rest!r} for {words!r}")
    return wrong


def marker_texts(family: Family) -> list[str]:
    """Texts of the template that a person's words may hold."""
    ends = (
        [] if "<|channel|>" in family.special else [family.end]
    )  # in channels a mark inside of words cannot be told from one that ends them
    return [mark for mark in (*ends, "<|im_start|>user", "[/INST]", "### Response:", f"{OPEN} or {CLOSE}") if mark]


def check_conversations(tokenizer: ChatTokenizer, family: Family, seed: int, count: int) -> tuple[list[str], Counter]:
    """(complaints about `count` conversations, what became of them)."""
    draw, wrong, outcomes = random.Random(seed), [], Counter()
    for number in range(count):
        record = conversation(
            draw,
            marks=marker_texts(family),
            system=family.takes_system,
            tools=family.takes_calls,
            parallel=family.takes_parallel_calls,
            content_with_calls=family.takes_content_with_calls,
            reasoning=True,
        )
        try:
            found = answer_errors(tokenizer, family, record)
        except ChatTemplateError as refusal:
            outcomes["refused"] += 1
            wrong.append(f"{number}: {refusal} {json.dumps(record, ensure_ascii=False)[:600]}")
            continue
        if found and Chat().drops_content(record, tokenizer):
            outcomes["told to be left out"] += 1  # the page says that the template does not write all of it
            continue
        outcomes["examples" if len(Chat().encode(record, tokenizer, 1 << 20)) > 1 else "one example"] += 1
        wrong += [f"{number}: {what} {json.dumps(record, ensure_ascii=False)[:600]}" for what in found]
    return wrong, outcomes


@pytest.mark.parametrize("name", sorted(ALL))
def test_exactly_the_answers_are_labelled_after_the_chat_prompt(name, tmp_path):
    family = ALL[name]
    tokenizer = make_tokenizer(family, tmp_path)
    tokenizer.append_eos = not family.end  # where a template has no end, the tokenizer's is added
    family = family if family.end else Family(**{**vars(family), "end": family.eos})
    wrong, outcomes = check_conversations(tokenizer, family, seed=len(name), count=CONVERSATIONS_EACH)
    assert not wrong, f"{len(wrong)} of {CONVERSATIONS_EACH}:\n" + "\n".join(wrong[:5])
    assert outcomes["told to be left out"] <= CONVERSATIONS_EACH // 6, outcomes


def test_there_are_two_thousand_conversations():
    assert CONVERSATIONS_EACH * len(ALL) >= 2000


@pytest.mark.parametrize("removed", ["where an answer stands", "which tokens it has"])
def test_mutations_of_the_token_mapping_are_detected(removed, tmp_path, monkeypatch):
    """A mutation check: the test above sees it when the answers are not looked for, or not brought to tokens."""
    if removed == "where an answer stands":
        monkeypatch.setattr(answers.Answer, "is_prefix_of", lambda self, text: True)
    else:
        monkeypatch.setattr(
            answers,
            "token_weights",
            lambda tokens, spans: [float(at > len(tokens.ids) // 2) for at in range(len(tokens.ids))],
        )
    assert check_conversations(make_tokenizer(ALL["qwen3"], tmp_path), ALL["qwen3"], seed=1, count=CONVERSATIONS_EACH)[
        0
    ]
