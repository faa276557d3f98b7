"""Erasure: a customer's profile is removed from topics, indices, checkpoints and archives."""
