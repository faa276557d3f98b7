import pytest
from registry_server import RegistryServer, serving

from connectors.messages.decoder import schema_decoder


@pytest.fixture
def registry():
    """Empty schema registry over HTTP."""
    with serving(RegistryServer()) as server:
        yield server


@pytest.fixture
def decoder(registry):
    """Return the decoder of a format, with the schemas of the registry."""
    return lambda form: schema_decoder(form, registry.endpoint(), pytest.fail)
