"""Writes tests/data_files/: small files, good and bad, in every format and shape.

    python tests/data/data_make_files.py

What the studio must make of each stands in `data_expected.py`.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

FOLDER = Path(__file__).resolve().parent.parent / "data_files"
CHAT = [
    {
        "messages": [
            {"role": "user", "content": f"What is {n} + 1?"},
            {"role": "assistant", "content": f"It is {n + 1}."},
        ]
    }
    for n in range(8)
]
TABLE = [
    {"text": f"The parcel {n} is late, where is it?", "label": "shipping" if n % 2 else "billing"} for n in range(8)
]
PAIRS = [{"question": f"What is {n} + 1?", "answer": f"It is {n + 1}."} for n in range(6)]


def line(value) -> str:
    return json.dumps(value, ensure_ascii=False)


def lines(values) -> str:
    return "".join(line(value) + "\n" for value in values)


def csv(rows, delimiter=",") -> str:
    return (
        "\n".join([delimiter.join(rows[0]), *(delimiter.join(f'"{value}"' for value in row.values()) for row in rows)])
        + "\n"
    )


def zipped(members: dict[str, bytes | str], links: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def workbook(*sheets: tuple[str, list[list]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def good() -> dict[str, bytes | str]:
    share = [
        {
            "conversations": [{"from": "human", "value": f"Hi {n}"}, {"from": "gpt", "value": f"Hello {n}"}],
            "system": "Be kind.",
        }
        for n in range(5)
    ]
    alpaca = [
        {
            "instruction": f"Add {n}",
            "input": "to 1",
            "output": str(n + 1),
            "history": [["Hi", "Hello"]] if n == 2 else [],
        }
        for n in range(5)
    ]
    prefer = [{"prompt": f"Say {n}", "chosen": f"Gladly: {n}", "rejected": f"No {n}"} for n in range(5)]
    pairs = [
        {
            "chosen": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"Gladly {n}"}],
            "rejected": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"No {n}"}],
        }
        for n in range(5)
    ]
    hh = [
        {
            key: f"\n\nHuman: Say {n}\n\nAssistant: {n}?\n\nHuman: Yes.\n\nAssistant: {last} {n}"
            for key, last in (("chosen", "Gladly"), ("rejected", "No"))
        }
        for n in range(5)
    ]
    asked = [
        {
            "prompt": [{"role": "user", "content": f"Say {n}"}],
            "completion": [{"role": "assistant", "content": f"Gladly: {n}"}],
        }
        for n in range(6)
    ]
    call = {
        "messages": [
            {"role": "system", "content": "Use tools."},
            {"role": "user", "content": "Weather in Bonn?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "9 degrees", "tool_call_id": "1"},
            {"role": "assistant", "content": "9 degrees."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    }
    verdicts = [
        {"prompt": f"Say {n}", "completion": f"Gladly: {n}" if n % 2 else "No", "label": bool(n % 2)} for n in range(6)
    ]
    ranked = [
        {"instruction": f"Say {n}", "input": "politely", "output": [f"Gladly: {n}", f"Well: {n}", f"No {n}"]}
        for n in range(5)
    ]
    calls = [
        {
            "conversations": [
                {"from": "human", "value": f"Weather in town {n}?"},
                {"from": "function_call", "value": line({"name": "weather", "arguments": {"town": n}})},
                {"from": "observation", "value": "9 degrees"},
                {"from": "gpt", "value": "9 degrees."},
            ],
            "system": "Use tools.",
            "tools": line([{"name": "weather"}]),
        }
        for n in range(3)
    ]
    french = "texte,étiquette\n" + "".join(
        f"Le café numéro {n} est fermé à midi,{'négatif' if n % 2 else 'très positif'}\n" for n in range(8)
    )
    chinese = "问题,回答\n" + "".join(
        f"今天第{n}个问题的天气怎么样？,今天天气很好，我们去公园散步吧{n}\n".replace("，", "、") for n in range(8)
    )
    russian = "вопрос;ответ\n" + "".join(
        f"Какая погода сегодня в городе {n}?;Сегодня хорошая погода и светит солнце {n}\n" for n in range(8)
    )
    multi = [{"text": f"Story {n}", "labels": ["sad", "long"] if n % 2 else ["short"]} for n in range(6)]
    flags = [
        {
            "id": 90 + n,
            "comment": f"Remark number {n} about the harbour",
            "toxic": n % 2,
            "insult": int(n == 3),
            "threat": 0,
        }
        for n in range(8)
    ]
    feelings = [
        {
            "text": f"How I felt on day {n}",
            "author": f"writer{n % 3}",
            "joy": n % 3 == 0,
            "anger": n % 3 == 1,
            "surprise": n == 4,
        }
        for n in range(9)
    ]
    return {
        "flags.csv": csv(flags),
        "flags.jsonl": lines(feelings),
        "flags_doubtful.csv": csv([{**row, "id": 100 * at + row["id"]} for at in range(3) for row in flags])
        + '"98","Nobody looked at this remark",,,\n"99","Half of a remark","1",,\n'
        '"100","A doubtful remark","-1","0","0"\n',
        "chat.jsonl": lines(CHAT),
        "chat_list.json": json.dumps(CHAT, indent=1),
        "chat_minified.json": line(CHAT),
        "chat_data.json": line({"data": CHAT}),
        "chat_one_record.json": line(CHAT[0]),
        "chat_no_name": lines(CHAT),
        "chat_wrong_name.csv": lines(CHAT),
        "chat_crlf.jsonl": lines(CHAT).replace("\n", "\r\n"),
        "chat_blank_lines.jsonl": "\n\n" + lines(CHAT).replace("\n", "\n\n"),
        "chat_bom.jsonl": lines(CHAT).encode("utf-8-sig"),
        "chat_utf16.jsonl": lines(CHAT).encode("utf-16"),
        "chat_utf16_no_bom.jsonl": lines(CHAT).encode("utf-16-le"),
        "chat_bare_lists.jsonl": lines(row["messages"] for row in CHAT),
        "tools.jsonl": lines([call] * 2 + CHAT[:1]),
        "sharegpt.json": json.dumps(share),
        "alpaca.json": json.dumps(alpaca, indent=2),
        "dolly.jsonl": lines(
            {"instruction": f"Tell {n}", "context": "", "response": f"Told {n}", "category": "qa"} for n in range(5)
        ),
        "qa.jsonl": lines(PAIRS),
        "columns.json": line({key: [row[key] for row in PAIRS] for key in PAIRS[0]}),
        "pandas.json": line({key: {str(n): row[key] for n, row in enumerate(PAIRS)} for key in PAIRS[0]}),
        "strings.json": line(["One paragraph.", "Another paragraph."]),
        "nested_output.jsonl": lines({"prompt": f"As JSON: {n}", "completion": {"n": n}} for n in range(4)),
        "preferences_hh.jsonl": lines(hh),
        "qa_talks.jsonl": lines(asked),
        "kto_talks.jsonl": lines({**row, "label": n % 2} for n, row in enumerate(asked)),
        "labels_excel.csv": "sep=;\r\n" + csv(TABLE, ";"),
        "preferences.jsonl": lines(prefer),
        "preferences_talks.jsonl": lines(pairs),
        "labels.csv": csv(TABLE),
        "labels_semicolon.csv": csv(TABLE, ";"),
        "labels.tsv": csv(TABLE, "\t"),
        "labels_pipe.txt": csv(TABLE, "|"),
        "labels_no_name": csv(TABLE),
        "labels_caret.data": csv(TABLE, "^"),
        "multi_label.jsonl": lines(multi),
        "kto.jsonl": lines(verdicts),
        "kto.csv": csv([{**row, "label": int(row["label"])} for row in verdicts]),
        "kto_doubtful.jsonl": lines(verdicts)
        + lines([{**verdicts[0], "label": "maybe"}, {**verdicts[0], "label": None}]),
        "ranked.json": json.dumps(ranked),
        "ranked_short.jsonl": lines(
            {"prompt": row["instruction"], "responses": row["output"][: 1 if n == 3 else 2]}
            for n, row in enumerate(ranked)
        ),
        "sharegpt_calls.json": json.dumps(calls),
        "alpaca_whole.csv": csv([{**row, "history": '[[""Hi"", ""Hello""]]', "system": "Be kind."} for row in alpaca]),
        "openai_parts.jsonl": lines(
            {
                "messages": [
                    {"role": "developer", "content": "Be kind."},
                    {"role": "user", "content": [{"type": "text", "text": f"Hi {n}"}]},
                    {"role": "assistant", "content": "Hello"},
                ]
            }
            for n in range(4)
        ),
        "quoted_newlines.csv": 'prompt,completion\n"Two\nlines","A ""quoted"" word, and a comma"\n'
        'Hi,Hello\n"Three\n\nlines",Yes\n',
        "escaped_quotes.csv": "prompt,completion\n" + "".join(f'"Say \\"{n}\\"","It is {n}, ok"\n' for n in range(4)),
        "raw_quotes.tsv": "prompt\tcompletion\n" + "".join(f'"Say {n}\tIt is "{n}"\n' for n in range(4)),
        "messages_in_cells.csv": "messages\n"
        + "".join('"' + line(row["messages"]).replace('"', '""') + '"\n' for row in CHAT),
        "one_column.csv": "text\nFirst\nSecond\nThird\n",
        "no_header.csv": "How are you?,I am fine.\nWho are you?,I am a bot.\n",
        "french_cp1252.csv": french.encode("cp1252"),
        "chinese_gb18030.csv": chinese.encode("gb18030"),
        "russian_cp1251.csv": russian.encode("cp1251"),
        "chinese.csv": chinese,
        "notes.txt": "First paragraph, with a comma.\nStill the first.\n\nSecond, short.\n\n\nThird, the last.\n",
        "front_matter.md": "---\ntitle: A page\ntags:\n  - one\n- two\n\n# a remark\ndate: 2024-01-01\n---\n"
        "# Title\n\nSome text.\n\n---\n\nMore text.\n",
        "rule.md": "---\n\nA line above this is a rule: nothing more.\n\nSome text\n\n---\n",
        "pretty.jsonl": "\n".join(json.dumps(row, indent=2) for row in PAIRS) + "\n",
        "pretty_one_word.json": "\n\n".join(json.dumps(row, indent=1) for row in CHAT),
        "zero_byte.jsonl": lines(PAIRS[:5]) + '{"question": "Stray\0 zero", "answer": "ok"}\n',
        "zero_byte.txt": "First paragraph.\n\nSecond\0 one.\n",
        "preferences_openai.jsonl": lines(
            {
                "input": {
                    "messages": [{"role": "user", "content": f"Say {n}"}],
                    "tools": [],
                    "parallel_tool_calls": True,
                },
                "preferred_output": [{"role": "assistant", "content": f"Gladly {n}"}],
                "non_preferred_output": [{"role": "assistant", "content": f"No {n}"}],
            }
            for n in range(5)
        ),
        "titled.xlsx": workbook(
            (
                "Sums",
                [
                    ["Questions and answers of 2024"],
                    [],
                    ["Not for the public"],
                    list(PAIRS[0]),
                    *[list(row.values()) for row in PAIRS],
                ],
            )
        ),
        "one_column.xlsx": workbook(
            ("Texts", [["text"], *[[f"A line number {n}"] for n in range(6)], ["A line", "a stray note"]])
        ),
        "sharegpt_names.json": line(
            [
                {"conversations": [{"from": one, "value": f"Hi {n}"}, {"from": other, "value": f"Hello {n}"}]}
                for n, (one, other) in enumerate(
                    [
                        ("human", "bard"),
                        ("human", "claude"),
                        ("user", "chatgpt"),
                        ("human", "bing"),
                        ("Luke", "Leia"),
                        ("human", "HAL"),
                        ("Dave", "gpt"),
                    ]
                )
            ]
            + [{"conversations": [{"from": who, "value": who} for who in ("a", "b", "c", "a")]}]
        ),
        "squad.jsonl": lines(
            {
                "id": str(n),
                "title": "Sums",
                "context": f"One and {n} make {n + 1}.",
                "question": f"What is {n} + 1?",
                "answers": {"text": [str(n + 1), f"it is {n + 1}"] if n else [], "answer_start": [15, 0] if n else []},
            }
            for n in range(6)
        ),
        "guide.md": "# Title\n\nSome text.\n\n```python\na = 1\n\nb = 2\n```\n\n- [ ] a task\n",
        "poem_utf16.txt": "Über allen Gipfeln\nist Ruh.\n\nIn allen Wipfeln\n".encode("utf-16"),
        "qa.xlsx": workbook(
            ("Data", [["question", "answer"], *[list(row.values()) for row in PAIRS], [], ["Late?", 7]])
        ),
        "two_sheets.xlsx": workbook(
            ("Empty", []), ("Data", [list(PAIRS[0]), *[list(row.values()) for row in PAIRS]]), ("More", [["a"], ["b"]])
        ),
        "sides.zip": zipped({"data/train.jsonl": lines(PAIRS[:4]), "data/test.jsonl": lines(PAIRS[4:])}),
        "one.zip": zipped({"chat.jsonl": lines(CHAT)}),
        "several.zip": zipped(
            {
                "a/one.jsonl": lines(PAIRS[:3]),
                "b/two.csv": csv(PAIRS[3:]),
                "README.md": "# About\n\nText.\n",
                "__MACOSX/x": "junk",
            }
        ),
        "broken_line_7.jsonl": lines(CHAT[:6]) + '{"messages": [{"role" "user"}]}\n' + lines(CHAT[6:]),
        "not_objects.jsonl": lines(PAIRS[:2]) + "17\nnull\n[1, 2]\n" + lines(PAIRS[2:]),
        "bad_bytes.jsonl": lines(PAIRS[:2]).encode()
        + '{"question": "Grüße", "answer": "ä'.encode()
        + b"\xff"
        + 'öü"}\n'.encode()
        + lines(PAIRS[2:]).encode(),
        "lone_surrogate.jsonl": lines(PAIRS[:2]) + '{"question": "Half \\ud83d", "answer": "x"}\n',
        "deep.jsonl": lines(PAIRS[:2]) + "[" * 5000 + "]" * 5000 + "\n",
        "long_number.jsonl": lines(PAIRS[:2]) + '{"question": ' + "9" * 5000 + ', "answer": "x"}\n',
        "order.jsonl": lines(CHAT[:2])
        + lines(
            [
                {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
                {"messages": [{"role": "assistant", "content": "a"}]},
                {"messages": [{"role": "user", "content": "a"}]},
                {"messages": [{"role": "alien", "content": "a"}]},
                {"messages": []},
                {"messages": "none"},
                {"other": 1},
            ]
        ),
        "empty_cells.csv": "prompt,completion\nHi,\n,Hello\n,\nHi,Hello\nHo,Hello\n",
        "ragged.csv": "prompt,completion\nHi,Hello\nHi,Hello,again\nHi\nHo,Hello\nHe,Hello\n",
        "open_quote.csv": 'prompt,completion\nA1,B1\n"A2,B2\nA3,B3\nA4,B4\nA5,B5\n',
        "duplicates.jsonl": lines(PAIRS + PAIRS[:2]),
        "garbled.jsonl": lines(
            [*PAIRS, {"question": "Das ist schÃ¶n", "answer": "ja"}, {"question": "bell\x07", "answer": "ja"}]
        ),
    }


def bad() -> dict[str, bytes | str]:
    tables = pa.Table.from_pylist(PAIRS)
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(tables, parquet)
    return {
        "empty.jsonl": "",
        "blank.txt": " \n\n \t\n",
        "empty_list.json": "[]",
        "header_only.csv": "text,label\n",
        "broken_line_7.json": json.dumps(CHAT, indent=1).replace('"role": "assistant"', '"role" "assistant"', 1),
        "unclosed.json": line(CHAT)[:-1],
        "extra.json": line(CHAT) + "\nand more",
        "python_dict.json": "{'a': 1}",
        "uneven_columns.json": line({"a": [1, 2], "b": [1]}),
        "all_broken.jsonl": '{"a": 1,}\n{"a": 2,}\n{"a": 3,}\n',
        "junk.bin": bytes((n * 37 + n // 7) % 256 for n in range(600)),
        "picture.jsonl": b"\x89PNG\r\n\x1a\n" + bytes(60),
        "pickle.jsonl": b"\x80\x04\x95\x10\x00\x00\x00.",
        "old.xls": b"\xd0\xcf\x11\xe0" + bytes(100),
        "packed.jsonl.gz": b"\x1f\x8b\x08\x00" + bytes(30),
        "cut.parquet": parquet.getvalue()[:-40],
        "cut.xlsx": workbook(("A", [["text"], ["x"]]))[:-80],
        "fake.arrow": b"ARROW1\x00\x00" + bytes(50),
        "cut.zip": zipped({"a.jsonl": lines(CHAT)})[:-30],
        "empty.zip": zipped({}),
        "dotdot.zip": zipped({"../evil.jsonl": lines(CHAT)}),
        "absolute.zip": zipped({"/etc/evil.jsonl": lines(CHAT)}),
        "backslash.zip": zipped({"..\\evil.jsonl": lines(CHAT)}),
        "link.zip": zipped({"link.jsonl": "/etc/passwd"}, links=("link.jsonl",)),
        "nested.zip": zipped({"inner.zip": zipped({"a.jsonl": lines(CHAT)})}),
        "nested_hidden.zip": zipped({"data.jsonl": zipped({"a.jsonl": lines(CHAT)})}),
        "bomb.zip": zipped({"a.jsonl": b"\x20" * (17 * 2**20)}),
        "only_junk.zip": zipped({"a.bin": bytes(range(256)) * 3}),
        "document.zip": zipped({"word/document.xml": "<a/>"}),
        "unusable.jsonl": lines({"messages": [{"role": "user", "content": f"q{n}"}]} for n in range(3)),
        "numbers.csv": "a,b,c\n,,\n,,\n,,\n",
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, data in {**good(), **bad()}.items():
        (FOLDER / name).write_bytes(data.encode() if isinstance(data, str) else data)
    pyarrow.parquet.write_table(pa.Table.from_pylist(CHAT), FOLDER / "chat.parquet")
    table = pa.Table.from_pylist(TABLE)
    pyarrow.feather.write_feather(table, str(FOLDER / "labels.arrow"))
    with pa.ipc.new_stream(str(FOLDER / "labels_stream.arrow"), table.schema) as stream:
        stream.write_table(table)


if __name__ == "__main__":
    main()
