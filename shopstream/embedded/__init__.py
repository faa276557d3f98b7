"""Runs embedded Kafka and Elasticsearch as background processes, or connects to existing ones named by the settings."""

from connectors.endpoints import ElasticEndpoint, Endpoints, KafkaEndpoint
from shopstream.embedded.lifecycle import down, elastic_endpoint, endpoints, kafka_endpoint, page_endpoint, up
from shopstream.embedded.status import Status, status

__all__ = [
    "ElasticEndpoint",
    "Endpoints",
    "KafkaEndpoint",
    "Status",
    "down",
    "elastic_endpoint",
    "endpoints",
    "kafka_endpoint",
    "page_endpoint",
    "status",
    "up",
]
