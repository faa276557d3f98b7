"""Kafka consumers and the state, sinks and tools they share."""
