"""The erasure from the indices: what a server that does not answer leads to."""

from types import SimpleNamespace

import elastic_transport
import pytest

from consumers.erasure.indices import purge
from features.errors import ShopstreamError


def test_a_server_that_does_not_answer_is_an_error_with_the_index():
    def exists(index):
        raise elastic_transport.ConnectionError("refused")

    with pytest.raises(ShopstreamError, match="r-customers"):
        purge(SimpleNamespace(indices=SimpleNamespace(exists=exists)), "r")  # type: ignore[arg-type]
