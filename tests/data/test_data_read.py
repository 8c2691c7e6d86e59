"""Opening sources: columns, line numbers, archives, limits, and what a page needs to remember a file by."""

import json
import tracemalloc
import zipfile
from pathlib import Path

import datasets
import pytest

from studio import home
from studio.data import archive, encoding, hub, readers_text
from studio.data.dataset import DataSpec, load
from studio.data.read import fingerprint, open_source
from studio.data.report import report
from studio.data.resolve import resolve, samples
from studio.data.rows import Row
from studio.words import StudioError

FILES = Path(__file__).resolve().parent.parent / "data_files"


def read(name):
    source = open_source(FILES / name)
    return source, list(source.rows())


def refusal_of(call, *arguments) -> str:
    with pytest.raises(StudioError) as caught:
        call(*arguments)
    return str(caught.value)


def test_rows_carry_line_numbers():
    source, rows = read("quoted_newlines.csv")
    assert [row.number for row in rows] == [2, 4, 5]
    assert rows[0].values == {"prompt": "Two\nlines", "completion": 'A "quoted" word, and a comma'}
    assert source.columns == ["prompt", "completion"] and source.unit == "line"
    assert [row.number for row in read("chat_blank_lines.jsonl")[1]][:3] == [3, 5, 7]
    assert [row.number for row in read("notes.txt")[1]] == [1, 4, 7]


def test_broken_json_on_line_7_names_line_and_column():
    source, rows = read("broken_line_7.jsonl")
    assert len(rows) == 8
    assert [str(problem.sentence) for problem in source.problems] == [
        "Line 7 of broken_line_7.jsonl is not valid JSON (column 23: Expecting ':' delimiter). Correct that line or "
        "remove it."
    ]
    assert (
        source.problems.kept[0]
        .sentence.say("zh")
        .startswith("broken_line_7.jsonl 第 7 行不是有效的 JSON（第 23 列：缺少分隔符")
    )


def test_a_second_pass_starts_afresh():
    source, rows = read("broken_line_7.jsonl")
    assert list(source.rows()) == rows and source.problems.rows == 1


def test_one_open_quote_costs_one_row():
    source, rows = read("open_quote.csv")
    assert [row.values["prompt"] for row in rows] == ["A1", "A3", "A4", "A5"]
    assert [problem.line for problem in source.problems] == [3]


def test_ragged_lines_are_reported_with_their_numbers():
    source, rows = read("ragged.csv")
    assert [problem.line for problem in source.problems] == [3, 4] and [row.number for row in rows] == [2, 5, 6]


def test_quoting_of_tables():
    assert read("escaped_quotes.csv")[1][1].values == {"prompt": 'Say "1"', "completion": "It is 1, ok"}
    assert read("raw_quotes.tsv")[1][1].values == {"prompt": '"Say 1', "completion": 'It is "1"'}


def test_markdown_keeps_fences_whole():
    assert read("guide.md")[1][2].values["text"] == "```python\na = 1\n\nb = 2\n```"


def test_header_rows(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("text,,text\na,b,c\n")
    assert open_source(path).columns == ["text", "column 2", "text (2)"]
    source, rows = read("no_header.csv")
    assert rows[0].number == 1 and source.columns == ["column 1", "column 2"]


def test_xlsx_numbers_rows_as_the_sheet_does():
    source, rows = read("qa.xlsx")
    assert [row.number for row in rows] == [2, 3, 4, 5, 6, 7, 9] and rows[-1].values == {
        "question": "Late?",
        "answer": 7,
    }
    source, _ = read("two_sheets.xlsx")
    assert "'Data' is read, 'More' is not" in str(source.problems.kept[0].sentence)


def test_binary_values_become_plain(tmp_path):
    import datetime
    import decimal

    import pyarrow as pa
    import pyarrow.parquet

    when = datetime.datetime(2024, 5, 1, 12)
    table = pa.table(
        {"text": ["a"], "when": [when], "price": [decimal.Decimal("1.50")], "tags": [[{"a": when}]], "raw": [b"\xff"]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "types.parquet")
    row = next(open_source(tmp_path / "types.parquet").rows())
    assert row.values == {
        "text": "a",
        "when": "2024-05-01T12:00:00",
        "price": "1.50",
        "tags": [{"a": "2024-05-01T12:00:00"}],
        "raw": b"\xff",
    }


def test_members_of_a_zip_keep_their_names():
    source, rows = read("several.zip")
    assert [(row.file, row.number) for row in rows][2:4] == [
        ("several.zip/a/one.jsonl", 3),
        ("several.zip/b/two.csv", 2),
    ]
    assert "README.md" in str(source.problems.kept[0].sentence)
    folder = Path(source._folder.name)
    assert folder.is_dir()
    source._folder.cleanup()
    assert not folder.exists()


def test_a_broken_line_in_a_zip_names_the_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as made:
        made.writestr("one.jsonl", '{"text": "a"}\n{"text" "b"}\n')
        made.writestr("two.jsonl", '{"text": "c"}\n')
    source = open_source(tmp_path / "z.zip")
    assert len(list(source.rows())) == 2
    assert str(source.problems.kept[0].sentence).startswith("Line 2 of z.zip/one.jsonl is not valid JSON")


def test_refused_zips_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in (
        "bomb.zip",
        "dotdot.zip",
        "absolute.zip",
        "backslash.zip",
        "link.zip",
        "nested.zip",
        "nested_hidden.zip",
        "cut.zip",
        "only_junk.zip",
    ):
        refusal_of(open_source, FILES / name)
    assert list(tmp_path.iterdir()) == []


def test_zip_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 1)
    assert refusal_of(open_source, FILES / "several.zip").startswith(
        "several.zip holds 4 files; at most 1 are unpacked."
    )
    monkeypatch.setattr(archive, "MAX_MEMBERS", 9)
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 100)
    assert "looks like a zip bomb" in refusal_of(open_source, FILES / "one.zip")


