"""The synthetic shop, and everything that puts records into Kafka."""
