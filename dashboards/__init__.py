"""Kibana saved objects and the live page from one declaration."""
