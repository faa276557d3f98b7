"""The final report: findings of an archive as pages, every number out of a file beside them."""
