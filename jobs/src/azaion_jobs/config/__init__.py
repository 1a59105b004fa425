"""Settings and paths: the only reader of config.yaml, the only source of paths."""

from azaion_jobs.config._config import CONFIG_FILE, CONFIG_VARIABLE, SECRETS_DIRECTORY, Config
from azaion_jobs.config._errors import ConfigError
from azaion_jobs.config._model import Api, Directories, Export, Onnx, Queue, Split, Training
from azaion_jobs.config._variables import PUBLISHING_SECRETS, VARIABLES, Kind, Variable
from azaion_jobs.tree import AnnotationFolder, DatasetFolder, ModelsFolder, QueueFolder, RunFolder, Tree

__all__ = [
    "CONFIG_FILE",
    "CONFIG_VARIABLE",
    "PUBLISHING_SECRETS",
    "SECRETS_DIRECTORY",
    "VARIABLES",
    "AnnotationFolder",
    "Api",
    "Config",
    "ConfigError",
    "DatasetFolder",
    "Directories",
    "Export",
    "Kind",
    "ModelsFolder",
    "Onnx",
    "Queue",
    "QueueFolder",
    "RunFolder",
    "Split",
    "Training",
    "Tree",
    "Variable",
]
