"""Builds Lens panels and saved objects for Kibana, and imports them."""
