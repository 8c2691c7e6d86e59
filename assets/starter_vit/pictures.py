"""Randomly drawn pictures: one shape, in a colour and a texture, on a plain background. The training data of the image
model.

Everything is computed with numpy on a grid of pixels, so that the same seed gives the same picture everywhere. Knows
nothing about models.
"""

import numpy as np

SHAPES = ["circle", "ring", "square", "triangle", "star", "cross", "crescent", "heart"]
COLOURS = {
    "red": (205, 45, 40),
    "orange": (235, 140, 30),
    "yellow": (235, 210, 50),
    "green": (60, 150, 60),
    "cyan": (60, 190, 200),
    "blue": (45, 80, 190),
    "purple": (135, 60, 165),
    "brown": (120, 80, 45),
}
TEXTURES = ["plain", "stripes", "dots", "checks", "shaded", "grain"]


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel's middle, from -1 to 1."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    return np.meshgrid(line, line)


def turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def shape(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed depth of each point inside the shape (positive: inside); the shape fills about the circle of radius 1."""
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    match name:
        case "circle":
            return 0.9 - r
        case "ring":
            return 0.22 - np.abs(r - 0.72)
        case "square":
            return 0.75 - np.maximum(np.abs(x), np.abs(y))
        case "triangle":
            return 0.5 - np.maximum(y, np.maximum(0.87 * x - 0.5 * y, -0.87 * x - 0.5 * y))
        case "star":
            return 0.68 + 0.3 * np.cos(5 * angle) - r
        case "cross":
            return np.maximum(
                0.28 - np.maximum(np.abs(x), np.abs(y) - 0.62), 0.28 - np.maximum(np.abs(y), np.abs(x) - 0.62)
            )
        case "crescent":
            return np.minimum(0.9 - r, np.hypot(x - 0.45, y) - 0.7)
        case _:  # heart
            return 0.75 - np.hypot(x, 1.15 * (y + 0.1) + 0.55 * np.sqrt(np.abs(x)) - 0.25)


def texture(name: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness of the surface, about 0 to 1."""
    count = rng.uniform(4, 7)
    x, y = turned(x, y, rng.uniform(0, np.pi))
    match name:
        case "stripes":
            return 0.5 + 0.5 * np.sign(np.sin(count * np.pi * x))
        case "dots":
            near = np.hypot((x * count / 2) % 1 - 0.5, (y * count / 2) % 1 - 0.5)
            return np.where(near < 0.28, 0.0, 1.0)
        case "checks":
            return 0.5 + 0.5 * np.sign(np.sin(count * np.pi / 1.4 * x) * np.sin(count * np.pi / 1.4 * y))
        case "shaded":
            return np.clip(0.5 + 0.6 * x, 0, 1)
        case "grain":
            return rng.uniform(0, 1, x.shape)
        case _:
            return np.ones_like(x)


def picture(rng: np.random.Generator, size: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """(size × size × 3 bytes, (index of its shape, colour, texture))."""
    kinds = tuple(int(rng.integers(len(names))) for names in (SHAPES, COLOURS, TEXTURES))
    x, y = grid(size)
    scale = rng.uniform(0.45, 0.9)
    inner = turned(
        (x - rng.uniform(-1, 1) * (1 - scale)) / scale,
        (y - rng.uniform(-1, 1) * (1 - scale)) / scale,
        rng.uniform(-0.5, 0.5),
    )
    inside = np.clip(shape(SHAPES[kinds[0]], *inner) * size * scale / 2 + 0.5, 0, 1)[..., None]
    colour = np.array(list(COLOURS.values())[kinds[1]]) + rng.normal(0, 12, 3)
    surface = texture(TEXTURES[kinds[2]], x, y, rng)[..., None]
    body = colour * (0.45 + 0.55 * surface)
    ground = (
        rng.uniform(30, 235)
        + rng.normal(0, 10, 3)
        + rng.uniform(-40, 40) * turned(x, y, rng.uniform(0, np.pi))[0][..., None]
    )
    made = ground * (1 - inside) + body * inside + rng.normal(0, 5, (size, size, 3))
    return np.clip(made, 0, 255).astype(np.uint8), kinds
