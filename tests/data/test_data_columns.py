"""Nothing that a column says is lost unless the report names the column: for the cases, the files and tables with
columns of every name."""

import json
import random
from pathlib import Path

import pytest
import yaml

from studio.data.columns import SYNONYMS
from studio.data.data_spec import DataSpec, OtherFile
from studio.data.dataset import Dataset, load
from studio.data.mapping import Mapping
from studio.data.read import open_source
from studio.data.report import report
from studio.data.roles import ROLES, fits
from studio.data.shape import propose
from studio.words import StudioError
from tests.data.data_expected import READINGS

HERE = Path(__file__).parent
CASES = [
    path.parent / yaml.safe_load(path.read_text(encoding="utf-8"))["input"]
    for path in sorted(HERE.glob("cases/*/case.yaml"))
]
WANTS = ("messages", "text", "preference", "unpaired", "label", "label_sets", "image")


def loaded(path, want=None, **more) -> Dataset:
    if want is None:
        mapping = propose(open_source(path)).mapping
        want = next(want for want in ("preference", "unpaired", *WANTS) if fits(mapping, want))
    return load(DataSpec(source=str(path), validation_fraction=0, **more), want)


def read_from(mapping: Mapping) -> set[str]:
    return {*mapping.roles.values(), *mapping.labels}


def check(dataset: Dataset) -> None:
    """Each file's columns are those that its mapping reads from and those that a finding names, and no column is
    both."""
    found = [item for item in report(dataset).findings if item.kind == "unused"]
    assert len(found) == sum(bool(part.unused) for part in dataset.files)
    for part in dataset.files:
        every = {name for row in part.source.rows() for name in row.values} | set(part.source.columns)
        assert read_from(part.mapping) | set(part.unused) == every and not read_from(part.mapping) & set(part.unused)
        assert not part.unused or any(all(str(name) in str(item.sentence) for name in part.unused) for item in found)


