"""What must be read from each file in tests/data_files, or what must be said. Judged one by one; checked by
`test_data_files.py`; a change here is a change of what people see."""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """rows: in the file; used: of them; errors: kind → rows not used; warnings: kind → count."""

    format: str
    encoding: str | None
    shape: str
    rows: int
    used: int
    errors: dict[str, int] = {}
    warnings: dict[str, int] = {}


READINGS = {
    "alpaca.json": Reading("json", "utf-8", "alpaca", 5, 5),
    "bad_bytes.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 7, 6, {"bytes": 1}),
    "broken_line_7.jsonl": Reading("jsonl", "utf-8", "messages", 9, 8, {"broken": 1}),
    "chat.jsonl": Reading("jsonl", "utf-8", "messages", 8, 8),
    "chat.parquet": Reading("parquet", None, "messages", 8, 8),
    "chat_bare_lists.jsonl": Reading("jsonl", "utf-8", "messages", 8, 8),
    "chat_blank_lines.jsonl": Reading("jsonl", "utf-8", "messages", 8, 8),
    "chat_bom.jsonl": Reading("jsonl", "utf-8-sig", "messages", 8, 8),
    "chat_crlf.jsonl": Reading("jsonl", "utf-8", "messages", 8, 8),
    "chat_data.json": Reading("json", "utf-8", "messages", 8, 8),
    "chat_list.json": Reading("json", "utf-8", "messages", 8, 8),
    "chat_minified.json": Reading("json", "utf-8", "messages", 8, 8),
    "chat_no_name": Reading("jsonl", "utf-8", "messages", 8, 8),
    "chat_one_record.json": Reading("json", "utf-8", "messages", 1, 1),
    "chat_utf16.jsonl": Reading("jsonl", "utf-16", "messages", 8, 8),
    "chat_utf16_no_bom.jsonl": Reading("jsonl", "utf-16-le", "messages", 8, 8),
    "chat_wrong_name.csv": Reading("jsonl", "utf-8", "messages", 8, 8),
    "chinese.csv": Reading("csv", "utf-8", "prompt_completion", 8, 8),
    "chinese_gb18030.csv": Reading("csv", "gb18030", "prompt_completion", 8, 8),
    "columns.json": Reading("json", "utf-8", "prompt_completion", 6, 6),
    "deep.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 3, 2, {"broken": 1}),
    "dolly.jsonl": Reading("jsonl", "utf-8", "alpaca", 5, 5),
    "duplicates.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 8, 8),
    "empty_cells.csv": Reading("csv", "utf-8", "prompt_completion", 5, 2, {"empty": 3}),
    "escaped_quotes.csv": Reading("csv", "utf-8", "prompt_completion", 4, 4),
    "french_cp1252.csv": Reading("csv", "cp1252", "label", 8, 8),
    "flags.csv": Reading("csv", "utf-8", "label_columns", 8, 8),
    "flags.jsonl": Reading("jsonl", "utf-8", "label_columns", 9, 9),
    "flags_doubtful.csv": Reading("csv", "utf-8", "label_columns", 27, 25, {"empty": 1, "shape": 1}),
    "front_matter.md": Reading("markdown", "utf-8", "text", 4, 4, {}, {"left_aside": 1}),
    "rule.md": Reading("markdown", "utf-8", "text", 4, 4),
    "pretty.jsonl": Reading("json", "utf-8", "prompt_completion", 6, 6),
    "pretty_one_word.json": Reading("json", "utf-8", "messages", 8, 8),
    "zero_byte.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 6, 6),
    "zero_byte.txt": Reading("text", "utf-8", "text", 2, 2),
    "preferences_openai.jsonl": Reading("jsonl", "utf-8", "preference", 5, 5),
    "titled.xlsx": Reading("xlsx", None, "prompt_completion", 6, 6),
    "one_column.xlsx": Reading("xlsx", None, "text", 7, 6, {"fields": 1}),
    "sharegpt_names.json": Reading("json", "utf-8", "sharegpt", 8, 7, {"role": 1}),
    "squad.jsonl": Reading("jsonl", "utf-8", "alpaca", 6, 5, {"empty": 1}),
    "garbled.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 8, 8),
    "kto.jsonl": Reading("jsonl", "utf-8", "unpaired", 6, 6),
    "kto_talks.jsonl": Reading("jsonl", "utf-8", "unpaired", 6, 6),
    "kto.csv": Reading("csv", "utf-8", "unpaired", 6, 6),
    "kto_doubtful.jsonl": Reading("jsonl", "utf-8", "unpaired", 8, 6, {"shape": 1, "empty": 1}),
    "ranked.json": Reading("json", "utf-8", "ranked", 5, 5),
    "ranked_short.jsonl": Reading("jsonl", "utf-8", "ranked", 5, 4, {"shape": 1}),
    "sharegpt_calls.json": Reading("json", "utf-8", "sharegpt", 3, 3),
    "alpaca_whole.csv": Reading("csv", "utf-8", "alpaca", 5, 5),
    "openai_parts.jsonl": Reading("jsonl", "utf-8", "messages", 4, 4),
    "guide.md": Reading("markdown", "utf-8", "text", 4, 4),
    "labels.arrow": Reading("arrow", None, "label", 8, 8),
    "labels.csv": Reading("csv", "utf-8", "label", 8, 8),
    "labels.tsv": Reading("tsv", "utf-8", "label", 8, 8),
    "labels_caret.data": Reading("csv", "utf-8", "label", 8, 8),
    "labels_no_name": Reading("csv", "utf-8", "label", 8, 8),
    "labels_pipe.txt": Reading("csv", "utf-8", "label", 8, 8),
    "labels_excel.csv": Reading("csv", "utf-8", "label", 8, 8),
    "labels_semicolon.csv": Reading("csv", "utf-8", "label", 8, 8),
    "labels_stream.arrow": Reading("arrow", None, "label", 8, 8),
    "lone_surrogate.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 3, 2, {"bytes": 1}),
    "long_number.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 3, 2, {"broken": 1}),
    "messages_in_cells.csv": Reading("csv", "utf-8", "messages", 8, 8),
    "multi_label.jsonl": Reading("jsonl", "utf-8", "label", 6, 6),
    "nested_output.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 4, 4),
    "no_header.csv": Reading("csv", "utf-8", "prompt_completion", 2, 2, {}, {"header": 1}),
    "not_objects.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 9, 6, {"shape": 3}),
    "notes.txt": Reading("text", "utf-8", "text", 3, 3),
    "one.zip": Reading("zip", "utf-8", "messages", 8, 8),
    "one_column.csv": Reading("csv", "utf-8", "text", 3, 3),
    "open_quote.csv": Reading("csv", "utf-8", "prompt_completion", 5, 4, {"broken": 1}),
    "order.jsonl": Reading(
        "jsonl", "utf-8", "messages", 9, 2, {"order": 3, "role": 1, "empty": 1, "shape": 1, "missing": 1}
    ),
    "pandas.json": Reading("json", "utf-8", "prompt_completion", 6, 6),
    "poem_utf16.txt": Reading("text", "utf-16", "text", 2, 2),
    "preferences_hh.jsonl": Reading("jsonl", "utf-8", "preference", 5, 5),
    "qa_talks.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 6, 6),
    "preferences.jsonl": Reading("jsonl", "utf-8", "preference", 5, 5),
    "preferences_talks.jsonl": Reading("jsonl", "utf-8", "preference", 5, 5),
    "qa.jsonl": Reading("jsonl", "utf-8", "prompt_completion", 6, 6),
    "qa.xlsx": Reading("xlsx", None, "prompt_completion", 7, 7),
    "quoted_newlines.csv": Reading("csv", "utf-8", "prompt_completion", 3, 3),
    "ragged.csv": Reading("csv", "utf-8", "prompt_completion", 5, 3, {"fields": 2}),
    "raw_quotes.tsv": Reading("tsv", "utf-8", "prompt_completion", 4, 4),
    "russian_cp1251.csv": Reading("csv", "cp1251", "prompt_completion", 8, 8),
    "several.zip": Reading("zip", None, "prompt_completion", 6, 6, {}, {"left_aside": 1}),
    "sharegpt.json": Reading("json", "utf-8", "sharegpt", 5, 5),
    "sides.zip": Reading("zip", None, "prompt_completion", 6, 6),
    "strings.json": Reading("json", "utf-8", "text", 2, 2),
    "tools.jsonl": Reading("jsonl", "utf-8", "messages", 3, 3),
    "two_sheets.xlsx": Reading("xlsx", None, "prompt_completion", 6, 6, {}, {"left_aside": 1}),
}

