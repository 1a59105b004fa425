"""Keeps ultralytics from the network, from pip and from the user's own settings.

Standard library only: all of it must stand before ultralytics is imported for the first time. In the image
most of it is baked in; on a workstation this is what makes a training behave as it does in a pod.
"""

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

SWITCHES: Final = MappingProxyType(
    {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
)
CONFIG_VARIABLE: Final = "YOLO_CONFIG_DIR"

# Every one of them starts by itself where its package is installed.
_INTEGRATIONS: Final = ("clearml", "comet", "dvc", "mlflow", "raytune", "wandb")
_FONTS: Final = ("Arial.ttf", "Arial.Unicode.ttf")


def prepare(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the switches; where no configuration folder is given, make one for this process alone."""
    environ.update(SWITCHES)
    if CONFIG_VARIABLE not in environ:
        environ[CONFIG_VARIABLE] = tempfile.mkdtemp(prefix="azaion-ultralytics-")
    folder = Path(environ[CONFIG_VARIABLE]) / "Ultralytics"
    if os.access(folder if folder.exists() else folder.parent, os.W_OK):
        folder.mkdir(exist_ok=True)
        _settle(folder)


def _settle(folder: Path) -> None:
    settings = folder / "settings.json"
    if not settings.exists():
        settings.write_text(json.dumps(_settings(folder), indent=2), encoding="utf-8")
    for name in _FONTS:
        if not (folder / name).exists():
            _copy_font(folder / name)


def _settings(folder: Path) -> dict[str, object]:
    return {
        "settings_version": "0.0.8",
        # Every path that counts is given to ultralytics as it is; these are never used.
        **dict.fromkeys(("datasets_dir", "weights_dir", "runs_dir"), str(folder)),
        "uuid": "",
        "sync": False,
        "api_key": "",
        "openai_api_key": "",
        **dict.fromkeys(_INTEGRATIONS, False),
        # Event files are written beside results.csv wherever the package is there to write them.
        "tensorboard": importlib.util.find_spec("tensorboard") is not None,
        "vscode_msg": False,
        "openvino_msg": False,
    }


def _copy_font(target: Path) -> None:
    """Matplotlib's own font under the name for which ultralytics would ask a server."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return
    font = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    if font.exists():
        shutil.copyfile(font, target)
