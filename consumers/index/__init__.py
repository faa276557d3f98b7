"""Indexes raw events in Elasticsearch."""
