"""The report of the Data tab: lengths, findings with lines, preview."""

import json
from pathlib import Path

from studio.data.data_spec import DataSpec, OtherFile
from studio.data.dataset import load
from studio.data.findings import LEVELS
from studio.data.fingerprints import Fingerprints
from studio.data.report import histogram, report, short
from studio.data.rows import KINDS
from studio.data.token_report import count_tokens, with_tokens

FILES = Path(__file__).resolve().parent.parent / "data_files"


def load_file(name, want="messages", **more):
    return load(DataSpec(source=str(FILES / name), **more), want)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def finding(found, kind):
    return next(item for item in found.findings if item.kind == kind)


def test_problems_become_findings_with_lines():
    found = report(load_file("order.jsonl", validation_fraction=0))
    assert finding(found, "order").lines == [3, 4, 5] and finding(found, "order").count == 3
    assert str(finding(found, "order").sentence).startswith(
        "3 rows are left out. The first: Line 3 of order.jsonl breaks the order"
    )
    assert all(item.kind in KINDS and str(item.title) for item in found.findings)
    assert [item.level for item in found.findings] == sorted((item.level for item in found.findings), key=LEVELS.index)


def test_duplicates_are_counted_where_they_repeat():
    found = finding(report(load_file("duplicates.jsonl", validation_fraction=0)), "duplicate")
    assert (found.count, found.lines) == (2, [7, 8]) and "first in line 7" in str(found.sentence)


def test_odd_characters():
    found = report(load_file("garbled.jsonl", validation_fraction=0))
    assert finding(found, "mojibake").lines == [7] and finding(found, "control").lines == [8]


def test_proper_text_in_many_scripts_is_not_called_garbled(tmp_path):
    texts = [
        "Ação à São João, Âncora",
        "Ünïcödé – “quotes” … €",
        "今天天气",
        "Привет",
        "שלום",
        "مرحبا",
        "emoji 😀👨‍👩‍👧",
        "tab\tand\nline",
    ]
    dataset = load(
        DataSpec(source=write(tmp_path / "a.jsonl", [{"text": text} for text in texts]), validation_fraction=0), "text"
    )
    assert report(dataset).findings == []


def test_label_balance(tmp_path):
    rows = [{"text": f"A text {n}", "label": "often" if n else "rare"} for n in range(30)]
    for want in ("label", "messages"):
        found = report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), validation_fraction=0), want))
        assert found.labels == {"often": 29, "rare": 1}
        assert str(finding(found, "imbalance").sentence).startswith("The label 'often' has 29 rows, 'rare' only 1")
    same = report(load(DataSpec(source=write(tmp_path / "b.jsonl", rows[1:]), validation_fraction=0), "label"))
    assert "Every row has the label 'often'" in str(finding(same, "imbalance").sentence)


def test_leakage(tmp_path):
    train = [{"prompt": f"Say {n}", "completion": "A"} for n in range(5)]
    held = [
        {"prompt": "Say 1", "completion": "A"},
        {"prompt": "Say 2", "completion": "B"},
        {"prompt": "New", "completion": "A"},
    ]
    found = report(
        load(DataSpec(source=write(tmp_path / "a.jsonl", train), validation=write(tmp_path / "h.jsonl", held)))
    )
    assert finding(found, "leakage").lines == [1] and finding(found, "leakage").files == ["h.jsonl"]
    assert finding(found, "prompt_leakage").lines == [2]


def test_tokens_and_over_long_rows():
    dataset = load_file("qa.jsonl", validation_fraction=0)
    found = with_tokens(
        report(dataset), count_tokens(dataset, lambda value: ([len(value["messages"][0]["content"])], 1)), 13
    )
    assert found.lengths["tokens"].largest == 14 and found.lengths["tokens"].measured == 6
    assert finding(found, "long").count == 6 and "6 tokens would be cut off" in str(finding(found, "long").sentence)
    assert "tokens" not in report(dataset).lengths


def test_both_answers_of_a_pair_count():
    """In all, and of what is cut; whether a row fits, its longer answer says."""
    dataset = load_file("preferences.jsonl", "preference", validation_fraction=0)
    found = with_tokens(report(dataset), count_tokens(dataset, lambda value: ([30, 24], 1)), 20)
    rows = len(dataset.train)
    assert found.tokens == 54 * rows and found.lengths["tokens"].largest == 30
    assert finding(found, "long").count == rows and f"{14 * rows} tokens would be cut off" in str(
        finding(found, "long").sentence
    )


