"""`dataset preview`: pictures of a dataset with its boxes drawn on them."""

import argparse
import sys
from pathlib import Path

from azaion_jobs.contract import ExitCode

_COUNT = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command understands."""
    parser.add_argument("dataset", metavar="DATASET", help="the folder of a dataset, or its name")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument("--count", type=int, default=_COUNT, metavar="N", help=f"pictures (default {_COUNT})")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, another sample")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config.yaml, where DATASET is a name; else as usual"
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print the path of each picture."""
    from azaion_jobs.config import Config, ConfigError
    from azaion_jobs.dataset import preview
    from azaion_jobs.dataset.manifest import ManifestError

    try:
        folder = Path(arguments.dataset)
        if not folder.is_dir():
            folder = Config.load(arguments.config).tree.dataset(arguments.dataset).root
        for picture in preview.draw(folder, arguments.out, count=arguments.count, seed=arguments.seed):
            sys.stdout.write(f"{picture}\n")
    except (ConfigError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_SPEC
    except ManifestError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_DATA
    except OSError as error:
        sys.stderr.write(f"{error.filename or arguments.out}: {error.strerror or error}.\n")
        return ExitCode.STORAGE_FAULT
    return ExitCode.DONE
