"""The erasure from the indices: a server that does not answer, and indices that are deleted meanwhile."""

from types import SimpleNamespace

import elastic_transport
import elasticsearch
import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig

from consumers.erasure.indices import forget_in_alerts, purge
from features.errors import ShopstreamError


def gone(**_):
    meta = ApiResponseMeta(404, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "localhost", 9200))
    raise elasticsearch.NotFoundError("index_not_found_exception", meta, {})


def client_of(**indices):
    """A client of these calls about indices."""
    client = SimpleNamespace(indices=SimpleNamespace(**indices), search=gone, index=gone)
    client.options = lambda **_: client
    return client


def test_a_server_that_does_not_answer_is_an_error_with_the_index():
    def forcemerge(**_):
        raise elastic_transport.ConnectionError("refused")

    with pytest.raises(ShopstreamError, match="r-customers"):
        purge(client_of(forcemerge=forcemerge), "r")


def test_purge_passes_over_an_index_that_is_gone():
    merged = []

    def forcemerge(*, index, **_):
        if "customers" in index:
            gone()
        merged.append(index)

    purge(client_of(forcemerge=forcemerge), "r")
    assert merged == ["r-alerts-000001", "r-contacts-000001"]


@pytest.mark.parametrize("refresh", [gone, lambda **_: None], ids=["before the refresh", "before the search"])
def test_index_of_alerts_that_is_gone_holds_nothing(refresh):
    assert forget_in_alerts(client_of(refresh=refresh), "r", "ann") == 0
