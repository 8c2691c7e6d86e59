"""Generate the sample dataset for image classification: drawn leaves that are eaten, healthy, spotted or wilted.

    python assets/samples/leaves.py [FOLDER]

Writes leaves.zip (training) and leaves.validation.zip, each with one folder of JPEGs per class. No third-party picture
is used. The same seed gives the same pixels. Independent of the models.
"""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
KINDS = ["eaten", "healthy", "spotted", "wilted"]
SIZE, SEED = 96, 11  # SIZE: width and height in pixels
TRAIN, VALIDATION = 50, 20  # pictures per class
_EPOCH = (1980, 1, 1, 0, 0, 0)  # fixed timestamp, so that the same pictures give the same zip


def leaf(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one leaf of class `kind`: a uint8 RGB array of shape (SIZE, SIZE, 3)."""
    line = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(line, line)
    ground = rng.uniform(150, 235) + rng.normal(0, 12, 3) + rng.uniform(-25, 25) * x[..., None]
    angle, scale = rng.uniform(-0.7, 0.7), rng.uniform(0.75, 0.95)
    u, v = (x * np.cos(angle) + y * np.sin(angle)) / scale, (y * np.cos(angle) - x * np.sin(angle)) / scale
    width = rng.uniform(0.42, 0.6) * np.cos(np.clip(v, -1, 1) * np.pi / 2) ** rng.uniform(0.7, 1.2)
    depth = width - np.abs(u) + 0.03 * np.sin(rng.uniform(9, 16) * v)
    inside = np.clip(depth * SIZE * scale / 4, 0, 1) * (np.abs(v) < 1)
    green = np.array([rng.uniform(40, 95), rng.uniform(120, 165), rng.uniform(35, 70)])
    body = np.broadcast_to(green, (SIZE, SIZE, 3)).copy()
    veins = (np.abs(u) < 0.025) | (np.abs(np.sin(7 * (v - np.abs(u)))) < 0.09)
    body += 28 * veins[..., None]
    if kind == "spotted":
        for _ in range(rng.integers(6, 13)):
            near = np.hypot(u - rng.uniform(-0.4, 0.4), v - rng.uniform(-0.75, 0.75)) / rng.uniform(0.05, 0.11)
            body = np.where(
                (near < 1)[..., None], [95, 60, 30], np.where((near < 1.4)[..., None], [170, 150, 50], body)
            )
    if kind == "eaten":
        for _ in range(rng.integers(4, 8)):
            side = rng.choice([-1, 1]) * rng.uniform(0.1, 0.55)
            inside = inside * np.clip(
                (np.hypot(u - side, v - rng.uniform(-0.7, 0.7)) - rng.uniform(0.09, 0.17)) * SIZE / 3, 0, 1
            )
    if kind == "wilted":
        dry = np.clip(1.15 - 2.2 * np.clip(depth, 0, 1) + 0.25 * np.sin(5 * v + rng.uniform(0, 6)), 0, 1)[..., None]
        body = body * (1 - dry) + np.array([rng.uniform(175, 205), rng.uniform(150, 175), rng.uniform(60, 85)]) * dry
    made = ground * (1 - inside[..., None]) + body * inside[..., None] + rng.normal(0, 4, (SIZE, SIZE, 3))
    return np.clip(made, 0, 255).astype(np.uint8)


def archive(rng: np.random.Generator, count: int) -> bytes:
    """Bytes of a zip with one folder per class, each of `count` JPEGs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        for kind in KINDS:
            for number in range(1, count + 1):
                file = io.BytesIO()
                Image.fromarray(leaf(kind, rng)).save(file, "JPEG", quality=82)
                target.writestr(zipfile.ZipInfo(f"{kind}/{kind}-{number:02d}.jpg", _EPOCH), file.getvalue())
    return packed.getvalue()


def write(folder: Path) -> None:
    """Write both zips to `folder`."""
    rng = np.random.default_rng(SEED)
    (folder / "leaves.zip").write_bytes(archive(rng, TRAIN))
    (folder / "leaves.validation.zip").write_bytes(archive(rng, VALIDATION))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE)
    write(parser.parse_args().folder)
