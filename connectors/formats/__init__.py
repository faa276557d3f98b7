"""Reads and writes file formats: YAML with line numbers, safe CSV cells, timestamps of foreign systems."""
