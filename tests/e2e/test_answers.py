"""What is learnt of a conversation, seen on the page: every answer and call coloured; templates that refuse, and
their ways out; thoughts folded in Chat.
"""

import re

import pytest

from studio.home import STARTER
from tests.e2e.pages import ready, tab, train_with
from tests.e2e.test_data_tab import draft, says, talk, use, write

pytestmark = [pytest.mark.e2e]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "lamp",
            "description": "Switch a lamp",
            "parameters": {"type": "object", "properties": {"room": {"type": "string"}}},
        },
    }
]
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '[' + m.role + ']' + m.content + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


def tokens_tab(page):
    ready(page)
    tab(page, "Data")
    tab(page, "What the model sees")


def again(page):
    """The page, drawn from a draft that was changed elsewhere."""
    page.reload()
    tokens_tab(page)


@pytest.fixture
def page(studio, open_page):
    made = open_page(studio.address)
    tokens_tab(made)
    return made


def three_turns(number):
    messages = []
    for room in ("hall", "bath", "loft"):
        messages += [
            {"role": "user", "content": f"Light in {room} {number}"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"type": "function", "function": {"name": "lamp", "arguments": {"room": f"{room} {number}"}}}
                ],
            },
            {"role": "tool", "content": "ok"},
            {"role": "assistant", "content": f"The {room} is lit."},
        ]
    return {"tools": TOOLS, "messages": messages}


def labelled(page) -> str:
    """All that the token view colours as learnt."""
    page.wait_for_selector("#tokens p.tokens .token.labelled")
    return "".join(page.locator("#tokens p.tokens .token.labelled").all_text_contents()).replace("⏎", "\n")


def lend(page, title):
    page.click("#template input")
    page.get_by_role("option", name=title, exact=True).click()


def test_qwen3_learns_every_answer_and_every_call_of_three_turns(studio, page, tmp_path):
    use(page, write(tmp_path / "lamps.jsonl", [three_turns(number) for number in range(12)]))
    train_with(studio, max_length=1024)  # the starter's tokenizer makes many tokens of Qwen3's words about tools
    again(page)
    lend(page, "Qwen3")
    says(page, "#tokens", "this row makes 6 examples")
    text = labelled(page)
    for room in ("hall", "bath", "loft"):
        assert text.count(f"The {room} is lit.<|im_end|>") == 1
        assert (
            text.count(f'<tool_call>\n{{"name": "lamp", "arguments": {{"room": "{room} 0"}}}}\n</tool_call><|im_end|>')
            == 1
        )
    assert "Light in" not in text and "ok" not in text
    says(page, "#about-data", "all rows usable")
    assert "Not seen by the model" not in page.inner_text("#about-data")


def test_a_template_that_refuses_names_ways_out_that_work(studio, page, tmp_path):
    folder = tmp_path / "strict"
    folder.mkdir()
    for path in STARTER.iterdir():
        if path.suffix in (".json", ".safetensors"):
            (folder / path.name).symlink_to(path)
    (folder / "chat_template.jinja").write_text(STRICT)
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                *talk(f"Town {number}?", f"Ulm {number}.")["messages"],
            ]
        }
        for number in range(12)
    ]
    use(page, write(tmp_path / "brief.jsonl", rows))
    studio.store.set_note(
        "draft", {**draft(studio), "model": {**draft(studio)["model"], "name": str(folder), "template": "own"}}
    )
    again(page)
    says(
        page,
        "#about-data",
        "Refused by the chat template",
        "System role not supported",
        "too many to go on",
        "Write system texts before the next question",
        "Leave system texts out",
        "Use ChatML",
    )
    page.get_by_role("button", name="Write system texts before the next question").click()
    says(page, "#about-data", "What is done about it", "Undo", "No problems found.")
    assert (
        "[user]Be brief.\n\nTown 0?<|im_end|>[assistant]"
        in "".join(page.locator("#tokens .tokens .token").all_text_contents()).replace("⏎", "\n")
        and labelled(page) == "Ulm 0.<|im_end|>"
    )
    page.get_by_role("button", name=re.compile("^Undo: Write system")).click()
    says(page, "#about-data", "Refused by the chat template")
    page.get_by_role("button", name="Use ChatML").click()
    says(page, "#about-data", "No problems found.")
    assert draft(studio)["model"]["template"] == "chatml" and labelled(page) == "Ulm 0.<|im_end|>"


def test_reasoning_is_shown_and_can_be_left_out_of_the_loss(studio, page, tmp_path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Twice {number}?"},
                {
                    "role": "assistant",
                    "content": f"{2 * number}.",
                    "reasoning_content": "Add it to itself.",
                    "weight": 0.5,
                },
            ]
        }
        for number in range(12)
    ]
    use(page, write(tmp_path / "sums.jsonl", rows))
    lend(page, "Qwen3")
    says(page, "#tokens", "weight 0.5")
    assert labelled(page) == "<think>\nAdd it to itself.\n</think>\n\n0.<|im_end|>"
    studio.store.set_note("draft", {**draft(studio), "task": {**draft(studio)["task"], "reasoning": "answer"}})
    again(page)
    says(page, "#tokens", "Add it to itself.")
    assert labelled(page) == "0.<|im_end|>"
