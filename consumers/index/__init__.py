"""The index consumer: raw events into Elasticsearch."""
