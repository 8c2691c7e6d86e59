import pytest

from tests.training.runs import Runs


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "home")


@pytest.fixture(scope="session")
def adapters(tmp_path_factory):
    """The adapters that some methods build on."""
    from tests.methods.method_cases import TrainedAdapters

    return TrainedAdapters(tmp_path_factory.mktemp("adapters"))
