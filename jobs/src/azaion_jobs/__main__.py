"""`python -m azaion_jobs COMMAND`: what the Jobs and Deployments of the training side start."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from azaion_jobs.commands import config_check, dataset_preview, prepare, self_check, train
from azaion_jobs.contract import ExitCode

_log = logging.getLogger("azaion_jobs.main")

# Where the parser keeps what was chosen: a name that no argument of a command can have.
_COMMAND = " command"


@dataclass(frozen=True, slots=True)
class Command:
    """One command; what it needs beyond the standard library is imported when it runs, not before."""

    words: tuple[str, ...]
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], ExitCode]


COMMANDS = (
    Command(
        words=("self-check",),
        summary="import everything that an image needs and say the versions",
        add_arguments=self_check.add_arguments,
        run=self_check.run,
    ),
    Command(
        words=("config", "check"),
        summary="read the configuration and list every problem",
        add_arguments=config_check.add_arguments,
        run=config_check.run,
    ),
    Command(
        words=("prepare",),
        summary="form the dataset that a run is trained on",
        add_arguments=prepare.add_arguments,
        run=prepare.run,
    ),
    Command(
        words=("dataset", "preview"),
        summary="draw boxes and class names on a sample of a dataset",
        add_arguments=dataset_preview.add_arguments,
        run=dataset_preview.run,
    ),
    Command(
        words=("train",),
        summary="train a model and keep at it until all epochs are done",
        add_arguments=train.add_arguments,
        run=train.run,
    ),
)


class _Parser(argparse.ArgumentParser):
    """Leaves with the exit code that the operator knows for a wrong request, instead of 2."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.BAD_SPEC, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The command line, built from the table."""
    top = _Parser(prog="python -m azaion_jobs", description="The jobs of Azaion Training.")
    groups: dict[tuple[str, ...], argparse._SubParsersAction[_Parser]] = {
        (): top.add_subparsers(metavar="COMMAND", required=True)
    }
    for command in COMMANDS:
        for depth in range(1, len(command.words)):
            prefix = command.words[:depth]
            if prefix not in groups:
                group = groups[prefix[:-1]].add_parser(prefix[-1], help=f"see `{prefix[-1]} --help`")
                groups[prefix] = group.add_subparsers(metavar="COMMAND", required=True)
        leaf = groups[command.words[:-1]].add_parser(
            command.words[-1], help=command.summary, description=command.summary.capitalize() + "."
        )
        command.add_arguments(leaf)
        leaf.set_defaults(**{_COMMAND: command})
    return top


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run the command that the arguments name and return its exit code."""
    chosen = vars(parser().parse_args(arguments))
    command: Command = chosen.pop(_COMMAND)
    try:
        return command.run(argparse.Namespace(**chosen))
    except Exception:  # noqa: BLE001 - the last resort: whatever it is, the exit code says whose fault it is
        _log.exception("Ended by a fault of this software")
        return ExitCode.INTERNAL_ERROR


if __name__ == "__main__":
    sys.exit(main())
