"""Describes foreign files with evidence, names what is ambiguous, and drafts mappings."""