def test_rows_without_a_labelled_token_are_reported():
    dataset = load_file("qa.jsonl", validation_fraction=0)
    firsts = iter([1, 20, None, 3, 4, 5])
    found = with_tokens(report(dataset), count_tokens(dataset, lambda value: ([30], next(firsts))), 20)
    assert (finding(found, "nothing").lines, finding(found, "nothing").level, found.blocking) == ([2, 3], "error", None)
    found = with_tokens(report(dataset), count_tokens(dataset, lambda value: ([30], 20)), 20)
    assert str(found.blocking).startswith("None of the 6 rows looked at has a token to train on")


def test_content_that_the_template_omits_is_reported():
    dataset = load(DataSpec(source=str(FILES / "tools.jsonl"), validation_fraction=0))
    found = finding(
        with_tokens(
            report(dataset), count_tokens(dataset, lambda value: ([9], 1), unseen=lambda value: "tools" in value), 20
        ),
        "unseen",
    )
    assert (found.level, found.count, found.lines) == ("warning", 2, [1, 2]) and str(found.sentence).startswith(
        "2 of 3 rows looked at hold tools"
    )


def test_what_ruins_a_run_blocks_it(tmp_path):
    same = report(
        load(
            DataSpec(
                source=write(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}] * 9), validation_fraction=0
            )
        )
    )
    assert str(same.blocking).startswith("All 9 training rows are the same")
    one = report(
        load(
            DataSpec(
                source=write(tmp_path / "b.jsonl", [{"text": f"t {n}", "label": "x"} for n in range(9)]),
                validation_fraction=0,
            ),
            "label",
        )
    )
    assert str(one.blocking).startswith("Every row has the label 'x'")
    train = [{"prompt": f"Say {n}", "completion": "A"} for n in range(5)]
    leaky = report(
        load(DataSpec(source=write(tmp_path / "c.jsonl", train), validation=write(tmp_path / "h.jsonl", train[:3])))
    )
    assert str(leaky.blocking).startswith("Every row of the validation file is also in the training data")
    assert report(load(DataSpec(source="captain"))).blocking is None


def test_secrets(tmp_path):
    key = "sk-" + "a1B2" * 8
    rows = [
        {"prompt": f"Say {n}", "completion": text}
        for n, text in enumerate(
            [
                "plain",
                "write to jo.doe+x@mail.example.org now",
                f"my key is {key}.",
                "an @ sign, a.b@c",
                "sk-short and AKIA",
                "AKIA" + "ABCD1234" * 2,
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----",
            ]
        )
    ]
    found = finding(report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), validation_fraction=0))), "secret")
    assert found.lines == [2, 3, 6, 7] and "1 row holds an e-mail address and 3 rows something like a key" in str(
        found.sentence
    )


def test_a_weight_repeats_no_finding(tmp_path):
    rows = [
        {"prompt": f"Say {n}", "completion": text}
        for n, text in enumerate(["plain", "jo@example.org", "bell\x07", "other"])
    ]
    found = report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), weight=3, validation_fraction=0)))
    assert found.train == 12 and [(item.kind, item.count, item.lines) for item in found.findings] == [
        ("control", 1, [3]),
        ("secret", 1, [2]),
    ]


def test_validation_labels_without_training_rows_are_reported(tmp_path):
    train = write(tmp_path / "a.jsonl", [{"text": f"t {n}", "label": "xy"[n % 2]} for n in range(8)])
    held = write(tmp_path / "h.jsonl", [{"text": f"u {n}", "label": "xyz"[n % 3]} for n in range(6)])
    found = finding(report(load(DataSpec(source=train, validation=held), "label")), "validation")
    assert (found.level, found.count, found.lines) == ("warning", 2, [3, 6]) and str(found.sentence).startswith(
        "2 validation rows have a label that no training row has, first in line 3 of h.jsonl"
    )
    several = write(tmp_path / "s.jsonl", [{"text": f"v {n}", "label": ["x", "y"][: n % 3]} for n in range(6)])
    assert "validation" not in {
        item.kind for item in report(load(DataSpec(source=train, validation=several), "label")).findings
    }


