"""Remedies: each does what its button says, counts what it did, and leaves the file and every other row alone."""

import json

import pytest
from pydantic import ValidationError

from studio.data.data_spec import DataSpec, OtherFile
from studio.data.dataset import load
from studio.data.fingerprints import ALIKE, similarity
from studio.data.reading import NothingUsable
from studio.data.remedies import REMEDIES, changes, merged, rewritten
from studio.data.report import problem_findings, report
from studio.words import StudioError

CHAT = {"shape": "messages", "roles": {"messages": "messages"}}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pairs(*texts):
    return [{"prompt": f"Question {n} is what?", "completion": text} for n, text in enumerate(texts)]


def remedied(path, want="messages", validation_fraction=0, **remedies):
    before = open(path, "rb").read()  # noqa: SIM115
    dataset = load(DataSpec(source=path, remedies=remedies, validation_fraction=validation_fraction), want)
    assert open(path, "rb").read() == before  # noqa: SIM115
    assert dataset.counts.rows == dataset.counts.used + sum(dataset.counts.skipped.values())
    assert len(dataset.train) + len(dataset.validation) == dataset.counts.used
    return dataset


def kinds(dataset):
    return {finding.kind for finding in report(dataset).findings}


def answers(dataset):
    return [record.value["messages"][-1]["content"] for record in dataset.train]


def test_exact_copies(tmp_path):
    path = write(tmp_path / "a.jsonl", [*pairs("a", "b", "c"), *pairs("a", "b")])
    dataset = remedied(path, duplicate="drop")
    assert answers(dataset) == ["a", "b", "c"] and dataset.counts.skipped == {"duplicate": 2} == dataset.remedied
    assert "duplicate" in kinds(remedied(path)) and "duplicate" not in kinds(dataset)


@pytest.mark.parametrize("own_file", [True, False])
def test_copies_in_the_validation_part_are_measured_once(tmp_path, own_file):
    rows, again = pairs(*"abcdefghij"), [{"prompt": f"Hold {n % 3}", "completion": str(n % 3)} for n in range(8)]
    source, held = write(tmp_path / "a.jsonl", rows if own_file else [*rows, *rows]), write(tmp_path / "h.jsonl", again)

    def loaded(**remedies):
        return load(
            DataSpec(source=source, validation=held if own_file else None, validation_fraction=0.5, remedies=remedies)
        )

    before, after = loaded(), loaded(validation_duplicate="drop")
    found = next(item for item in report(before).findings if item.kind == "validation_duplicate")
    assert found.count == len(before.validation) - len(after.validation) == 5 and found.files == (
        ["h.jsonl"] * 5 if own_file else []
    )
    assert (
        len(set(after.validation.digests.tolist())) == len(after.validation)
        and len(after.train) == len(before.train) == 10
    )
    assert after.remedied == {"validation_duplicate": 5} == (
        after.validation_counts or after.counts
    ).skipped and "validation_duplicate" not in kinds(after)


def test_near_copies(tmp_path):
    long = (
        "The harbour master keeps a list of every ship that came in during the night and reads it aloud at breakfast "
        "in the old tower."
    )
    other = (
        "Nobody knows how many bridges cross the river, because two of them can only be seen at low water in the "
        "driest week of summer."
    )
    path = write(
        tmp_path / "a.jsonl",
        [
            {"text": text}
            for text in (
                long,
                other,
                long.upper().replace(",", ""),
                long + " Twice.",
                other.replace("two", "nine"),
                "Short one.",
            )
        ],
    )
    assert similarity(long, long + " Twice.") >= ALIKE > similarity(long, other)
    found = next(item for item in report(remedied(path, "text")).findings if item.kind == "near_duplicate")
    assert found.lines == [3, 4, 5]
    dataset = remedied(path, "text", near_duplicate="drop")
    assert [record.number for record in dataset.train] == [1, 2, 6] and "near_duplicate" not in kinds(dataset)


