"""Kibana: Lens panels, saved objects and the client that imports them."""
