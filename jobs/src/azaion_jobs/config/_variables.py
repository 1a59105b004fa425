"""The table of environment variables, the only place where their names are spelled.

`.env`, `.env.example` and the command that turns `.env` into values of the chart all follow this table.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """How the text of a variable is read."""

    TEXT = "text"
    WHOLE_NUMBER = "whole number"


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable and the setting it stands for."""

    name: str
    path: tuple[str, ...]
    """Where config.yaml has the same setting; empty if it has none."""
    kind: Kind = Kind.TEXT
    mounted_as: str = ""
    """The file in the mounted secrets that holds the value; empty if it is no secret."""

    @property
    def is_secret(self) -> bool:
        """Whether the value must never be shown."""
        return bool(self.mounted_as)

    @property
    def setting(self) -> str:
        """The path as it is written for people: `training.epochs`."""
        return ".".join(self.path)


VARIABLES: Final = (
    Variable("AZAION_API_URL", ("api", "url")),
    Variable("AZAION_API_EMAIL", ("api", "email"), mounted_as="api-email"),
    Variable("AZAION_API_PASSWORD", ("api", "password"), mounted_as="api-password"),
    Variable("RABBITMQ_HOST", ("queue", "host")),
    Variable("RABBITMQ_PORT", ("queue", "port"), Kind.WHOLE_NUMBER),
    Variable("RABBITMQ_USER", ("queue", "username")),
    Variable("RABBITMQ_PASSWORD", ("queue", "password"), mounted_as="broker-password"),
    Variable("RABBITMQ_QUEUE_NAME", ("queue", "name")),
    Variable("AZAION_ROOT_DIR", ("directories", "root")),
    Variable("AZAION_DATA_DIR", ("directories", "data")),
    Variable("AZAION_DATA_SEED_DIR", ("directories", "dataSeed")),
    Variable("AZAION_DATA_DELETED_DIR", ("directories", "dataDeleted")),
    Variable("TRAINING_MODEL", ("training", "model")),
    Variable("TRAINING_EPOCHS", ("training", "epochs"), Kind.WHOLE_NUMBER),
    Variable("TRAINING_BATCH_SIZE", ("training", "batchSize"), Kind.WHOLE_NUMBER),
    Variable("TRAINING_IMGSZ", ("training", "imageSize"), Kind.WHOLE_NUMBER),
    Variable("TRAINING_SAVE_PERIOD", ("training", "savePeriod"), Kind.WHOLE_NUMBER),
    Variable("TRAINING_WORKERS", ("training", "workers"), Kind.WHOLE_NUMBER),
    Variable("EXPORT_ONNX_IMGSZ", ("export", "onnx", "imageSize"), Kind.WHOLE_NUMBER),
)
"""The variables that stand for a setting of config.yaml."""

PUBLISHING_SECRETS: Final = (
    Variable("AZAION_HARDWARE", (), mounted_as="hardware"),
    Variable("AZAION_HARDWARE_PREFIX", (), mounted_as="hardware-prefix"),
    Variable("AZAION_HARDWARE_SUFFIX", (), mounted_as="hardware-suffix"),
    Variable("AZAION_API_KEY_SALT", (), mounted_as="api-key-salt"),
    Variable("AZAION_MODEL_PHRASE", (), mounted_as="model-phrase"),
)
"""Needed as soon as publishing is on; config.yaml has no place for them."""

BY_PATH: Final = {variable.path: variable for variable in VARIABLES}
