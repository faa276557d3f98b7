"""Defines errors for users: what happened, the record, file or setting concerned, and the remedy."""

from __future__ import annotations


class ShopstreamError(Exception):
    """A failure that the user can act on. The command line prints it without a stack trace and exits with 1.

    Args:
        message: description of the failure, naming the record, file or setting.
        remedy: action for the user, as a sentence.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class UsageError(ShopstreamError):
    """A wrong call of the command; exit code 2."""

    exit_code = 2
