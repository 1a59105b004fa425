"""ultralytics' trainer, made to stop at any step and to go on as if it never had.

What it changes: samples, augmentation and optimizer steps depend on the position in training alone; the whole
state is saved after optimizer steps; whatever ultralytics does by itself about NaN and memory is off, since
that is for the supervisor to decide.
"""

import logging
import math
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from ultralytics.utils.torch_utils import unwrap_model

from azaion_jobs.contract.messages import (
    Best,
    Checkpoint,
    CheckpointFailed,
    Epoch,
    Finished,
    FinishedStatus,
    Started,
    Step,
    Validating,
)
from azaion_jobs.training.checkpoints import CheckpointStore, CheckpointWriteError, Stage, Status
from azaion_jobs.training.trainer import finish, sampling, scan, state
from azaion_jobs.training.trainer.failures import DataError, DivergedError, SpecError
from azaion_jobs.training.trainer.job import MOST_VALIDATION_WORKERS, TrainingJob
from azaion_jobs.training.trainer.reporter import Reporter, now
from azaion_jobs.training.trainer.schedule import Schedule
from azaion_jobs.training.trainer.state import Position, State
from azaion_jobs.training.trainer.stopping import StopRequest
from azaion_jobs.training.trainer.weights import Captured, WeightFiles

# ultralytics' own count of reductions, at which it raises instead of halving the batch once more.
_NO_OOM_RETRIES_LEFT: Final = 3
_MOST_WARNINGS: Final = 3
FINISHED_WORDS: Final[dict[Status, FinishedStatus]] = {
    Status.FINISHED: "finished",
    Status.STOPPED_EARLY: "stoppedEarly",
}

if TYPE_CHECKING:
    # Half of its attributes begin as None; without types it needs no exceptions below.
    from typing import Any as DetectionTrainer
else:
    from ultralytics.models.yolo.detect import DetectionTrainer

_log = logging.getLogger("azaion_jobs.trainer")


