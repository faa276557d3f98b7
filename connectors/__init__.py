"""Clients and files that all packages share: Kafka, Elasticsearch, file formats and durable writes."""
