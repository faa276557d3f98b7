"""Exploration of an archive: what happened in the shop, in pictures that each say one thing."""
