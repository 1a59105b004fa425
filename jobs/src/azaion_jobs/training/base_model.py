"""The model a training starts from: found by name, copied into the run directory, known by its hash.

Standard library only. Every start trains from the copy: `azaion.pt` can change while a run lasts.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from azaion_jobs.training.durable import copy_durably, sha256_of, write_durably
from azaion_jobs.tree import ModelsFolder, RunFolder

COPY: Final = "base.pt"
DESCRIPTION: Final = "base.json"

_DATED = re.compile(r"azaion-\d{4}-\d{2}-\d{2}(-\d+)?")
_ARCHITECTURE = (".yaml", ".yml")


class BaseModelError(Exception):
    """The model to start from is not there or not what it was; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model name leads. Without a file the model is built from the architecture of that name."""

    name: str
    file: Path | None


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What a run starts from."""

    name: str
    source: str
    size: int
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What an earlier start noted; None if nothing that can be read."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def find(models: ModelsFolder, name: str) -> Source:
    """Where the model of this name lies.

    A `.yaml` is trained from scratch; `azaion.pt` is the current model, `azaion-DATE` the best of a dated
    one, in either layout that was ever used; everything else lies in the models folder under its own name.
    """
    if name.endswith(_ARCHITECTURE):
        own = models.base(name)
        return Source(name, own if own.is_file() else None)
    file = _dated(models, name) if _DATED.fullmatch(name) else models.base(name)
    if not file.is_file():
        msg = (
            f"The model {name} is not there: put it at {file}, or let it be fetched when the run is prepared "
            "(training.allowModelDownload)."
        )
        raise BaseModelError(msg)
    if file.stat().st_size == 0:
        msg = f"The model {file} is empty; put it there again."
        raise BaseModelError(msg)
    return Source(name, file)


def of_dated(models: ModelsFolder, directory: str, *, best: bool) -> Path:
    """The weights of a dated model: the best or the last, of this software or of the earlier one."""
    folder = models.run(directory)
    file = folder.best if best else folder.last
    wanted = (file, folder.root / file.name)
    for path in wanted:
        if path.is_file():
            return path
    msg = f"The dated model {directory} has no {wanted[0].name}: neither {wanted[0]} nor {wanted[1]} exists."
    raise BaseModelError(msg)


def place(source: Source, run: RunFolder) -> Path | None:
    """Copy the model into the run directory, or find the copy of an earlier start; None for an architecture.

    A copy that is no longer what was copied is made anew where the original still is what it was then.
    """
    if source.file is None or source.file.suffix in _ARCHITECTURE:
        return source.file
    copy, description = run.weights / COPY, run.weights / DESCRIPTION
    noted = BaseModel.read(description)
    if noted is not None and copy.is_file() and sha256_of(copy) == noted.sha256:
        return copy
    if noted is not None and sha256_of(source.file) != noted.sha256:
        msg = (
            f"The run's copy of the model {noted.name} is lost or damaged, and {source.file} has changed "
            "since it was made. Start a new run."
        )
        raise BaseModelError(msg)
    run.weights.mkdir(exist_ok=True)
    sha256 = copy_durably(source.file, copy)
    base = BaseModel(name=source.name, source=str(source.file), size=copy.stat().st_size, sha256=sha256)
    write_durably(description, json.dumps(asdict(base), indent=1).encode())
    return copy


def _dated(models: ModelsFolder, name: str) -> Path:
    return of_dated(models, name, best=True)
