"""Sends notifications: HTTP requests to webhooks, and e-mail."""
