"""Rows under a mapping: every shape, every wanted record, and why a row or a mapping is refused."""

import json
from pathlib import Path

import pytest

from studio.data.mapping import ROLES, SHAPES, Mapping, apply, check_mapping
from studio.data.read import open_source
from studio.data.rows import Row, RowProblem
from studio.data.shape import propose, separator_of
from studio.words import StudioError


def mapped(shape, roles, values, want="messages", **more):
    return apply(Mapping(shape=shape, roles=roles, **more), Row(3, values), want, "a.jsonl")


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def test_messages_keep_tools_and_calls():
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}
    found = mapped(
        "messages",
        {"messages": "m", "tools": "t"},
        {"m": [user("a"), call, {"role": "tool", "content": ""}, assistant("b")], "t": [{"name": "f"}]},
    )
    made = {"type": "function", "function": {"name": "f", "arguments": {}}}
    assert found["messages"][1] == {"role": "assistant", "content": "", "tool_calls": [made]}
    assert found["tools"] == [{"type": "function", "function": {"name": "f"}}]


def test_calls_become_objects_whoever_wrote_them():
    wanted = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
    }
    openai = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    share = {"from": "function_call", "value": '{"name": "f", "arguments": {"a": 1}}'}
    for call in (openai, share):
        assert (
            mapped(
                "messages",
                {"messages": "m"},
                {"m": [user("a"), call, {"role": "tool", "content": "x"}, assistant("b")]},
            )["messages"][1]
            == wanted
        )
    with pytest.raises(RowProblem, match="tool call without a function's name"):
        mapped(
            "messages",
            {"messages": "m"},
            {"m": [user("a"), {"from": "function_call", "value": "call f"}, assistant("b")]},
        )


def test_unpaired_answers_with_their_verdict():
    roles = {"prompt": "p", "completion": "c", "label": "l"}
    for text, label in (
        (True, True),
        ("TRUE", True),
        (1, True),
        ("0", False),
        ("no", False),
        (-1, False),
        (0.0, False),
    ):
        assert mapped("unpaired", roles, {"p": "a", "c": "b", "l": text}, "unpaired") == {
            "prompt": [user("a")],
            "completion": "b",
            "label": label,
        }
    with pytest.raises(RowProblem, match="'perhaps' in 'l', which is neither true nor false"):
        mapped("unpaired", roles, {"p": "a", "c": "b", "l": "perhaps"}, "unpaired")
    with pytest.raises(RowProblem, match="nothing in 'l'"):
        mapped("unpaired", roles, {"p": "a", "c": "b", "l": None}, "unpaired")


def test_ranked_answers_give_the_best_and_the_worst():
    roles = {"prompt": "p", "input": "i", "answers": "a"}
    row = {"p": "Say", "i": "it", "a": ["best", "middling", "worst"]}
    assert mapped("ranked", roles, row, "preference") == {
        "prompt": [user("Say\n\nit")],
        "chosen": "best",
        "rejected": "worst",
    }
    assert mapped("ranked", roles, row)["messages"][-1] == assistant("best")
    with pytest.raises(RowProblem, match="no list of two or more answers"):
        mapped("ranked", roles, {**row, "a": ["one"]}, "preference")


def test_sharegpt_names_and_system():
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    assert mapped("sharegpt", {"messages": "c", "system": "s"}, {"c": turns, "s": "Be kind."}) == {
        "messages": [{"role": "system", "content": "Be kind."}, user("a"), assistant("b")]
    }


def test_text_parts_are_joined_and_pictures_refused():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert mapped("messages", {"messages": "m"}, {"m": [user(parts), assistant("c")]})["messages"][0]["content"] == "ab"
    with pytest.raises(RowProblem, match="part that is not text"):
        mapped("messages", {"messages": "m"}, {"m": [user([{"type": "image_url"}]), assistant("c")]})


def test_alpaca_with_input_history_and_system():
    roles = {"instruction": "i", "input": "x", "output": "o", "history": "h", "system": "s"}
    found = mapped(
        "alpaca",
        roles,
        {"i": "Add", "x": "1 and 2", "o": {"sum": 3}, "h": [["Hi", "Hello"]], "s": ""},
        system="Be brief.",
    )
    assert found["messages"] == [
        {"role": "system", "content": "Be brief."},
        user("Hi"),
        assistant("Hello"),
        user("Add\n\n1 and 2"),
        assistant('{"sum": 3}'),
    ]


def test_own_system_message_wins_over_the_mapping():
    own = [{"role": "system", "content": "Own"}, user("a"), assistant("b")]
    assert mapped("messages", {"messages": "m"}, {"m": own}, system="Other")["messages"] == own


