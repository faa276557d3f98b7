"""Notifies people: alerts of the run's topic, as messages of webhooks, Slack, Teams and e-mail."""