SENTENCES = {
    "absolute.zip": "absolute.zip holds a file named '/etc/evil.jsonl', which points outside the archive. Make the zip "
    "again from a plain folder.",
    "all_broken.jsonl": "None of the 3 rows of all_broken.jsonl can be read. The first: Line 1 of all_broken.jsonl is "
    "not valid JSON (column 9: Expecting property name enclosed in double quotes). Correct that line or remove it.",
    "backslash.zip": "backslash.zip holds a file named '..\\evil.jsonl', which points outside the archive. Make the "
    "zip again from a plain folder.",
    "blank.txt": "blank.txt is empty. Put at least one example in it, or choose another file.",
    "bomb.zip": "bomb.zip would unpack to 17 MB from 0.02 MB, which looks like a zip bomb and was not unpacked. If the "
    "data is real, choose the unpacked file.",
    "broken_line_7.json": "Line 9 of broken_line_7.json is not valid JSON (column 12: Expecting ':' delimiter). "
    "Correct that place and choose the file again.",
    "cut.parquet": "cut.parquet is damaged and cannot be read (…). Save it again from the program that made it, or as "
    "JSONL or CSV.",
    "cut.xlsx": "cut.xlsx is a damaged zip and cannot be opened. Make it again.",
    "cut.zip": "cut.zip is a damaged zip and cannot be opened. Make it again.",
    "document.zip": "document.zip is a Word document, which cannot be read as data. Read are JSON, JSONL, CSV, TSV, "
    "Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder of pictures by class.",
    "dotdot.zip": "dotdot.zip holds a file named '../evil.jsonl', which points outside the archive. Make the zip again "
    "from a plain folder.",
    "empty.jsonl": "empty.jsonl is empty. Put at least one example in it, or choose another file.",
    "empty.zip": "empty.zip is an empty zip. Put at least one data file in it.",
    "empty_list.json": "empty_list.json holds no rows. Put at least one example in it, or choose another file.",
    "extra.json": "Line 2 of extra.json is not valid JSON (column 1: Extra data). Correct that place and choose the "
    "file again.",
    "fake.arrow": "fake.arrow is damaged and cannot be read (…). Save it again from the program that made it, or as "
    "JSONL or CSV.",
    "header_only.csv": "header_only.csv holds no rows. Put at least one example in it, or choose another file.",
    "junk.bin": "junk.bin is neither text nor a known table format, which cannot be read as data. Read are JSON, "
    "JSONL, CSV, TSV, Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder of pictures by "
    "class.",
    "link.zip": "link.zip holds a link named 'link.jsonl' in place of a file. Make the zip again with the file itself.",
    "nested.zip": "nested.zip holds another archive, 'inner.zip'. Unpack that one and zip its files directly.",
    "nested_hidden.zip": "nested_hidden.zip/data.jsonl is a zip inside a zip. Unpack it and zip its files directly.",
    "numbers.csv": "The columns of numbers.csv (a, b, c) do not look like chat, text, labels or preferences. Choose "
    "the shape and its columns yourself.",
    "old.xls": "old.xls is an old Office document (XLS or DOC), which cannot be read as data. Read are JSON, JSONL, "
    "CSV, TSV, Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder of pictures by class.",
    "only_junk.zip": "only_junk.zip/a.bin is neither text nor a known table format, which cannot be read as data. Read "
    "are JSON, JSONL, CSV, TSV, Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder of "
    "pictures by class.",
    "packed.jsonl.gz": "packed.jsonl.gz is a gzip archive, which cannot be read as data. Read are JSON, JSONL, CSV, "
    "TSV, Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder of pictures by class.",
    "pickle.jsonl": "pickle.jsonl is a Python pickle, which cannot be read as data. Read are JSON, JSONL, CSV, TSV, "
    "Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder of pictures by class.",
    "picture.jsonl": "picture.jsonl is a picture, which cannot be read as data. Read are JSON, JSONL, CSV, TSV, "
    "Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder of pictures by class.",
    "python_dict.json": "Line 1 of python_dict.json is not valid JSON (column 2: Expecting property name enclosed in "
    "double quotes). Correct that place and choose the file again.",
    "unclosed.json": "Line 1 of unclosed.json is not valid JSON (column 872: the list is not closed). Correct that "
    "place and choose the file again.",
    "uneven_columns.json": "The columns of uneven_columns.json have different lengths (a: 2, b: 1), so they do not "
    "make rows. Correct the file, or save it as JSONL.",
    "unusable.jsonl": "None of the 3 rows of unusable.jsonl can be used. The most common reason (3 rows): Line 1 of "
    "unusable.jsonl ends with a message from user, so there is no answer to train on. Add the assistant's answer or "
    "remove that message.",
}