def test_turns_in_the_cells_of_a_table_are_turns():
    asked, text, other = ([turn] for turn in (user("P"), assistant("C"), assistant("R")))
    pair = {"p": json.dumps(asked), "c": json.dumps(asked + text), "r": json.dumps(asked + other)}
    for roles in ({"chosen": "c", "rejected": "r"}, {"prompt": "p", "chosen": "c", "rejected": "r"}):
        assert mapped("preference", roles, pair, "preference") == {"prompt": asked, "chosen": "C", "rejected": "R"}
    talk = {"messages": asked + text}
    for p, c in ((json.dumps(asked), json.dumps(text)), (json.dumps(asked), "C"), ("P", json.dumps(text)), ("P", text)):
        assert mapped("prompt_completion", {"prompt": "p", "completion": "c"}, {"p": p, "c": c}) == talk
    data = [{"name": "Ann", "age": 7}]  # a list that is an answer stays one
    assert mapped("prompt_completion", {"prompt": "p", "completion": "c"}, {"p": "P", "c": data})["messages"][1][
        "content"
    ] == json.dumps(data)


def test_prompt_may_be_turns():
    found = mapped("prompt_completion", {"prompt": "p", "completion": "c"}, {"p": [user("a")], "c": [assistant("b")]})
    assert found["messages"] == [user("a"), assistant("b")]


@pytest.mark.parametrize(
    ("want", "record"),
    [("label", {"text": "T", "label": "L"}), ("messages", {"messages": [user("T"), assistant("L")]})],
)
def test_labels_serve_two_tasks(want, record):
    assert mapped("label", {"text": "t", "label": "l"}, {"t": "T", "l": "L"}, want) == record


def test_several_labels():
    assert mapped("label", {"text": "t", "label": "l"}, {"t": "T", "l": ["a", "b"]}, "label") == {
        "text": "T",
        "label": ["a", "b"],
    }
    assert mapped("label", {"text": "t", "label": "l"}, {"t": "T", "l": 0}, "label")["label"] == "0"


def test_preferences():
    roles = {"prompt": "p", "chosen": "c", "rejected": "r"}
    assert mapped("preference", roles, {"p": "P", "c": "C", "r": "R"}, "preference") == {
        "prompt": [user("P")],
        "chosen": "C",
        "rejected": "R",
    }
    assert mapped("preference", roles, {"p": "P", "c": "C", "r": "R"}) == {"messages": [user("P"), assistant("C")]}
    pairs = {"c": [user("P"), assistant("C")], "r": [user("P"), assistant("R")]}
    assert mapped("preference", {"chosen": "c", "rejected": "r"}, pairs, "preference") == {
        "prompt": [user("P")],
        "chosen": "C",
        "rejected": "R",
    }
    texts = {key: f"\n\nHuman: P\n\nAssistant: Human: is a word\n\nHuman: Q\n\nAssistant: {key}" for key in ("c", "r")}
    assert mapped("preference", {"chosen": "c", "rejected": "r"}, texts, "preference") == {
        "prompt": [user("P"), assistant("Human: is a word"), user("Q")],
        "chosen": "c",
        "rejected": "r",
    }
    assert (
        mapped("preference", roles, {"p": "P", "c": "Human: C", "r": "R"}, "preference")["chosen"] == "Human: C"
    )  # with a prompt of its own an answer is an answer


