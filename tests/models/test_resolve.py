"""Model names and the folders that they resolve to."""

import pytest

from studio.home import STARTER
from studio.models.resolve import is_hub_id, local_folder, resolve_folder
from studio.words import StudioError
from tests.models.model_folders import model_folder


@pytest.mark.parametrize(
    ("name", "expected"),
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
def test_hub_ids(name, expected):
    assert is_hub_id(name) is expected


def test_starter_and_folders(tmp_path, monkeypatch):
    assert local_folder("starter") == STARTER
    folder = model_folder(tmp_path / "own" / "model")
    assert resolve_folder(str(folder)) == folder
    monkeypatch.chdir(tmp_path)
    assert not is_hub_id("own/model")  # a local folder of that name comes first


def test_models_not_downloaded_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert local_folder("nobody/never-downloaded-this") is None
    with pytest.raises(StudioError, match="not on this machine yet"):
        resolve_folder("nobody/never-downloaded-this")
    with pytest.raises(StudioError, match="no model folder"):
        resolve_folder(str(tmp_path / "nowhere"))
    with pytest.raises(StudioError, match="Choose a base model"):
        resolve_folder("  ")
