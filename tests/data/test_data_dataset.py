"""Loading: the split, leaks, limits, and the account of every row."""

import json
import os
import zipfile

import pytest

from studio.data.dataset import DataSpec, load
from studio.data.mapping import Mapping
from studio.data.resolve import samples
from studio.words import StudioError


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pairs(numbers):
    return [{"prompt": f"Say {n}", "completion": f"It is {n}"} for n in numbers]


def prompts(records):
    return [record.value["messages"][0]["content"] for record in records]


def test_split_is_fixed_by_the_seed_and_loses_nothing(tmp_path):
    source = write(tmp_path / "a.jsonl", pairs(range(200)))
    first, again = load(DataSpec(source=source)), load(DataSpec(source=source))
    assert (len(first.train), len(first.validation)) == (180, 20)
    assert (
        prompts(first.validation)
        == prompts(again.validation)
        != prompts(load(DataSpec(source=source, seed=1)).validation)
    )
    assert sorted(prompts(first.train) + prompts(first.validation)) == sorted(f"Say {n}" for n in range(200))


def test_copies_never_lie_on_both_sides(tmp_path):
    source = write(tmp_path / "a.jsonl", pairs([*range(40), *range(40), *range(20)]))
    for seed in range(5):
        dataset = load(DataSpec(source=source, validation_fraction=0.3, seed=seed))
        assert dataset.validation and not set(prompts(dataset.train)) & set(prompts(dataset.validation))
        assert len(dataset.train) + len(dataset.validation) == 100


def test_of_many_rows_two_thousand_are_enough_to_measure_on(tmp_path):
    dataset = load(DataSpec(source=write(tmp_path / "a.jsonl", pairs(range(25_000)))))
    assert (len(dataset.train), len(dataset.validation)) == (23_000, 2_000)


def test_fraction_zero_and_tiny_files(tmp_path):
    source = write(tmp_path / "a.jsonl", pairs(range(3)))
    assert len(load(DataSpec(source=source, validation_fraction=0)).validation) == 0
    dataset = load(DataSpec(source=source))
    assert (len(dataset.train), len(dataset.validation)) == (2, 1)
    single = load(DataSpec(source=write(tmp_path / "b.jsonl", pairs([1]))))
    assert (len(single.train), len(single.validation)) == (1, 0) and single.problems.warnings == {"validation": 1}


def test_validation_file_and_its_leaks(tmp_path):
    dataset = load(
        DataSpec(
            source=write(tmp_path / "a.jsonl", pairs(range(10))),
            validation=write(tmp_path / "h.jsonl", pairs(range(8, 14))),
        )
    )
    assert prompts(dataset.validation) == [f"Say {n}" for n in range(10, 14)] and len(dataset.train) == 10
    counts = dataset.validation_counts
    assert (counts.rows, counts.used, counts.skipped) == (6, 4, {"leakage": 2})
    leak = [problem for problem in dataset.problems if problem.kind == "leakage"]
    assert [(problem.line, problem.file) for problem in leak] == [(1, "h.jsonl"), (2, "h.jsonl")]


def test_a_validation_file_with_other_columns_is_mapped_by_itself(tmp_path):
    source = write(tmp_path / "a.jsonl", [{**row, "system": "Be kind."} for row in pairs(range(10))])
    other = write(
        tmp_path / "h.jsonl", [{"Antwort": f"It is {n}", "Frage": f"Say {n}", "id": n % 2} for n in range(8, 14)]
    )
    asked = write(tmp_path / "q.jsonl", [{"question": f"Say {n}", "answer": f"It is {n}"} for n in range(8, 14)])
    mapping = Mapping(
        shape="prompt_completion", roles={"prompt": "prompt", "completion": "completion"}, system="Be brief."
    )
    dataset = load(DataSpec(source=source, mapping=mapping, validation=asked))
    assert dataset.measured.mapping == mapping.model_copy(
        update={"roles": {"prompt": "question", "completion": "answer"}}
    )
    assert [record.value["messages"][0]["content"] for record in dataset.validation] == ["Be brief."] * 4 and len(
        dataset.validation
    ) == 4  # two are trained on
    assert any(
        "q.jsonl has other columns" in str(sentence) and "question (prompt)" in str(sentence)
        for sentence in dataset.measured.evidence
    )
    chosen = Mapping(shape="prompt_completion", roles={"prompt": "Frage", "completion": "Antwort"})
    assert (
        prompts(load(DataSpec(source=source, validation=other, validation_mapping=chosen)).validation)[-1] == "Say 13"
    )
    fewer = load(DataSpec(source=source, validation=write(tmp_path / "f.jsonl", pairs(range(20, 25)))))
    assert (
        len(fewer.validation) == 5
        and fewer.mapping.roles["system"] == "system"
        and fewer.measured.mapping.roles.keys() == {"prompt", "completion"}
    )


