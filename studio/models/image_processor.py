"""The image processor of one base model, read from the model's folder: pictures → pixel values.

The trainer and the chat server use `ImageProcessor`, so both see the same pixels. `ImageTransform` applies the same
resizing and cropping without torch, so that the window can preview it; a test compares the two.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.words import StudioError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class ImageProcessor:
    """A model folder's image processor."""

    def __init__(self, folder: str | Path):
        from transformers import AutoImageProcessor

        if not (Path(folder) / "preprocessor_config.json").exists():
            raise StudioError(
                "The model in '{folder}' has no preprocessor_config.json, so its image preprocessing is unknown; "
                "choose a model that ships one.",
                folder=folder,
            )
        self._processor = AutoImageProcessor.from_pretrained(
            str(folder), backend="pil", trust_remote_code=False, local_files_only=True
        )

    def pixels(self, picture: Image) -> torch.Tensor:
        """Pixel values for the model, (channels, height, width). picture: RGB, of any size."""
        return self._processor(picture, return_tensors="pt")["pixel_values"][0]


@dataclass(frozen=True)
class ImageTransform:
    """The resizing, cropping and normalisation of a model folder's image processor.

    size: (width, height) to resize to, or edge: length of the shorter side after resizing, in pixels. crop: (width,
    height) of the centre crop after that. low, high: the range of the normalised pixel values.
    """

    size: tuple[int, int] | None
    edge: int
    crop: tuple[int, int] | None
    resample: int
    low: float
    high: float

    def scaled(self, picture: Image) -> Image:
        """`picture` (RGB) resized and cropped, before its values are normalised."""
        if self.size:
            picture = picture.resize(self.size, self.resample)
        elif self.edge:
            short, long = sorted(picture.size)
            longer = int(self.edge * long / short)
            picture = picture.resize(
                (self.edge, longer) if picture.width <= picture.height else (longer, self.edge), self.resample
            )
        if self.crop:
            left, top = ((have - want) // 2 for have, want in zip(picture.size, self.crop, strict=True))
            picture = picture.crop((left, top, left + self.crop[0], top + self.crop[1]))
        return picture


def read_image_transform(folder: str | Path) -> ImageTransform | None:
    """Read the transform of the processor in `folder`; None if its config does not define it completely."""
    path = Path(folder) / "preprocessor_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        plain = str(config.get("image_processor_type") or config.get("feature_extractor_type")).startswith("ViT")
        if not plain and ("do_center_crop" not in config or isinstance(config.get("size"), int)):
            return None  # other processors have other defaults
        size, crop = (_pixels(config.get(name)) for name in ("size", "crop_size"))
        resizes, crops = config.get("do_resize", True), config.get("do_center_crop", False)
        if (resizes and not size) or (crops and not isinstance(crop, tuple)) or config.get("do_pad"):
            return None
        means, spreads = (
            (config["image_mean"], config["image_std"]) if config.get("do_normalize", True) else ([0.0], [1.0])
        )
        low, high = (
            extreme((end - mean) / spread for mean, spread in zip(means, spreads, strict=True))
            for end, extreme in ((0, min), (1, max))
        )
        return ImageTransform(
            size if resizes and isinstance(size, tuple) else None,
            size if resizes and isinstance(size, int) else 0,
            crop if crops else None,
            config.get("resample", 2),
            low,
            high,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _pixels(size) -> tuple[int, int] | int | None:
    """Parse a size in a processor's config: (width, height), or the shorter side alone. A plain number is a square."""
    if isinstance(size, dict):
        return (size["width"], size["height"]) if {"width", "height"} <= size.keys() else size.get("shortest_edge")
    return (size, size) if size else None
