"""Reasoning in the Chat tab: folded before its answer, and whole again in what is sent back to the model."""

from studio.ui.chat_tab import plain, shown
from tests.ui.bare import bare_page

ASK = {"role": "user", "content": "Twice four?"}


def answered(text):
    return [ASK, {"role": "assistant", "content": text}]


def test_reasoning_is_a_message_of_its_own_open_while_it_grows():
    growing = shown(bare_page(), answered("<think>\nAdd it to"))
    assert growing[1:] == [
        {"role": "assistant", "content": "Add it to", "metadata": {"title": "Thoughts", "status": "pending"}}
    ]
    done = shown(bare_page(), answered("<think>\nAdd it to itself.\n</think>\n\nEight."))
    assert [(turn["content"], turn.get("metadata", {}).get("status")) for turn in done] == [
        ("Twice four?", None),
        ("Add it to itself.", "done"),
        ("Eight.", None),
    ]
    assert shown(bare_page("zh"), answered("<think>\nHm.\n</think>\n\nEight."))[1]["metadata"]["title"] == "思考"


def test_answers_without_reasoning_stay_as_they_are():
    assert shown(bare_page(), answered("Eight.")) == answered("Eight.")
    assert shown(bare_page(), answered("<think>\n\n</think>\n\nEight."))[1:] == answered("Eight.")[1:]
    assert shown(bare_page(), answered("Write <think> before it."))[1:] == answered("Write <think> before it.")[1:]


def test_displayed_messages_return_to_the_model_unchanged():
    history = answered("<think>\nAdd it to itself.\n</think>\n\nEight.")
    drawn = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in shown(bare_page(), history)]
    assert plain(drawn) == history
    assert plain([*drawn, ASK]) == [*history, ASK]
