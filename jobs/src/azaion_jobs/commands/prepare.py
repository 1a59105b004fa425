"""`prepare`: form the dataset that a run is trained on, or find the one that is already right."""

import argparse
import logging
import os
import re
import signal
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from azaion_jobs import logs
from azaion_jobs.contract import ExitCode, Outcome, Verdict

if TYPE_CHECKING:
    from azaion_jobs.dataset.assignment import Percentages
    from azaion_jobs.dataset.manifest import Manifest

TERMINATION_LOG: Final = Path("/dev/termination-log")
"""Where the kubelet reads the last words of a container."""

_SPLIT = re.compile(r"(\d{1,3})/(\d{1,3})/(\d{1,3})")

_log = logging.getLogger("azaion_jobs.prepare")


class _StopRequestedError(BaseException):
    """Somebody asked for the stop; no `except Exception` on the way may swallow it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command understands."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="config.yaml; else that of AZAION_CONFIG")
    parser.add_argument("--name", default="", help="of the dataset; without it, it is named after the day")
    parser.add_argument("--seed", type=_seed, default=0, help="of the division into splits (default 0)")
    parser.add_argument(
        "--split", type=_split, metavar="TRAIN/VALID/TEST", help="in percent; else that of the configuration"
    )
    parser.add_argument(
        "--group-by", choices=("image", "medium"), default="image", help="what is never divided"
    )
    parser.add_argument(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="make eight images of each for training; else as the configuration says",
    )
    parser.add_argument("--run-uid", default="", metavar="UID", help="of the run that this is done for")
    parser.add_argument("--processes", type=_positive, metavar="N", help="for augmentation; else one a core")
    parser.add_argument(
        "--verdict",
        type=Path,
        metavar="FILE",
        help="write the verdict here; in a pod, to its termination log",
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Log what is done, write the verdict and return its exit code."""
    logs.configure(service="prepare")
    # The first process of a container ignores what it has no handler for. Nothing needs to be tidied up: a
    # dataset may be left in making at any moment.
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        verdict = _verdict(arguments)
    finally:
        signal.signal(signal.SIGTERM, before)
    level = logging.INFO if verdict.outcome is Outcome.DONE else logging.ERROR
    _log.log(level, "%s", verdict.message, extra={"context": {"reason": verdict.reason}})
    file = arguments.verdict or (TERMINATION_LOG if os.access(TERMINATION_LOG, os.W_OK) else None)
    if file is not None:
        try:
            file.write_text(verdict.termination_message(), encoding="utf-8")
        except OSError as error:
            _log.warning("The verdict could not be written", extra={"context": {"error": str(error)}})
    return verdict.outcome.exit_code


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise _StopRequestedError


def _verdict(arguments: argparse.Namespace) -> Verdict:
    try:
        return _prepare(arguments)
    except _StopRequestedError:
        message = "Stopped on request; the next attempt forms the dataset anew or goes on with it."
        return Verdict(outcome=Outcome.STOPPED_ON_REQUEST, reason="Stopped", message=message)
    # The last resort too: the operator reads a verdict, not a traceback in a log.
    except Exception as error:  # noqa: BLE001
        return _failure(error)


