"""Errors for people: what happened, with which record, file or setting, and what to do."""

from __future__ import annotations


class ShopstreamError(Exception):
    """A failure the user can act on; the command line prints it without a stack trace and exits with 1.

    Args:
        message: what happened, naming the record, file or setting.
        remedy: what to do about it, as a sentence.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class UsageError(ShopstreamError):
    """The command was called wrongly; exit code 2."""

    exit_code = 2
