"""Windows of a test's own, served as the product is served."""

import socket

import pytest


@pytest.fixture(scope="session")
def serve():
    """serve(demo) → its address, launched by `studio.ui.launch` on a port of its own; closed at the end of the
    session."""
    from studio.ui.launch import launch

    served = []

    def address(demo):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        served.append(demo)
        return launch(demo, port=port, block=False)

    yield address
    for demo in served:
        demo.close(verbose=False)