def test_a_zip_larger_than_its_declared_size_is_refused(tmp_path, monkeypatch):
    data = bytearray((FILES / "one.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    (tmp_path / "liar.zip").write_bytes(data)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert "liar.zip" in refusal_of(open_source, tmp_path / "liar.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["liar.zip"]


def test_a_password_is_refused(tmp_path):
    data = bytearray((FILES / "one.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[data.index(b"PK\x03\x04") + 6] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    assert (
        refusal_of(open_source, tmp_path / "locked.zip")
        == "locked.zip is locked with a password. Make the zip again without one."
    )


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp1252", "text\nLe café est fermé à midi\n"),
        ("cp1250", "text\nPříliš žluťoučký kůň úpěl ďábelské ódy\n"),
        ("cp1251", "text\nПривет как дела\n"),
        ("gb18030", "text\n今天天气很好我们去公园散步\n"),
        ("big5", "text\n今天天氣很好我們去公園散步吧\n"),
        ("cp932", "text\nこんにちは世界元気ですか\n"),
        ("cp949", "text\n안녕하세요 세계 오늘 날씨가 좋네요\n"),
        ("utf-16", "text\nÜber\n"),
        ("utf-32", "text\nÜber\n"),
        ("utf-8-sig", "text\nÜber\n"),
        ("utf-16-be", "text\nmostly ascii\n"),
    ],
)
def test_encodings(tmp_path, codec, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(codec))
    source = open_source(path)
    assert [row.values for row in source.rows()] == [{"text": text.splitlines()[1]}]


def test_a_chosen_encoding_wins(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text\nПривет\n".encode("koi8_r"))
    assert next(open_source(path, encoding="koi8_r").rows()).values == {"text": "Привет"}
    assert "no known encoding" in refusal_of(open_source, path, None, "utf-99")


def test_stray_bytes_far_into_a_file_are_found(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "ä"}\n'.encode() * 30_000 + b'{"text": "\xff"}\n' + b'{"text": "z"}\n')
    source = open_source(path)
    assert sum(1 for _ in source.rows()) == 30_001
    assert [(problem.line, problem.kind) for problem in source.problems] == [(30_001, "bytes")]


def test_problems_are_counted_but_not_all_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + "{broken\n" * 5000)
    source = open_source(path)
    assert sum(1 for _ in source.rows()) == 1
    assert source.problems.rows == 5000 and len(source.problems.kept) == 100


def test_big_files_stream(tmp_path):
    """A JSON list and a JSONL file of 12 MB are read in less than their size of memory."""
    item = json.dumps({"text": "x" * 1000})
    (tmp_path / "a.json").write_text("[\n" + ",\n".join([item] * 12_000) + "\n]")
    (tmp_path / "a.jsonl").write_text((item + "\n") * 12_000)
    for name, first in (("a.json", 1), ("a.jsonl", 1)):
        tracemalloc.start()
        source = open_source(tmp_path / name)
        numbers = [row.number for row in source.rows()]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (len(numbers), numbers[0]) == (12_000, first)
        assert peak < 9e6


def test_json_errors_name_the_place_far_into_a_list(tmp_path):
    items = [json.dumps({"text": "x" * 500}) for _ in range(6000)]
    items[5000] = '{"text" 1}'
    (tmp_path / "a.json").write_text("[\n" + ",\n".join(items) + "\n]")
    source = open_source(tmp_path / "a.json")
    assert refusal_of(list, source.rows()).startswith(
        "Line 5002 of a.json is not valid JSON (column 9: Expecting ':' delimiter)"
    )


def test_endless_lines_and_huge_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "MAX_LINE", 1000)
    monkeypatch.setattr(readers_text, "MAX_OBJECT", 1000)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "' + "x" * 2000 + '"}\n')
    assert refusal_of(open_source, tmp_path / "a.jsonl").startswith("Line 2 of a.jsonl is longer than")
    (tmp_path / "b.json").write_text(json.dumps({"a": ["x"] * 500}))
    assert "cannot be read piece by piece" in refusal_of(open_source, tmp_path / "b.json")


