"""The churn model: candidates, selection, calibration and evaluation."""
