"""Settings from environment variables."""

from __future__ import annotations

import pytest

from azaion_operator.errors import SettingsError
from azaion_operator.settings import Settings


def test_the_namespace_alone_is_enough() -> None:
    settings = Settings.from_environment({"AZAION_NAMESPACE": "azaion"})

    assert settings == Settings(namespace="azaion")
    assert settings.kubeconfig is None


def test_the_namespace_of_the_service_account_is_the_default() -> None:
    assert Settings.from_environment({}, default_namespace="pod").namespace == "pod"
    assert (
        Settings.from_environment({"AZAION_NAMESPACE": "said"}, default_namespace="pod").namespace == "said"
    )


def test_without_any_namespace_the_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="AZAION_NAMESPACE is not set"):
        Settings.from_environment({"AZAION_NAMESPACE": ""})


def test_everything_can_be_set() -> None:
    settings = Settings.from_environment(
        {
            "AZAION_NAMESPACE": "azaion",
            "AZAION_OPERATOR_RESYNC_SECONDS": "0.5",
            "AZAION_OPERATOR_REQUEST_TIMEOUT_SECONDS": "5",
            "AZAION_OPERATOR_KINDS_RETRY_SECONDS": "1e1",
            "AZAION_OPERATOR_HEALTH_PORT": "8081",
            "AZAION_OPERATOR_LOG_LEVEL": "debug",
            "KUBECONFIG": "/etc/kubeconfig",
        }
    )

    assert settings == Settings(
        namespace="azaion",
        kubeconfig="/etc/kubeconfig",
        resync_seconds=0.5,
        request_timeout_seconds=5.0,
        kinds_retry_seconds=10.0,
        health_port=8081,
        log_level="DEBUG",
    )


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("AZAION_OPERATOR_RESYNC_SECONDS", "0.01"),
        ("AZAION_OPERATOR_RESYNC_SECONDS", "1m"),
        ("AZAION_OPERATOR_RESYNC_SECONDS", "nan"),
        ("AZAION_OPERATOR_RESYNC_SECONDS", "inf"),
        ("AZAION_OPERATOR_RESYNC_SECONDS", ""),
        ("AZAION_OPERATOR_REQUEST_TIMEOUT_SECONDS", "0.5"),
        ("AZAION_OPERATOR_KINDS_RETRY_SECONDS", "-1"),
        ("AZAION_OPERATOR_HEALTH_PORT", "0"),
        ("AZAION_OPERATOR_HEALTH_PORT", "65536"),
        ("AZAION_OPERATOR_HEALTH_PORT", "²"),
        ("AZAION_OPERATOR_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}="):
        Settings.from_environment({"AZAION_NAMESPACE": "azaion", variable: text})


def test_a_misspelt_setting_is_refused_and_the_real_ones_are_listed() -> None:
    with pytest.raises(
        SettingsError, match=r"^AZAION_OPERATOR_RESYNC is not .*AZAION_OPERATOR_RESYNC_SECONDS"
    ):
        Settings.from_environment({"AZAION_NAMESPACE": "azaion", "AZAION_OPERATOR_RESYNC": "5"})


def test_one_slow_call_is_not_a_dead_heart() -> None:
    settings = Settings(namespace="azaion", resync_seconds=10, request_timeout_seconds=30)

    assert settings.heartbeat_limit_seconds == 60
