"""Trains and evaluates the next-purchase models."""