def test_near_likeness_is_precise(tmp_path):
    """Of rows that differ in half of their words none is called alike; of rows that differ in one word in twenty nearly
    all are."""
    import random

    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(3000)]
    base = [draw.choices(words, k=80) for _ in range(400)]

    def changed(row, share):
        return " ".join(draw.choice(words) if draw.random() < share else word for word in row)

    far = write(
        tmp_path / "far.jsonl",
        [{"text": " ".join(row)} for row in base] + [{"text": changed(row, 0.5)} for row in base],
    )
    near = write(
        tmp_path / "near.jsonl",
        [{"text": " ".join(row)} for row in base] + [{"text": changed(row, 0.02)} for row in base],
    )
    assert "near_duplicate" not in remedied(far, "text", near_duplicate="drop").counts.skipped
    exact = len(remedied(near, "text", duplicate="drop").train)
    gone = 800 - len(remedied(near, "text", duplicate="drop", near_duplicate="drop").train)
    assert exact > 500 and gone >= 380


def test_order_of_roles(tmp_path):
    def talk(*roles):
        return {"messages": [{"role": role, "content": f"{role} {n}"} for n, role in enumerate(roles)]}

    path = write(
        tmp_path / "a.jsonl",
        [
            talk("user", "assistant"),
            talk("user", "user", "assistant", "user"),
            talk("assistant", "user", "assistant"),
            talk("user"),
        ],
    )
    assert remedied(path).counts.skipped == {"order": 3}
    dataset = remedied(path, order="merge")
    assert [[turn["content"] for turn in record.value["messages"]] for record in dataset.train] == [
        ["user 0", "assistant 1"],
        ["user 0\n\nuser 1", "assistant 2"],
        ["user 1", "assistant 2"],
    ]
    assert dataset.counts.skipped == {"empty": 1}