def test_language_mix(tmp_path):
    german = "Das ist nicht die Antwort, die ich mir für den Tag wünsche"
    rows = (
        [{"text": f"This is the answer that you asked for, and it is number {n}"} for n in range(30)]
        + [{"text": f"{german} {n}"} for n in range(4)]
        + [{"text": f"今天天气很好我们去公园{n}"} for n in range(2)]
        + [{"text": f"{n} 4711"} for n in range(3)]
    )
    found = finding(
        report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), validation_fraction=0), "text")), "language"
    )
    assert (found.level, found.count, list(found.remedies)) == ("info", 6, ["en"])
    assert str(found.sentence).startswith("English in 30 of 39 rows looked at, then German (4), Chinese (2).")


def test_many_rows_are_sampled_for_tokens(tmp_path):
    rows = [{"text": f"text {n}"} for n in range(4500)]
    dataset = load(DataSpec(source=write(tmp_path / "a.jsonl", rows), validation_fraction=0), "text")
    assert (
        with_tokens(report(dataset), count_tokens(dataset, lambda value: ([3], 1)), 9).lengths["tokens"].measured
        == 1500
    )


def test_histogram_holds_every_value():
    made = histogram([*range(1, 1000), 100_000], "words")
    assert (
        sum(made.counts) == 1000
        and len(made.edges) == len(made.counts) + 1
        and made.edges[-1] == made.largest == 100_000
    )
    assert made.median == 500 and histogram([], "words").measured == 0 and sum(histogram([5, 5], "words").counts) == 2


def test_words_in_scripts_without_spaces():
    marks = Fingerprints()
    for text in ("two words", "今天 good", "schöne  Grüße", "", "..."):
        marks.add([text])
    marks.seal()
    assert marks.words.tolist() == [2, 3, 2, 0, 0] and marks.characters.tolist() == [9, 7, 13, 0, 3]


def test_preview_is_short_strings():
    found = report(load_file("tools.jsonl"), preview_rows=2)
    assert found.preview.numbers == [1, 2] and found.preview.columns == ["messages", "tools"]
    assert all(isinstance(cell, str) and len(cell) <= 120 for row in found.preview.rows for cell in row)
    assert (
        short([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}])
        == "user: Hi · assistant: Yes?"
        and short([{"from": "human", "value": "Hi"}]) == "human: Hi"
        and short([{"role": "user", "content": "Hi", "weight": 0}]).startswith("[{")
        and short(None) == ""
        and short(b"ab") == "(2 bytes)"
        and short("a\nb") == "a ⏎ b"
        and len(short("x" * 500)) == 120
    )


# ---- several files, and ways out -------------------------------------------------------------------------------------


GERMAN, ENGLISH = (
    "Das ist nicht die Antwort auf die Frage, die ich mir zu wünschen habe, Nummer",
    "This is what you asked for and it is the truth, number",
)
WORDS = [f"thing{n}" for n in range(20)]


def dirty(tmp_path):
    """A clean file, and one with something of everything in it from line 31 on."""
    clean = [{"prompt": f"Where is {n}?", "completion": f"{ENGLISH} {n}"} for n in range(30)]
    rows = [
        *({"prompt": f"Wo ist {n}?", "completion": f"{GERMAN} {n}"} for n in range(30)),
        {"prompt": "Where is 3?", "completion": f"{ENGLISH} 3"},
        {"prompt": "bell", "completion": "ding\x07 dong"},
        {"prompt": "fine?", "completion": "schÃ¶n"},
        {"prompt": "mail?", "completion": "jo@example.org"},
        {"prompt": "empty", "completion": ""},
        {"prompt": "list", "completion": " ".join(WORDS)},
        {"prompt": "list", "completion": " ".join([*WORDS, "twice"])},
    ]
    path = tmp_path / "b.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    return write(tmp_path / "a.jsonl", clean), str(path)


