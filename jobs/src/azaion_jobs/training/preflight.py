"""What is checked before anything starts, so that what must fail fails within seconds, in one sentence.

`look` gathers the facts, `check` and `workers_that_fit` judge them without looking at anything.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azaion_jobs.contract import ExitCode, RunSpec
from azaion_jobs.dataset.manifest import read, trainable, verify
from azaion_jobs.training.machine import Gpus, Space, memory_limit
from azaion_jobs.tree import DATASETS, MODELS, DatasetFolder, ModelsFolder

VALIDATION_WORKERS: Final = 8
"""No more validate, whatever the run asks for: they cost shared memory for the rest of the training."""

_BYTES_KEPT: Final = 10
"""A checkpoint of an epoch, per parameter."""
_BYTES_INSIDE: Final = 16
"""A checkpoint inside an epoch, per parameter: it has optimizer and averaged weights in full precision."""
_SPARE_BYTES: Final = 10**9
_SPARE_INODES: Final = 10_000
_PROCESS_BYTES: Final = 4 * 10**9
"""What a training needs of the pod's memory besides shared memory."""

# Parameters of the sizes of a model family, for models without a file to weigh.
_SIZE: Final = re.compile(r"yolo\D*\d+([nsmlx])")
_PARAMETERS: Final = {"n": 3_000_000, "s": 11_000_000, "m": 26_000_000, "l": 44_000_000, "x": 70_000_000}
_UNKNOWN_MODEL: Final = 70_000_000

