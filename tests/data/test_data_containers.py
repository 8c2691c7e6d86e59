"""JSON files that are one object, and zips of what `datasets` saves: which rows are found, and which are kept to
measure on."""

import json
import zipfile
from pathlib import Path

import datasets
import pandas
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from studio.data.dataset import DataSpec, load
from studio.data.read import open_source

datasets.disable_progress_bars()
ROWS = [{"prompt": f"Say {n}", "completion": f"It is {n}."} for n in range(4)]
TALKS = [[{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"It is {n}."}] for n in range(4)]
FRAME = pandas.DataFrame(ROWS)


def opened(tmp_path: Path, value) -> tuple[list[dict], list[bool], list[str]]:
    """(rows, which are kept apart, what is told)."""
    (tmp_path / "a.json").write_text(value if isinstance(value, str) else json.dumps(value))
    source = open_source(tmp_path / "a.json")
    found = list(source.rows())
    assert [row.number for row in found] == list(range(1, len(found) + 1)) and source.parted == any(
        row.is_validation for row in found
    )
    return (
        [row.values for row in found],
        [row.is_validation for row in found],
        [str(problem.sentence) for problem in source.problems],
    )


def keyed(rows: list, name: str = "id{}") -> dict:
    return {name.format(number): row for number, row in enumerate(rows)}


@pytest.mark.parametrize(
    "value",
    [
        keyed(ROWS),
        keyed(ROWS, "{}"),
        keyed(ROWS, "2024-{}"),
        {"only one": ROWS[0], "x": ROWS[1], "y": ROWS[2], "z": ROWS[3]},
        {"data": keyed(ROWS)},
        {"version": 2, "data": {"rows": ROWS}},
        {"version": "1", "license": "mit", "data": {"train": ROWS}},
        {"dataset": {"name": "x", "examples": ROWS}},
        {"data": {"items": {"records": ROWS}}},
        *(FRAME.to_json(orient=orient) for orient in ("records", "index", "columns", "split", "table")),
        FRAME.set_index(pandas.Index(list("abcd"))).to_json(orient="index"),
        FRAME.set_index(pandas.Index(list("abcd"))).to_json(orient="columns"),
        {"version": "1.0", "created": 2024, **keyed(ROWS)},
        FRAME.to_dict(orient="list"),
        FRAME.to_dict(orient="tight"),
    ],
)
def test_rows_of_one_object(tmp_path, value):
    assert opened(tmp_path, value) == (ROWS, [False] * 4, [])


@pytest.mark.parametrize(
    "value",
    [
        keyed(TALKS),
        keyed(TALKS, "{}"),
        {"data": keyed(TALKS)},
        {"conversations": TALKS},
        {"data": {"conversations": [{"messages": talk} for talk in TALKS]}},
        {"conversations": keyed(TALKS)},
        {"version": 1, "data": {"train": [{"messages": talk} for talk in TALKS]}},
        keyed([{"messages": talk} for talk in TALKS]),
    ],
)
def test_conversations_of_one_object(tmp_path, value):
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert [
        record.value["messages"]
        for record in load(DataSpec(source=str(tmp_path / "a.json"), validation_fraction=0)).train
    ] == TALKS


def test_columns_of_conversations_keep_their_other_columns(tmp_path):
    assert opened(tmp_path, {"conversations": TALKS, "id": [1, 2, 3, 4]})[0] == [
        {"conversations": talk, "id": n} for n, talk in enumerate(TALKS, start=1)
    ]
    assert opened(tmp_path, {"train": ["One.", "Two."], "test": ["Three.", "Four."]})[:2] == (
        [{"text": text} for text in ("One.", "Two.", "Three.", "Four.")],
        [False, False, True, True],
    )


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("keys", [("human", "assistant"), ("user", "bot")])
def test_lines_that_are_conversations_of_pairs(tmp_path, name, keys):
    lines = [[dict(zip(keys, (talk[0]["content"], talk[1]["content"]), strict=True))] for talk in TALKS]
    (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [
        record.value["messages"] for record in load(DataSpec(source=str(tmp_path / name), validation_fraction=0)).train
    ] == TALKS


@pytest.mark.parametrize(
    "value",
    [
        ROWS[0],
        {"messages": TALKS[0]},
        {"id": "a", "conversations": TALKS[0]},
        {"prompt": TALKS[0], "chosen": TALKS[1], "rejected": TALKS[2]},
        {"prompt": {"text": "a"}, "completion": {"text": "b"}},
        {"user": {"name": "a"}, "request": {"path": "b"}},
        {"messages": TALKS[0], "meta": {"source": "x"}},
        {"number": 1, "request": {"path": "b"}},
        {"number": 1, "one": {"path": "a"}, "other": {"name": "b"}},
    ],
)
def test_one_record_stays_one(tmp_path, value):
    assert opened(tmp_path, value)[0] == [value]


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"version": 1, "data": value}])
@pytest.mark.parametrize(
    "write",
    [lambda rows: rows, keyed, lambda rows: pandas.DataFrame(rows).to_dict(orient="list"), lambda rows: {"rows": rows}],
)
@pytest.mark.parametrize(
    "labelled, measured", [("train", "test"), ("training", "validation"), ("train_sft", "test_sft")]
)
def test_splits_of_one_object(tmp_path, labelled, measured, write, wrap):
    rows, apart, told = opened(tmp_path, wrap({labelled: write(ROWS[:3]), measured: write(ROWS[3:])}))
    assert (rows, apart, told) == (ROWS, [False, False, False, True], [])
    dataset = load(DataSpec(source=str(tmp_path / "a.json")))
    assert (len(dataset.train), len(dataset.validation)) == (3, 1)


