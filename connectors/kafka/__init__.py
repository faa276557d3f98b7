"""Kafka: clients, topics, offsets, the consumer source and the reader of offset ranges."""
