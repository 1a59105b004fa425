"""The configuration as a whole, and how it is put together."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import SecretStr, ValidationError

from azaion_jobs.config._errors import ConfigError
from azaion_jobs.config._model import Api, Directories, Export, Queue, Section, Training
from azaion_jobs.config._problems import sentences
from azaion_jobs.config._sources import put, read_document, read_secrets, read_variables
from azaion_jobs.config._variables import VARIABLES
from azaion_jobs.tree import Tree

CONFIG_FILE: Final = Path("/etc/azaion/config.yaml")
CONFIG_VARIABLE: Final = "AZAION_CONFIG"
SECRETS_DIRECTORY: Final = Path("/etc/azaion/secrets")

# Set in every container of a pod by the kubelet.
_POD_VARIABLE = "KUBERNETES_SERVICE_HOST"


class Config(Section):
    """All settings of an installation: the only reader of config.yaml, the only source of paths."""

    api: Api = Api()
    queue: Queue = Queue()
    directories: Directories = Directories()
    training: Training = Training()
    export: Export = Export()

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        environ: Mapping[str, str] = os.environ,
        *,
        secrets: Path = SECRETS_DIRECTORY,
    ) -> Self:
        """Read `path`, else the file that AZAION_CONFIG names, else /etc/azaion/config.yaml.

        Outside a cluster a variable wins over the file, the file over the default. In a pod the variables are
        not read: nobody sets them there on purpose, but a Service called `rabbitmq` makes Kubernetes set
        RABBITMQ_PORT to something that is no port. Secrets come from the mounted files first, and have no
        default. Loading again reads everything again, which is how a rotated secret is picked up.

        Raises ConfigError with a sentence for each problem.
        """
        problems: list[str] = []
        in_pod = _POD_VARIABLE in environ
        chosen = path or environ.get(CONFIG_VARIABLE)
        file = Path(chosen or CONFIG_FILE)
        document = read_document(file, problems, required=bool(chosen) or in_pod)
        found = [] if in_pod else list(read_variables(environ, problems))
        # The later one wins.
        found += read_secrets(secrets, problems)
        origins: dict[tuple[str, ...], str] = {(): str(file)}
        for one in found:
            if put(document, one):
                origins[one.variable.path] = one.origin
        config = cls._validated(document, origins, problems)
        if config is None or problems:
            raise ConfigError(problems)
        return config

    @classmethod
    def _validated(
        cls, document: dict[Any, Any], origins: Mapping[tuple[str, ...], str], problems: list[str]
    ) -> Self | None:
        try:
            return cls.model_validate(document, by_alias=True, by_name=False)
        except ValidationError as error:
            problems += sentences(error, cls, origins)
            return None

    @property
    def tree(self) -> Tree:
        """Every path of this installation."""
        names = self.directories
        return Tree(
            root=Path(names.root),
            data_name=names.data,
            data_seed_name=names.data_seed,
            data_deleted_name=names.data_deleted,
        )

    def require(self, *settings: str) -> None:
        """Raise ConfigError naming each of these secrets (`api.email`, …) that is not there.

        For components to call at their start: each needs only its own secrets.
        """
        secrets = self._secrets()
        unknown = set(settings) - set(secrets)
        if unknown:
            msg = f"{', '.join(sorted(unknown))} is not a secret of config.yaml"
            raise ValueError(msg)
        missing = [
            f"{variable.setting} ({variable.name}) is missing; put it into the Secret as"
            f" {variable.mounted_as} or, outside the cluster, set the variable."
            for variable in VARIABLES
            if variable.setting in settings and secrets[variable.setting] is None
        ]
        if missing:
            raise ConfigError(missing)

    def secret_values(self) -> tuple[str, ...]:
        """The values that no log line may show."""
        return tuple(secret.get_secret_value() for secret in self._secrets().values() if secret is not None)

    def _secrets(self) -> dict[str, SecretStr | None]:
        document = self.model_dump(by_alias=True)
        return {
            variable.setting: document[variable.path[0]][variable.path[1]]
            for variable in VARIABLES
            if variable.is_secret
        }
