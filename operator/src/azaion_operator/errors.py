"""Every error the operator raises on purpose.

OperatorError
├── SettingsError            an environment variable is missing or cannot be used
├── CredentialsError         no way to reach a Kubernetes API is configured
├── UnreadableObject         an object of ours does not have the shape its kind promises
└── ClusterError             the API answered a call with something other than success
    ├── NotFound             the object is not there (any more)
    ├── StaleObject          it changed since it was read: read it again and decide again
    ├── FieldOwnedElsewhere  another field manager owns a field we would write
    ├── InvalidObject        the API server refuses what we sent; sending it again will not help
    ├── Refused              our credentials or our Role do not allow the call
    └── Unavailable          busy, restarting or unreachable: try again later

The message of each is one sentence for people: what is wrong, with which object or variable, what to do.
"""

from __future__ import annotations

# ruff: noqa: N818  (what is caught reads better as the thing that happened: `except NotFound`)


class OperatorError(Exception):
    """Root of the errors of this package."""


class SettingsError(OperatorError):
    """An environment variable is missing or cannot be used; the message names it."""


class CredentialsError(OperatorError):
    """No way to reach a Kubernetes API is configured."""


class UnreadableObject(OperatorError):
    """An object of ours does not have the shape its kind promises; the message names the field."""


class ClusterError(OperatorError):
    """The API answered a call with something other than success."""


class NotFound(ClusterError):
    """The object is not there (any more)."""


class StaleObject(ClusterError):
    """The object changed since it was read: read it again and decide again."""


class FieldOwnedElsewhere(ClusterError):
    """Another field manager owns a field we would write; never overwritten blindly."""


class InvalidObject(ClusterError):
    """The API server refuses what was sent; sending it again will not help."""


class Refused(ClusterError):
    """Our credentials or our Role do not allow the call."""


class Unavailable(ClusterError):
    """The API is busy, restarting or unreachable: try again, after `retry_after` seconds if it said so."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
