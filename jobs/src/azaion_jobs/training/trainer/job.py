"""What is to be trained: run.json and the command line, in the words of ultralytics."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from azaion_jobs.contract.run import RunSpec, RunSpecError, StartFrom
from azaion_jobs.training import base_model
from azaion_jobs.training.trainer.failures import DataError, SpecError
from azaion_jobs.tree import DATASETS, MODELS, DatasetFolder, ModelsFolder, RunFolder

MOST_VALIDATION_WORKERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One start of the trainer."""

    spec: RunSpec
    folder: RunFolder
    fence: int
    batch_size: int
    resume: Path | None = None
    """The state to go on from; without one training starts from the base weights."""
    learning_rate_scale: float = 1.0
    """Of the rate that was asked for, not of the one before."""
    validation_batch: int | None = None
    """Twice the batch size where it is not given."""

    @classmethod
    def read(cls, arguments: argparse.Namespace) -> Self:
        """The job of a command line; SpecError says what is wrong with run.json."""
        try:
            spec = RunSpec.from_json(arguments.run.read_bytes())
        except (OSError, RunSpecError) as error:
            msg = f"{arguments.run} cannot be used: {error}"
            raise SpecError(msg) from error
        return cls(
            spec=spec,
            folder=RunFolder(arguments.directory),
            fence=arguments.fence,
            batch_size=arguments.batch_size,
            resume=arguments.resume,
            learning_rate_scale=arguments.learning_rate_scale,
            validation_batch=arguments.validation_batch,
        )

    @property
    def dataset(self) -> DatasetFolder:
        """The dataset to train on."""
        return DatasetFolder(Path(self.spec.root) / DATASETS / self.spec.dataset)

    @property
    def models(self) -> ModelsFolder:
        """Where base models lie."""
        return ModelsFolder(Path(self.spec.root) / MODELS)

    @property
    def workers(self) -> int:
        """Loader workers: as many as asked for, but no more than there are processors for them."""
        return min(self.spec.training.workers, len(os.sched_getaffinity(0)))

    @property
    def continued(self) -> Path | None:
        """The last state of another run that this one goes on from, at its first start."""
        start = self.spec.start_from
        if self.resume is not None or start is None or start.checkpoint != "last":
            return None
        final = self.models.run(_directory(start)).final
        return final if final.is_file() else None

    def base(self) -> base_model.Source:
        """The model that training starts from."""
        start = self.spec.start_from
        if start is None:
            return base_model.find(self.models, self.spec.training.model)
        best = start.checkpoint == "best"
        directory = _directory(start)
        file = base_model.of_dated(self.models, directory, best=best)
        return base_model.Source(directory, file)

    def overrides(self) -> dict[str, Any]:
        """The arguments of ultralytics; the base model is copied into the run directory on the way."""
        training = self.spec.training
        if not self.dataset.description.is_file():
            msg = f"The dataset {self.spec.dataset} has no {self.dataset.description.name}; form it anew."
            raise DataError(msg)
        self.folder.weights.mkdir(parents=True, exist_ok=True)
        source = self.base()
        model = base_model.place(source, self.folder)
        return {
            **training.hyperparameters,
            "task": "detect",
            "model": str(model or source.name),
            "data": str(self.dataset.description),
            "epochs": training.epochs,
            "batch": self.batch_size,
            "imgsz": training.image_size,
            "save_period": training.save_period,
            "workers": self.workers,
            "seed": training.seed,
            "device": "0" if training.gpus else "cpu",
            "save_dir": str(self.folder.root),
            "exist_ok": True,
            "plots": False,
            "verbose": False,
        }


def _directory(start: StartFrom) -> str:
    if not start.model_directory:
        msg = f"startFrom.modelDirectory is empty: run.json must name the directory of the run {start.run}."
        raise SpecError(msg)
    return start.model_directory
