"""`self-check`: does this image hold what its role needs?

Run when an image is built and by whoever doubts one. Modules are imported by name, so that this module can
speak of torch without belonging to the few that may import it.
"""

import argparse
import contextlib
import importlib
import logging
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import Final

from azaion_jobs import logs
from azaion_jobs.contract import ExitCode

_log = logging.getLogger("azaion_jobs.self_check")

BASE: Final = MappingProxyType({"pydantic": "pydantic", "pyyaml": "yaml"})
"""What every image has; distribution -> module."""


@dataclass(frozen=True, slots=True)
class Role:
    """What one image is for."""

    service: logs.Service
    extra: str
    """The extra of azaion-jobs that the image installs; empty for none."""
    modules: MappingProxyType[str, str]
    """Distribution -> module, for each requirement of the extra."""


ROLES: Final = MappingProxyType(
    {
        "base": Role("operator", "", MappingProxyType({})),
        "train": Role(
            "training",
            "train",
            MappingProxyType(
                {
                    "albumentations": "albumentations",
                    "boto3": "boto3",
                    "cryptography": "cryptography",
                    "onnx": "onnx",
                    "onnxruntime": "onnxruntime",
                    "onnxslim": "onnxslim",
                    "opencv-python-headless": "cv2",
                    "prometheus-client": "prometheus_client",
                    "requests": "requests",
                    "torch": "torch",
                    "torchvision": "torchvision",
                    "ultralytics": "ultralytics",
                }
            ),
        ),
        "queue": Role(
            "annotation-queue",
            "queue",
            MappingProxyType(
                {"msgpack": "msgpack", "prometheus-client": "prometheus_client", "rstream": "rstream"}
            ),
        ),
        "monitor": Role(
            "monitor",
            "monitor",
            MappingProxyType(
                {
                    "aiohttp": "aiohttp",
                    "nvidia-ml-py": "pynvml",
                    "prometheus-client": "prometheus_client",
                    "kubernetes": "kubernetes",
                }
            ),
        ),
    }
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command understands."""
    parser.add_argument("role", choices=tuple(ROLES), help="whose image this is")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Log the versions, or the module that is missing."""
    role = ROLES[arguments.role]
    logs.configure(service=role.service)
    wanted = {**BASE, **role.modules}
    failure: str | None = None
    # Some libraries greet on import; only JSON lines belong on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        for module in (*wanted.values(), "azaion_jobs.config"):
            failure = failure or _import_failure(module)
        if failure is None and "torchvision" in wanted:
            failure = _operators_failure()
    if failure is not None:
        _log.error("%s", failure, extra={"context": {"role": arguments.role}})
        return ExitCode.INTERNAL_ERROR
    versions = {name: version(name) for name in ("azaion-jobs", *wanted)}
    _log.info(
        "The %s image holds what it needs",
        arguments.role,
        extra={
            "context": {"role": arguments.role, "python": platform.python_version(), "versions": versions}
        },
    )
    return ExitCode.DONE


def _import_failure(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return f"The module {module} is missing; install it into this image."
        return f"The module {module} needs {error.name}, which is missing; install it into this image."
    except (ImportError, OSError) as error:
        # OSError: a shared library that does not load.
        return f"The module {module} cannot be imported ({error}); repair its installation in this image."
    return None


def _operators_failure() -> str | None:
    # Without its compiled operators torchvision has no nms, which training and validation need.
    extension = importlib.import_module("torchvision.extension")
    if extension._has_ops():  # noqa: SLF001 - there is no public way to ask
        return None
    return "torchvision lacks its compiled operators; install the build that belongs to this torch."
