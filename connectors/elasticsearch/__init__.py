"""Elasticsearch: client, bulk sink, mappings, aliases and searches."""
