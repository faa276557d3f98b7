"""The edges that every package shares: files now, clients to come."""
