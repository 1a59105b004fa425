"""`train`: pid 1 of a train pod, or the same by hand on a workstation."""

import argparse
from pathlib import Path

from azaion_jobs import logs
from azaion_jobs.contract import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command understands."""
    parser.add_argument(
        "--run", type=Path, required=True, metavar="FILE", help="the run.json of this attempt"
    )
    parser.add_argument(
        "--port", type=int, default=9400, help="where /progress, /metrics and /healthz are served (0: any)"
    )
    parser.add_argument(
        "--termination-message",
        type=Path,
        default=Path("/dev/termination-log"),
        metavar="FILE",
        help="where the verdict goes, if that file is there",
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Train until all epochs are done, or until something ends it that trying again cannot cure."""
    from azaion_jobs.training.supervisor import Surroundings, supervise

    logs.configure(service="training")
    return supervise(
        arguments.run,
        Surroundings(port=arguments.port, termination_message=arguments.termination_message),
    )
