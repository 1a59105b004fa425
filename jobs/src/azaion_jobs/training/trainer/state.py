"""The whole state of a training between two optimizer steps: into a checkpoint and back.

Everything that the next batch depends on and that cannot be computed from (seed, epoch, batch): live and
averaged weights, optimizer, scaler, the criterion's decay, early stopping, loss sums, and results.csv. Random
generators are not in it, since every sample and every batch seeds them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from ultralytics.utils.torch_utils import unwrap_model

from azaion_jobs.training.checkpoints import Stage
from azaion_jobs.training.durable import write_durably
from azaion_jobs.training.trainer.failures import DataError

VERSION: Final = 1
# What the loss of models with two heads changes from epoch to epoch.
_CRITERION: Final = ("updates", "o2m", "o2o")

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """How far training has come."""

    epoch: int
    """The one that runs, from 0; after a whole epoch, the next one."""
    batch: int
    """Batches of it that are done."""
    samples: int
    """Samples of it that are done."""
    stage: Stage

    @classmethod
    def of(cls, state: State) -> Self:
        """Where the state was taken."""
        return cls(state["epoch"], state["batch"], state["samples"], Stage(state["stage"]))


def load(path: Path) -> State:
    """Read a state; nothing in the file is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        msg = f"The state {path} is not there."
        raise DataError(msg) from None
    except Exception as error:
        # Whatever pickle, zip or torch make of a file that is no state.
        msg = f"The state {path} cannot be read: {error}"
        raise DataError(msg) from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        msg = f"The file {path} is not the state of a training, or of another version of this software."
        raise DataError(msg)
    return state


def take(trainer: Any, position: Position) -> State:  # noqa: ANN401 - ultralytics has no types
    """The trainer's state; tensors are not copied, so write it before the next step."""
    model = unwrap_model(trainer.model)
    return {
        "version": VERSION,
        "epoch": position.epoch,
        "batch": position.batch,
        "samples": position.samples,
        "stage": position.stage.value,
        "stopped_early": bool(trainer.stop) and position.epoch < trainer.epochs,
        "epochs": trainer.epochs,
        "close_mosaic": trainer.args.close_mosaic,
        "images": len(trainer.train_loader.sampler),
        "batch_size": trainer.batch_size,
        "learning_rate_scale": trainer.job.learning_rate_scale,
        # What 'auto' has become: with another batch size it could become something else.
        "pinned": {name: getattr(trainer.args, name) for name in ("optimizer", "lr0", "warmup_bias_lr")},
        "amp": trainer.args.amp if trainer.amp else False,
        "model": model.state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "criterion": {name: value for name, value in vars(model.criterion).items() if name in _CRITERION},
        "best_fitness": None if trainer.best_fitness is None else float(trainer.best_fitness),
        "stopper": {name: float(value) for name, value in vars(trainer.stopper).items()},
        "mean": trainer.mean,
        "loss": trainer.loss.detach(),
        "loss_items": trainer.loss_items,
        "results": trainer.csv.read_text(encoding="utf-8") if trainer.csv.exists() else "",
    }


def put_back(trainer: Any, state: State) -> None:  # noqa: ANN401
    """Let a trainer that has been set up go on as the one whose state was taken."""
    model = unwrap_model(trainer.model)
    try:
        model.load_state_dict(state["model"])
        trainer.ema.ema.load_state_dict(state["ema"])
        trainer.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        msg = f"The state is that of another model: {str(error).splitlines()[0]}"
        raise DataError(msg) from error
    trainer.ema.updates = state["updates"]
    if state["scaler"]:
        trainer.scaler.load_state_dict(state["scaler"])
    model.criterion = model.init_criterion()  # type: ignore[operator]  # a module's attributes have no types
    vars(model.criterion).update(state["criterion"])


def put_back_results(trainer: Any, state: State) -> None:  # noqa: ANN401
    """What the same run measured so far; another run that starts from the state measures anew."""
    trainer.best_fitness = state["best_fitness"]
    vars(trainer.stopper).update(state["stopper"])

    def here(parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: part.to(trainer.device) for name, part in parts.items()}

    trainer.mean, trainer.loss_items = here(state["mean"]), here(state["loss_items"])
    trainer.loss, trainer.loss_names = state["loss"].to(trainer.device), tuple(state["loss_items"])
    if state["results"]:
        write_durably(trainer.csv, state["results"].encode())
    else:
        trainer.csv.unlink(missing_ok=True)


def is_finite(*modules: torch.nn.Module) -> bool:
    """Whether every weight and every buffer is a number."""
    checks = [
        value.isfinite().all()
        for module in modules
        for value in module.state_dict().values()
        if value.is_floating_point()
    ]
    return bool(torch.stack(checks).all())