@pytest.mark.parametrize(
    ("kind", "shape", "roles", "values", "want", "words"),
    [
        (
            "order",
            "messages",
            {"messages": "m"},
            {"m": [user("a"), user("b")]},
            "messages",
            "message 2 is from user, after user",
        ),
        ("order", "messages", {"messages": "m"}, {"m": [assistant("a")]}, "messages", "message 1 is from assistant"),
        ("order", "messages", {"messages": "m"}, {"m": [user("a")]}, "messages", "ends with a message from user"),
        ("role", "messages", {"messages": "m"}, {"m": [{"role": "alien", "content": "a"}]}, "messages", "'alien'"),
        ("role", "messages", {"messages": "m"}, {"m": [{"content": "a"}]}, "messages", "Known are system"),
        (
            "empty",
            "messages",
            {"messages": "m"},
            {"m": [user("a"), assistant(" ")]},
            "messages",
            "empty message from assistant",
        ),
        ("empty", "messages", {"messages": "m"}, {"m": None}, "messages", "nothing in 'm'"),
        ("missing", "messages", {"messages": "m"}, {"x": 1}, "messages", "has no 'm'; it has: x"),
        ("shape", "messages", {"messages": "m"}, {"m": "text"}, "messages", "no list of messages"),
        ("empty", "text", {"text": "t"}, {"t": "  "}, "text", "nothing in 't'"),
        (
            "same",
            "preference",
            {"prompt": "p", "chosen": "c", "rejected": "r"},
            {"p": "P", "c": "C", "r": "C"},
            "preference",
            "same text",
        ),
        ("empty", "preference", {"chosen": "c", "rejected": "r"}, {"c": "C", "r": "R"}, "preference", "no prompt"),
        (
            "shape",
            "preference",
            {"chosen": "c", "rejected": "r"},
            {"c": [user("P"), assistant("C")], "r": [user("Q"), assistant("R")]},
            "preference",
            "different",
        ),
        (
            "shape",
            "alpaca",
            {"instruction": "i", "output": "o", "history": "h"},
            {"i": "I", "o": "O", "h": [1]},
            "messages",
            "history",
        ),
        (
            "shape",
            "alpaca",
            {"instruction": "i", "output": "o", "history": "h"},
            {"i": "I", "o": "O", "h": "He asked before."},
            "messages",
            "history",
        ),
        (
            "shape",
            "preference",
            {"chosen": "c", "rejected": "r"},
            {"c": "Human: P\n\nAssistant: C", "r": "Human: Q\n\nAssistant: R"},
            "preference",
            "different",
        ),
        (
            "order",
            "preference",
            {"chosen": "c", "rejected": "r"},
            {"c": "Human: P\n\nAssistant:", "r": "Human: P\n\nAssistant: R"},
            "preference",
            "no assistant's answer",
        ),
    ],
)
def test_a_row_that_cannot_be_used_says_why(kind, shape, roles, values, want, words):
    with pytest.raises(RowProblem) as caught:
        mapped(shape, roles, values, want)
    assert caught.value.kind == kind
    assert str(caught.value).startswith("Line 3 of a.jsonl ") and words in str(caught.value)


@pytest.mark.parametrize(
    ("mapping", "want", "words"),
    [
        (
            Mapping(shape="text", roles={"text": "body"}),
            "text",
            "has no column 'body' for text. Its columns are: a, b.",
        ),
        (Mapping(shape="label", roles={"text": "a"}), "label", "No column of x.csv is chosen for label."),
        (Mapping(shape="text", roles={"texts": "a"}), "text", "'texts' is no role"),
        (Mapping(shape="messages", roles={"messages": "a"}), "text", "from which no plain text can be made"),
        (Mapping(shape="text", roles={"text": "a"}), "messages", "from which no conversations can be made"),
        (Mapping(shape="prompt_completion", roles={}), "preference", "pairs of a better and a worse answer"),
    ],
)
def test_a_mapping_that_cannot_serve_says_why(mapping, want, words):
    with pytest.raises(StudioError) as caught:
        check_mapping(mapping, ["a", "b"], want, "x.csv")
    assert words in str(caught.value)


def test_apply_refuses_the_wrong_kind_for_every_row_alike():
    with pytest.raises(StudioError) as caught:
        mapped("messages", {"messages": "m"}, {"m": []}, "text")
    assert not isinstance(caught.value, RowProblem)


def test_label_sets_of_several_columns(tmp_path):
    roles = {"text": "t", "label": "topic"}
    assert mapped("label", roles, {"t": "T", "topic": " a ", "tone": 1}, "label_sets", labels=["tone"]) == {
        "text": "T",
        "label": {"topic": "a", "tone": "1"},
    }
    assert mapped("label", roles, {"t": "T", "topic": "", "tone": "x"}, "label_sets", labels=["tone"])["label"] == {
        "tone": "x"
    }
    with pytest.raises(RowProblem, match="nothing in 'topic'"):
        mapped("label", roles, {"t": "T", "topic": "", "tone": None}, "label_sets", labels=["tone"])
    with pytest.raises(StudioError, match="'topic' of x.csv is chosen twice"):
        check_mapping(Mapping(shape="label", roles=roles, labels=["topic"]), ["t", "topic"], "label_sets", "x.csv")
    with pytest.raises(StudioError, match="no column 'mood'"):
        check_mapping(Mapping(shape="label", roles=roles, labels=["mood"]), ["t", "topic"], "label_sets", "x.csv")
    path = tmp_path / "a.csv"
    path.write_text(
        "text,topic,tone,number\n"
        + "".join(f"The parcel {n} is late again,{'ab'[n % 2]},{'xyz'[n % 3]},{n}\n" for n in range(12))
    )
    assert propose(open_source(path), "label_sets").mapping == Mapping(
        shape="label", roles={"text": "text", "label": "topic"}, labels=["tone"]
    )
    assert propose(open_source(path), "label").mapping.labels == []


