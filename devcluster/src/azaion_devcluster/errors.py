"""The one error people see.

DevclusterError
└── CommandError   a program we started failed; carries the end of its output
"""

from __future__ import annotations


class DevclusterError(Exception):
    """What is wrong and what to do about it, in one sentence."""


class CommandError(DevclusterError):
    """A program failed. `output` is the end of what it said, for the caller to show."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output
