"""The verdict: in the termination message for the kubelet, in verdict.json for the next attempt."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from azaion_jobs.contract import Verdict
from azaion_jobs.logs import redact
from azaion_jobs.training.durable import write_durably
from azaion_jobs.tree import RunFolder

TERMINATION_MESSAGE: Final = Path("/dev/termination-log")

_log = logging.getLogger("azaion_jobs.supervisor")


def leave(verdict: Verdict, *, termination_message: Path, folder: RunFolder | None) -> Verdict:
    """Write the verdict, without secrets, wherever somebody looks for it; returns it as written.

    `folder` is None while the run directory is not this attempt's. The kubelet makes the termination message
    before the pod starts; where it is missing there is no kubelet.
    """
    verdict = replace(verdict, message=redact(verdict.message), traceback=redact(verdict.traceback))
    if termination_message.exists():
        try:
            termination_message.write_text(verdict.termination_message(), encoding="utf-8")
        except OSError as error:
            _log.warning("The termination message could not be written: %s", error.strerror or error)
    if folder is not None:
        try:
            write_durably(folder.verdict, (verdict.to_json() + "\n").encode())
        except OSError as error:
            _log.warning("verdict.json could not be written: %s", error.strerror or error)
    return verdict
