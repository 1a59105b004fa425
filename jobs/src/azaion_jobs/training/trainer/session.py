"""One start of the trainer, from run.json to the exit code."""

import logging
import traceback
from collections.abc import Callable

import torch
import torchvision  # type: ignore[import-untyped]

from azaion_jobs.contract import ExitCode
from azaion_jobs.contract.messages import Failed
from azaion_jobs.training.checkpoints import CheckpointStore, Status
from azaion_jobs.training.trainer.failures import DataError, GpuError, SpecError, classify
from azaion_jobs.training.trainer.job import TrainingJob
from azaion_jobs.training.trainer.reporter import Reporter, now
from azaion_jobs.training.trainer.resumable import ResumableTrainer
from azaion_jobs.training.trainer.stopping import StopRequest

_log = logging.getLogger("azaion_jobs.trainer")


class Session:
    """Trains a job and says how it went; never raises but to leave on request."""

    def __init__(self, read_job: Callable[[], TrainingJob], *, reporter: Reporter, stop: StopRequest) -> None:
        self._read_job = read_job
        self._reporter = reporter
        self._stop = stop
        self._trainer: ResumableTrainer | None = None

    def run(self) -> ExitCode:
        """The exit code of this process; a failure has been told when it returns."""
        try:
            self._train(self._read_job())
        except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor must hear of it
            failure = classify(error, validating=self._trainer is not None and self._trainer.validating)
            _log.exception("Training failed: %s", failure.message)
            self._reporter.send(
                Failed(
                    time=now(), kind=failure.kind, message=failure.message, traceback=traceback.format_exc()
                )
            )
            return failure.exit_code
        return ExitCode.DONE

    def _train(self, job: TrainingJob) -> None:
        _check_machine(job)
        store = CheckpointStore(
            job.folder.root, fence=job.fence, attempt=job.spec.attempt, keep=job.spec.checkpoints.keep
        )
        if store.status is not Status.TRAINING and store.sealed:
            msg = f"The run in {job.folder.root} is finished; it is not trained again."
            raise DataError(msg)
        self._trainer = ResumableTrainer(job, store=store, reporter=self._reporter, stop=self._stop)
        self._trainer.train()


def _check_machine(job: TrainingJob) -> None:
    # Where torchvision does not fit torch it lacks its operators; the first validation would be too late.
    if not torchvision.extension._has_ops():  # noqa: SLF001 - there is no public way to ask
        msg = "torchvision does not fit torch: its operators are missing."
        raise RuntimeError(msg)
    gpus = job.spec.training.gpus
    if gpus > 1:
        msg = (
            f"training.gpus is {gpus}: a training on several GPUs cannot be gone on with exactly and is not "
            "supported. Set it to 1."
        )
        raise SpecError(msg)
    if gpus and not torch.cuda.is_available():
        msg = "A GPU was asked for, but CUDA finds none."
        raise GpuError(msg)
