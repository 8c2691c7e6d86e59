"""The preview of a picture equals the output of the model's own image processor, pixel by pixel."""

import json

import numpy as np
import pytest
from PIL import Image

from studio.home import STARTER
from studio.models.image_processor import ImageProcessor, ImageTransform, read_image_transform

STARTER_VIT = STARTER.parent / "starter_vit"
NORMALISED = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_resize": True,
}
KINDS = {
    "own": json.loads((STARTER_VIT / "preprocessor_config.json").read_text()),
    "square": {
        **NORMALISED,
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 56, "width": 40},
        "resample": 3,
    },
    "bare number": {**NORMALISED, "image_processor_type": "ViTImageProcessor", "size": 56, "resample": 2},
    "shorter side, cut": {
        **NORMALISED,
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 64},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 48, "width": 48},
    },
}


@pytest.mark.parametrize("size", [(100, 80), (31, 77), (48, 48), (640, 481)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_preview_equals_the_processor_output(tmp_path, kind, size):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(KINDS[kind]))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    transform, pixels = read_image_transform(tmp_path), ImageProcessor(tmp_path).pixels(picture).numpy()
    shown = np.asarray(transform.scaled(picture), np.float32).transpose(2, 0, 1) / 255
    mean, spread = (np.array(KINDS[kind][name], np.float32)[:, None, None] for name in ("image_mean", "image_std"))
    assert pixels.shape == shown.shape and np.abs(pixels * spread + mean - shown).max() < 1e-5
    assert transform.low <= pixels.min() and pixels.max() <= transform.high


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[]",
        "{}",
        '{"size": {"longest_edge": 5}, "do_center_crop": false, "image_mean": [0], "image_std": [1]}',
        '{"size": {"height": 8, "width": 8}, "do_center_crop": false, "do_pad": true, '
        '"image_mean": [0], "image_std": [1]}',
        '{"size": {"height": 8, "width": 8}, "do_center_crop": true, "image_mean": [0], "image_std": [1]}',
        '{"size": {"height": 8, "width": 8}, "image_mean": [0], "image_std": [1]}',
    ],
)
def test_unknown_processors_have_no_preview(tmp_path, config):
    assert read_image_transform(tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text(config)
    assert read_image_transform(tmp_path) is None


def test_without_resizing():
    assert ImageTransform(None, 0, None, 2, 0, 1).scaled(Image.new("RGB", (3, 4))).size == (3, 4)
