"""The tree of a conversation: versions stay reachable, columns go on together, edits and corrections branch off."""

from studio.chat.conversation import START, Column, Conversation


def talk_of(*models):
    talk = Conversation(id="1", shown=list(models))
    for model in talk.ask("What is it?"):
        talk.columns[model].add("assistant", f"A ship, says {model}.")
    return talk


def texts(column):
    return [message.content for message in column.path()]


def test_messages_follow_each_other_in_every_column():
    talk = talk_of("base", "lora")
    talk.ask("And this?")
    assert texts(talk.columns["base"]) == ["What is it?", "A ship, says base.", "And this?"]
    assert talk.messages("lora")[1] == {"role": "assistant", "content": "A ship, says lora."}
    assert talk.title == "What is it?"


def test_another_answer_is_a_version_beside_the_first():
    talk = talk_of("base")
    column = talk.columns["base"]
    first = column.path()[-1]
    second = column.add("assistant", "A boat.", parent=column.last_question().id)
    assert column.versions(second.id) == (2, 2) and texts(column)[-1] == "A boat."
    column.show_version(second.id, -1)
    assert column.path()[-1] is first and column.versions(first.id) == (1, 2)
    column.show_version(first.id, -1)
    assert column.path()[-1] is first


def test_an_edited_message_branches_in_all_columns_and_the_old_path_stays():
    talk = talk_of("base", "lora")
    talk.ask("And this?")
    asked = talk.columns["base"].path()[0]
    assert talk.edit_question("base", asked.id, "What was it?") == ["base", "lora"]
    assert texts(talk.columns["base"]) == texts(talk.columns["lora"]) == ["What was it?"]
    assert talk.title == "What was it?"
    edited = talk.columns["lora"].path()[0]
    talk.columns["lora"].show_version(edited.id, -1)
    assert texts(talk.columns["lora"]) == ["What is it?", "A ship, says lora.", "And this?"]


def test_a_later_edit_leaves_shorter_columns_alone():
    talk = talk_of("base")
    talk.ask("And this?")
    talk.show(["base", "lora"])
    talk.columns["lora"].add("user", "Only one")
    last = talk.columns["base"].path()[-1]
    assert talk.edit_question("base", last.id, "And that?") == ["base"]
    assert texts(talk.columns["lora"]) == ["Only one"]


def test_a_correction_is_a_version_that_knows_the_answer():
    talk = talk_of("base")
    answer = talk.columns["base"].path()[-1]
    made = talk.correct("base", answer.id, "A lighthouse.")
    again = talk.correct("base", made.id, "Two lighthouses.")
    assert made.corrects == again.corrects == answer.id and texts(talk.columns["base"])[-1] == "Two lighthouses."
    assert talk.is_judged() and not talk_of("base").is_judged()
    assert [message["content"] for message in talk.messages("base", until=again.id)] == ["What is it?"]


def test_removing_takes_what_follows_and_shows_another_version():
    column = Column()
    column.add("user", "a")
    first = column.add("assistant", "b")
    column.add("user", "c")
    second = column.add("assistant", "d", parent=first.parent)
    column.remove(second.id)
    assert texts(column) == ["a", "b", "c"]
    column.remove(first.id)
    assert texts(column) == ["a"] and column.chosen == {START: 1}


def test_the_system_prompt_comes_first_and_json_brings_it_all_back():
    talk = talk_of("base", "lora")
    talk.system, talk.columns["lora"].scale = " Be brief. ", 0.5
    assert talk.messages("base")[0] == {"role": "system", "content": "Be brief."}
    assert Conversation.model_validate_json(talk.model_dump_json(exclude_defaults=True)) == talk


def test_models_that_are_not_shown_any_more_keep_their_messages():
    talk = talk_of("base", "lora")
    talk.show(["base"])
    talk.ask("Still there?")
    talk.show(["lora", "base"])
    assert texts(talk.columns["lora"]) == ["What is it?", "A ship, says lora."]


def test_long_first_messages_make_short_titles():
    talk = Conversation(id="1", shown=["base"])
    talk.ask("word " * 40)
    assert len(talk.title) <= 60 and talk.title.endswith("…")
