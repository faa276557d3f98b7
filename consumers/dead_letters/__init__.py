"""Produces, stores, reviews and replays dead letters."""
