"""Checkpoints on disk, without any training: which are listed, kept, copied and deleted."""

import json

import pytest

from studio.recipe import recipe_from
from studio.training import checkpoints
from studio.training.checkpoints import Rule
from studio.training.continuation import longer
from studio.words import StudioError


def made(parent, step, eval_loss=None, whole=True):
    folder = checkpoints.checkpoint_folder(parent, step)
    folder.mkdir(parents=True)
    (folder / "trainable.safetensors").write_bytes(b"x" * 100)
    if whole:
        checkpoints.finish(folder, {"epoch": step / 10, "loss": 2.0, "eval_loss": eval_loss, "steps": 100})
    return folder


def steps(parent):
    return [item.step for item in checkpoints.listed(parent)]


def test_a_torn_checkpoint_does_not_count(tmp_path):
    assert checkpoints.last(tmp_path / "nowhere") is None
    made(tmp_path, 10)
    made(tmp_path, 20, whole=False)
    found = checkpoints.last(tmp_path)
    assert (found.step, found.epoch, found.loss, found.eval_loss, found.steps) == (10, 1.0, 2.0, None, 100)
    assert 100 < found.size < 400


def test_one_of_an_earlier_version_counts(tmp_path):
    (made(tmp_path, 10, whole=False) / "whole").touch()
    assert checkpoints.last(tmp_path).step == 10


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Rule(2, best=True), [10, 30, 40]),
        (Rule(2, best=False), [30, 40]),
        (Rule(0, best=True), [10]),
        (Rule(0, best=False), []),
        (Rule(9, best=False), [10, 20, 30, 40]),
    ],
)
def test_the_last_ones_and_the_best_are_kept(rule, kept, tmp_path):
    for step, loss in ((10, 1.5), (20, 1.6), (30, None), (40, 1.7)):
        made(tmp_path, step, loss)
    made(tmp_path, 35, whole=False)
    checkpoints.prune(tmp_path, rule)
    assert steps(tmp_path) == kept
    assert len(list(tmp_path.iterdir())) == len(kept)


def test_a_copy_is_complete_or_not_there(tmp_path):
    made(tmp_path / "a", 10, 1.0)
    source = checkpoints.find(tmp_path / "a", 10)
    checkpoints.copy(source, tmp_path / "b")
    assert checkpoints.last(tmp_path / "b").eval_loss == 1.0
    checkpoints.delete(source.folder)
    with pytest.raises(StudioError, match="step 10 is not kept any more"):
        checkpoints.copy(source, tmp_path / "c")
    assert steps(tmp_path / "c") == []
    with pytest.raises(StudioError, match="step 10 is not kept any more"):
        checkpoints.find(tmp_path / "a", 10)


def test_longer_adds_to_what_was_done():
    def training(done, amount, **values):
        made = longer(recipe_from({"training": {"batch_size": 8, **values}}), amount, done=done, examples=80)
        return made.training.epochs, made.training.max_steps

    assert training(30, 2, epochs=3) == (5, None)
    assert training(15, 1, epochs=3) == (2.5, None)  # it had been ended early, after 1.5 epochs
    assert training(6, 4, max_steps=6) == (3, 10)
    with pytest.raises(StudioError, match="less than one step"):
        training(30, 0, epochs=3)


def test_facts_are_readable(tmp_path):
    assert json.loads((made(tmp_path, 3, 0.5) / "whole").read_text())["eval_loss"] == 0.5
