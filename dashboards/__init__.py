"""Declares dashboards once and derives the Kibana saved objects and the live page from them."""
