"""Models and batch analytics on the same features."""
