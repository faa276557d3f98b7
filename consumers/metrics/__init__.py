"""Provides metrics: definitions, progress of a worker, Prometheus text and the pipeline index."""
