"""The README of a repository on the Hub: the adapter's card with intervals, a picture of its curve, and the licence."""

from __future__ import annotations

from pathlib import Path

import yaml
from PIL import Image, ImageDraw

from studio.evaluation.predictions import MACRO_F1, SCORES
from studio.export.source import Source
from studio.library.card import model_card
from studio.store import Store

CURVE = "curve.png"
_SIZE, _MARGIN = (960, 480), 60
_COLOURS = {"loss": (58, 110, 165), "eval_loss": (204, 102, 0)}
_TITLES = {"loss": "training loss", "eval_loss": "validation loss"}


def write_card(source: Source, store: Store, folder: Path, proofs: list[dict], whole: bool) -> None:
    """Write README.md, and curve.png where the run's metrics are still stored, to `folder`."""
    card = {**source.card, "kind": "model"} if whole else source.card
    text = model_card(source.name, card)
    row = store.adapter(source.adapter_id)
    curves = read_curves(store, row["run_id"] if row else None)
    sections = _intervals(card) + _curve(curves, folder) + _proofs(proofs)
    text = text.replace("\n## How it was made\n", f"\n{sections}## How it was made\n", 1)
    (folder / "README.md").write_text(_with_licence(text, base_licence(source)), encoding="utf-8")


def base_licence(source: Source) -> str | None:
    """The licence that the README of the base model's folder declares; None where it declares none."""
    path = source.model_folder / "README.md"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---\n") or "\n---" not in text[4:]:
        return None
    try:
        front = yaml.safe_load(text[4:].split("\n---", 1)[0])
    except yaml.YAMLError:
        return None
    licence = front.get("license") if isinstance(front, dict) else None
    return licence if isinstance(licence, str) else None


def _with_licence(text: str, licence: str | None) -> str:
    if licence is None:
        return text
    text = text.replace("---\n", f"---\n{yaml.safe_dump({'license': licence})}", 1)
    return text.replace(
        "The licences of the base model and of the data hold for this too; neither is known here.",
        f"The licence of the base model ({licence}) and that of the data, which is not known here, hold for this too.",
    )


def _intervals(card: dict) -> str:
    metrics = card.get("metrics") or {}
    titles = {name: score.title for name, score in {**SCORES, "macro_f1": MACRO_F1}.items()}
    lines = [
        f"| {titles.get(name, name)} | {_range(found.get('base'))} | {_range(found.get('fine_tuned'))} |"
        for name, found in (metrics.get("intervals") or {}).items()
    ]
    if not lines:
        return ""
    return (
        "95 % confidence intervals:\n\n| | base model | with this adapter |\n|---|---|---|\n"
        + "\n".join(lines)
        + "\n\n"
    )


def _range(interval: list[float] | None) -> str:
    return f"{interval[0]:.1%} – {interval[1]:.1%}" if interval else "–"


def _proofs(proofs: list[dict]) -> str:
    lines = [
        f"- {proof['format']}, read back by {proof['reader']} in a fresh process: largest difference of a logit from "
        f"the adapter in the studio: {proof['difference']:.2g}"
        for proof in proofs
    ]
    return "Checked before the upload:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def read_curves(store: Store, run_id: str | None) -> dict[str, list[tuple[int, float]]]:
    """Name → (step, value) of the run's losses; {} if the run or its metrics are gone."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in store.metrics(run_id) if run_id else ():
        for name in _COLOURS.keys() & row["values"].keys():
            found.setdefault(name, []).append((row["step"], row["values"][name]))
    return {name: points for name, points in found.items() if len(points) > 1}


def _curve(curves: dict[str, list[tuple[int, float]]], folder: Path) -> str:
    if not curves:
        return ""
    draw_curves(curves).save(folder / CURVE)
    return f"![Loss over the steps]({CURVE})\n\n"


def draw_curves(curves: dict[str, list[tuple[int, float]]]) -> Image.Image:
    """A line chart of the curves, steps to the right and loss upwards, with both ranges written at the axes."""
    width, height = _SIZE
    picture = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(picture)
    points = [point for each in curves.values() for point in each]
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    right, high = max(right, left + 1), high if high > low else low + 1.0

    def at(step: float, value: float) -> tuple[float, float]:
        x = _MARGIN + (step - left) / (right - left) * (width - 2 * _MARGIN)
        return x, height - _MARGIN - (value - low) / (high - low) * (height - 2 * _MARGIN)

    draw.rectangle([_MARGIN, _MARGIN, width - _MARGIN, height - _MARGIN], outline=(180, 180, 180))
    for text, place in (
        (f"{high:.3g}", (8, _MARGIN - 8)),
        (f"{low:.3g}", (8, height - _MARGIN - 8)),
        (f"step {left}", (_MARGIN, height - _MARGIN + 8)),
        (f"step {right}", (width - _MARGIN - 60, height - _MARGIN + 8)),
    ):
        draw.text(place, text, fill=(60, 60, 60), font_size=16)
    for number, (name, each) in enumerate(curves.items()):
        draw.line([at(*point) for point in each], fill=_COLOURS[name], width=3, joint="curve")
        draw.text((_MARGIN + 220 * number, 20), _TITLES[name], fill=_COLOURS[name], font_size=18)
    return picture
