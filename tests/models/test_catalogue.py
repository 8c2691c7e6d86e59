"""The base models on offer: plausible, and found by their names."""

import re

import pytest

from studio.home import STARTER
from studio.models.catalogue import catalogue, offer_of, read_catalogue, size_title
from studio.models.resolve import is_hub_id
from studio.words import StudioError


def test_the_offers():
    offers = catalogue()
    assert offers[0].id == "starter" and not offers[0].gated and offers[0].link == ""
    assert len(offers) >= 40 and len({offer.id for offer in offers}) == len(offers)
    assert (
        all(is_hub_id(offer.id) for offer in offers[2:])
        and offers[1].id == "starter-vit"
        and offers[1].reads == "pictures"
    )
    sizes = [offer.parameters for offer in offers[2:]]
    assert min(sizes) < 0.2 and max(sizes) > 70
    assert {"Apache-2.0", "MIT"} <= {offer.licence for offer in offers}


def test_sizes_agree_with_names():
    """A name that says its size says it about right. Names leave out embeddings (Falcon3-1B has 1.67) or round (OLMo 2 1B: 1.48)."""
    said = {offer.id: re.search(r"-(\d+(?:\.\d+)?)([bm])(?=-|$)", offer.id.lower()) for offer in catalogue()}
    assert sum(found is not None for found in said.values()) > 30
    for name, found in said.items():
        if found:
            billions = float(found.group(1)) / (1000 if found.group(2) == "m" else 1)
            assert 0.9 * billions < offer_of(name).parameters < max(billions + 0.7, 1.2 * billions), name


@pytest.mark.skipif(not (STARTER / "model.safetensors").exists(), reason="the starter is not made yet")
def test_the_starter_is_measured():
    from studio.models.shape import read_shape

    assert catalogue()[0].parameters == pytest.approx(read_shape(STARTER).parameters / 1e9)


def test_an_offer_by_its_name():
    assert offer_of("qwen/qwen3-0.6b").title == "Qwen3 0.6B" and offer_of("x/y") is None


def test_labels():
    assert str(offer_of("google/gemma-3-1b-it").label()) == "Gemma 3 1B · 2.0 GB · Gemma · gated"
    assert [size_title(size) for size in (16e6, 1.19e9, 141.2e9)] == ["16 MB", "1.2 GB", "141 GB"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {id: a/b, title: x}", "entry 1"),
        (
            "- {id: 'no id', title: x, family: y, parameters: 1, licence: MIT, context: 2048, gated: no, model_type: z}",
            "entry 1: id",
        ),
        ("- {id: [", "not valid YAML"),
        ("just text", "entry 1"),
    ],
)
def test_an_edited_file_that_does_not_fit(text, says, tmp_path):
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(StudioError, match=says):
        read_catalogue(tmp_path / "models.yaml")
