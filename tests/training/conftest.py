import pytest

from tests.training.runs import Runs


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "home")
