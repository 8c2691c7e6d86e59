"""Names of models, and the folders they stand for."""

import pytest
from model_folders import model_folder

from studio.home import STARTER
from studio.models.resolve import folder_of, is_hub_id, local_folder
from studio.words import StudioError


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("Qwen/Qwen3-0.6B", True),
        ("a/b", True),
        ("starter", False),
        ("./here/model", False),
        ("/abs/path", False),
        ("a/b/c", False),
        ("../a", False),
        ("", False),
    ],
)
def test_what_looks_like_a_hub_id(name, yes):
    assert is_hub_id(name) is yes


def test_starter_and_folders(tmp_path, monkeypatch):
    assert local_folder("starter") == STARTER
    folder = model_folder(tmp_path / "own" / "model")
    assert folder_of(str(folder)) == folder
    monkeypatch.chdir(tmp_path)
    assert not is_hub_id("own/model")  # a local folder of that name comes first


def test_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert local_folder("nobody/never-downloaded-this") is None
    with pytest.raises(StudioError, match="not on this machine yet"):
        folder_of("nobody/never-downloaded-this")
    with pytest.raises(StudioError, match="no model folder"):
        folder_of(str(tmp_path / "nowhere"))
    with pytest.raises(StudioError, match="Choose a base model"):
        folder_of("  ")