def test_merging_keeps_calls_and_system_texts():
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
    talk = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        call,
        {"role": "tool", "content": ""},
        {"role": "system", "content": "x"},
        {"role": "assistant", "content": "b"},
    ]
    assert merged(talk) == talk
    two = [
        {"role": "user", "content": "a"},
        {"role": "system", "content": "x"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
    ]
    assert merged(two) == [{"role": "user", "content": "a\n\nb"}, two[1], two[3]]


def test_weights_of_parts_stay_with_their_words(tmp_path):
    text = [
        {"role": "assistant", "content": "no: a.b@c.org", "span_weights": [[0, 3, 0]]},
        {"role": "assistant", "content": "write to a.b@c.org now", "span_weights": [[9, 18, 0.5]]},
    ]
    joined = merged([{"role": "user", "content": "Who?"}, *text])[1]
    assert joined["content"] == "no: a.b@c.org\n\nwrite to a.b@c.org now" and joined["span_weights"] == [
        [0, 3, 0],
        [24, 33, 0.5],
    ]
    masked = rewritten({"messages": [joined]}, changes({"secret": "mask"})["secret"])["messages"][0]
    assert [masked["content"][start:end] for start, end, _ in masked["span_weights"]] == ["no:", "[e-mail]"]


def test_a_remedy_that_every_row_needs(tmp_path):
    """The data is refused with what stands in the way of each row; with the remedy all are read, and it is counted."""
    talk = [{"from": "gpt", "value": "Welcome!"}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes?"}]
    path = write(tmp_path / "a.jsonl", [{"conversations": talk}] * 5)
    with pytest.raises(NothingUsable) as caught:
        remedied(path)
    assert caught.value.counts.skipped == {"order": 5} and caught.value.counts.rows == 5
    assert [(item.kind, item.count, list(item.remedies)) for item in problem_findings(caught.value.problems)] == [
        ("order", 5, ["merge"])
    ]
    dataset = remedied(path, order="merge")
    assert dataset.remedied == {"order": 5} and dataset.counts.used == 5


def test_answers_with_different_weights_are_not_merged(tmp_path):
    def talk(*weights):
        text = [
            {"role": "assistant", "content": f"answer {n}", **({} if weight is None else {"weight": weight})}
            for n, weight in enumerate(weights)
        ]
        return {"messages": [{"role": "user", "content": "Why?"}, *text]}

    path = write(tmp_path / "a.jsonl", [talk(0, None), talk(None, 0), talk(0, 0), talk(None, 1)])
    dataset = remedied(path, order="merge")
    assert [record.value["messages"][1:] for record in dataset.train] == [
        [{"role": "assistant", "content": "answer 0\n\nanswer 1", "weight": 0}],
        [{"role": "assistant", "content": "answer 0\n\nanswer 1"}],
    ]
    assert dataset.counts.skipped == {"order": 2} and report(dataset).findings[0].lines == [
        1,
        2,
    ]  # said, and neither trained on nor left out


def test_secrets_are_masked_or_left_out(tmp_path):
    path = write(tmp_path / "a.jsonl", pairs("write to a.b@c.org", "the key hf_" + "x" * 34 + " opens", "none"))
    dataset = remedied(path, secret="mask")
    assert (
        answers(dataset) == ["write to [e-mail]", "the key [key] opens", "none"]
        and dataset.remedied == {"secret": 2}
        and "secret" not in kinds(dataset)
    )
    assert remedied(path, secret="drop").counts.skipped == {"secret": 2}


@pytest.mark.parametrize(
    "arguments", [{"to": ["a.b@c.org", 7], "text": {"body": "Hi"}}, '{"to": ["a.b@c.org", 7], "text": {"body": "Hi"}}']
)
def test_secrets_in_calls_are_found_and_masked(tmp_path, arguments):
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "mail", "arguments": arguments}}],
    }
    path = write(
        tmp_path / "a.jsonl", [{"messages": [{"role": "user", "content": f"Mail number {n}"}, call]} for n in range(2)]
    )
    assert "secret" in kinds(remedied(path))
    dataset = remedied(path, secret="mask")
    assert dataset.train[0].value["messages"][1]["tool_calls"] == [
        {
            "id": "1",
            "type": "function",
            "function": {"name": "mail", "arguments": {"to": ["[e-mail]", 7], "text": {"body": "Hi"}}},
        }
    ]
    assert dataset.remedied == {"secret": 2} and "secret" not in kinds(dataset)


def test_odd_characters(tmp_path):
    path = write(tmp_path / "a.jsonl", pairs("bell\x07 and \u202eback", "schÃ¶n", "ï¿½ lost", "fine\nand\ttab"))
    dataset = remedied(path, control="trim", mojibake="trim")
    assert answers(dataset) == ["bell and back", "schön", "\ufffd lost", "fine\nand\ttab"] and dataset.remedied == {
        "control": 1,
        "mojibake": 2,
    }
    assert kinds(dataset) == {"mojibake"}  # what is lost cannot be mended
    assert remedied(path, control="drop", mojibake="drop").counts.skipped == {"control": 1, "mojibake": 2}


def test_frequent_labels_are_thinned(tmp_path):
    path = write(
        tmp_path / "a.jsonl", [{"text": f"text {n}", "label": "rare" if n % 50 == 0 else "often"} for n in range(100)]
    )
    dataset = remedied(path, "label", imbalance="trim")
    assert (
        report(dataset).labels == {"often": 19, "rare": 2}
        and dataset.counts.skipped == {"imbalance": 79}
        and "imbalance" not in kinds(dataset)
    )


SPAM = ["Spam", "spam", "Spam", "no  spam", "SPAM", "no spam", "No Spam", "no spam", "Spam"]


