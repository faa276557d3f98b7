"""Writes the final report: findings of an archive as pages, with a source file for every number."""
