"""Computes exact feature rows from data and a time, independent of Kafka, Elasticsearch, files and clocks."""
