import pytest
from registry_server import RegistryServer, serving


@pytest.fixture
def registry():
    """Empty schema registry over HTTP."""
    with serving(RegistryServer()) as server:
        yield server
