"""Lists and objects in a cell, as JSON and as Python, numpy and pandas print them; text that merely looks like them;
missing values."""

import time

import numpy
import openpyxl
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.data.cells import MAX_WRITTEN, as_list, as_text, structured, written
from studio.data.dataset import DataSpec, load
from studio.data.read import open_source
from studio.words import StudioError

TURNS = [
    {"role": "user", "content": "it's"},
    {"role": "assistant", "content": 'say "so"\n', "weight": None, "loss": True},
]
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_values, max_size=4) | st.dictionaries(st.text(max_size=5), _values, max_size=4))
def test_what_python_prints_is_read(value):
    assert written(repr(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text("[]{}(),:'\"\\ na0.-Nonetruearray\n", max_size=40))
def test_no_text_breaks_the_reading(text):
    for cell in (text, f"[{text}]", f"[{{'role': {text}}}]"):
        assert written(cell) is None or isinstance(written(cell), list | dict)
        assert as_list(cell) is None or isinstance(as_list(cell), list)


def test_what_numpy_and_pandas_print_is_read():
    held = numpy.empty(2, dtype=object)
    held[:] = TURNS
    frame = pandas.DataFrame({"messages": [held]})
    assert written(str(held)) == written(repr(held)) == TURNS
    assert (
        written(frame.to_csv(index=False, quoting=3, escapechar="\x01").partition("\n")[2].replace("\x01", "")) == TURNS
    )
    assert written(
        str(
            {
                "a": numpy.array(["x", "y"], dtype=object),
                "b": numpy.float64("nan"),
                "c": pandas.NA,
                "d": numpy.array([1.5, 2.0]),
            }
        )
    ) == {"a": ["x", "y"], "b": None, "c": None, "d": [1.5, 2.0]}
    assert written(
        "{'a': array(['x'], dtype='<U1'), 'b': np.str_('c'), 'd': np.True_, 'e': array([], dtype=float64), 'f': (1, 2)}"
    ) == {"a": ["x"], "b": "c", "d": True, "e": [], "f": [1, 2]}


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2",
        "[{'a': 1}",
        "[{'a' 1}]",
        "{1, 2}",
        "[open('x')]",
        "[__import__('os').system('true')]",
        "['a' 'b' ...]",
        "[lambda: 1]",
        "['a'] b",
        "['\\U00ffffff']",
        "['\\Uffffffff']",
        "[array([1)]",
        "a",
        "",
        "[*range(3)]",
        "[1 + 1]",
        "[f'{1}']",
    ],
)
def test_what_is_no_printed_value_is_left_alone(text):
    assert written(text) is None and structured(text) == text


def test_depth_and_size_are_bounded():
    began = time.perf_counter()
    assert (
        written("[" * 100_000) is None
        and written("[" * 100 + "]" * 100) is None
        and written("[" * 50 + "]" * 50) is not None
    )
    assert written("['" + "a" * MAX_WRITTEN + "']") is None and written("['a" * 200_000) is None
    assert as_list("[{'role': " * 50_000) is None
    assert time.perf_counter() - began < 5


def test_printed_lists_of_turns_are_parsed_but_answers_are_not():
    assert as_list(repr(TURNS)) == TURNS and as_list(
        "[{'from': 'human', 'value': 'a'}\n {'from': 'gpt', 'value': nan}]"
    )[1] == {"from": "gpt", "value": None}
    for answer in (
        "[{'name': 'Bonn'}]",
        "['a' 'b']",
        "[{'role': 'x'}, 3]",
        "[True, None]",
        "(1, 2)",
        "{'role': 'user'}",
        "[see below]",
    ):
        assert as_list(answer) is None
    assert as_list('["Bonn", "Kiel"]') == as_list("['Bonn', 'Kiel']") == ["Bonn", "Kiel"]


def test_what_is_missing_is_no_text():
    assert as_text(float("nan")) == as_text(None) == as_text(numpy.float64("nan")) == ""
    assert as_text(float("inf")) == "inf" and as_text("nan") == "nan" and as_text(0.0) == "0.0"
    assert as_list('[{"role": "user", "content": NaN}]') == [{"role": "user", "content": None}]


def rows(path) -> list[dict]:
    return [row.values for row in open_source(path).rows()]


def test_nan_in_json_is_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"prompt": "a", "completion": NaN}\n{"prompt": "NaN", "completion": "nan"}\n'
        '{"prompt": "x", "completion": -Infinity}\n'
    )
    (tmp_path / "a.json").write_text('[{"prompt": "a", "completion": NaN},\n{"prompt": "NaN", "completion": "nan"}]')
    assert rows(tmp_path / "a.jsonl") == [
        {"prompt": "a", "completion": None},
        {"prompt": "NaN", "completion": "nan"},
        {"prompt": "x", "completion": float("-inf")},
    ]
    assert rows(tmp_path / "a.json")[0] == {"prompt": "a", "completion": None}


def test_nan_in_typed_tables_is_nothing(tmp_path):
    table = pa.table({"text": ["a", "b", "nan"], "label": [1.0, float("nan"), 2.0], "more": [[float("nan"), 1.0]] * 3})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    assert (
        rows(tmp_path / "a.parquet")[1] == {"text": "b", "label": None, "more": [None, 1.0]}
        and rows(tmp_path / "a.parquet")[2]["text"] == "nan"
    )
    book = openpyxl.Workbook()
    for cells in (["text", "label"], ["a", "x"], ["nan", "#N/A"], ["b", "<NA>"], ["None", "NA"]):
        book.active.append(cells)
    book.save(tmp_path / "a.xlsx")
    assert rows(tmp_path / "a.xlsx") == [
        {"text": "a", "label": "x"},
        {"text": None, "label": None},
        {"text": "b", "label": None},
        {"text": "None", "label": "NA"},
    ]


def test_what_pandas_writes_for_nothing_is_nothing_in_a_table(tmp_path):
    frame = pandas.DataFrame({"text": ["one", "two", "three", "four"], "label": ["good", None, numpy.nan, "bad"]})
    frame["label"] = [str(pandas.NA) if value is None else str(value) for value in ["good", None, numpy.nan, "bad"]]
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert (tmp_path / "a.csv").read_text().splitlines()[2:4] == ["two,<NA>", "three,nan"]
    source = open_source(tmp_path / "a.csv")
    assert [row.values["label"] for row in source.rows()] == ["good", None, None, "bad"]
    assert "read as empty" in str(source.evidence[0]) and len(source.evidence) == 1
    dataset = load(DataSpec(source=str(tmp_path / "a.csv"), validation_fraction=0), want="label")
    assert dataset.counts.skipped == {"empty": 2} and {record.value["label"] for record in dataset.train} == {
        "good",
        "bad",
    }


def test_words_that_pandas_takes_for_nothing_stay_words(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\nI had a nan\tNone\nNaNny\tnull\nnan bread\tNA\nb\tN/A\n")
    assert [list(values.values()) for values in rows(tmp_path / "a.tsv")] == [
        ["I had a nan", "None"],
        ["NaNny", "null"],
        ["nan bread", "NA"],
        ["b", "N/A"],
    ]


def test_a_column_of_nothing_else_is_empty(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,completion\na,nan\nb,nan\nc,nan\n")
    with pytest.raises(StudioError):
        load(DataSpec(source=str(tmp_path / "a.csv")))