def test_every_shape_is_described():
    assert SHAPES.keys() == ROLES.keys()


def test_proposal_gives_evidence_and_alternatives(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "Message,Category\n" + "".join(f"The parcel {n} is late again,{'a' if n % 2 else 'b'}\n" for n in range(10))
    )
    proposal = propose(open_source(path))
    assert proposal.mapping == Mapping(shape="label", roles={"text": "Message", "label": "Category"})
    assert "Column 'Category' has 2 different values in 10 rows, as labels do." in map(str, proposal.evidence)
    assert Mapping(shape="text", roles={"text": "Message"}) in proposal.alternatives
    assert propose(open_source(path), "text").mapping.shape == "text"


def test_proposal_counts_alternating_roles(tmp_path):
    import json

    path = tmp_path / "a.jsonl"
    rows = [[user("a"), assistant("b")]] * 9 + [[user("a"), user("b")]]
    path.write_text("".join(json.dumps({"chat": row}) + "\n" for row in rows))
    proposal = propose(open_source(path))
    assert proposal.mapping.roles == {"messages": "chat"}
    assert "user and assistant alternate in 9 of 10 rows." in map(str, proposal.evidence)


def test_labels_are_found_without_their_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "eins,zwei\n" + "".join(f"The parcel {n} is late again,{'a' if n % 2 else 'b'}\n" for n in range(10))
    )
    assert propose(open_source(path)).mapping == Mapping(shape="label", roles={"text": "eins", "label": "zwei"})


# ---- several labels in one cell -------------------------------------------------------------------------------------


def labelled(tmp_path, *labels):
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(
            json.dumps({"text": f"The letter number {n} is about this.", "labels": label}) + "\n"
            for n, label in enumerate(labels)
        )
    )
    return open_source(path)


def seen(tmp_path, *labels):
    """(what is said to part the labels, the evidence) of a column that holds `labels`."""
    found = propose(labelled(tmp_path, *labels), "label")
    return separator_of(labelled(tmp_path, *labels), found.mapping), str(found.evidence[1])


@pytest.mark.parametrize("mark", [";", "|", ","])
def test_several_labels_in_one_cell_are_seen(tmp_path, mark):
    labels = ["late", f"late{mark}damaged", "damaged", "", f"rude{mark} late", "rude"] * 3
    assert seen(tmp_path, *labels) == (
        mark,
        f"Column 'labels' holds several labels in 6 of 18 rows, parted by '{mark}'.",
    )


@pytest.mark.parametrize("write", [list, json.dumps, str])
def test_lists_of_labels_are_seen(tmp_path, write):
    """As JSON, as JSON in a table, as pandas writes them."""
    labels = [write(["late"]), write(["late", 'it\'s "damaged"']), write([])] * 3
    assert seen(tmp_path, *labels) == (
        "",
        "Column 'labels' holds lists of labels, with several of them in 3 of 9 rows.",
    )


@pytest.mark.parametrize(
    "labels",
    [
        ["Arts, Culture", "Sports", "Science, Technology"] * 4,  # names with a comma in them
        ["1,5", "2,5", "1,0", "2,0"] * 4,  # numbers
        [f"the {n}th; a {n * n}th; and" for n in range(12)],  # hardly anything repeated
        ["late", "damaged"] * 4,
        [["late"], ["damaged"]] * 4,
    ],
)
def test_what_is_one_label_is_not_parted(tmp_path, labels):
    separator, evidence = seen(tmp_path, *labels)
    assert separator is None and "several" not in evidence


def test_a_column_of_several_labels_is_found_without_its_name(tmp_path):
    path = tmp_path / "a.csv"
    kinds = ["red", "blue", "green", "black", "white", "brown"]
    rows = [f"Ein Text Nummer {n} steht hier,{kinds[n % 6]};{kinds[n * n % 5]}" for n in range(24)]
    path.write_text("\n".join(["eins,zwei", *rows]))
    assert propose(open_source(path), "label").mapping == Mapping(
        shape="label", roles={"text": "eins", "label": "zwei"}
    )


