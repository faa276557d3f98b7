"""Forecasts revenue: models, forecast of a shop and its page."""