def test_validation_file_must_have_the_columns(tmp_path):
    spec = DataSpec(
        source=write(tmp_path / "a.jsonl", pairs(range(3))), validation=write(tmp_path / "h.jsonl", [{"text": "x"}])
    )
    with pytest.raises(StudioError, match=r"h\.jsonl has no column 'prompt'"):
        load(spec)


def test_files_called_test_in_a_zip_are_measured_on(tmp_path):
    names = ("train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "validation.jsonl", "more/test/a.jsonl")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for at, name in enumerate(names):
            archive.writestr(name, "".join(json.dumps(row) + "\n" for row in pairs(range(10 * at, 10 * at + 10))))
    dataset = load(DataSpec(source=str(tmp_path / "a.zip"), validation_fraction=0, max_rows=15))
    assert prompts(dataset.train) == [f"Say {n}" for n in range(15)]
    assert sorted(prompts(dataset.validation)) == [f"Say {n}" for n in range(20, 40)] and dataset.counts.used == 35


def test_max_rows_stops_reading(tmp_path):
    dataset = load(DataSpec(source=write(tmp_path / "a.jsonl", pairs(range(50))), max_rows=10, validation_fraction=0))
    assert prompts(dataset.train) == [f"Say {n}" for n in range(10)] and dataset.counts.rows == 10


def test_line_numbers_stay_with_records(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n" + json.dumps(pairs([1])[0]) + "\n{\n" + json.dumps(pairs([2])[0]) + "\n")
    dataset = load(DataSpec(source=str(path), validation_fraction=0))
    assert [record.number for record in dataset.train] == [2, 4]
    assert [record.number for record in dataset.train[1:]] == [4] and dataset.train[-1].number == 4
    assert dataset.counts.rows == 3 and dataset.counts.skipped == {"broken": 1}


def test_wrong_column_lists_the_columns(tmp_path):
    mapping = Mapping(shape="prompt_completion", roles={"prompt": "promt", "completion": "completion"})
    with pytest.raises(StudioError, match="has no column 'promt' for prompt. Its columns are: prompt, completion."):
        load(DataSpec(source=write(tmp_path / "a.jsonl", pairs(range(3))), mapping=mapping))


def test_no_usable_row_gives_the_commonest_reason(tmp_path):
    rows = [{"prompt": "", "completion": "x"}, {"prompt": "a", "completion": ""}, {"prompt": "b", "completion": " "}, 7]
    mapping = Mapping(shape="prompt_completion", roles={"prompt": "prompt", "completion": "completion"})
    with pytest.raises(StudioError) as caught:
        load(DataSpec(source=write(tmp_path / "a.jsonl", rows), mapping=mapping))
    assert str(caught.value) == (
        "None of the 4 rows of a.jsonl can be used. The most common reason (3 rows): "
        "Line 1 of a.jsonl has nothing in 'prompt'. Fill it or remove the row."
    )


def test_progress_is_told(tmp_path):
    told = []
    load(DataSpec(source=write(tmp_path / "a.jsonl", pairs(range(6000)))), progress=told.append)
    assert told == [5000, 6000]


def test_nothing_stays_in_the_temporary_folder(tmp_path, monkeypatch):
    source = write(tmp_path / "a.jsonl", pairs(range(10)))
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    dataset = load(DataSpec(source=source))
    assert os.listdir(folder) == [] and dataset.train[3].value


def test_a_full_disk_raises_a_studio_error(tmp_path, monkeypatch):
    from studio.data import disk_list

    source = write(tmp_path / "a.jsonl", pairs(range(3)))
    monkeypatch.setattr(
        disk_list.tempfile,
        "TemporaryFile",
        lambda **_: open("/dev/full", "w+b", buffering=0),  # noqa: SIM115
    )
    with pytest.raises(StudioError, match="kept in the folder .* Free some disk space"):
        load(DataSpec(source=source))


@pytest.mark.skipif(len(samples()) < 5, reason="the samples are not made yet")
@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("captain", "messages"),
        ("tickets", "label"),
        ("tickets", "messages"),
        ("extract", "messages"),
        ("preferences", "preference"),
        ("notes", "text"),
    ],
)
def test_samples_load_without_a_problem(name, want):
    dataset = load(DataSpec(source=name), want)
    assert len(dataset.train) >= 100 and len(dataset.validation) >= 20 and len(dataset.problems) == 0
    assert dataset.counts.rows == len(dataset.train) and dataset.validation_counts.rows == len(dataset.validation)


def test_spec_survives_json():
    spec = DataSpec(source="x.csv", mapping=Mapping(shape="text", roles={"text": "a"}), validation_fraction=0.2)
    assert DataSpec.model_validate_json(spec.model_dump_json()) == spec