def test_missing_and_folder(tmp_path):
    assert refusal_of(open_source, tmp_path / "none.csv").startswith("There is no file")
    assert "is a folder" in refusal_of(open_source, tmp_path)


def test_samples_bring_their_validation_file(tmp_path, monkeypatch):
    monkeypatch.setattr(home, "SAMPLES", tmp_path)
    for name in ("captain.jsonl", "captain.validation.jsonl", "notes.txt", "make.py", "README.md"):
        (tmp_path / name).write_text("x")
    assert samples() == {"captain": tmp_path / "captain.jsonl", "notes": tmp_path / "notes.txt"}
    assert resolve("captain") == (tmp_path / "captain.jsonl", tmp_path / "captain.validation.jsonl", "captain.jsonl")
    assert resolve(tmp_path / "captain.jsonl").validation == tmp_path / "captain.validation.jsonl"
    assert resolve("notes").validation is None


def test_what_a_source_may_be(tmp_path):
    assert resolve(FILES / "chat.jsonl") == (FILES / "chat.jsonl", None, "chat.jsonl")
    assert resolve("hub:owner/name:config:test") == ("hub:owner/name:config:test", None, "owner/name")
    assert refusal_of(resolve, "nowhere.jsonl").startswith("'nowhere.jsonl' is neither an example")
    assert "is a folder" in refusal_of(resolve, str(tmp_path)) and "No data is chosen" in refusal_of(resolve, " ")
    assert "neither an example" in refusal_of(resolve, "a\0b") and "not the id" in refusal_of(
        resolve, "hub:../../etc/passwd"
    )


def test_hub_ids():
    assert hub.parse("hub:a/b") == ("a/b", None, "train") and hub.parse("hub:b:en:test") == ("b", "en", "test")


def test_a_missing_network_raises_a_studio_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "_REACH_SECONDS", 1)
    assert refusal_of(open_source, "hub:owner/name") == (
        "Cannot reach the hub to get the dataset 'owner/name'. Check the network, or use a local file or an example."
    )


def evidence(name):
    return [str(sentence) for sentence in open_source(FILES / name).evidence]


def test_unusual_files_are_read_and_reported():
    assert [row.values for row in open_source(FILES / "pretty.jsonl").rows()] == [
        row.values for row in open_source(FILES / "qa.jsonl").rows()
    ]
    assert evidence("pretty.jsonl") == [
        "pretty.jsonl holds JSON objects one after the other, not a list of them; each is read as a row."
    ]
    assert [row.number for row in open_source(FILES / "titled.xlsx").rows()] == [5, 6, 7, 8, 9, 10] and open_source(
        FILES / "titled.xlsx"
    ).columns == ["question", "answer"]
    assert evidence("titled.xlsx") == [
        "The first 2 rows of sheet 'Sums' ('Questions and answers of 2024') are titles above the header, and no data."
    ]
    assert evidence("qa.xlsx") == evidence("one_column.xlsx") == evidence("chat_one_record.json") == []
    data = load(DataSpec(source=str(FILES / "titled.xlsx")))
    assert (
        "titles above the header" in str(data.evidence[0])
        and load(DataSpec(source=str(FILES / "titled.xlsx"), mapping=data.mapping)).evidence == data.evidence[:1]
    )


def test_a_broken_object_among_several_is_named_by_its_line(tmp_path):
    text = (FILES / "pretty.jsonl").read_text().splitlines()
    text[9] = text[9].replace(":", "", 1)
    (tmp_path / "a.json").write_text("\n".join(text))
    with pytest.raises(StudioError, match=r"Line 10 of a\.json is not valid JSON"):
        load(DataSpec(source=str(tmp_path / "a.json")))


