"""The report of the Data tab: lengths, findings with lines, preview."""

import json
from pathlib import Path

from studio.data.dataset import DataSpec, load
from studio.data.marks import Marks
from studio.data.report import LEVELS, histogram, report, short
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
    found = report(load_file("order.jsonl", heldout_fraction=0))
    assert finding(found, "order").lines == [3, 4, 5] and finding(found, "order").count == 3
    assert str(finding(found, "order").sentence).startswith("3 rows are not used. The first: Line 3 of order.jsonl breaks the order")
    assert all(item.kind in KINDS and str(item.title) for item in found.findings)
    assert [item.level for item in found.findings] == sorted((item.level for item in found.findings), key=LEVELS.index)


def test_duplicates_are_counted_where_they_repeat():
    found = finding(report(load_file("duplicates.jsonl", heldout_fraction=0)), "duplicate")
    assert (found.count, found.lines) == (2, [7, 8]) and "first in line 7" in str(found.sentence)


def test_odd_characters():
    found = report(load_file("garbled.jsonl", heldout_fraction=0))
    assert finding(found, "mojibake").lines == [7] and finding(found, "control").lines == [8]


def test_proper_text_in_many_scripts_is_not_called_garbled(tmp_path):
    texts = ["Ação à São João, Âncora", "Ünïcödé – “quotes” … €", "今天天气", "Привет", "שלום", "مرحبا", "emoji 😀👨‍👩‍👧", "tab\tand\nline"]
    dataset = load(DataSpec(source=write(tmp_path / "a.jsonl", [{"text": text} for text in texts]), heldout_fraction=0), "text")
    assert report(dataset).findings == []


def test_label_balance(tmp_path):
    rows = [{"text": f"A text {n}", "label": "often" if n else "rare"} for n in range(30)]
    for want in ("label", "messages"):
        found = report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), heldout_fraction=0), want))
        assert found.labels == {"often": 29, "rare": 1}
        assert str(finding(found, "imbalance").sentence).startswith("The label 'often' has 29 rows, 'rare' only 1")
    same = report(load(DataSpec(source=write(tmp_path / "b.jsonl", rows[1:]), heldout_fraction=0), "label"))
    assert "Every row has the label 'often'" in str(finding(same, "imbalance").sentence)


def test_leakage(tmp_path):
    train = [{"prompt": f"Say {n}", "completion": "A"} for n in range(5)]
    held = [{"prompt": "Say 1", "completion": "A"}, {"prompt": "Say 2", "completion": "B"}, {"prompt": "New", "completion": "A"}]
    found = report(load(DataSpec(source=write(tmp_path / "a.jsonl", train), heldout=write(tmp_path / "h.jsonl", held))))
    assert finding(found, "leakage").lines == [1] and finding(found, "leakage").file == "h.jsonl"
    assert finding(found, "prompt_leakage").lines == [2]


def test_tokens_and_over_long_rows():
    dataset = load_file("qa.jsonl", heldout_fraction=0)
    found = with_tokens(report(dataset), count_tokens(dataset, lambda value: (len(value["messages"][0]["content"]), 1)), 13)
    assert found.lengths["tokens"].largest == 14 and found.lengths["tokens"].measured == 6
    assert finding(found, "long").count == 6 and "6 tokens would be cut off" in str(finding(found, "long").sentence)
    assert "tokens" not in report(dataset).lengths


def test_rows_without_a_token_to_learn():
    dataset = load_file("qa.jsonl", heldout_fraction=0)
    firsts = iter([1, 20, None, 3, 4, 5])
    found = with_tokens(report(dataset), count_tokens(dataset, lambda value: (30, next(firsts))), 20)
    assert (finding(found, "nothing").lines, finding(found, "nothing").level, found.blocking) == ([2, 3], "error", None)
    found = with_tokens(report(dataset), count_tokens(dataset, lambda value: (30, 20)), 20)
    assert str(found.blocking).startswith("None of the 6 rows looked at has a token to learn")


