"""`python -m azaion_jobs.training.trainer`: what the supervisor starts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from azaion_jobs import logs
from azaion_jobs.training.trainer import environment
from azaion_jobs.training.trainer.reporter import Reporter
from azaion_jobs.training.trainer.stopping import StopRequest


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m azaion_jobs.training.trainer", description="Train one run in its directory."
    )
    parser.add_argument("--run", type=Path, required=True, metavar="RUN_JSON", help="what to train")
    parser.add_argument("--directory", type=Path, required=True, help="the run directory")
    parser.add_argument("--fence", type=int, required=True, help="the number under which it is held")
    parser.add_argument("--batch-size", type=int, required=True, help="images a batch, now")
    parser.add_argument("--resume", type=Path, metavar="STATE_FILE", help="the state to go on from")
    parser.add_argument(
        "--learning-rate-scale", type=float, default=1.0, metavar="F", help="of the rate that was asked for"
    )
    parser.add_argument(
        "--validation-batch",
        type=int,
        metavar="N",
        help="images a validation batch (default: twice the batch)",
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    arguments = arguments_of(words)
    logs.configure(service="training")
    environment.prepare()
    reporter = Reporter.from_environment()
    stop = StopRequest(reporter)
    stop.listen()
    # Only now: these import torch and ultralytics, which read the environment and take seconds.
    from azaion_jobs.training.trainer.job import TrainingJob  # noqa: PLC0415
    from azaion_jobs.training.trainer.session import Session  # noqa: PLC0415

    try:
        code = Session(lambda: TrainingJob.read(arguments), reporter=reporter, stop=stop).run()
    finally:
        reporter.close()
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