def test_cells_with_several_labels_become_lists():
    def labels(value, separator=";"):
        return apply(
            Mapping(shape="label", roles={"text": "t", "label": "l"}),
            Row(3, {"t": "T", "l": value}),
            "label",
            "a.csv",
            separator=separator,
        )["label"]

    assert (
        labels("late; damaged;late;") == ["late", "damaged"]
        and labels("late, damaged") == ["late, damaged"]
        and labels("a|b", "|") == ["a", "b"]
    )
    assert labels("") == labels(None) == labels(" ; ") == labels([]) == labels("[]") == []
    assert (
        labels("['a', 'b; c', 3]") == labels('["a", "b; c", 3]') == labels(["a", " b; c", 3, "a"]) == ["a", "b; c", "3"]
    )
    assert (
        labels("['a', 'b']", "") == ["a", "b"]
        and labels("late;damaged", "") == "late;damaged"
        and labels("[urgent]", "") == "[urgent]"
    )


@pytest.mark.parametrize("written", ["['a' 'b']", "['a', 'b'", "['a', open('x')]", "['\\x']"])
@pytest.mark.parametrize("separator", ["", ";"])
def test_an_unreadable_list_of_labels_is_reported(written, separator):
    with pytest.raises(
        RowProblem, match="which is no list that can be read. Put its labels in quotes, with commas between them."
    ):
        apply(
            Mapping(shape="label", roles={"text": "t", "label": "l"}),
            Row(3, {"t": "T", "l": written}),
            "label",
            "a.csv",
            separator=separator,
        )


@pytest.mark.parametrize("nothing", [[], "[]", [""]])
def test_an_empty_list_is_no_label(nothing):
    with pytest.raises(RowProblem, match="Line 3 of a.jsonl has an empty list in 'l'. Switch on Several labels"):
        mapped("label", {"text": "t", "label": "l"}, {"t": "T", "l": nothing}, "label")


# ---- a column for each label ----------------------------------------------------------------------------------------

FILES = Path(__file__).resolve().parent.parent / "data_files"


def test_columns_of_yes_and_no_are_the_labels_of_a_row():
    def labels(**values):
        return mapped("label_columns", {"text": "t"}, {"t": "T", **values}, "label", labels=["toxic", "threat"])[
            "label"
        ]

    assert (
        labels(toxic=1, threat="0") == ["toxic"]
        and labels(toxic=True, threat="1.0") == ["toxic", "threat"]
        and labels(toxic="FALSE", threat=0) == []
    )
    assert labels(toxic=" yes ", threat="") == labels(toxic="yes") == ["toxic"]
    with pytest.raises(RowProblem, match="nothing in 'toxic, threat'"):
        labels(toxic="", threat=None)
    with pytest.raises(RowProblem, match="'-1' in 'threat', which is neither true nor false"):
        labels(toxic=1, threat=-1)


def test_columns_of_labels_are_recognised_by_what_they_hold():
    found = propose(open_source(FILES / "flags.csv"))
    assert found.mapping == Mapping(
        shape="label_columns", roles={"text": "comment"}, labels=["toxic", "insult", "threat"]
    )
    assert "The columns toxic, insult, threat say yes or no" in str(
        found.evidence[1]
    ) and "4 of 8 rows have none of these labels, 1 has more than one." in str(found.evidence[2])
    assert propose(open_source(FILES / "flags.jsonl"), "label").mapping.labels == ["joy", "anger", "surprise"]
    sets = propose(
        open_source(FILES / "flags.jsonl"), "label_sets"
    ).mapping  # each column a question of its own, if the person wants that
    assert sets.shape == "label" and {sets.roles["label"], *sets.labels} == {"author", "joy", "anger", "surprise"}


def test_one_such_column_or_a_named_label_is_no_set_of_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,urgent\n" + "".join(f"The parcel {n} is late again,{n % 2}\n" for n in range(12)))
    assert propose(open_source(path)).mapping == Mapping(shape="label", roles={"text": "text", "label": "urgent"})
    path.write_text(
        "text,category,urgent,paid\n"
        + "".join(f"The parcel {n} is late again,{'ab'[n % 2]},{n % 2},1\n" for n in range(12))
    )
    assert propose(open_source(path)).mapping == Mapping(shape="label", roles={"text": "text", "label": "category"})


def test_columns_of_labels_are_checked():
    for labels, text in (
        ([], "No column of x.csv is chosen for label"),
        (["gone"], "no column 'gone'"),
        (["t"], "'t' of x.csv is chosen twice"),
    ):
        with pytest.raises(StudioError, match=text):
            check_mapping(
                Mapping(shape="label_columns", roles={"text": "t"}, labels=labels), ["t", "toxic"], "label", "x.csv"
            )
    with pytest.raises(StudioError, match="'label' is no role of the shape 'Plain text'"):
        check_mapping(Mapping(shape="text", roles={"text": "t"}, labels=["toxic"]), ["t", "toxic"], "text", "x.csv")