def test_what_is_no_split_is_told(tmp_path):
    rows, _, told = opened(tmp_path, {"train": ROWS, "test": ROWS[:1], "spoiled": ROWS})
    assert len(rows) == 5 and ["'spoiled' is not" in sentence for sentence in told] == [True]
    assert opened(tmp_path, {"test": ROWS})[1] == [False] * 4


def test_a_row_of_a_split_table_that_is_too_short_is_told(tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps({"columns": ["prompt", "completion"], "data": [["a", "b"], ["c"], ["d", "e"]]})
    )
    source = open_source(tmp_path / "a.json")
    assert [(row.number, row.values["prompt"]) for row in source.rows()] == [(1, "a"), (3, "d")]
    assert [problem.line for problem in source.problems] == [2]


def zipped(folder: Path, target: Path, more: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder.parent))
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return target


def read(path: Path) -> tuple[list[str], list[str], list[str]]:
    """(prompts learnt from, prompts measured on, what is told)."""
    dataset = load(DataSpec(source=str(path), validation_fraction=0))
    prompts = [
        [record.value["messages"][0]["content"] for record in part] for part in (dataset.train, dataset.validation)
    ]
    return (
        sorted(prompts[0]),
        sorted(prompts[1]),
        [str(problem.sentence) for problem in dataset.problems if problem.kind != "validation"],
    )


@pytest.mark.parametrize("shards", [1, 2])
def test_a_saved_dataset(tmp_path, shards):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=shards)
    assert read(zipped(tmp_path / "saved", tmp_path / "a.zip")) == ([row["prompt"] for row in ROWS], [], [])


def test_saved_splits(tmp_path):
    datasets.DatasetDict(
        train=datasets.Dataset.from_list(ROWS[:3]), test=datasets.Dataset.from_list(ROWS[3:])
    ).save_to_disk(tmp_path / "saved")
    labelled, measured, told = read(
        zipped(tmp_path / "saved", tmp_path / "a.zip", {"saved/README.md": b"# Card\n\nWords."})
    )
    assert (labelled, measured) == (["Say 0", "Say 1", "Say 2"], ["Say 3"]) and [
        "README.md" in sentence for sentence in told
    ] == [True]


@pytest.mark.parametrize("inside", ["saved", "saved/train"])
def test_row_numbers_and_earlier_work_of_older_versions(tmp_path, inside):
    folder = tmp_path / inside
    datasets.Dataset.from_list(ROWS).save_to_disk(folder)
    pa.feather.write_feather(
        pa.table({"indices": pa.array([2, 0], pa.uint64())}), folder / "indices.arrow", compression="uncompressed"
    )
    pa.feather.write_feather(
        pa.table({"prompt": ["old"], "completion": ["work"]}), folder / "cache-1.arrow", compression="uncompressed"
    )
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    labelled, _, told = read(zipped(tmp_path / "saved", tmp_path / "a.zip"))
    assert labelled == ["Say 0", "Say 2"] and [("cache-1.arrow" in sentence) for sentence in told] == [True]
    assert [row.values["prompt"] for row in open_source(tmp_path / "a.zip").rows()] == ["Say 2", "Say 0"]


def test_a_folder_of_shards_with_its_card(tmp_path):
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    for number, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001")):
        pa.parquet.write_table(pa.Table.from_pylist(ROWS[number : number + 1]), folder / f"{name}.parquet")
    more = {
        "set/README.md": b"---\nlicense: mit\n---\n# Card",
        "set/.gitattributes": b"*.parquet filter=lfs\n",
        "set/dataset_infos.json": b'{"default": {"features": {}}}',
    }
    labelled, measured, told = read(zipped(tmp_path / "set", tmp_path / "a.zip", more))
    assert (labelled, measured) == (["Say 0", "Say 1"], ["Say 2"]) and len(told) == 3


def test_a_list_of_datasets_is_no_data(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(
            "dataset_info.json",
            json.dumps(
                {"mine": {"file_name": "mine.json", "columns": {"prompt": "a"}}, "other": {"file_name": "b.json"}}
            ),
        )
        archive.writestr("mine.json", json.dumps(ROWS))
    labelled, _, told = read(tmp_path / "a.zip")
    assert len(labelled) == 4 and "dataset_info.json" in told[0]
