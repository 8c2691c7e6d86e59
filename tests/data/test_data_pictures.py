"""Pictures by class: recognised by content, broken ones named, no row lost."""

import io
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from studio.data.dataset import DataSpec, load
from studio.data.mapping import Mapping
from studio.data.pictures import digest_of, open_picture, title_of
from studio.data.read import open_source
from studio.data.report import report
from studio.data.shape import propose
from studio.words import StudioError


def picture(colour: str, kind: str = "PNG", size: int = 24) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, kind)
    return file.getvalue()


def zipped(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


GOOD = {f"{colour}/{at}.png": picture(colour, size=20 + at) for colour in ("red", "blue") for at in range(6)}


def test_a_zip_of_folders(tmp_path):
    source = open_source(zipped(tmp_path / "data.bin", GOOD))  # by content, whatever it is called
    assert (source.format, source.columns) == ("pictures", ["image", "label"])
    assert propose(source).mapping.shape == "image"
    data = load(DataSpec(source=str(tmp_path / "data.bin"), validation_fraction=0.25), want="image")
    assert data.counts.rows == data.counts.used == 12 and len(data.train) + len(data.validation) == 12
    assert [finding.kind for finding in report(data).findings if finding.level != "info"] == []
    record = data.train[0].value
    assert open_picture(record["image"]).getpixel((3, 3)) == {"red": (255, 0, 0), "blue": (0, 0, 255)}[record["label"]]
    assert title_of(record["image"]).startswith(record["label"])


def test_a_folder_is_read_too(tmp_path):
    for name, data in GOOD.items():
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).write_bytes(data)
    data = load(DataSpec(source=str(tmp_path / "pictures"), validation_fraction=0), want="image")
    assert data.counts.used == 12 and {record.value["label"] for record in data.train} == {"red", "blue"}


def test_broken_ones_are_named_and_counted(tmp_path):
    bad = {
        "red/torn.png": picture("red")[:40],
        "red/words.jpg": b"no picture at all",
        "blue/empty.gif": b"",
        "lost.png": picture("red"),
        "README.md": b"# read me",
    }
    data = load(DataSpec(source=str(zipped(tmp_path / "mixed.zip", GOOD | bad)), validation_fraction=0), want="image")
    text = [str(problem.sentence) for problem in data.problems]
    assert data.counts.rows == 16 and data.counts.used == 12 and data.counts.skipped == {"broken": 3, "missing": 1}
    for name in ("red/torn.png", "red/words.jpg", "blue/empty.gif"):
        assert any(name in sentence and "damaged" in sentence for sentence in text)
    assert any("lost.png" in sentence and "no folder" in sentence for sentence in text) and any(
        "README.md" in sentence for sentence in text
    )


def test_every_damaged_zip_raises_a_studio_error(tmp_path):
    whole = zipped(tmp_path / "whole.zip", GOOD).read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        torn = tmp_path / "torn.zip"
        torn.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            data = load(DataSpec(source=str(torn), validation_fraction=0), want="image")
        except StudioError as error:
            assert str(error)
        else:
            assert data.counts.rows == data.counts.used + sum(data.counts.skipped.values())


def test_a_zip_with_a_nameless_file_is_a_damaged_one(tmp_path):
    whole = zipped(tmp_path / "a.zip", {"x.jsonl": b"{}"}).read_bytes()
    (tmp_path / "a.zip").write_bytes(whole.replace(b"x.jsonl", b"\0.jsonl"))
    with pytest.raises(StudioError, match=r"a\.zip is a damaged zip"):
        open_source(tmp_path / "a.zip")


def test_an_image_in_both_splits_is_reported_as_leakage(tmp_path):
    zipped(tmp_path / "train.zip", GOOD)
    zipped(tmp_path / "test.zip", {"red/other-name.png": GOOD["red/0.png"], "red/new.png": picture("red", size=60)})
    data = load(DataSpec(source=str(tmp_path / "train.zip"), validation=str(tmp_path / "test.zip")), want="image")
    assert data.problems.warnings["leakage"] == 1 and [
        title_of(record.value["image"]) for record in data.validation
    ] == ["red/new.png"]
    assert data.validation_counts.skipped == {"leakage": 1}


def test_copies_of_an_image_are_in_the_same_split(tmp_path):
    copies = GOOD | {f"{name.removesuffix('.png')} copy.png": data for name, data in GOOD.items()}
    sides = []
    for place in (tmp_path / "a.zip", tmp_path / "elsewhere.zip"):
        data = load(DataSpec(source=str(zipped(place, copies)), validation_fraction=0.25), want="image")
        train, held = ({digest_of(record.value["image"]) for record in part} for part in (data.train, data.validation))
        assert not train & held and "prompt_leakage" not in {finding.kind for finding in report(data).findings}
        assert next(finding.count for finding in report(data).findings if finding.kind == "duplicate") == len(train)
        sides.append(held)
    assert sides[0] == sides[1]
    kept = load(
        DataSpec(source=str(tmp_path / "a.zip"), validation_fraction=0.25, remedies={"duplicate": "drop"}), want="image"
    )
    assert len(kept.train) == len(train) and kept.counts.skipped == {"duplicate": len(train)}


