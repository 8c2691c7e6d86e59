"""Pictures and their classes, on the starter for pictures."""

import zipfile

import pytest
import torch
from PIL import Image

from studio.home import SAMPLES, STARTER, STARTER_VIT
from studio.models.image_processor import ImageProcessor
from studio.models.shape import read_shape
from studio.recipe import recipe_from
from studio.tasks import TASKS
from studio.training.kinds.image import augmented
from studio.words import StudioError

LEAVES = {"model": {"name": "starter-vit"}, "task": "image", "data": {"source": "leaves", "max_rows": None}}


def test_a_model_that_does_not_fit_the_task_is_refused():
    text, vit = read_shape(STARTER), read_shape(STARTER_VIT)
    assert (text.modality, vit.modality, vit.context) == ("text", "image", 37)
    assert "choose the Starter for pictures" in str(TASKS["image"].model_refusal(text)) and "reads text" in str(
        TASKS["chat"].model_refusal(vit)
    )
    assert TASKS["image"].model_refusal(vit) is None and TASKS["classification"].model_refusal(text) is None
    refusal = recipe_from({"model": {"name": "starter-vit"}, "task": "image", "method": "prompt_tuning"}).refusal(vit)
    assert refusal and "Prompt tuning" in str(refusal) and "LoRA" in str(refusal)


def test_pixels_are_those_of_the_stock_processor():
    from transformers import ViTImageProcessorPil

    picture = Image.effect_noise((90, 60), 60).convert("RGB")
    stock = ViTImageProcessorPil.from_pretrained(STARTER_VIT)(picture, return_tensors="pt")["pixel_values"][0]
    assert torch.equal(ImageProcessor(STARTER_VIT).pixels(picture), stock) and stock.shape == (3, 48, 48)


def test_varied_pictures_differ_and_keep_their_size():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 48, 48, generator=generator)
    made = [augmented(pixels, generator) for _ in range(8)]
    assert all(item.shape == pixels.shape for item in made) and any(not torch.equal(item, pixels) for item in made)


@pytest.mark.slow
def test_leaves_are_classified(runs):
    """From 25 % (always the same class) to at least 60 % of the validation leaves in 52 steps; the playground hears
    what the evaluation heard."""
    from studio.chat.classifier import Classifiers
    from studio.evaluation import predictions
    from studio.library import adapter_store

    run = runs.start(**LEAVES, learning_rate=5e-3, max_steps=52, batch_size=16, evaluations=2, save_steps=52)
    metrics = runs.store.run(run)["result"]["metrics"]
    assert metrics["base_correct"] == pytest.approx(0.25) and metrics["correct"] >= 0.6
    assert metrics["intervals"]["correct"]["difference"][0] > 0.2
    assert metrics["classes"]["names"] == ["eaten", "healthy", "spotted", "wilted"]

    row = predictions.read(runs.home.run(run))[0]
    with zipfile.ZipFile(SAMPLES / "leaves.validation.zip") as archive:
        data = archive.read(row.prompt)
    asked = Classifiers(
        STARTER_VIT,
        name="starter-vit",
        load_options={"quantisation": "none", "precision": "auto", "device": "cpu"},
        find=lambda who: adapter_store.find(runs.home, runs.store, who)[:2],
    )
    found = asked.classify(run, "", data)
    assert found["labels"][max(range(4), key=found["probabilities"].__getitem__)] == row.fine_tuned and sum(
        found["probabilities"]
    ) == pytest.approx(1)
    with pytest.raises(StudioError, match="choose a picture first"):
        asked.classify(run, "", b"")


@pytest.mark.slow
def test_a_killed_run_goes_on_the_same(runs):
    short = {"learning_rate": 5e-3, "max_steps": 6, "batch_size": 8, "evaluations": 0, "save_steps": 3}
    recipe = {**LEAVES, "task": {"name": "image", "augment": True}}
    whole = runs.losses(runs.start(**recipe, **short))
    run = runs.start(**recipe, **short, stop_after=3)
    runs.resume(run)
    resumed = runs.losses(run)
    assert all(abs(resumed[step] - whole[step]) < 1e-5 for step in whole), (whole, resumed)