DatasetProblems = Callable[[Path, str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why nothing is started."""

    exit_code: ExitCode
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the checks look at; None is what could not be found out."""

    dataset_problems: Sequence[str]
    train_images: int
    valid_images: int
    gpu_memory: tuple[int, ...] | None
    shared_memory: int | None
    memory_limit: int | None
    cpus: int
    disk: Space | None
    checkpoint_bytes: int
    """What the run's own checkpoints take already: they are replaced, not added to."""
    parameters: int


def look(  # noqa: PLR0913 - each is one thing to look at
    spec: RunSpec,
    *,
    shared_memory: Path,
    cgroups: Path,
    gpus: Gpus,
    space: Callable[[Path], Space | None],
    dataset_problems: DatasetProblems,
) -> Facts:
    """Gather the facts."""
    dataset = DatasetFolder(Path(spec.root) / DATASETS / spec.dataset)
    models = ModelsFolder(Path(spec.root) / MODELS)
    run = models.run(spec.model_directory)
    shared = space(shared_memory)
    return Facts(
        dataset_problems=dataset_problems(dataset.root, spec.dataset_hash),
        train_images=_entries(dataset.split("train").images),
        valid_images=_entries(dataset.split("valid").images),
        gpu_memory=gpus.memory_used() if spec.training.gpus else (),
        shared_memory=shared.bytes if shared else None,
        memory_limit=memory_limit(cgroups),
        cpus=os.cpu_count() or 1,
        disk=space(run.root),
        checkpoint_bytes=_folder_bytes(run.weights),
        parameters=_parameters(models, spec.training.model),
    )


def check(spec: RunSpec, facts: Facts) -> Problem | None:
    """The first thing that forbids a start."""
    if facts.dataset_problems:
        return Problem(ExitCode.BAD_DATA, "BadDataset", facts.dataset_problems[0])
    if facts.gpu_memory is not None and len(facts.gpu_memory) < spec.training.gpus:
        return Problem(
            ExitCode.GPU_FAULT,
            "GpuMissing",
            f"The run asks for {spec.training.gpus} GPUs, but this pod sees {len(facts.gpu_memory)}; "
            "look at the node's driver, or set gpus to 0 to train on the CPU.",
        )
    return _disk_problem(spec, facts)


def disk_needed(spec: RunSpec, parameters: int) -> int:
    """The bytes that a run's checkpoints can take at the worst moment."""
    kept = (spec.checkpoints.keep + 2) * _BYTES_KEPT
    return (kept + 4 * _BYTES_INSIDE) * parameters + _SPARE_BYTES


def shared_memory_needed(spec: RunSpec, workers: int, facts: Facts) -> int:
    """The bytes that the loaders' batches take in /dev/shm.

    Each worker has batches in flight in training and in validation, where batches are twice as large, padded,
    and where twice the workers are at work, up to a limit. Both loaders live at once.
    """
    batch, size = spec.training.batch_size, spec.training.image_size
    batches = -(-facts.train_images // batch)
    validation_batches = -(-facts.valid_images // (2 * batch))
    training_workers = min(facts.cpus, workers, batches)
    validation_workers = min(facts.cpus, 2 * workers, validation_batches, VALIDATION_WORKERS)
    if not workers:
        return 0
    training = 3 * batch * size**2 * (4 * training_workers + 1)
    validation = 3 * 2 * batch * (size + 32) ** 2 * 2 * validation_workers
    return training + validation


def workers_that_fit(spec: RunSpec, workers: int, facts: Facts) -> int:
    """As many of `workers` as shared memory and the pod's memory limit allow."""
    rooms = [room for room in (facts.shared_memory, _memory_left(facts)) if room is not None]
    if not rooms:
        return workers
    while workers and shared_memory_needed(spec, workers, facts) > min(rooms):
        workers -= 1
    return workers


def dataset_problems(folder: Path, expected_hash: str) -> list[str]:
    """Why the dataset in this folder cannot be trained on: every file of it against its manifest."""
    return verify(folder, expected_hash) or trainable(read(folder))


def base_model_problem(spec: RunSpec) -> str:
    """Why a fresh run has no weights to start from; empty if it has, or needs none."""
    name, models = spec.training.model, ModelsFolder(Path(spec.root) / MODELS)
    if spec.start_from is not None or name.endswith((".yaml", ".yml")):
        return ""
    for path in _weights_of(models, name):
        if path.is_file():
            return "" if path.stat().st_size else f"The model {path} is empty; put it there again."
    return f"The model {name} is not there: put it at {models.base(name)}."


def _disk_problem(spec: RunSpec, facts: Facts) -> Problem | None:
    if facts.disk is None:
        return None
    needed = disk_needed(spec, facts.parameters)
    there = facts.disk.bytes + facts.checkpoint_bytes
    if there < needed:
        return Problem(
            ExitCode.STORAGE_FAULT,
            "DiskTooFull",
            f"The checkpoints of this run can take {needed / 1e9:.1f} GB, but {spec.root} has "
            f"{there / 1e9:.1f} GB for them; make room.",
        )
    if facts.disk.inodes is not None and facts.disk.inodes < _SPARE_INODES:
        return Problem(
            ExitCode.STORAGE_FAULT,
            "InodesTooFew",
            f"{spec.root} has {facts.disk.inodes} free inodes, but {_SPARE_INODES} are needed; remove files.",
        )
    return None


def _memory_left(facts: Facts) -> int | None:
    return None if facts.memory_limit is None else max(0, facts.memory_limit - _PROCESS_BYTES)


def _entries(folder: Path) -> int:
    try:
        with os.scandir(folder) as found:
            return sum(1 for entry in found if not entry.name.startswith("."))
    except OSError:
        return 0


def _folder_bytes(folder: Path) -> int:
    try:
        with os.scandir(folder) as found:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in found)
    except OSError:
        return 0


def _parameters(models: ModelsFolder, name: str) -> int:
    for path in _weights_of(models, name):
        try:
            # Weights alone are stored in half precision.
            return path.stat().st_size // 2
        except OSError:
            continue
    size = _SIZE.match(name)
    return _PARAMETERS[size[1]] if size else _UNKNOWN_MODEL


def _weights_of(models: ModelsFolder, name: str) -> tuple[Path, ...]:
    """Where a model of this name may lie: by itself, or as a dated one in either layout."""
    dated = models.run(name)
    return (models.base(name), dated.best, dated.root / dated.best.name)