def test_labels_written_in_several_ways(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": f"text {n}", "label": label} for n, label in enumerate(SPAM)])
    found = next(item for item in report(remedied(path, "label")).findings if item.kind == "spelling")
    assert (found.count, found.lines, list(found.remedies)) == (
        4,
        [2, 4, 5, 7],
        ["merge"],
    ) and "'SPAM' → 'Spam'" in str(found.sentence)
    dataset = remedied(path, "label", spelling="merge")
    assert (
        report(dataset).labels == {"Spam": 5, "no spam": 4}
        and dataset.remedied == {"spelling": 4}
        and "spelling" not in kinds(dataset)
    )
    assert [record.value["label"] for record in dataset.train] == [
        "Spam",
        "Spam",
        "Spam",
        "no spam",
        "Spam",
        "no spam",
        "no spam",
        "no spam",
        "Spam",
    ]


def test_the_spelling_remedy_applies_before_rows_are_compared(tmp_path):
    """A row that stands there in two spellings is a copy, and does not come to both sides of the split."""
    rows = [{"text": f"text {n}", "label": label} for n in range(40) for label in ("Spam", "spam" if n else "Spam")] + [
        {"text": "other", "label": "no"}
    ]
    dataset = remedied(write(tmp_path / "a.jsonl", rows), "label", validation_fraction=0.3, spelling="merge")
    assert {record.value["text"] for record in dataset.train}.isdisjoint(
        record.value["text"] for record in dataset.validation
    )
    assert "prompt_leakage" in kinds(remedied(str(tmp_path / "a.jsonl"), "label", validation_fraction=0.3))
    assert len(remedied(str(tmp_path / "a.jsonl"), "label", spelling="merge", duplicate="drop").train) == 41


def test_spellings_of_several_labels_and_of_label_sets(tmp_path):
    several = write(
        tmp_path / "a.jsonl",
        [
            {"text": f"text {n}", "label": label}
            for n, label in enumerate([["Late", "late", "rude"], ["late"], ["late"], ["Rude"], ["rude"]])
        ],
    )
    dataset = remedied(several, "label", spelling="merge")
    assert [record.value["label"] for record in dataset.train] == [
        ["late", "rude"],
        ["late"],
        ["late"],
        ["rude"],
        ["rude"],
    ] and report(dataset).labels == {"late": 3, "rude": 3}
    rows = [
        {"text": f"text {n}", "label": label, "tone": tone}
        for n, (label, tone) in enumerate([("a", "A"), ("b", "A"), ("a", "a"), ("B", "c"), ("b", "c")])
    ]
    mapping = {"shape": "label", "roles": {"text": "text", "label": "label"}, "labels": ["tone"]}
    sets = load(
        DataSpec(
            source=write(tmp_path / "b.jsonl", rows),
            mapping=mapping,
            remedies={"spelling": "merge"},
            validation_fraction=0,
        ),
        "label_sets",
    )
    assert [record.value["label"] for record in sets.train][2:4] == [
        {"label": "a", "tone": "A"},
        {"label": "b", "tone": "c"},
    ] and sets.remedied == {"spelling": 2}


def test_spellings_are_not_checked_in_conversations(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": f"text {n}", "label": label} for n, label in enumerate(SPAM)])
    assert (
        "spelling" not in kinds(remedied(path, "messages"))
        and not remedied(path, "messages", spelling="merge").remedied
    )


def test_other_languages(tmp_path):
    english, german = (
        "This is what you asked for and it is the truth, number",
        "Das ist nicht die Antwort auf die Frage, die ich mir wünsche, Nummer",
    )
    path = write(
        tmp_path / "a.jsonl",
        [{"text": f"{german if n % 10 == 0 else english} {n}"} for n in range(40)] + [{"text": "4711"}],
    )
    dataset = remedied(path, "text", language="en")
    assert dataset.counts.skipped == {"language": 4} == dataset.remedied and len(dataset.train) == 37


@pytest.mark.parametrize("action, train, validation", [("move", 6, 1), ("drop", 5, 1)])
def test_questions_on_both_sides(tmp_path, action, train, validation):
    labelled = write(tmp_path / "a.jsonl", [{"prompt": f"Say {n}", "completion": "A"} for n in range(5)])
    held = write(tmp_path / "h.jsonl", [{"prompt": "Say 2", "completion": "B"}, {"prompt": "New", "completion": "A"}])
    dataset = load(DataSpec(source=labelled, validation=held, remedies={"prompt_leakage": action}))
    assert (len(dataset.train), len(dataset.validation)) == (train, validation) and dataset.remedied == {
        "prompt_leakage": 1
    }
    assert dataset.validation_counts.rows == dataset.validation_counts.used + sum(
        dataset.validation_counts.skipped.values()
    )
    assert "prompt_leakage" not in kinds(dataset)


def test_unknown_remedies_are_refused():
    for wrong in ({"duplicate": "mask"}, {"magic": "drop"}):
        with pytest.raises(ValidationError, match="There is no remedy"):
            DataSpec(remedies=wrong)


def test_names_of_pictures_are_no_near_copies():
    dataset = load(DataSpec(source="leaves", remedies={"near_duplicate": "drop"}), "image")
    assert "near_duplicate" not in kinds(dataset) and not dataset.remedied


def test_removing_every_row_raises_an_error(tmp_path):
    path = write(tmp_path / "a.jsonl", pairs("a@b.org", "c@d.org"))
    with pytest.raises(StudioError, match="Undo a remedy"):
        load(DataSpec(source=path, remedies={"secret": "drop"}, validation_fraction=0))


# ---- several files ----------------------------------------------------------------------------------------------


def mixture(tmp_path, weight, more_weight, **kwargs):
    first = write(tmp_path / "a.jsonl", pairs(*[f"a{n}" for n in range(40)]))
    second = tmp_path / "b.csv"
    second.write_text("frage,antwort\n" + "".join(f"Frage {n},b{n}\n" for n in range(60)) + "leer,\n")
    mapping = {"shape": "prompt_completion", "roles": {"prompt": "frage", "completion": "antwort"}}
    return DataSpec(
        source=first,
        weight=weight,
        more=[OtherFile(source=str(second), mapping=mapping, weight=more_weight)],
        validation_fraction=0,
        **kwargs,
    )


def test_files_mix_by_weight(tmp_path):
    dataset = load(mixture(tmp_path, 1, 2))
    assert [(part.name, part.counts.rows, part.counts.used, part.drawn) for part in dataset.parts] == [
        ("a.jsonl", 40, 40, 40),
        ("b.csv", 61, 60, 120),
    ]
    assert dataset.counts.skipped == {"empty": 1} and len(dataset.train) == 160 and dataset.title == "a.jsonl + b.csv"
    assert {record.file for record in dataset.train} == {"a.jsonl", "b.csv"} and report(dataset).counts.rows == 101
    assert "duplicate" not in kinds(dataset)  # repeated on purpose


def test_a_broken_weight_takes_the_same_rows_every_time(tmp_path):
    dataset, again = load(mixture(tmp_path, 0.5, 1.5)), load(mixture(tmp_path, 0.5, 1.5))
    assert answers(dataset) == answers(again) != answers(load(mixture(tmp_path, 0.5, 1.5, seed=1)))
    first, second = dataset.parts
    assert (
        12 <= first.drawn <= 28 and 75 <= second.drawn <= 105 and first.counts.skipped == {"weight": 40 - first.drawn}
    )
    assert dataset.counts.rows == dataset.counts.used + sum(dataset.counts.skipped.values())


def test_a_mixture_survives_json_and_refuses_nonsense(tmp_path):
    spec = mixture(tmp_path, 1, 2, remedies={"secret": "mask"})
    assert DataSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValidationError):
        OtherFile(source="a", weight=0)


def test_every_remedy_has_a_text():
    for actions in REMEDIES.values():
        for sentence in actions.values():
            assert "{" not in sentence.say("en") and sentence.say("zh") != sentence.say("en")
