"""How a conversation is drawn: reasoning folded before its answer, edits that find their message, facts, versions; and
the colours and numbers of what changed.
"""

import math

import pytest

from studio.chat.conversation import AnswerFacts, Conversation
from studio.ui import chat_actions, chat_compare, chat_turn, chat_view
from studio.words import StudioError
from tests.ui.bare import bare_page

REASONED = "<think>\nAdd it to itself.\n</think>\n\nEight."


def talk_with(*answers, model="base"):
    talk = Conversation(id="1", shown=[model])
    talk.ask("Twice four?")
    column, question = talk.columns[model], talk.columns[model].path()[0].id
    for text in answers:
        column.add("assistant", text, parent=question)
    return talk, column


def drawn(*answers, language="en"):
    _, column = talk_with(*answers)
    return [part for part, _ in chat_view.drawn(bare_page(language), column.path())][1:]


def test_reasoning_is_a_message_of_its_own_open_while_it_grows():
    assert drawn("<think>\nAdd it to") == [
        {"role": "assistant", "content": "Add it to", "metadata": {"title": "Thoughts", "status": "pending"}}
    ]
    thoughts, answer = drawn(REASONED)
    assert (thoughts["content"], thoughts["metadata"]["status"]) == ("Add it to itself.", "done")
    assert answer == {"role": "assistant", "content": "Eight."}
    assert drawn(REASONED, language="zh")[0]["metadata"]["title"] == "思考"


def test_answers_without_reasoning_stay_as_they_are():
    for text in ("Eight.", "Write <think> before it."):
        assert drawn(text) == [{"role": "assistant", "content": text}]
    assert drawn("<think>\n\n</think>\n\nEight.") == [{"role": "assistant", "content": "Eight."}]


def test_an_edit_finds_its_message_and_keeps_the_other_part():
    page, (_, column) = bare_page(), talk_with(REASONED)
    assert chat_view.edited_text(page, column, 2, "Nine.")[1] == REASONED.replace("Eight.", "Nine.")
    assert chat_view.edited_text(page, column, 1, "Hm.")[1] == REASONED.replace("Add it to itself.", "Hm.")
    message, text = chat_view.edited_text(page, column, 0, "Twice five?")
    assert (message.role, text) == ("user", "Twice five?")


def test_thumbs_belong_to_the_shown_messages():
    _, column = talk_with("Nine.", REASONED)
    column.path()[-1].verdict = "down"
    assert chat_view.verdicts(bare_page(), column.path()) == [None, "Dislike", "Dislike"]


def test_below_a_column_stand_facts_versions_and_what_can_be_done():
    talk, column = talk_with("Nine.", "Ei")
    column.path()[-1].facts = AnswerFacts(finish="length", tokens=2, first_token_seconds=0.25, tokens_per_second=31.46)
    html = chat_view.board_html(bare_page(), talk, "base")
    for text in ("2 tokens · 31.5 tokens/s · first token after 0.25 s · Cut at the answer length", "2/2", "Continue"):
        assert text in html
    assert "What changed" not in html, "the base has nothing to be compared with"
    other, _ = talk_with("<b>Eight</b>", model="adapter")
    assert "What changed" in chat_view.board_html(bare_page(), other, "adapter")


def test_what_is_typed_is_escaped_in_the_list_of_versions():
    talk, column = talk_with("Eight.")
    talk.edit_question("base", column.path()[0].id, "<img src=x>")
    assert "&lt;img" in chat_view.board_html(bare_page(), talk, "base")


def test_versions_verdicts_and_corrections_by_their_buttons():
    talk, column = talk_with("Nine.", "Eight.")
    chat_actions.act(talk, 0, "earlier", str(column.path()[-1].id))
    first = column.path()[-1]
    assert first.content == "Nine."
    first.verdict = "down"
    made = talk.correct("base", first.id, "Eight!")
    chat_actions.act(talk, 0, "withdraw-verdict", str(made.id))
    assert column.path()[-1] is first and len(column.children(first.parent)) == 2
    chat_actions.act(talk, 0, "withdraw-verdict", str(first.id))
    assert not talk.is_judged()
    (again,) = chat_actions.act(talk, 0, "again", "")
    assert column.versions(again.message.id) == (3, 3)


def test_an_edited_answer_is_a_correction_and_an_edited_message_is_asked():
    page, (talk, column) = bare_page(), talk_with("Nine.")
    assert chat_turn.edited(page, talk, 0, 1, "Nine.") == [] and not talk.is_judged()
    assert chat_turn.edited(page, talk, 0, 1, "Eight.") == [] and column.path()[-1].content == "Eight."
    (answer,) = chat_turn.edited(page, talk, 0, 0, "Twice five?")
    assert (answer.model, answer.message.content) == ("base", "")
    for act in (lambda: chat_turn.edited(page, talk, 0, 0, "  "), lambda: chat_turn.asked(talk, " ")):
        with pytest.raises(StudioError, match="no message"):
            act()


def test_what_changed_says_it_by_side_strength_and_number():
    tokens = [
        {"token": "Arr", "logprob": math.log(0.8), "base_logprob": math.log(0.008)},
        {"token": "<b>", "logprob": math.log(0.1), "base_logprob": math.log(0.2)},
        {"token": " me", "logprob": -1.0, "base_logprob": -1.0},
    ]
    html = chat_compare.changed_html(bare_page(), "Captain", tokens)
    assert 'class="changed more" style="--strength:1.00" title="Adapter 80 %, base model 0.8 %: 100 times' in html
    assert 'class="changed less" style="--strength:0.17"' in html and "&lt;b&gt;" in html
    assert "1 of 3 tokens are at least twice as likely" in html and "<td>␣me</td>" in html
