"""The synthetic shop and all other producers of Kafka records."""
