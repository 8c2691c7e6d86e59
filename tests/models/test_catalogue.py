"""The catalogue of base models: plausible entries, found by their names."""

import re

import pytest

from studio.home import STARTER
from studio.models.catalogue import catalogue, catalogue_entry, format_size, read_catalogue
from studio.models.resolve import is_hub_id
from studio.words import StudioError


def test_the_entries():
    entries = catalogue()
    assert entries[0].id == "starter" and not entries[0].gated and entries[0].hub_url == ""
    assert len(entries) >= 40 and len({entry.id for entry in entries}) == len(entries)
    assert (
        all(is_hub_id(entry.id) for entry in entries[2:])
        and entries[1].id == "starter-vit"
        and entries[1].modality == "image"
    )
    sizes = [entry.parameters for entry in entries[2:]]
    assert min(sizes) < 0.2 and max(sizes) > 70
    assert {"Apache-2.0", "MIT"} <= {entry.licence for entry in entries}


def test_sizes_agree_with_names():
    """A name that says its size says it about right, unless it says the size that is active ("17B-16E"). Names leave
    out embeddings (Falcon3-1B has 1.67) or what looks at pictures (Ministral 3 3B: 3.85), or round (OLMo 2 1B:
    1.48)."""
    sizes = {entry.id: re.search(r"-(\d+(?:\.\d+)?)([bm])(?=-|$)(?!-\d+e)", entry.id.lower()) for entry in catalogue()}
    assert sum(found is not None for found in sizes.values()) > 30
    for name, found in sizes.items():
        if found:
            billions = float(found.group(1)) / (1000 if found.group(2) == "m" else 1)
            assert 0.9 * billions < catalogue_entry(name).parameters < max(billions + 0.9, 1.2 * billions), name


@pytest.mark.skipif(not (STARTER / "model.safetensors").exists(), reason="the starter is not made yet")
def test_the_starter_size_is_measured():
    from studio.models.shape import read_shape

    assert catalogue()[0].parameters == pytest.approx(read_shape(STARTER).parameters / 1e9)


def test_an_entry_by_its_name():
    assert catalogue_entry("qwen/qwen3-0.6b").title == "Qwen3 0.6B" and catalogue_entry("x/y") is None


def test_labels():
    assert str(catalogue_entry("google/gemma-3-1b-it").label()) == "Gemma 3 1B · 2.0 GB · Gemma · gated"
    assert [format_size(size) for size in (16e6, 1.19e9, 141.2e9)] == ["16 MB", "1.2 GB", "141 GB"]


def test_what_is_downloaded_of_experts_in_4_bits():
    assert catalogue_entry("openai/gpt-oss-20b").size == pytest.approx(
        13_761_264_768, rel=2e-3
    )  # as its index of weights says
    assert catalogue_entry("meta-llama/Llama-4-Scout-17B-16E-Instruct").size == 217_200_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: a/b, title: x}", "entry 1"),
        (
            "- {id: 'no id', title: x, family: y, parameters: 1, "
            "licence: MIT, context: 2048, gated: no, model_type: z}",
            "entry 1: id",
        ),
        ("- {id: [", "not valid YAML"),
        ("just text", "entry 1"),
    ],
)
def test_an_invalid_file_is_reported(text, message, tmp_path):
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(StudioError, match=message):
        read_catalogue(tmp_path / "models.yaml")
