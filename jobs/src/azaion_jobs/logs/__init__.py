"""Logs of every process: one JSON object a line on stdout, never with a secret in it.

`configure` once at the start, then the standard `logging` with `extra={"context": {...}}`.
"""

from azaion_jobs.logs._format import LINE_BYTES, JsonFormatter, level_name
from azaion_jobs.logs._redaction import REDACTED, Redactor
from azaion_jobs.logs._setup import (
    LEVELS,
    Service,
    asyncio_exception_handler,
    configure,
    redact,
    register_secrets,
    set_level,
)

__all__ = [
    "LEVELS",
    "LINE_BYTES",
    "REDACTED",
    "JsonFormatter",
    "Redactor",
    "Service",
    "asyncio_exception_handler",
    "configure",
    "level_name",
    "redact",
    "register_secrets",
    "set_level",
]
