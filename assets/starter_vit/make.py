"""Makes the starter for pictures: a tiny ViT, trained from scratch on the pictures of `pictures.py`, as a Hugging Face
folder.

    python assets/starter_vit/make.py                # everything, about 25 minutes on one core
    python assets/starter_vit/make.py --minutes 1    # a rough version of it

Reads top to bottom: pictures, model, training, evaluation, export. The pictures are the same for the same seed; how
many steps fit into `--minutes` depends on the machine. Knows nothing about the studio: the folder is an ordinary
model.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from pictures import COLOURS, SHAPES, TEXTURES, picture
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

HERE = Path(__file__).resolve().parent
SIZE, SEED, VALIDATION_SIZE, BATCH = 48, 7, 1024, 64
KINDS = {"shape": len(SHAPES), "colour": len(COLOURS), "texture": len(TEXTURES)}

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-classification
tags: [tiny, from-scratch, vit]
---
# Starter for pictures

A ViT of {parameters:,} parameters (6 layers, width 96, 3 heads, pictures of {size} × {size} pixels in patches of 8),
trained from scratch on one CPU core in {minutes:.0f} minutes. It is small enough to be fine-tuned on new classes in a
minute on a laptop.

## What it knows
It classifies which of eight shapes is in a drawn picture ({shapes}) with an accuracy of {shape:.0%}. In training it
also had to predict the shape's colour ({colours}) and texture ({textures}), so its features represent those too; only
the head for shapes is kept.

## How it was trained
`python assets/starter_vit/make.py`: {pictures:,} pictures drawn by `pictures.py`, seed {seed}, {steps:,} steps of
{batch}, AdamW, in {sessions} session(s) on cores shared with other work. No picture of anybody else was used. Weights
in bfloat16.

## What it scores
Accuracy on {validation:,} validation pictures, drawn with another seed: shape {shape:.1%}, colour {colour:.1%},
texture {texture:.1%}.

## Limits
It has never seen a photograph. For learning, testing and demonstration.

## Licence
Apache-2.0.
"""


def pictures(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(pixels, count × 3 × SIZE × SIZE between -1 and 1; labels, count × 3: shape, colour and texture)."""
    rng = np.random.default_rng(seed)
    drawn = [picture(rng, SIZE) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in drawn])).permute(0, 3, 1, 2)
    return pixels.float() / 127.5 - 1, torch.tensor([kinds for _, kinds in drawn])


class MultiHeadViT(nn.Module):
    """A ViT with one classification head each for shape, colour and texture; the head for shapes is the ViT's own."""

    def __init__(self):
        super().__init__()
        names = dict(enumerate(SHAPES))
        config = ViTConfig(
            hidden_size=96,
            num_hidden_layers=6,
            num_attention_heads=3,
            intermediate_size=384,
            image_size=SIZE,
            patch_size=8,
            id2label=names,
            label2id={name: at for at, name in names.items()},
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.vit = ViTForImageClassification(config)
        self.colour, self.texture = nn.Linear(96, len(COLOURS)), nn.Linear(96, len(TEXTURES))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        first = self.vit.vit(pixels).last_hidden_state[:, 0]
        return [self.vit.classifier(first), self.colour(first), self.texture(first)]


def train(model: MultiHeadViT, minutes: float, step: int) -> int:
    """Train for `minutes` from `step` on; returns the step after the last. The learning rate decays with the time, so
    that short sessions end well.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    began, first = time.monotonic(), step
    while (spent := (time.monotonic() - began) / 60 / minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 1.5e-3 * min(1, (step + 1 - first) / 100) * max(0.02, 1 - spent)
        pixels, kinds = pictures(BATCH, SEED * 1_000_003 + step)
        loss = sum(nn.functional.cross_entropy(logits, kinds[:, at]) for at, logits in enumerate(model(pixels)))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 50 == 0:
            print(f"{100 * spent:4.0f} % · step {step} · loss {loss.item():.3f}", flush=True)
    return step


@torch.no_grad()
def evaluate(model: MultiHeadViT) -> dict[str, float]:
    pixels, kinds = pictures(VALIDATION_SIZE, SEED + 1)
    predictions = [
        torch.cat(parts).argmax(-1) for parts in zip(*(model.eval()(part) for part in pixels.split(128)), strict=True)
    ]
    return {name: (predictions[at] == kinds[:, at]).float().mean().item() for at, name in enumerate(KINDS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument("--resume", type=Path, help="a folder made before, to go on from")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    model, before = MultiHeadViT(), {"steps": 0, "minutes": 0, "sessions": 0}
    if options.resume:
        model.vit = ViTForImageClassification.from_pretrained(options.resume, dtype=torch.float32)
        before |= json.loads((options.resume / "scores.json").read_text())
    steps = train(model, options.minutes, before["steps"])
    minutes, sessions = before["minutes"] + options.minutes, before["sessions"] + 1
    model.to(torch.bfloat16).float()  # evaluate what is saved
    scores = evaluate(model)
    options.folder.mkdir(parents=True, exist_ok=True)
    model.vit.to(torch.bfloat16).save_pretrained(options.folder)
    ViTImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(options.folder)
    card = CARD.format(
        parameters=model.vit.num_parameters(),
        size=SIZE,
        minutes=minutes,
        sessions=sessions,
        shapes=", ".join(SHAPES),
        colours=", ".join(COLOURS),
        textures=", ".join(TEXTURES),
        pictures=steps * BATCH,
        seed=SEED,
        steps=steps,
        batch=BATCH,
        validation=VALIDATION_SIZE,
        **scores,
    )
    (options.folder / "README.md").write_text(card, encoding="utf-8")
    (options.folder / "scores.json").write_text(
        json.dumps({**scores, "steps": steps, "minutes": minutes, "sessions": sessions}, indent=1) + "\n",
        encoding="utf-8",
    )
    print(scores)


if __name__ == "__main__":
    main()