def _failure(error: Exception) -> Verdict:
    from azaion_jobs.config import ConfigError
    from azaion_jobs.dataset import errors

    outcomes: dict[type[Exception], tuple[Outcome, str]] = {
        ConfigError: (Outcome.BAD_SPEC, "BadConfiguration"),
        errors.DatasetNameError: (Outcome.BAD_SPEC, "BadName"),
        errors.ClassesError: (Outcome.BAD_DATA, "BadClasses"),
        errors.DatasetChangedError: (Outcome.BAD_DATA, "DatasetChanged"),
        errors.TreeMissingError: (Outcome.STORAGE_FAULT, "TreeMissing"),
        errors.FormingElsewhereError: (Outcome.SERVICE_UNAVAILABLE, "FormingElsewhere"),
        errors.WorkerLostError: (Outcome.OUT_OF_MEMORY, "WorkerLost"),
    }
    for kind, (outcome, reason) in outcomes.items():
        if isinstance(error, kind):
            return Verdict(outcome=outcome, reason=reason, message=logs.redact(str(error)))
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        message = f"The disk refused work: {error.strerror or error}{place}; check its space and its health."
        return Verdict(outcome=Outcome.STORAGE_FAULT, reason="StorageFault", message=logs.redact(message))
    _log.error("Ended by a fault of this software", exc_info=error)
    return Verdict(
        outcome=Outcome.INTERNAL_ERROR,
        reason="InternalError",
        message=logs.redact(f"{type(error).__name__}: {error}"),
        traceback=logs.redact("".join(traceback.format_exception(error))),
    )


def _prepare(arguments: argparse.Namespace) -> Verdict:
    from azaion_jobs.config import Config
    from azaion_jobs.dataset import augmentation, forming, manifest
    from azaion_jobs.dataset.assignment import Percentages
    from azaion_jobs.dataset.corrupted import WAIT_SECONDS

    config = Config.load(arguments.config)
    logs.register_secrets(config.secret_values())
    configured = config.training.split
    augment = config.training.augment if arguments.augment is None else arguments.augment
    options = forming.Options(
        name=arguments.name,
        seed=arguments.seed,
        split=arguments.split or Percentages(configured.train, configured.valid, configured.test),
        group_by=arguments.group_by,
        augmented=augment,
        run_uid=arguments.run_uid or forming.BY_HAND,
    )
    formed = forming.existing(config.tree, options)
    if formed is None:
        corrupt: tuple[manifest.Corrupt, ...] = ()
        if augment:
            augmented = augmentation.augment(
                config.tree, seed=options.seed, processes=arguments.processes, queue_wait_seconds=WAIT_SECONDS
            )
            corrupt = augmented.corrupt
            _log.info(
                "Augmented",
                extra={
                    "context": {
                        "made": augmented.made,
                        "kept": augmented.kept,
                        "removed": augmented.removed,
                        "skipped": augmented.skipped,
                    }
                },
            )
        formed = forming.form(config.tree, options, already_corrupt=corrupt)
    return _done(formed.name, formed.manifest, reused=formed.reused)


def _done(name: str, made: "Manifest", *, reused: bool) -> Verdict:
    from azaion_jobs.dataset import manifest

    # An empty set is no fault of the forming; whoever trains on it refuses.
    for reason in manifest.trainable(made):
        _log.warning("%s", reason, extra={"context": {"dataset": name}})
    _log.info(
        "The dataset is ready",
        extra={
            "context": {
                "dataset": name,
                "hash": made.hash,
                "reused": reused,
                "images": {split: amount.images for split, amount in made.counts.items()},
                "objects": {split: amount.objects for split, amount in made.counts.items()},
                "corrupt": len(made.corrupt),
                "repaired": len(made.repaired),
                "unmeasured": list(made.unmeasured),
                "mediaInTwoSplits": round(made.media.share, 4),
            }
        },
    )
    verb = "is reused" if reused else "has been formed"
    parts = ", ".join(f"{amount.images} {split}" for split, amount in made.counts.items())
    return Verdict(
        outcome=Outcome.DONE,
        reason="DatasetReused" if reused else "DatasetFormed",
        message=f"The dataset {name} {verb}: {made.images} images ({parts}), hash {made.hash}.",
        metrics={
            "images": made.images,
            **{f"images_{split}": amount.images for split, amount in made.counts.items()},
            "corrupt": len(made.corrupt),
        },
    )


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise ValueError(text)
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _split(text: str) -> "Percentages":
    from azaion_jobs.dataset.assignment import Percentages

    match = _SPLIT.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no split; write three percentages such as 70/20/10."
        raise argparse.ArgumentTypeError(msg)
    try:
        return Percentages(*map(int, match.groups()))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