def test_what_ruins_a_run_blocks_it(tmp_path):
    same = report(load(DataSpec(source=write(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}] * 9), heldout_fraction=0)))
    assert str(same.blocking).startswith("All 9 rows to learn from are the same")
    one = report(load(DataSpec(source=write(tmp_path / "b.jsonl", [{"text": f"t {n}", "label": "x"} for n in range(9)]), heldout_fraction=0), "label"))
    assert str(one.blocking).startswith("Every row has the label 'x'")
    train = [{"prompt": f"Say {n}", "completion": "A"} for n in range(5)]
    leaky = report(load(DataSpec(source=write(tmp_path / "c.jsonl", train), heldout=write(tmp_path / "h.jsonl", train[:3]))))
    assert str(leaky.blocking).startswith("Every row of the held-out file is also in the training data")
    assert report(load(DataSpec(source="captain"))).blocking is None


def test_secrets(tmp_path):
    key = "sk-" + "a1B2" * 8
    rows = [{"prompt": f"Say {n}", "completion": text} for n, text in enumerate(
        ["plain", "write to jo.doe+x@mail.example.org now", f"my key is {key}.", "an @ sign, a.b@c", "sk-short and AKIA", "AKIA" + "ABCD1234" * 2, "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----"])]
    found = finding(report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), heldout_fraction=0))), "secret")
    assert found.lines == [2, 3, 6, 7] and "1 rows hold an e-mail address and 3 rows something like a key" in str(found.sentence)


def test_language_mix(tmp_path):
    german = "Das ist nicht die Antwort, die ich mir für den Tag wünsche"
    rows = [{"text": f"This is the answer that you asked for, and it is number {n}"} for n in range(30)] + [{"text": f"{german} {n}"} for n in range(4)] + [
        {"text": f"今天天气很好我们去公园{n}"} for n in range(2)] + [{"text": f"{n} 4711"} for n in range(3)]
    found = finding(report(load(DataSpec(source=write(tmp_path / "a.jsonl", rows), heldout_fraction=0), "text")), "language")
    assert (found.level, found.count, list(found.remedies)) == ("info", 6, ["en"])
    assert str(found.sentence).startswith("English in 30 of 39 rows looked at, then German (4), Chinese (2).")


def test_many_rows_are_sampled_for_tokens(tmp_path):
    rows = [{"text": f"text {n}"} for n in range(4500)]
    dataset = load(DataSpec(source=write(tmp_path / "a.jsonl", rows), heldout_fraction=0), "text")
    assert with_tokens(report(dataset), count_tokens(dataset, lambda value: (3, 1)), 9).lengths["tokens"].measured == 1500


def test_histogram_holds_every_value():
    made = histogram([*range(1, 1000), 100_000], "words")
    assert sum(made.counts) == 1000 and len(made.edges) == len(made.counts) + 1 and made.edges[-1] == made.largest == 100_000
    assert made.median == 500 and histogram([], "words").measured == 0 and sum(histogram([5, 5], "words").counts) == 2


def test_words_in_scripts_without_spaces():
    marks = Marks()
    for text in ("two words", "今天 good", "schöne  Grüße", "", "..."):
        marks.add([text])
    marks.seal()
    assert marks.words.tolist() == [2, 3, 2, 0, 0] and marks.characters.tolist() == [9, 7, 13, 0, 3]


def test_preview_is_short_strings():
    found = report(load_file("tools.jsonl"), preview_rows=2)
    assert found.preview.numbers == [1, 2] and found.preview.columns == ["messages", "tools"]
    assert all(isinstance(cell, str) and len(cell) <= 120 for row in found.preview.rows for cell in row)
    assert short(None) == "" and short(b"ab") == "(2 bytes)" and short("a\nb") == "a ⏎ b" and len(short("x" * 500)) == 120
