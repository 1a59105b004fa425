"""Settings of the operator: environment variables, read once at the edge.

The table below is the whole list. Durations have a floor instead of a fixed value, so that tests can shorten
them without a second code path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from azaion_operator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "AZAION_OPERATOR_"
NAMESPACE_VARIABLE = "AZAION_NAMESPACE"
KUBECONFIG_VARIABLE = "KUBECONFIG"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this process behaves. What the trainings look like is not in here."""

    namespace: str
    """The one namespace whose TrainingRuns are served."""

    kubeconfig: str | None = None
    """Where to find the API; None: the service account of the pod, else the user's default kubeconfig."""

    resync_seconds: float = field(default=60.0, metadata={"floor": 0.1})
    """How often every run is looked at again, whatever the watches said or did not say."""

    request_timeout_seconds: float = field(default=30.0, metadata={"floor": 1.0})
    """How long one call to the API may take."""

    kinds_retry_seconds: float = field(default=10.0, metadata={"floor": 0.1})
    """How long to wait before asking again for kinds that are not installed."""

    health_port: int = 8080
    """The port of /healthz, on all addresses."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @property
    def heartbeat_limit_seconds(self) -> float:
        """How old the heartbeat may be: three resync intervals, and one slow call is not a dead loop."""
        return 3 * self.resync_seconds + self.request_timeout_seconds

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, default_namespace: str | None = None
    ) -> Self:
        """Read the settings; `default_namespace` is that of the service account, where there is one.

        Raises SettingsError, one sentence that names the variable.
        """
        names = {
            f"{PREFIX}{name.upper()}": name
            for name in ("resync_seconds", "request_timeout_seconds", "kinds_retry_seconds")
        }
        port, level = f"{PREFIX}HEALTH_PORT", f"{PREFIX}LOG_LEVEL"
        _refuse_unknown(environment, known={*names, port, level})
        namespace = environment.get(NAMESPACE_VARIABLE) or default_namespace
        if not namespace:
            message = (
                f"{NAMESPACE_VARIABLE} is not set and no service account is mounted: "
                "set it to the namespace whose TrainingRuns this operator serves."
            )
            raise SettingsError(message)
        durations = {
            name: _duration(
                variable, environment[variable], floor=cls.__dataclass_fields__[name].metadata["floor"]
            )
            for variable, name in names.items()
            if variable in environment
        }
        return cls(
            namespace=namespace,
            kubeconfig=environment.get(KUBECONFIG_VARIABLE) or None,
            health_port=_port(port, environment.get(port, str(cls.health_port))),
            log_level=_level(level, environment.get(level, cls.log_level)),
            **durations,
        )


def _refuse_unknown(environment: Mapping[str, str], *, known: set[str]) -> None:
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        message = (
            f"{unknown[0]} is not a setting of the operator; the settings are {', '.join(sorted(known))}."
        )
        raise SettingsError(message)


def _duration(variable: str, text: str, *, floor: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    # A NaN compares as False with everything, infinity is no duration either.
    if not floor <= seconds < float("inf"):
        message = f"{variable}={text!r} is not a number of seconds of at least {floor:g}."
        raise SettingsError(message)
    return seconds


def _port(variable: str, text: str) -> int:
    highest = 65535
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= highest):
        message = f"{variable}={text!r} is not a port number from 1 to {highest}."
        raise SettingsError(message)
    return int(text)


def _level(variable: str, text: str) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    level = text.upper()
    if level not in levels:
        message = f"{variable}={text!r} is not a log level; use one of {', '.join(levels)}."
        raise SettingsError(message)
    return level
