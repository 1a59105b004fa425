"""`config check`: read the configuration and list every problem."""

import argparse
import sys
from pathlib import Path

from azaion_jobs.contract import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command understands."""
    parser.add_argument(
        "--file", type=Path, metavar="F", help="the file to read instead of AZAION_CONFIG or the usual place"
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print OK, or the problems, which are for people and thus not JSON."""
    from azaion_jobs.config import Config, ConfigError

    try:
        Config.load(arguments.file)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_SPEC
    sys.stdout.write("OK\n")
    return ExitCode.DONE