def test_one_class_blocks_the_start(tmp_path):
    data = load(
        DataSpec(
            source=str(
                zipped(tmp_path / "a.zip", {name: data for name, data in GOOD.items() if name.startswith("red")})
            )
        ),
        want="image",
    )
    assert str(report(data).blocking).startswith("Every row has the label 'red'")


def test_a_picture_that_went_away(tmp_path):
    data = load(DataSpec(source=str(zipped(tmp_path / "a.zip", GOOD)), validation_fraction=0), want="image")
    (tmp_path / "a.zip").unlink()
    with pytest.raises(StudioError, match="not there any more"):
        open_picture(data.train[0].value["image"])


def sided(tmp_path, held: str, root: str = "leaves/"):
    """Folders of classes below train/ and another side, each picture of its own."""
    members = {
        f"{root}{side}/{colour}/{at}.png": picture(colour, size=size + at)
        for side, size, count in (("train", 20, 6), (held, 60, 2))
        for colour in ("red", "blue")
        for at in range(count)
    }
    return members, zipped(tmp_path / f"{held}.zip", members)


@pytest.mark.parametrize("held", ["test", "val", "Valid", "validation"])
def test_a_folder_called_test_is_the_validation_set(tmp_path, held):
    _, path = sided(tmp_path, held)
    data = load(DataSpec(source=str(path), max_rows=5), want="image")
    assert len(data.train) == 5 and not any(f"/{held}/" in record.value["image"] for record in data.train)
    assert sorted(title_of(record.value["image"]) for record in data.validation) == [
        f"leaves/{held}/{colour}/{at}.png" for colour in ("blue", "red") for at in range(2)
    ]
    assert {record.value["label"] for record in data.validation} == {"red", "blue"}
    text = next(finding for finding in report(data).findings if finding.kind == "own_validation")
    assert (
        text.count == 4
        and "in the validation set and not trained on" in str(text.sentence)
        and data.counts.rows == data.counts.used == 9
    )
    mixed = load(
        DataSpec(source=str(path), validation_fraction=0.5, remedies={"own_validation": "train"}), want="image"
    )
    assert (len(mixed.train), len(mixed.validation), mixed.remedied) == (8, 8, {"own_validation": 4})
    assert "own_validation" not in {finding.kind for finding in report(mixed).findings}


def test_split_folders_and_images_outside_a_class(tmp_path):
    members, _ = sided(tmp_path, "test", root="")
    for name, data in {
        **members,
        "test/nobody.png": picture("red", size=99),
        "test/red/copy.png": members["train/red/0.png"],
    }.items():
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).write_bytes(data)
    data = load(DataSpec(source=str(tmp_path / "all")), want="image")
    assert (len(data.train), len(data.validation), data.counts.skipped) == (12, 4, {"missing": 1, "leakage": 1})
    assert any(
        "test/nobody.png" in str(problem.sentence) and "no folder" in str(problem.sentence) for problem in data.problems
    )


def test_a_class_may_be_called_test(tmp_path):
    names = {
        f"{name}/{at}.png": picture(colour, size=20 + at)
        for name, colour in (("train", "red"), ("test", "blue"))
        for at in range(5)
    }
    data = load(DataSpec(source=str(zipped(tmp_path / "a.zip", names)), validation_fraction=0), want="image")
    assert {record.value["label"] for record in data.train} == {"train", "test"} and len(data.train) == 10


def parquet(path, rows: list[dict]):
    """A file as `datasets` writes one of an imagefolder, in several row groups."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"names": ["red", "blue"], "_type": "ClassLabel"}}
    schema = pa.schema(
        [("image", image), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=5)
    return path


def test_pictures_in_the_cells_of_a_parquet_file(tmp_path):
    rows = [
        {"image": {"bytes": picture(("red", "blue")[at % 2], size=20 + at), "path": f"{at}.png"}, "label": at % 2}
        for at in range(12)
    ]
    bad = [
        {"image": {"bytes": b"none", "path": "x.png"}, "label": 0},
        {"image": None, "label": 1},
        {"image": {"bytes": picture("red", size=70), "path": None}, "label": -1},
    ]
    path = parquet(tmp_path / "train.parquet", rows + bad)
    source = open_source(path)
    assert propose(source).mapping == Mapping(shape="image", roles={"image": "image", "label": "label"})
    assert [str(sentence) for sentence in source.evidence] == [
        "The file itself names the classes of column 'label': red, blue."
    ]
    data = load(DataSpec(source=str(path), validation_fraction=0), want="image")
    assert (data.counts.rows, data.counts.used, data.counts.skipped) == (15, 12, {"broken": 1, "empty": 2})
    for record in reversed(data.train):
        opened = open_picture(record.value["image"])
        assert (
            opened.size[0] == 19 + record.number
            and opened.getpixel((3, 3)) == {"red": (255, 0, 0), "blue": (0, 0, 255)}[record.value["label"]]
        )
    path.unlink()
    with pytest.raises(StudioError, match="not there any more"):
        open_picture(data.train[0].value["image"])
