"""The revenue forecast: models, forecast of a shop and its page."""