def test_every_finding_names_the_file_of_each_line(tmp_path):
    first, second = dirty(tmp_path)
    dataset = load(DataSpec(source=first, more=[OtherFile(source=second)], validation_fraction=0))
    tokens = count_tokens(
        dataset,
        lambda value: (
            [900 if value["messages"][0]["content"] == "bell" else 9],
            None if value["messages"][0]["content"] == "fine?" else 1,
        ),
    )
    found = {item.kind: item for item in with_tokens(report(dataset), tokens, 100).findings}
    assert found.keys() >= {
        "broken",
        "empty",
        "duplicate",
        "near_duplicate",
        "control",
        "mojibake",
        "secret",
        "long",
        "nothing",
        "language",
    }
    for kind, line in {
        "broken": 38,
        "empty": 35,
        "duplicate": 31,
        "control": 32,
        "mojibake": 33,
        "secret": 34,
        "long": 32,
        "nothing": 33,
    }.items():
        assert (found[kind].lines, found[kind].files) == ([line], ["b.jsonl"]), kind
    assert ("b.jsonl", 37) in zip(found["near_duplicate"].files, found["near_duplicate"].lines, strict=True)
    assert len(found["language"].files) == len(found["language"].lines) == 20 and set(found["language"].files) == {
        "b.jsonl"
    }
    assert "first in line 34 of b.jsonl" in str(found["secret"].sentence) and str(found["broken"].sentence).startswith(
        "1 row is left out: Line 38 of b.jsonl"
    )
    same = report(
        load(
            DataSpec(
                source=write(tmp_path / "c.jsonl", [{"text": "a text", "label": "x"}] * 3),
                more=[OtherFile(source=write(tmp_path / "d.jsonl", [{"text": "a text", "label": "x"}]))],
                validation_fraction=0,
            ),
            "label",
        )
    )
    assert finding(same, "same_all").files == ["c.jsonl"] * 3 + ["d.jsonl"] and finding(same, "imbalance").files == [
        "c.jsonl"
    ]


def test_findings_in_the_validation_file_name_it(tmp_path):
    held = tmp_path / "h.jsonl"
    held.write_text(
        json.dumps({"prompt": "Where is 2?", "completion": "Elsewhere"})
        + "\n{broken\n"
        + json.dumps({"prompt": "New?", "completion": "Yes"})
        + "\n"
    )
    found = report(load(DataSpec(source=dirty(tmp_path)[0], validation=str(held))))
    assert finding(found, "prompt_leakage").files == finding(found, "broken").files == ["h.jsonl"]
    assert finding(found, "broken").lines == [2]


WAYS = ("left out", "Raise ", "Correct ", "Choose ", "Add ", "give each column")


def test_no_finding_is_a_dead_end(tmp_path):
    """Whatever is more than good to know has a button, or says what is done or to be done."""
    first, second = dirty(tmp_path)
    data = [
        load(DataSpec(source=first, more=[OtherFile(source=second)], validation_fraction=0)),
        load(DataSpec(source=first, validation=first, max_rows=20)),
    ]
    data += [
        load(DataSpec(source=str(path), validation_fraction=0))
        for path in FILES.glob("*.jsonl")
        if path.name in ("order.jsonl", "bad_bytes.jsonl", "not_objects.jsonl", "ragged.csv", "no_header.csv")
    ]
    data.append(
        load(
            DataSpec(
                source=write(
                    tmp_path / "l.jsonl",
                    [{"text": f"A text {n}", "label": "often" if n else "rare"} for n in range(30)],
                ),
                validation_fraction=0,
            ),
            "label",
        )
    )
    seen = set()
    for dataset in data:
        tokens = count_tokens(dataset, lambda value: ([900], 1 if len(str(value)) % 2 else None))
        for remedy in ("", "trim"):
            for item in with_tokens(report(dataset), tokens, 100, remedy=remedy).findings:
                seen.add(item.kind)
                assert item.level == "info" or item.remedies or any(way in str(item.sentence) for way in WAYS), (
                    item.kind,
                    str(item.sentence),
                )
    assert len(seen) > 14


def test_buttons_that_would_not_help_are_not_offered(tmp_path):
    one = [{"text": f"A text {n}", "label": "x"} for n in range(9)]
    several = [{"text": f"A text {n}", "labels": ["often", "rare"] if n == 3 else ["often"]} for n in range(30)]
    for rows in (one, several):
        found = report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), validation_fraction=0), "label"))
        assert finding(found, "imbalance").remedies == {} and "Add rows" in str(finding(found, "imbalance").sentence)