class ResumableTrainer(DetectionTrainer):  # type: ignore[misc]  # see the import
    """Trains one job from wherever its state is; `train()` returns when the run is finished and sealed."""

    # Theirs, as far as they are set here.
    accumulate: int
    save_period: int
    last: Any
    best: Any
    tloss: Any

    def __init__(
        self, job: TrainingJob, *, store: CheckpointStore, reporter: Reporter, stop: StopRequest
    ) -> None:
        self.job = job
        self.store = store
        self.reporter = reporter
        self.stop_request = stop
        self.validating = False
        self.mean: dict[str, torch.Tensor] | None = None
        self._state = _state_to_start_from(job)
        # Then the state is that of another run, and what it measured is not ours.
        self._continued = job.continued is not None
        self._start = Position(0, 0, 0, Stage.EPOCH)
        self._position_batch = -1
        self._first_batch = 0
        self._planned: frozenset[int] = frozenset()
        self._saved = self._epoch_began = self._batch_ended = self._batch_began = now()
        self._failed_callbacks: dict[str, int] = defaultdict(int)
        self._own = {
            "on_train_start": self._tell_start,
            "on_train_batch_start": self._note_batch_start,
            "on_train_batch_end": self._after_batch,
            "on_train_epoch_end": self._after_batches,
        }
        overrides = job.overrides()
        if self._state is not None:
            overrides |= self._state["pinned"] | {"amp": self._state["amp"]}
        super().__init__(overrides=overrides)
        # On a processor ultralytics would allow none.
        self.args.workers = job.workers
        self.weights = WeightFiles(job.folder, keep=job.spec.checkpoints.keep)
        self.add_callback("on_val_start", lambda validator: self._during_validation(validator, 0))
        self.add_callback(
            "on_val_batch_end", lambda validator: self._during_validation(validator, validator.batch_i + 1)
        )

    # -- data

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:  # noqa: ANN401
        """For training a loader that goes by the position alone, for validation ultralytics' own."""
        split = "train" if mode == "train" else "valid"
        if mode == "train":
            with scan.told(self.reporter):
                dataset = self.build_dataset(dataset_path, mode, batch_size)
            exact = self.job.spec.checkpoints.exact
            if exact == "strict":
                sampling.draw_partners_from_all(dataset, self.args)
            loader: Any = sampling.EpochLoader(
                dataset,
                batch_size=min(batch_size, len(dataset)),
                workers=self.args.workers,
                seed=self.args.seed,
                seeded=exact != "off",
            )
        else:
            # ultralytics doubles the number of workers for validation, and they stay.
            workers, self.args.workers = (
                self.args.workers,
                min(self.args.workers, MOST_VALIDATION_WORKERS) // 2,
            )
            with scan.told(self.reporter):
                loader = super().get_dataloader(
                    dataset_path, self.job.validation_batch or batch_size, rank, mode
                )
            self.args.workers = workers
        scan.check(loader.dataset, Path(dataset_path), split=split)
        return loader

    def setup_model(self) -> Any:  # noqa: ANN401
        """Load or build the model that training starts from."""
        try:
            return super().setup_model()
        except Exception as error:
            msg = f"The model {self.job.spec.training.model} cannot be loaded: {error}"
            raise DataError(msg) from error

    # -- schedule

    def _build_train_pipeline(self) -> None:
        super()._build_train_pipeline()
        batches = len(self.train_loader)
        self.schedule = Schedule(
            batches=batches,
            accumulate=self.accumulate,
            warmup=super()._get_warmup_iterations(batches),
        )
        # The loop is to offer a step after every batch.
        self.accumulate = 1

    def _get_warmup_iterations(self, num_batches: int) -> int:  # noqa: ARG002 - the signature is theirs
        """None for the loop, which counts from where this process started."""
        return 0

    def _warm_up(self) -> None:
        """Rate and momentum for the batch at hand, or for the last one where none is left."""
        batch = self._position_batch
        if batch < 0 or not self.schedule.warming(self.epoch, batch):
            return
        for group in self.optimizer.param_groups:
            low = self.args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
            high = group["initial_lr"] * self.lf(self.epoch)
            group["lr"] = self.schedule.ramp(self.epoch, batch, low, high)
            if "momentum" in group:
                momentum = (self.args.warmup_momentum, self.args.momentum)
                group["momentum"] = self.schedule.ramp(self.epoch, batch, *momentum)

    def optimizer_step(self) -> None:
        """Step where the plan of this epoch says so."""
        if self._position_batch in self._planned:
            super().optimizer_step()

    # -- the loop

    def run_callbacks(self, event: str) -> None:
        """Our own part of the event, then the integrations', which may fail without harm."""
        if event in self._own:
            self._own[event]()
        for callback in self.callbacks.get(event, []):
            try:
                callback(self)
            except Exception:  # noqa: BLE001 - no picture is worth a training
                self._failed_callbacks[event] += 1
                if self._failed_callbacks[event] <= _MOST_WARNINGS:
                    _log.warning("A callback of %s failed; training goes on", event, exc_info=True)

    def _do_train(self) -> None:
        if self._state is not None and not self._continued and self._is_over(self._state):
            self._setup_train()
            self.epoch = self.start_epoch - 1
            self.final_eval()
            return
        super()._do_train()

    def _model_train(self) -> None:
        """Called at the start of each epoch, before its loader is asked for batches."""
        super()._model_train()
        self._oom_retries = _NO_OOM_RETRIES_LEFT
        self._epoch_began = self._batch_ended = now()
        done, self._start = self._start.samples, Position(0, 0, 0, Stage.EPOCH)
        first = self.train_loader.begin(self.epoch, done)
        if done == 0:
            self.mean = None
        self._first_batch, self._position_batch = first, first - 1
        self._planned = self.schedule.steps(self.epoch)
        # A state taken before a validation has no batch left that would set the rate.
        self._warm_up()

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The first thing that happens to a batch."""
        self._position_batch += 1
        self._warm_up()
        if self.job.spec.checkpoints.exact != "off":
            torch.manual_seed(sampling.reseed(self.args.seed, "batch", self.epoch, self._position_batch))
        prepared: dict[str, Any] = super().preprocess_batch(batch)
        return prepared

    def _note_batch_start(self) -> None:
        self._batch_began = now()

    def _after_batch(self) -> None:
        batch = self._position_batch
        loss = float(self.loss.detach())
        if not math.isfinite(loss):
            msg = f"The loss is {loss} in batch {batch + 1} of epoch {self.epoch + 1}."
            raise DivergedError(msg)
        before = self.mean
        self.mean = self.tloss = {
            name: part if before is None else (before[name] * batch + part) / (batch + 1)
            for name, part in self.loss_items.items()
        }
        self._tell_step(batch)
        if batch in self._planned and self._is_time_to_save(batch):
            done = self.train_loader.done_after(batch + 1 - self._first_batch)
            whole = batch + 1 == self.schedule.batches
            self._save(Position(self.epoch, batch + 1, done, Stage.VALIDATE if whole else Stage.TRAIN))
            self.stop_request.leave_if_wanted()
        self._batch_ended = now()

    def _is_time_to_save(self, batch: int) -> bool:
        seconds = self.job.spec.checkpoints.every_minutes * 60
        by_time = seconds > 0 and now() - self._saved >= seconds
        return by_time or self.stop_request.wanted or batch + 1 == self.schedule.batches

    def _after_batches(self) -> None:
        # The loop has begun a new sum where it began in the middle.
        self.tloss = self.mean
        self.stop_request.leave_if_wanted()

    def validate(self) -> Any:  # noqa: ANN401
        """Measure the averaged weights; a failure in here is told apart from one in training."""
        self.validating = True
        measured = super().validate()
        self.validating = False
        return measured

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """No recovery in here: going back is the supervisor's decision."""
        if self.fitness is not None and not math.isfinite(self.fitness):
            msg = f"The validation of epoch {epoch + 1} gives {self.fitness}."
            raise DivergedError(msg)
        return False

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """A row in results.csv, and the same to the supervisor."""
        super().save_metrics(metrics)
        self.reporter.send(
            Epoch(
                time=now(),
                epoch=self.epoch + 1,
                epochs=self.epochs,
                loss=sum(float(part) for part in self.tloss.values()),
                map50=float(metrics.get(finish.MAP50, 0.0)),
                map50_95=float(metrics.get(finish.MAP50_95, 0.0)),
                seconds=now() - self._epoch_began,
                lr=float(next(iter(self.lr.values()))),
            )
        )

    # -- checkpoints

    def save_model(self) -> bool:
        """The weights of this epoch in ultralytics' format, then the state that goes on after it."""
        self._refuse_broken_weights()
        self._publish_weights()
        self._save(Position(self.epoch + 1, 0, 0, Stage.EPOCH))
        if not self.stop:
            self.stop_request.leave_if_wanted()
        return True

    def _publish_weights(self) -> None:
        """What ultralytics would write three times is caught and written once."""
        captured = Captured()
        last, best, period = self.last, self.best, self.save_period
        self.last = self.best = captured
        self.save_period = 0
        try:
            super().save_model()
        finally:
            self.last, self.best, self.save_period = last, best, period
        due = period > 0 and self.epoch % period == 0
        try:
            self.weights.publish(
                captured.content or b"",
                best=self.best_fitness == self.fitness,
                epoch=self.epoch if due else None,
            )
        except OSError as error:
            self._tell_failed_write(f"The weights of epoch {self.epoch + 1} could not be written: {error}.")

    def _save(self, position: Position) -> None:
        self._refuse_broken_weights()
        taken = state.take(self, position)
        began = now()
        try:
            entry = self.store.save(
                lambda stream: torch.save(taken, stream),
                epoch=position.epoch,
                batch=position.batch,
                stage=position.stage,
            )
        except CheckpointWriteError as error:
            if self.stop_request.wanted:
                raise
            self._tell_failed_write(str(error))
        else:
            self.reporter.send(
                Checkpoint(
                    time=now(),
                    epoch=entry.epoch,
                    batch=entry.batch,
                    stage=entry.stage.value,
                    file=entry.file,
                    size=entry.size,
                    seconds=now() - began,
                    sha256=entry.sha256,
                )
            )
        self._saved = now()

    def _refuse_broken_weights(self) -> None:
        if not state.is_finite(unwrap_model(self.model), self.ema.ema):
            msg = f"A weight is no longer a number in epoch {self.epoch + 1}; nothing is saved."
            raise DivergedError(msg)

    def _is_over(self, taken: State) -> bool:
        at_epoch = taken["stage"] in (Stage.EPOCH, Stage.FINAL)
        return at_epoch and (taken["stopped_early"] or taken["epoch"] >= self.epochs)

    def resume_training(self, ckpt: object) -> None:  # noqa: ARG002 - the signature is theirs
        """Called at the end of the set-up: bring everything to where the state was taken."""
        taken, self._state = self._state, None
        if taken is None:
            self._scale_rates(self.job.learning_rate_scale)
            return
        if not self._continued and taken["images"] != len(self.train_loader.sampler):
            msg = (
                f"The state was taken on {taken['images']} training images, the dataset has "
                f"{len(self.train_loader.sampler)}: it is not the dataset this run began with."
            )
            raise DataError(msg)
        decays = {group.get("param_group"): group["weight_decay"] for group in self.optimizer.param_groups}
        state.put_back(self, taken)
        if not self._continued:
            state.put_back_results(self, taken)
        if taken["batch_size"] != self.batch_size:
            # Together with accumulation the decay depends on the batch size.
            for group in self.optimizer.param_groups:
                group["weight_decay"] = decays[group.get("param_group")]
        self._scale_rates(self.job.learning_rate_scale / taken["learning_rate_scale"])
        self._start = Position.of(taken)
        self.start_epoch = self._start.epoch

    def _scale_rates(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["initial_lr"] *= factor
        self.scheduler.base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]

    def _setup_train(self) -> None:
        if self._state is not None:
            _check_epochs(self._state, epochs=self.epochs, continued=self._continued)
        super()._setup_train()

    # -- the end

    def final_eval(self) -> None:
        """Enter the end, then finish on copies."""
        self.stop_request.end_deferral()
        status = Status.STOPPED_EARLY if self.epoch + 1 < self.epochs else Status.FINISHED
        self.store.finish(status)
        measured = finish.complete(self.job.folder, self.store, self._measure)
        best = Best(map50=measured[finish.MAP50], map50_95=measured[finish.MAP50_95])
        word = FINISHED_WORDS[status]
        self.reporter.send(Finished(time=now(), status=word, best=best))

    def _measure(self, weights: Path) -> dict[str, float]:
        self.validator.args.plots = False
        self.validator.args.compile = False
        self.validating = True
        measured: dict[str, float] = self.validator(model=str(weights))
        self.validating = False
        return measured

    # -- what is told

    def _tell_start(self) -> None:
        self._saved = now()
        self.stop_request.defer()
        self.reporter.send(
            Started(
                time=now(),
                batch_size=self.batch_size,
                batches=self.schedule.batches,
                epochs=self.epochs,
                epoch=self.start_epoch,
                batch=self.schedule.batches
                - math.ceil(
                    (len(self.train_loader.sampler) - self._start.samples) / self.train_loader.batch_size
                ),
                device=str(self.device),
                cuda=self.device.type == "cuda",
                parameters=sum(part.numel() for part in unwrap_model(self.model).parameters()),
            )
        )

    def _tell_step(self, batch: int) -> None:
        self.reporter.send(
            Step(
                time=now(),
                epoch=self.epoch + 1,
                batch=batch + 1,
                batches=self.schedule.batches,
                loss=sum(float(part) for part in self.loss_items.values()),
                step_seconds=now() - self._batch_ended,
                wait_seconds=self._batch_began - self._batch_ended,
            )
        )

    def _during_validation(self, validator: Any, batch: int) -> None:  # noqa: ANN401
        # Whatever was to be saved was saved after the epoch's last step.
        self.stop_request.leave_if_wanted()
        self.reporter.send(
            Validating(time=now(), epoch=self.epoch + 1, batch=batch, batches=len(validator.dataloader))
        )

    def _tell_failed_write(self, reason: str) -> None:
        _log.error("%s Training goes on", reason)
        self.reporter.send(CheckpointFailed(time=now(), reason=reason))


def _state_to_start_from(job: TrainingJob) -> State | None:
    path = job.resume or job.continued
    return None if path is None else state.load(path)


def _check_epochs(taken: State, *, epochs: int, continued: bool) -> None:
    """More epochs change the schedule of what is still to come, but cannot reopen what has been closed."""
    if continued:
        if epochs <= taken["epoch"]:
            msg = (
                f"The run it starts from has {taken['epoch']} epochs; training.epochs must be more than that."
            )
            raise SpecError(msg)
        return
    raised = epochs > taken["epochs"]
    if raised and taken["close_mosaic"] and taken["epoch"] >= taken["epochs"] - taken["close_mosaic"]:
        msg = (
            f"training.epochs cannot be raised from {taken['epochs']} to {epochs} any more: mosaic is closed "
            f"for the last {taken['close_mosaic']} epochs, and they have begun. Start a new run from it."
        )
        raise SpecError(msg)
