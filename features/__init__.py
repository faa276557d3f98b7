"""The exact feature kernel: data and a time in, rows out. It knows nothing of Kafka, Elasticsearch, files or clocks."""
