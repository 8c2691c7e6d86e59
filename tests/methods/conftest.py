import pytest

from tests.training.runs import Runs


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "home")


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """The suite's shelf, with the adapters that some methods build on."""
    from tests.methods.method_cases import Shelf

    return Shelf(tmp_path_factory.mktemp("shelf"))
