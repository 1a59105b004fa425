"""The verdict: the last word of an attempt, left for the operator and for the next attempt."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from azaion_jobs.contract.exit_codes import ExitCode

VERDICT_VERSION: Final = 1

# The kubelet cuts a termination message here, in the middle of the JSON if need be.
TERMINATION_MESSAGE_BYTES: Final = 4096

_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")
# With these bounds all fields but message and traceback stay below 3.3 kB together.
_METRICS_AT_MOST = 32
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_/().:-]{0,63}")


class VerdictError(ValueError):
    """A text that claims to be a verdict is none; the message names the field."""


class Outcome(StrEnum):
    """How an attempt ended, in words; one for each exit code."""

    DONE = "Done"
    BAD_SPEC = "BadSpec"
    BAD_DATA = "BadData"
    SERVICE_UNAVAILABLE = "ServiceUnavailable"
    INTERNAL_ERROR = "InternalError"
    STORAGE_FAULT = "StorageFault"
    STOPPED_ON_REQUEST = "StoppedOnRequest"
    GPU_FAULT = "GpuFault"
    OUT_OF_MEMORY = "OutOfMemory"
    DIVERGED = "Diverged"
    STALLED = "Stalled"
    FENCED_OFF = "FencedOff"

    @property
    def exit_code(self) -> ExitCode:
        """The exit status that goes with this outcome."""
        return ExitCode[self.name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What an attempt has to say about its end.

    The writer has removed secrets from `message` and `traceback`. `reason` is a CamelCase word fit for a
    Kubernetes condition, `epoch` the last completed epoch counted from 1 (None where epochs mean nothing).
    """

    outcome: Outcome
    reason: str
    message: str
    epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    traceback: str = ""
    clean: bool | None = None
    """Of a requested stop: whether nothing was lost by it."""
    version: int = VERDICT_VERSION

    def __post_init__(self) -> None:
        """Refuse what could not be written, or not be read back as the same verdict."""
        if _integer("version", self.version) != VERDICT_VERSION:
            msg = f"version {self.version} of the verdict is unknown; this software reads {VERDICT_VERSION}."
            raise VerdictError(msg)
        object.__setattr__(self, "outcome", _outcome(self.outcome))
        if _REASON.fullmatch(_text("reason", self.reason)) is None:
            msg = "reason must be one CamelCase word of at most 128 letters and digits."
            raise VerdictError(msg)
        object.__setattr__(self, "message", _text("message", self.message))
        object.__setattr__(self, "traceback", _text("traceback", self.traceback))
        if self.epoch is not None and _integer("epoch", self.epoch) < 0:
            msg = "epoch must not be negative."
            raise VerdictError(msg)
        object.__setattr__(self, "metrics", MappingProxyType(_metrics(self.metrics)))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a verdict, for instance from a pod's termination message.

        Fields that this version does not know are skipped: within one version fields are only added.
        Raises VerdictError for everything that is not a complete verdict.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            msg = "The verdict is not JSON."
            raise VerdictError(msg) from None
        if not isinstance(document, dict):
            msg = "The verdict must be a JSON object."
            raise VerdictError(msg)
        missing = [name for name in ("version", "outcome", "reason", "message") if name not in document]
        if missing:
            msg = f"The verdict lacks {', '.join(missing)}."
            raise VerdictError(msg)
        return cls(
            version=document["version"],
            outcome=document["outcome"],
            reason=document["reason"],
            message=document["message"],
            epoch=document.get("epoch"),
            metrics=document.get("metrics", {}),
            traceback=document.get("traceback", ""),
            clean=document.get("clean"),
        )

    def to_json(self) -> str:
        """The whole verdict on one line, for verdict.json."""
        return self._encode(self.message, self.traceback)

    def termination_message(self) -> str:
        """The verdict in at most 4096 bytes of UTF-8, always readable by `from_json`.

        What does not fit is cut: first the head of the traceback (its last lines say what happened), then the
        tail of the message. Everything else is bounded so that it always fits.
        """
        whole = self.to_json()
        if _size(whole) <= TERMINATION_MESSAGE_BYTES:
            return whole

        def with_traceback(length: int) -> str:
            return self._encode(self.message, self.traceback[len(self.traceback) - length :])

        def with_message(length: int) -> str:
            return self._encode(self.message[:length], "")

        if _size(with_traceback(0)) <= TERMINATION_MESSAGE_BYTES:
            return _longest(with_traceback, len(self.traceback))
        return _longest(with_message, len(self.message))

    def _encode(self, message: str, traceback: str) -> str:
        document = {
            "version": self.version,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "message": message,
            "epoch": self.epoch,
            "metrics": dict(self.metrics),
            **({} if self.clean is None else {"clean": self.clean}),
            "traceback": traceback,
        }
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _longest(shortened: Callable[[int], str], length: int) -> str:
    """The longest of shortened(0) .. shortened(length) that fits; shortened(0) is known to fit."""
    fits, too_long = 0, length + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _size(shortened(middle)) <= TERMINATION_MESSAGE_BYTES:
            fits = middle
        else:
            too_long = middle
    return shortened(fits)


def _size(text: str) -> int:
    return len(text.encode())


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} must be a whole number."
        raise VerdictError(msg)
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        msg = f"{name} must be text."
        raise VerdictError(msg)
    # A lone surrogate (from a file name, say) has no UTF-8 form.
    return value.encode("utf-8", "replace").decode()


def _outcome(value: str) -> Outcome:
    try:
        return Outcome(value)
    except ValueError:
        msg = f"outcome must be one of {', '.join(Outcome)}."
        raise VerdictError(msg) from None


def _metrics(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping) or len(value) > _METRICS_AT_MOST:
        msg = f"metrics must map at most {_METRICS_AT_MOST} names to numbers."
        raise VerdictError(msg)
    metrics: dict[str, float] = {}
    for name, number in value.items():
        if not isinstance(name, str) or _METRIC.fullmatch(name) is None:
            msg = (
                "A name in metrics must have at most 64 letters, digits and _/().:- and start with a letter."
            )
            raise VerdictError(msg)
        if isinstance(number, bool) or not isinstance(number, int | float):
            msg = f"metrics.{name} must be a number."
            raise VerdictError(msg)
        try:
            metrics[name] = float(number)
        except OverflowError:
            metrics[name] = math.inf
        if not math.isfinite(metrics[name]):
            msg = f"metrics.{name} must be finite; leave it out where there is no value."
            raise VerdictError(msg)
    return metrics
