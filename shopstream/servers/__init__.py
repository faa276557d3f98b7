"""The servers: embedded Kafka and Elasticsearch as background processes, or existing ones named by the settings."""

from shopstream.servers.endpoints import ElasticEndpoint, Endpoints, KafkaEndpoint
from shopstream.servers.lifecycle import down, elastic_endpoint, elastic_reader, endpoints, kafka_endpoint, up
from shopstream.servers.overview import Status, status

__all__ = [
    "ElasticEndpoint",
    "Endpoints",
    "KafkaEndpoint",
    "Status",
    "down",
    "elastic_endpoint",
    "elastic_reader",
    "endpoints",
    "kafka_endpoint",
    "status",
    "up",
]
