"""Everything that reads records from Kafka."""
