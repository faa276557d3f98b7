"""Erases a customer's profile from topics, indices, checkpoints and archives."""
