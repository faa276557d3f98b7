"""Trains models and runs batch analytics on the features of the stream."""
