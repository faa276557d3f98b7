"""The next-purchase model: training, baselines, metrics and evaluation."""