def test_a_zero_byte_is_a_control_character_with_a_remedy(tmp_path):
    for name, want in (("zero_byte.jsonl", "messages"), ("zero_byte.txt", "text")):
        dataset = load(DataSpec(source=str(FILES / name), validation_fraction=0), want)
        assert [finding.kind for finding in report(dataset).findings] == ["control"]
        cleaned = load(DataSpec(source=str(FILES / name), validation_fraction=0, remedies={"control": "trim"}), want)
        assert cleaned.remedied == {"control": 1} and not any(
            "\0" in json.dumps(record.value) or "\\u0000" in json.dumps(record.value) for record in cleaned.train
        )
    (tmp_path / "a.dat").write_bytes(b"text with \0 many \0 zeros \0 in it")
    with pytest.raises(StudioError, match="neither text nor"):
        open_source(tmp_path / "a.dat")


def test_openai_preferences_are_read(tmp_path):
    record = (
        load(DataSpec(source=str(FILES / "preferences_openai.jsonl"), validation_fraction=0), "preference")
        .train[0]
        .value
    )
    assert record == {"prompt": [{"role": "user", "content": "Say 0"}], "chosen": "Gladly 0", "rejected": "No 0"}
    row = {
        "input": {
            "messages": [{"role": "user", "content": "Say"}],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        },
        "preferred_output": "Yes",
        "non_preferred_output": "No",
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert (
        load(DataSpec(source=str(tmp_path / "a.jsonl"), validation_fraction=0), "preference")
        .train[0]
        .value["tools"][0]["function"]["name"]
        == "f"
    )


def test_speakers_with_names_of_their_own_are_told(tmp_path):
    dataset = load(DataSpec(source=str(FILES / "sharegpt_names.json"), validation_fraction=0))
    assert (
        all([turn["role"] for turn in record.value["messages"]] == ["user", "assistant"] for record in dataset.train)
        and len(dataset.train) == 7
    )
    told = [str(sentence) for sentence in dataset.evidence if "no name of a role" in str(sentence)]
    assert [sentence.split(" in 1 of")[0] for sentence in told] == [
        f"'{name}' is no name of a role; it speaks in turn with one other, so it is taken for the {role}"
        for name, role in (("luke", "user"), ("leia", "assistant"), ("hal", "assistant"), ("dave", "user"))
    ]
    talk = [{"from": "gpt", "value": "Hi"}, {"from": "Dave", "value": "Open"}, {"from": "gpt", "value": "No"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"conversations": talk}) + "\n")
    mended = load(
        DataSpec(source=str(tmp_path / "a.jsonl"), validation_fraction=0, remedies={"order": "merge"})
    )  # an unknown name is no other hindrance
    assert [turn["content"] for turn in mended.train[0].value["messages"]] == ["Open", "No"]


def test_squad_uses_the_context_and_the_first_answer():
    dataset = load(DataSpec(source=str(FILES / "squad.jsonl"), validation_fraction=0))
    assert [turn["content"] for turn in dataset.train[0].value["messages"]] == [
        "What is 1 + 1?\n\nOne and 1 make 2.",
        "2",
    ]
    assert any("the first of each is trained on" in str(sentence) for sentence in dataset.evidence)


def test_front_matter_is_left_out_and_a_horizontal_rule_is_kept():
    source = open_source(FILES / "front_matter.md")
    assert [(row.number, row.values["text"]) for row in source.rows()] == [
        (10, "# Title"),
        (12, "Some text."),
        (14, "---"),
        (16, "More text."),
    ]
    assert [str(problem.sentence) for problem in source.problems] == [
        "front_matter.md opens with 9 lines of settings (front matter), which are not read as text."
    ]
    assert [row.values["text"] for row in open_source(FILES / "rule.md").rows()][0] == "---"


def test_hub_rows_are_read_as_others(monkeypatch):
    lamp, clock = {"name": "lamp", "arguments": {"room": "0"}}, {"name": "clock", "arguments": {"zone": "UTC"}}
    table = datasets.Dataset.from_list([{"question": "q", "answer": ["a"], "calls": [lamp, clock]}])
    assert table[0]["calls"][0]["arguments"] == {"room": "0", "zone": None}
    monkeypatch.setattr(hub, "_load", lambda parsed: table)
    source = open_source("hub:owner/name")
    assert source.columns == ["question", "answer", "calls"] and source.format == "hub"
    assert list(source.rows()) == [Row(1, {"question": "q", "answer": ["a"], "calls": [lamp, clock]})]


def test_fingerprint(tmp_path):
    (tmp_path / "a.csv").write_text("text\na\n")
    first = fingerprint(tmp_path / "a.csv")
    assert fingerprint(str(tmp_path / "a.csv")) == first
    (tmp_path / "a.csv").write_text("text\nb\n")
    assert fingerprint(tmp_path / "a.csv") != first
    assert "There is no file" in refusal_of(fingerprint, tmp_path / "b.csv")