@pytest.mark.parametrize(
    "path",
    [*CASES, *(HERE.parent / "data_files" / name for name in READINGS)],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_columns_of_a_file_are_read_or_named(path):
    for want in (None, *WANTS):
        try:
            dataset = loaded(path, want)
        except StudioError:
            continue  # no shape that serves this, or no usable row: refused, so nothing is lost
        check(dataset)


# ---- tables with columns of every name ------------------------------------------------------------------------------


def asked(n, mark):
    return [{"role": "user", "content": f"{mark} {n}"}]


def talk(n, mark):
    return [*asked(n, mark), {"role": "assistant", "content": f"{mark} said {n}"}]


TABLES = {
    "messages": {"messages": talk},
    "sharegpt": {
        "conversations": lambda n, mark: [
            {"from": "human", "value": f"{mark} {n}"},
            {"from": "gpt", "value": f"{mark} said {n}"},
        ]
    },
    "alpaca": {"instruction": lambda n, mark: f"{mark} {n}", "output": lambda n, mark: f"{mark} {n}"},
    "prompt_completion": {"question": lambda n, mark: f"{mark} {n}", "answer": lambda n, mark: f"{mark} {n}"},
    "preference": {
        "prompt": lambda n, mark: f"{mark} {n}",
        "chosen": lambda n, mark: f"{mark} {n}",
        "rejected": lambda n, mark: f"{mark} {n}",
    },
    "preference of conversations": {
        "chosen": lambda n, mark: [*asked(n, "Same"), {"role": "assistant", "content": mark}],
        "rejected": lambda n, mark: [*asked(n, "Same"), {"role": "assistant", "content": mark}],
    },
    "preference beside messages": {"messages": talk, "rejected_response": lambda n, mark: f"{mark} {n}"},
    "preference of objects": {
        "messages": asked,
        "chosen": lambda n, mark: {"role": "assistant", "content": mark},
        "rejected": lambda n, mark: {"from": "gpt", "value": mark},
    },
    "ranked": {
        "prompt": lambda n, mark: f"{mark} {n}",
        "responses": lambda n, mark: [f"{mark} is well said", f"{mark} is badly said"],
    },
    "unpaired": {
        "prompt": lambda n, mark: f"{mark} {n}",
        "completion": lambda n, mark: f"{mark} {n}",
        "label": lambda n, mark: n % 2 == 0,
    },
    "unpaired beside messages": {"messages": talk, "kto_tag": lambda n, mark: n % 2 == 0},
    "label": {
        "text": lambda n, mark: f"{mark} is a long enough text to be read, number {n}",
        "label": lambda n, mark: f"{mark}{n % 2}",
    },
    "label_columns": {
        "comment": lambda n, mark: f"{mark} is a text {n}",
        "rude": lambda n, mark: n % 2,
        "late": lambda n, mark: n % 3 // 2,
    },
    "text": {"text": lambda n, mark: f"{mark} {n}"},
}
KINDS = {
    "text": lambda n, mark: f"{mark} {n}",
    "long": lambda n, mark: f"{mark} has a good deal to say about row number {n}, as anybody can see.",
    "number": lambda n, mark: n + 0.5,
    "nothing": lambda n, mark: None,
    "late": lambda n, mark: f"{mark} {n}" if n > 7 else None,
    "object": lambda n, mark: {"note": f"{mark} {n}"},
    "texts": lambda n, mark: [f"{mark} {n}", "other"],
    "pairs": lambda n, mark: [[f"{mark} {n}", "Yes"]],
    "yes": lambda n, mark: n % 2 == 0,
}
NAMES = sorted(
    {name for names in SYNONYMS.values() for name in names}
    | {"id", "source", "date", "meta", "image", "videos", "chosen_score", "Prompt ID", "url"}
)
QUIET = {"label", "weight", "mask_history"}  # roles whose words are no part of a record


def test_what_is_read_stands_in_the_record(tmp_path):
    """Every cell holds a word of its own: it stands in a record, or its column is named."""
    draw, refused, shapes = random.Random(11), 0, set()
    for number in range(400):
        kind = draw.choice(list(TABLES))
        extra = {name: KINDS[draw.choice(list(KINDS))] for name in draw.sample(NAMES, draw.randint(0, 4))}
        table = (
            {**extra, **TABLES[kind]}
            if draw.random() < 0.5
            else {**TABLES[kind], **{name: make for name, make in extra.items() if name not in TABLES[kind]}}
        )
        marks = {name: f"zq{at}zq" for at, name in enumerate(table)}
        path = tmp_path / f"{number}.jsonl"
        path.write_text(
            "".join(
                json.dumps({name: make(n, marks[name]) for name, make in table.items()}, ensure_ascii=False) + "\n"
                for n in range(12)
            ),
            encoding="utf-8",
        )
        try:
            dataset = loaded(path)
        except StudioError:
            refused += 1
            continue
        check(dataset)
        shapes.add(dataset.mapping.shape)
        text = "".join(json.dumps(record.value, ensure_ascii=False) for record in dataset.train)
        words = path.read_text(encoding="utf-8")
        for role, column in dataset.mapping.roles.items():
            used = {
                row.number
                for row in dataset.parts[0].source.rows()
                if marks[column] in json.dumps(row.values.get(column))
            } & {record.number for record in dataset.train}
            assert role in QUIET or not used or marks[column] in text, (
                kind,
                role,
                column,
                dataset.mapping,
                words.splitlines()[0],
            )
    assert refused < 60 and shapes == set(ROLES) - {"image"}


def test_unused_columns_are_named_for_each_file(tmp_path):
    def write(name, **more):
        (tmp_path / name).write_text("".join(json.dumps({"messages": talk(n, name), **more}) + "\n" for n in range(6)))
        return str(tmp_path / name)

    more = [OtherFile(source=write("b.jsonl", note="Please learn this text too, it matters to me."))]
    dataset = load(
        DataSpec(
            source=write("a.jsonl", id=1),
            more=more,
            validation=write("c.jsonl", url="https://a.example", system="Be kind."),
        )
    )
    assert [part.unused for part in dataset.files] == [["id"], ["note"], ["url", "system"]] and [
        part.has_substance for part in dataset.files
    ] == [[], ["note"], []]
    text = {str(item.sentence): item.level for item in report(dataset).findings if item.kind == "unused"}
    assert text == {
        "This column of a.jsonl is not used: id.": "info",
        "These columns of c.jsonl are not used: url, system.": "info",
        "This column of b.jsonl is not used: note. note holds more than short notes; to train on it, choose the column "
        "under Which column plays which role.": "warning",
    }
